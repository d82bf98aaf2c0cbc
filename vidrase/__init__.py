"""vidrase removes people and things from video and puts the true background back in their place.

    report = vidrase.erase("clip.mp4", remove="person")        # clip_erased.mp4, sound and timing kept
    picture = vidrase.Eraser().image(rgb, mask)                # a still, with your own mask
    for frame in vidrase.Eraser(remove="person").stream("clip.mp4"): ...

Importing this loads neither torch nor OpenCV; they come with the first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vidrase.errors import (
    DecodeError,
    ModelError,
    OptionError,
    ShapeError,
    SinkError,
    SourceError,
    VidraseError,
)

if TYPE_CHECKING:
    from vidrase.eraser import Eraser, erase
    from vidrase.frames import Frame
    from vidrase.live import LiveEraser
    from vidrase.report import Report

__all__ = [
    "erase",
    "Eraser",
    "LiveEraser",
    "Frame",
    "Report",
    "VidraseError",
    "SourceError",
    "DecodeError",
    "SinkError",
    "OptionError",
    "ShapeError",
    "ModelError",
]
__version__ = "0.1.0"

_LAZY = {
    "erase": "vidrase.eraser",
    "Eraser": "vidrase.eraser",
    "LiveEraser": "vidrase.live",
    "Frame": "vidrase.frames",
    "Report": "vidrase.report",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'vidrase' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
