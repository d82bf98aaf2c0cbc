"""A thing that no detector knows: cut out of the box that somebody drew, and followed through its shot."""

from __future__ import annotations

from vidrase.thing.trail import LABEL, Trail, follow

__all__ = ["LABEL", "Trail", "follow"]
