"""Many clips with one request: by processes of this machine, or by a Ray cluster."""

from vidrase.batch.local import run_local
from vidrase.batch.task import Heard, Task

__all__ = ["Heard", "Task", "run_local"]
