"""Interlaced pictures: which encoders mark them, and how that is asked of them. A player combs what is not marked."""

from __future__ import annotations

from typing import Any

from av.codec.context import Flags

from vidrase.frames import SourceInfo

_MARKING = frozenset({"libx264", "mpeg2video", "mpeg4", "prores_ks", "ffv1", "dvvideo"})
_ORDER = {"top": 2, "bottom": 3}  # AV_FIELD_TT, AV_FIELD_BB


def lost_mark(encoder: str, info: SourceInfo, shift_y: int) -> str | None:
    """What to say where interlaced pictures of `info` come out marked as progressive; None where the mark stays.

    shift_y: vertical chroma shift of the pixel format that is encoded.
    """
    if not info.interlaced:
        return None
    if encoder not in _MARKING:
        why = f"{encoder} does not mark interlaced pictures"
    elif encoder == "libx264" and info.height % (2 << shift_y):
        why = f"H.264 cannot mark {info.height} interlaced lines of this pixel format"
    else:
        return None
    return (
        f"{why}: players will take them for progressive and show combs; "
        "--codec ffv1 and a name in .mkv, or --codec prores in .mov, keep it"
    )


def mark(context: Any, encoder: str, info: SourceInfo) -> None:
    """Open `context` (FFmpeg's, of `encoder`) for the interlaced pictures of `info`; `lost_mark` says whether it can."""
    context.flags |= Flags.interlaced_dct | Flags.interlaced_me
    if info.field_order:
        context.field_order = _ORDER[info.field_order]
        if encoder == "libx264" and info.field_order == "bottom":  # each picture says it, the stream's header would not
            options = dict(context.options)
            context.options = options | {"x264-params": ":".join(filter(None, (options.get("x264-params"), "bff=1")))}
