"""Side data of frames that an encoder must be told of, and what gets lost.

Encoders write captions (A53) by themselves; the HDR numbers of the mastering display they want as parameters; the rest cannot be
handed over and is said.
"""

from __future__ import annotations

import struct
from typing import Any, cast

import av
from av.sidedata.sidedata import SideData, SideDataContainer, Type

_CAPTIONED = {"libx264", "libx265", "h264_nvenc", "hevc_nvenc", "mpeg2video"}
_PARAMETERS = {"libx264": "x264-params", "libx265": "x265-params", "libsvtav1": "svtav1-params"}
_STATIC = (Type.MASTERING_DISPLAY_METADATA, Type.CONTENT_LIGHT_LEVEL)
_LOST = {
    Type.DYNAMIC_HDR_PLUS: "HDR10+ metadata",
    Type.DYNAMIC_HDR_VIVID: "HDR Vivid metadata",
    Type.DOVI_RPU_BUFFER: "Dolby Vision metadata",
    Type.DOVI_METADATA: "Dolby Vision metadata",
    Type.SPHERICAL: "the mark of a 360-degree video",
    Type.STEREO3D: "the mark of a 3D video",
}


def present(frame: av.VideoFrame) -> set[Type]:
    """The kinds of side data on a frame."""
    return {data.type for data in _all(frame)}


def hdr_parameters(encoder: str, frame: av.VideoFrame) -> dict[str, str]:
    """Option of `encoder` that makes it write the HDR numbers of `frame`; empty when there are none or it cannot."""
    if encoder not in _PARAMETERS:
        return {}
    found = {data.type: bytes(data) for data in _all(frame)}
    mastering = _mastering(found.get(Type.MASTERING_DISPLAY_METADATA, b""), decimal=encoder == "libsvtav1")
    light = found.get(Type.CONTENT_LIGHT_LEVEL, b"")
    names = {
        "libx264": ("mastering-display", "cll"),
        "libx265": ("master-display", "max-cll"),
        "libsvtav1": ("mastering-display", "content-light"),
    }[encoder]
    parts = []
    if mastering:
        parts.append(f"{names[0]}={mastering}")
    if len(light) >= 8:
        parts.append("{}={},{}".format(names[1], *struct.unpack("=2I", light[:8])))
    return {_PARAMETERS[encoder]: ":".join(parts)} if parts else {}


def lost(encoder: str, kinds: set[Type]) -> set[str]:
    """What `encoder` does not write of side data of these kinds."""
    names = {_LOST[kind] for kind in kinds if kind in _LOST}
    if encoder not in _PARAMETERS and any(kind in kinds for kind in _STATIC):
        names.add("HDR mastering metadata")
    if encoder not in _CAPTIONED and Type.A53_CC in kinds:
        names.add("closed captions")
    return names


def _all(frame: av.VideoFrame) -> list[SideData]:
    # not `frame.side_data`: that keeps the list in the frame and the frame in the list, so the picture lives until
    # Python's collector of cycles comes by, which is seldom
    return list(cast(Any, SideDataContainer)(frame))  # its stub knows neither argument nor iteration


def _mastering(data: bytes, *, decimal: bool) -> str:
    """AVMasteringDisplayMetadata as encoders take it: chromaticities in 1/50000, luminances in 1/10000 cd/m2."""
    if len(data) < 88:
        return ""
    numbers = struct.unpack("=22i", data[:88])
    if not (numbers[20] and numbers[21]):  # has primaries, has luminance
        return ""
    values = [numbers[n] / (numbers[n + 1] or 1) for n in range(0, 20, 2)]
    red, green, blue, white = (values[n : n + 2] for n in (0, 2, 4, 6))
    lowest, highest = values[8:10]

    def pair(two: list[float], unit: int) -> str:
        return ",".join(f"{value:.6g}" if decimal else str(round(value * unit)) for value in two)

    points = zip("GBR", (green, blue, red), strict=True)
    written = "".join(f"{letter}({pair(point, 50000)})" for letter, point in points)
    return f"{written}WP({pair(white, 50000)})L({pair([highest, lowest], 10000)})"
