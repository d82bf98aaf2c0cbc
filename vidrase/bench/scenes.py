"""Clips made from nothing, with exact truth: what the engine should find easy, one difficulty each.

A textured world is seen through a moving camera; a blob walks before it. Same parameters, same clip, on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.bench.case import Case, CaseRef, Mask, Rgb, blanked

HEIGHT, WIDTH = 240, 432
Look = Callable[[int], Rgb]


def texture(height: int, width: int, seed: int) -> Rgb:
    """uint8 [H, W, 3]: noise on several scales with some hard edges, so that blur, seams and drift all cost something."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3), np.float32)
    for scale, weight in ((3, 0.2), (9, 0.25), (30, 0.3), (90, 0.25)):
        small = rng.random((height // scale + 3, width // scale + 3, 3), dtype=np.float32)
        picture += weight * cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    picture = np.clip((picture - 0.5) * 1.6 + 0.5, 0, 1) * 255
    for _ in range(max(6, height * width // 9000)):
        x, y = int(rng.integers(width)), int(rng.integers(height))
        w, h = int(rng.integers(8, 60)), int(rng.integers(8, 60))
        colour = rng.integers(20, 235, 3).astype(np.float32)
        block = picture[y : y + h, x : x + w]
        block[:] = 0.55 * colour + 0.45 * block
    return picture.astype(np.uint8)


def blob(frames: int, size: tuple[int, int], seed: int, *, moving: bool, share: float = 0.08) -> list[Mask]:
    """Masks of a star-shaped blob covering about `share` of the frame; it crosses the frame when `moving`."""
    height, width = size
    rng = np.random.default_rng(seed)
    radius = np.sqrt(share * height * width / np.pi)
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    waves = sum(rng.uniform(-0.18, 0.18) * np.cos(k * angles + rng.uniform(0, 6.3)) for k in (1, 2, 3, 5))
    outline = radius * (1 + waves)
    start = np.array([rng.uniform(0.3, 0.7) * width, rng.uniform(0.35, 0.65) * height])
    if moving:
        start[0] = 0.12 * width
    step = np.array([0.76 * width / max(frames - 1, 1), 0.0]) if moving else np.zeros(2)
    masks = []
    for t in range(frames):
        centre = start + t * step + (np.array([0, 4 * np.sin(t / 2)]) if moving else 0)
        points = np.stack([centre[0] + outline * np.cos(angles), centre[1] + outline * np.sin(angles)], 1)
        canvas = np.zeros(size, np.uint8)
        cv2.fillPoly(canvas, [np.rint(points).astype(np.int32)], 1)
        masks.append(canvas.astype(bool))
    return masks


def _camera(world: Rgb, matrix: Callable[[int], NDArray[np.float64]]) -> Look:
    def look(t: int) -> Rgb:
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(world, matrix(t), (WIDTH, HEIGHT), flags=flags).astype(np.uint8)

    return look


def _view(dx: float, dy: float, angle: float = 0.0, zoom: float = 1.0) -> NDArray[np.float64]:
    """Frame px -> world px, for a camera at (dx, dy) from the middle, turned by `angle` radians, seeing 1/`zoom` as much."""
    c, s = np.cos(angle) / zoom, np.sin(angle) / zoom
    middle = np.array([WIDTH / 2, HEIGHT / 2])
    turn = np.array([[c, -s], [s, c]])
    shift = np.array([WIDTH + dx, HEIGHT + dy]) - turn @ middle
    return np.concatenate([turn, shift[:, None]], axis=1)


def _looks(frames: int) -> dict[str, Look]:
    """name -> the background at time t; the world is twice the frame, the camera in its middle."""
    world = texture(2 * HEIGHT, 2 * WIDTH, 1)
    near = texture(2 * HEIGHT, 2 * WIDTH, 2)
    edge = cv2.resize(
        np.random.default_rng(3).random((1, 12)).astype(np.float32), (2 * WIDTH, 1), interpolation=cv2.INTER_CUBIC
    )[0]
    horizon = (HEIGHT * 1.05 + 30 * edge).astype(int)
    standing = np.arange(2 * HEIGHT)[:, None] >= horizon[None]

    def parallax(t: int) -> Rgb:
        far = _camera(world, lambda t: _view(0.8 * t, 0))(t)
        matrix = _view(3.2 * t, 0)
        front = _camera(near, lambda _: matrix)(t)
        size, flags = (WIDTH, HEIGHT), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        alpha = cv2.warpAffine(standing.astype(np.float32), matrix, size, flags=flags)[..., None]
        return np.rint(alpha * front + (1 - alpha) * far).astype(np.uint8)

    still = _camera(world, lambda _: _view(0, 0))
    pan = _camera(world, lambda t: _view(2.5 * t - 1.25 * frames, 0.4 * t))

    def exposure(t: int) -> Rgb:
        gain = 1.0 + 0.22 * np.sin(2 * np.pi * t / max(frames, 1))
        return np.clip(pan(t).astype(np.float32) * gain + 4, 0, 255).astype(np.uint8)

    def noise(t: int) -> Rgb:
        grain = np.random.default_rng(1000 + t).normal(0, 4, (HEIGHT, WIDTH, 3))
        return np.clip(np.rint(still(t) + grain), 0, 255).astype(np.uint8)

    def shadow(t: int) -> Rgb:
        x = np.arange(WIDTH, dtype=np.float32)[None, :, None]
        dim = 1 - 0.35 / (1 + np.exp(-(x - (WIDTH * (t + 1) / (frames + 1))) / 6))
        return (still(t) * dim).astype(np.uint8)

    return {
        "static": still,
        "pan": pan,
        "zoom": _camera(world, lambda t: _view(0, 0, zoom=0.9 + 0.35 * t / max(frames, 1))),
        "rotation": _camera(world, lambda t: _view(0, 0, angle=0.25 * (t / max(frames, 1) - 0.5))),
        "shake": _camera(world, lambda t: _view(6 * np.sin(1.7 * t), 5 * np.cos(2.3 * t), 0.02 * np.sin(t))),
        "parallax": parallax,
        "exposure": exposure,
        "shadow": shadow,
        "noise": noise,
    }


NAMES = ("static", "pan", "zoom", "rotation", "shake", "parallax", "exposure", "shadow", "noise")
"""static .. parallax: what moves · exposure: the camera's gain drifts · shadow: a shadow edge crosses · noise: sensor grain."""


def synthetic_cases(frames: int, names: Sequence[str] = NAMES) -> list[CaseRef]:
    """One case for each name, hole moving; a hole that never moves, before a panning or still camera; and three of more frames:
    one that stays for long, one that the camera pans to, one before something that sways.
    """
    looks = [CaseRef(f"synthetic/{name}", partial(_case, name, frames, moving=True)) for name in names]
    fixed = [("pan", "pan-fixed-hole"), ("static", "never-seen")]
    stay = [CaseRef(f"synthetic/{title}", partial(_case, n, frames, moving=False, title=title)) for n, title in fixed]
    longer = [("lingers", _lingers), ("enters", _enters), ("sways", _sways)]
    return looks + stay + [CaseRef(f"synthetic/{title}", build) for title, build in longer]


def moving_look() -> Look:
    """A panning camera whose view never leaves the world, however long: it swings to and fro."""
    world = texture(2 * HEIGHT, 2 * WIDTH, 1)
    return _camera(world, lambda t: _view(90 * np.sin(2.5 * t / 90), 40 * np.sin(t / 60)))


def _lingers() -> Case:
    """Somebody stands before a hand-held camera for four seconds and walks off: longer than a window of frames reaches."""
    frames, leaves, step = 150, 100, 6
    world = texture(2 * HEIGHT, 2 * WIDTH, 1)
    outline = np.zeros((2 * HEIGHT, 2 * WIDTH), np.uint8)
    outline[HEIGHT // 2 : HEIGHT // 2 + HEIGHT, WIDTH // 2 : WIDTH // 2 + WIDTH] = blob(
        1, (HEIGHT, WIDTH), seed=7, moving=False
    )[0]
    truth, holes = [], []
    for t in range(frames):
        view = _view(25 * np.sin(t / 23), 10 * np.cos(t / 17), 0.03 * np.sin(t / 31))
        truth.append(_camera(world, lambda _, view=view: view)(t))  # type: ignore[misc]
        walked = np.array([[1, 0, -step * max(t - leaves, 0)], [0, 1, 0]], np.float64)
        at_home = np.concatenate([walked, [[0, 0, 1]]]) @ np.concatenate([view, [[0, 0, 1]]])
        flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        holes.append(cv2.warpAffine(outline, at_home[:2], (WIDTH, HEIGHT), flags=flags) > 0)
    return Case("synthetic/lingers", "synthetic", blanked(truth, holes), holes, truth, public=True)


def _enters() -> Case:
    """The camera pans to something that hides the same part of the world all the time: nobody ever sees it."""
    world = texture(2 * HEIGHT, 2 * WIDTH, 1)
    outline = np.zeros((2 * HEIGHT, 2 * WIDTH), np.uint8)
    cv2.ellipse(outline, (WIDTH + 170, HEIGHT), (30, 75), 0, 0, 360, 1, -1)
    truth, holes = [], []
    for t in range(60):
        view = _view(3 * min(t, 50) - 90, 4 * np.sin(t / 9))
        truth.append(_camera(world, lambda _, view=view: view)(t))  # type: ignore[misc]
        flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        holes.append(cv2.warpAffine(outline, view, (WIDTH, HEIGHT), flags=flags) > 0)
    return Case("synthetic/enters", "synthetic", blanked(truth, holes), holes, truth, public=True)


def _sways() -> Case:
    """A still camera; the right third of the scene sways, with gusts."""
    frames = 100
    world = _camera(texture(2 * HEIGHT, 2 * WIDTH, 1), lambda _: _view(0, 0))(0)
    columns, rows = np.meshgrid(np.arange(WIDTH, dtype=np.float32), np.arange(HEIGHT, dtype=np.float32))
    share = np.clip((columns - 270) / 30, 0, 1)
    truth = []
    for t in range(frames):
        along = share * 3 * (1 + 0.4 * np.sin(t / 17)) * np.sin(t / 3.1 + rows / 40)
        down = share * np.sin(t / 4.3 + columns / 50)
        x, y = (columns + along).astype(np.float32), (rows + down).astype(np.float32)
        truth.append(cv2.remap(world, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT).astype(np.uint8))
    holes = blob(frames, (HEIGHT, WIDTH), seed=7, moving=True)
    return Case("synthetic/sways", "synthetic", blanked(truth, holes), holes, truth, public=True)


def _case(name: str, frames: int, *, moving: bool, title: str = "") -> Case:
    look = _looks(frames)[name]
    truth = [look(t) for t in range(frames)]
    holes = blob(frames, (HEIGHT, WIDTH), seed=7, moving=moving)
    return Case(f"synthetic/{title or name}", "synthetic", blanked(truth, holes), holes, truth, public=True)
