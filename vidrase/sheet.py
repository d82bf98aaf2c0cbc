"""The contact sheet: a few frames, before / mask / after, and the same zoomed to the hole. Made for viewing only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase import part
from vidrase.errors import SinkError
from vidrase.frames import Frame, Hole, Instances
from vidrase.part import Part

CELL_WIDTH = 480
CELL_HEIGHT = 400
SCENE_WIDTH = 640
SCENE_HEIGHT = 600
THUMB = 180
GAP = 6
CORE_COLOUR = (255, 40, 60)
RING_COLOUR = (255, 200, 40)


class Sheet:
    """Collects rows, writes one picture. Holds only the small cells, never the frames."""

    def __init__(self) -> None:
        self._rows: list[NDArray[np.uint8]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, before: Frame, hole: Hole | None, after: Frame | None = None) -> None:
        """Add a row for one frame: before, mask, after; then the first and the last of them zoomed to the hole.

        after: None where nothing is filled yet.
        """
        old = before.rgb()
        cells = [old, _overlay(before, old, hole), *([after.rgb()] if after is not None else [])]
        if hole is not None:
            top, bottom, left, right = _zoom_span(before.orientation.to_display(hole.full_area()))
            cells += [picture[top:bottom, left:right] for picture in (cells[0], cells[-1])]
        self._rows.append(_row(cells, f"{before.seconds:.2f} s"))

    def save(self, to: Path | Part) -> None:
        """Write PNG or JPEG by suffix; appears under its name only when complete."""
        if self._rows:
            _write(to, self._rows)


def thumbnails(cells: Sequence[tuple[NDArray[np.uint8], str]], to: Path | Part) -> None:
    """A sheet of crops, RGB uint8 [h, w, 3] each with its label of one or more lines: what `--list` found."""
    rows = _thumbnail_rows(cells)
    if rows:
        _write(to, rows)


def overview(
    scenes: Sequence[tuple[Frame, Instances]], cells: Sequence[tuple[NDArray[np.uint8], str]], path: Path
) -> None:
    """Whole frames with every object outlined and numbered, below them the crops of `thumbnails`.

    Raises SinkError when it cannot be written.
    """
    shown = [_numbered(frame, found, alone=len(scenes) == 1) for frame, found in scenes]
    pairs = [shown[start : start + 2] for start in range(0, len(shown), 2)]
    rows = [_beside(pair) for pair in pairs]
    rows += _thumbnail_rows(cells, across=max(max((row.shape[1] for row in rows), default=0) // (THUMB + GAP), 1))
    if rows:
        _write(path, rows)


def _numbered(frame: Frame, found: Instances, *, alone: bool) -> NDArray[np.uint8]:
    """The frame SCENE_WIDTH wide, or as high as SCENE_HEIGHT, and half as much again when it is `alone`.

    Each object has its own colour for outline and number.
    """
    height, width = found.size
    scale = min(SCENE_WIDTH / width, SCENE_HEIGHT / height) * (1.5 if alone else 1.0)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    shown = np.ascontiguousarray(cv2.resize(frame.rgb(), size, interpolation=how))
    for k in range(len(found)):
        mask = cv2.resize(found.mask(k).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        lines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        for thickness, colour in ((4, (0, 0, 0)), (2, _colour(int(found.ids[k])))):
            cv2.drawContours(shown, lines, -1, colour, thickness, cv2.LINE_AA)
    for k in np.argsort([mask.size for mask in found.masks])[::-1]:  # numbers above all outlines, small objects on top
        _tag(shown, str(int(found.ids[k])), found.boxes[k] * scale, _colour(int(found.ids[k])))
    _caption(shown, f"{frame.seconds:.2f} s")
    return shown


def _tag(shown: NDArray[np.uint8], text: str, box: NDArray[np.float32], colour: tuple[int, int, int]) -> None:
    """Draw the number on a patch of the object's colour: on its upper part, or above a small object."""
    (wide, tall), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.6, 2)
    height, width = shown.shape[:2]
    x = int(np.clip((box[0] + box[2] - wide) / 2, 3, max(width - wide - 3, 3)))
    middle = box[1] + 0.3 * (box[3] - box[1]) + tall / 2
    above = box[1] - 8 if box[1] > tall + 14 else box[3] + tall + 8
    small = box[3] - box[1] < 4 * tall or box[2] - box[0] < 2 * wide
    y = int(np.clip(above if small else middle, tall + 3, max(height - 3, tall + 3)))
    cv2.rectangle(shown, (x - 4, y - tall - 4), (x + wide + 4, y + 4), (0, 0, 0), -1)
    cv2.rectangle(shown, (x - 3, y - tall - 3), (x + wide + 3, y + 3), colour, -1)
    cv2.putText(shown, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 0, 0), 2, cv2.LINE_AA)


