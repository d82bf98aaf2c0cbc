"""A thing that no detector knows: cut out of the box that somebody drew, and followed through its shot."""

from __future__ import annotations

from vidrase.masktrack.track import LABEL, MaskTrack, track_box

__all__ = ["LABEL", "MaskTrack", "track_box"]
