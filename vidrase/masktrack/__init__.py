"""Segment an object that the detector does not know from a box drawn by the user, and track its mask through the shot."""

from __future__ import annotations

from vidrase.masktrack.track import LABEL, MaskTrack, track_box

__all__ = ["LABEL", "MaskTrack", "track_box"]