def _colour(number: int) -> tuple[int, int, int]:
    """A bright colour for an id: consecutive ids lie far apart on the colour circle."""
    hue = np.array([[[number * 67 % 180, 150, 255]]], np.uint8)
    red, green, blue = cv2.cvtColor(hue, cv2.COLOR_HSV2RGB)[0, 0].tolist()
    return red, green, blue


def _beside(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    tall = max(picture.shape[0] for picture in pictures)
    padded = [np.pad(p, ((0, tall - p.shape[0]), (0, GAP), (0, 0)), constant_values=24) for p in pictures]
    return np.concatenate(padded, axis=1)


def _thumbnail_rows(cells: Sequence[tuple[NDArray[np.uint8], str]], *, across: int = 5) -> list[NDArray[np.uint8]]:
    rows = []
    made = [_thumbnail(rgb, label) for rgb, label in cells]
    for start in range(0, len(made), across):
        row = made[start : start + across]
        row += [np.full_like(row[0], 24)] * (min(across, len(made)) - len(row))
        rows.append(np.concatenate(row, axis=1))
    return rows


def _thumbnail(rgb: NDArray[np.uint8], label: str, side: int = THUMB) -> NDArray[np.uint8]:
    scale = min(side / rgb.shape[0], side / rgb.shape[1])
    size = (max(round(rgb.shape[1] * scale), 1), max(round(rgb.shape[0] * scale), 1))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    small = cv2.resize(np.ascontiguousarray(rgb), size, interpolation=how)
    lines = label.split("\n")
    cell = np.full((side + 6 + 18 * len(lines), side + GAP, 3), 24, np.uint8)
    y, x = (side - size[1]) // 2, (side - size[0]) // 2
    cell[y : y + size[1], x : x + size[0]] = small
    for k, line in enumerate(lines):
        place = (4, side + 16 + 18 * k)
        cv2.putText(cell, line, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
    return cell


def _write(to: Path | Part, rows: Sequence[NDArray[np.uint8]]) -> None:
    if not isinstance(to, Part):
        check_sheet(to)
    suffix = _suffix(to.to if isinstance(to, Part) else to)
    width = max(row.shape[1] for row in rows)
    padded = [np.pad(row, ((0, GAP), (0, width - row.shape[1]), (0, 0)), constant_values=24) for row in rows]
    _, data = cv2.imencode(suffix, cv2.cvtColor(np.concatenate(padded), cv2.COLOR_RGB2BGR))
    part.save(to, data.tobytes())


def check_sheet(path: Path) -> None:
    """Raises SinkError when no sheet can be written there; called before a long run."""
    if not cv2.haveImageWriter(f"sheet{_suffix(path)}"):
        raise SinkError(f"cannot write a sheet as '{_suffix(path)}'; use .png or .jpg")
    part.need_folder(path)


def _suffix(path: Path) -> str:
    return path.suffix.lower() or ".png"


def _overlay(frame: Frame, rgb: NDArray[np.uint8], hole: Hole | None) -> NDArray[np.uint8]:
    if hole is None:
        return rgb
    shown = rgb.copy()
    core = frame.orientation.to_display(hole.full_core())
    ring = frame.orientation.to_display(hole.full_area()) & ~core
    for where, colour in ((core, CORE_COLOUR), (ring, RING_COLOUR)):
        shown[where] = (shown[where] * 0.45 + np.array(colour) * 0.55).astype(np.uint8)
    return shown


def _zoom_span(area: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Rows and columns around the hole, with a third of its size as margin, so that the seam is visible."""
    rows, columns = np.flatnonzero(area.any(1)), np.flatnonzero(area.any(0))
    margin = 16 + max(len(rows), len(columns)) // 3
    top, bottom = max(rows[0] - margin, 0), min(rows[-1] + 1 + margin, area.shape[0])
    left, right = max(columns[0] - margin, 0), min(columns[-1] + 1 + margin, area.shape[1])
    return int(top), int(bottom), int(left), int(right)


def _row(pictures: Sequence[NDArray[np.uint8]], label: str) -> NDArray[np.uint8]:
    """Cells of one height side by side: the first is CELL_WIDTH wide, or as high as CELL_HEIGHT."""
    height, width = pictures[0].shape[:2]
    tall = max(round(min(CELL_WIDTH / width * height, CELL_HEIGHT)), 24)
    parts = []
    for picture in pictures:
        scale = tall / picture.shape[0]
        size = (max(round(picture.shape[1] * scale), 1), tall)
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        parts += [
            cv2.resize(np.ascontiguousarray(picture), size, interpolation=how),
            np.full((tall, GAP, 3), 24, np.uint8),
        ]
    row = np.concatenate(parts[:-1], axis=1)
    _caption(row, label)
    return row


def _caption(shown: NDArray[np.uint8], text: str) -> None:
    for thickness, colour in ((3, (0, 0, 0)), (1, (255, 255, 255))):
        cv2.putText(shown, text, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, thickness, cv2.LINE_AA)
