"""The street of the sample clip, as textures for planes: houses, wall, floor, lamp post.

Colours are BGR, as cv2 has them. Everything random comes from the generator handed in.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from walker import Floats, smoothstep

Image = NDArray[np.uint8]

# World: metres, x right, y down (ground 0, heights negative), z away from the camera.
WALL_Z, POST_Z, NEAR_Z, HALF_WIDTH = 8.0, 6.75, 3.4, 5.5
WALL_PX, GROUND_PX, GROUND_DEPTH_PX = 240, 200, 90  # texture pixels a metre
SUN_X, SUN_Z = -0.55, -0.45  # where the shadow of a point one metre high falls; bus.jpg has its sun there too
POST_XS, POST_HEIGHT = (-3.9, 0.55, 4.6), 3.2

# Bricks of skimage's brick.png turned upright: (left and right height of the upper and lower joint, upright joints).
BRICKS = [
    ((95, 129, 137, 161), [(86, 219), (219, 331), (381, 473)]),
    ((137, 161, 178, 191), [(52, 192), (192, 309), (309, 409), (409, 497)]),
    ((178, 191, 220, 221), [(9, 155), (155, 277), (277, 382)]),
    ((220, 221, 261, 251), [(123, 249), (249, 358), (358, 452)]),
    ((261, 251, 305, 281), [(86, 217), (217, 328), (380, 471)]),
    ((305, 281, 346, 311), [(121, 248), (248, 356), (356, 449)]),
]


def photo(package: str, name: str, flags: int = cv2.IMREAD_COLOR) -> Image:
    """A picture that ships inside an installed package, found without importing it (torch would take seconds)."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"{package} is not installed, and its {name} is needed: pip install {package}")
    image = cv2.imread(str(Path(spec.submodule_search_locations[0]) / name), flags)
    if image is None:
        raise SystemExit(f"{package} has no {name} here; this script was written for the version in SOURCES.md")
    return image


def clouds(rng: np.random.Generator, shape: tuple[int, int], cell: float, octaves: int = 3) -> Floats:
    """Smooth noise, float32 [H, W], mean 0, deviation 1; `cell` is the size of its largest blobs in px."""
    out = np.zeros(shape, np.float32)
    for octave in range(octaves):
        size = [max(2, round(n * 2**octave / cell)) for n in shape]
        grid = rng.standard_normal(size).astype(np.float32)
        out += cv2.resize(grid, shape[::-1], interpolation=cv2.INTER_CUBIC) * 0.55**octave
    return (out - out.mean()) / out.std()


def tint(grey: Floats, dark: tuple[int, int, int], light: tuple[int, int, int]) -> Floats:
    """Colour for a grey texture: BGR from `dark` at 0 to `light` at 1."""
    return np.array(dark, np.float32) + grey[..., None] * (np.array(light, np.float32) - np.array(dark, np.float32))


def to_bytes(values: Floats) -> Image:
    return np.clip(values + 0.5, 0, 255).astype(np.uint8)


def make_facade() -> Image:
    """The houses of bus.jpg above the bus; mirrored at both ends so that no camera shake shows an end."""
    upper = cv2.convertScaleAbs(photo("ultralytics", "assets/bus.jpg")[:229], alpha=0.97, beta=0)
    return cv2.copyMakeBorder(upper, 60, 40, 160, 160, cv2.BORDER_REFLECT_101)


def brick_bank() -> list[Floats]:
    """Real bricks with half their joints around them, float32 [18, 54], 0 the clay to 1 the mortar."""
    wall = cv2.rotate(photo("skimage", "data/brick.png", cv2.IMREAD_GRAYSCALE), cv2.ROTATE_90_CLOCKWISE)
    bank = []
    for (left_top, right_top, left_low, right_low), spans in BRICKS:
        for x0, x1 in spans:
            top, low = (
                [a + (b - a) * x / 512 for x in (x0, x1)] for a, b in ((left_top, right_top), (left_low, right_low))
            )
            corners = np.float32([(x0, top[0]), (x1, top[1]), (x1, low[1]), (x0, low[0])])
            goal = np.float32([(0, 0), (216, 0), (216, 72), (0, 72)])
            big = cv2.warpPerspective(wall, cv2.getPerspectiveTransform(corners, goal), (216, 72))
            grey = cv2.resize(big, (54, 18), interpolation=cv2.INTER_AREA).astype(np.float32)
            low_grey, high_grey = np.percentile(grey, (20, 97))
            bank.append((grey - low_grey) / (high_grey - low_grey))
    return bank


def make_poster(
    rng: np.random.Generator,
    picture: Image,
    crop: tuple[int, int, int, int],
    ink: tuple[int, int, int],
    words: tuple[str, str],
) -> Image:
    """A printed sheet 3:4.4 with a picture and two lines of type; BGR, 4x the size it is pasted at."""
    x, y, w, h = crop
    sheet = np.full((792, 540, 3), (226, 236, 240), np.uint8)
    sheet[24:584, 24:516] = cv2.resize(picture[y : y + h, x : x + w], (492, 560), interpolation=cv2.INTER_CUBIC)
    sheet[584:768, 24:516] = ink
    for line, (word, scale, thick, row) in enumerate(((words[0], 3.4, 11, 684), (words[1], 1.25, 3, 744))):
        width = cv2.getTextSize(word, cv2.FONT_HERSHEY_DUPLEX, scale, thick)[0][0]
        colour = (235, 240, 242) if line == 0 else (190, 215, 225)
        cv2.putText(sheet, word, (270 - width // 2, row), cv2.FONT_HERSHEY_DUPLEX, scale, colour, thick, cv2.LINE_AA)
    creases = 1 + 0.035 * clouds(rng, sheet.shape[:2], 160)[..., None]
    return to_bytes(sheet * creases * 0.92)


def paste(base: Floats, sheet: Image, centre: tuple[float, float], width: float, degrees: float) -> None:
    """Glue `sheet` onto `base` in place, with the thin shadow that paper throws."""
    scale = width / sheet.shape[1]
    small = cv2.resize(sheet, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    turn = cv2.getRotationMatrix2D((small.shape[1] / 2, small.shape[0] / 2), degrees, 1)
    turn[:, 2] += (centre[0] - small.shape[1] / 2, centre[1] - small.shape[0] / 2)
    size = base.shape[1::-1]
    cover = cv2.warpAffine(np.ones(small.shape[:2], np.float32), turn, size, flags=cv2.INTER_LINEAR)
    shade = cv2.GaussianBlur(np.roll(cover, (2, -2), (0, 1)), (0, 0), 2)
    base *= 1 - 0.35 * shade[..., None]
    base += (cv2.warpAffine(small, turn, size).astype(np.float32) - base) * cover[..., None]


def make_wall(rng: np.random.Generator) -> Image:
    """Brick wall laid brick by brick (a tiled photograph would repeat), coping, posters, weeds; BGRA."""
    bank, courses, columns = brick_bank(), 18, int(2 * HALF_WIDTH * WALL_PX) // 54 + 2
    wall = np.zeros((courses * 18, columns * 54, 3), np.float32)
    for row in range(courses):
        for column in range(columns):
            grey = bank[rng.integers(len(bank))]
            grey = grey[:, ::-1] if rng.random() < 0.5 else grey
            clay = np.array((70, 88, 136)) * rng.normal(1, 0.12) + rng.normal(0, 4, 3)
            if rng.random() < 0.12:  # overburnt ones
                clay = clay * (0.72, 0.66, 0.6)
            joint = np.clip(grey, 0, 1)[..., None] ** 1.3
            face = clay * (1 + 0.5 * (grey - 0.08)[..., None] + rng.normal(0, 0.035, (18, 54, 1)))
            tile = face * (1 - joint) + np.array((138, 152, 160)) * joint
            x = (column * 54 + 27 * (row % 2)) % (columns * 54 - 53)
            wall[row * 18 : (row + 1) * 18, x : x + 54] = tile
    height, width = wall.shape[:2]
    wall *= 1 + 0.07 * clouds(rng, (height, width), 260)[..., None]
    damp = np.linspace(0, 1, height, dtype=np.float32)[:, None] + 0.09 * clouds(rng, (height, width), 70)
    wall *= 1 - 0.30 * smoothstep(0.72, 1.05, damp)[..., None] * np.array((0.95, 0.8, 1.0), np.float32)

    posters = [
        (photo("skimage", "data/chelsea.png"), (75, 0, 264, 300), (38, 60, 176), ("GATOS", "teatro - 12 mayo")),
        (photo("skimage", "data/coffee.png"), (125, 0, 351, 400), (44, 62, 40), ("CAFE", "abierto 8 - 20 h")),
        (photo("skimage", "data/rocket.jpg"), (130, 0, 375, 427), (84, 46, 22), ("COSMOS", "museo - hasta junio")),
        (
            photo("skimage", "data/hubble_deep_field.jpg"),
            (120, 60, 640, 728),
            (60, 30, 52),
            ("NOCHE", "planetario 21 h"),
        ),
    ]
    sheets = [make_poster(rng, *poster) for poster in posters]
    places = ((0, -2.22, 0.79, 1.2), (1, -1.52, 0.76, -0.8), (2, 1.62, 0.80, 0.9), (3, 2.31, 0.75, -1.6))
    for which, metres, up, degrees in places:
        paste(wall, sheets[which], ((metres + HALF_WIDTH) * WALL_PX, height - up * WALL_PX), 0.56 * WALL_PX, degrees)

    stone = photo("skimage", "data/gravel.png", cv2.IMREAD_GRAYSCALE)
    stone = cv2.resize(stone, (170, 170), interpolation=cv2.INTER_AREA).astype(np.float32)
    coping = np.zeros((26, width, 3), np.float32)
    for x in range(0, width, 168):
        y, u = rng.integers(0, 144), rng.integers(0, 2)
        block = stone[y : y + 26, u : u + 168][:, : width - x]
        coping[:, x : x + 168] = (
            np.array((150, 160, 165)) * (0.9 + 0.45 * (block / 128 - 1) + rng.normal(0, 0.05))[..., None]
        )
        coping[:, x : x + 2] *= 0.55
    coping[:5] *= 1.22  # its upper edge catches the sun
    coping[-3:] *= 0.7
    wall[:9] *= np.linspace(0.5, 0.95, 9)[:, None, None]  # and it throws a shadow on the first bricks
    wall = np.vstack([coping, wall])

    grass = photo("skimage", "data/grass.png", cv2.IMREAD_GRAYSCALE).astype(np.float32)
    blades = np.tile(cv2.resize(grass, (140, 140), interpolation=cv2.INTER_AREA)[:60], (1, width // 140 + 1))[:, :width]
    rows = np.arange(60, dtype=np.float32)[:, None]
    tops = 38 - 9 * clouds(rng, (1, width), 90) - 9 * np.abs(rng.standard_normal((1, width)))
    tops = cv2.GaussianBlur(tops.astype(np.float32), (3, 1), 0.6)
    cover = smoothstep(0, 3, rows - tops)[..., None]
    green = tint(blades / 255, (16, 34, 34), (88, 142, 136)) * (1.12 - 0.007 * rows[..., None])
    wall[-60:] = wall[-60:] * (1 - cover) + green * cover
    # light through leaves
    wall *= (1.0 + 0.13 * np.clip(clouds(rng, wall.shape[:2], 330, 4) + 0.4, -1.2, 0.8))[..., None]
    return np.dstack([to_bytes(wall), np.full(wall.shape[:2], 255, np.uint8)])


def make_ground(rng: np.random.Generator) -> Image:
    """Verge, kerb stones and paving slabs from above, far edge first; BGR and, as fourth channel, how sunny."""
    width, depth = int(2 * HALF_WIDTH * GROUND_PX), int((WALL_Z - NEAR_Z) * GROUND_PX)
    gravel = photo("skimage", "data/gravel.png", cv2.IMREAD_GRAYSCALE)
    gravel = cv2.resize(gravel, (230, 230), interpolation=cv2.INTER_AREA).astype(np.float32) / 128 - 1
    ground = np.zeros((depth, width, 3), np.float32)
    verge, kerb, slab = int(0.62 * GROUND_PX), int(0.13 * GROUND_PX), 100
    for row, y in enumerate(range(verge + kerb, depth, slab)):
        for x in range(-slab + (row % 2) * slab // 2, width, slab):
            oy, ox = rng.integers(0, 130, 2)
            tone = 1 + rng.normal(0, 0.045)
            tile = np.array((150, 160, 168)) * (tone + 0.34 * gravel[oy : oy + slab, ox : ox + slab, None])
            tile += rng.normal(0, 2.0, 3)
            tile[:2] *= 0.56
            tile[:, :2] *= 0.56
            ground[y : y + slab, max(x, 0) : max(x + slab, 0)] = tile[: depth - y, max(-x, 0) : width - x]
    for x in range(0, width, 160):
        oy, ox = rng.integers(0, 60, 2)
        tile = np.array((168, 176, 180)) * (
            1 + rng.normal(0, 0.05) + 0.28 * gravel[oy : oy + kerb, ox : ox + 160, None]
        )
        tile[:, :2] *= 0.5
        tile[-3:] *= 0.6
        ground[verge : verge + kerb, x : x + 160] = tile[:, : width - x]
    ground *= 1 + 0.045 * clouds(rng, (depth, width), 220)[..., None]
    for _ in range(260):  # stains and trodden gum
        x, y = int(rng.integers(0, width - 24)), int(rng.integers(verge + kerb, depth - 24))
        spot = np.zeros((24, 24), np.float32)
        cv2.circle(spot, (12, 12), int(rng.integers(2, 7)), float(rng.uniform(0.05, 0.25)), -1, cv2.LINE_AA)
        ground[y : y + 24, x : x + 24] *= 1 - spot[..., None]

    grass = photo("skimage", "data/grass.png", cv2.IMREAD_GRAYSCALE).astype(np.float32)
    grass = cv2.resize(grass, (220, 220), interpolation=cv2.INTER_AREA) / 255
    lawn = np.tile(np.hstack([grass, grass[:, ::-1]]), (1, width // 440 + 1))[: verge + 24, :width]
    lawn = np.clip(lawn + 0.08 * clouds(rng, lawn.shape, 90), 0, 1)
    rows = np.arange(verge + 24, dtype=np.float32)[:, None]
    edge = verge + 3 + 5 * clouds(rng, (1, width), 60) + 5 * np.abs(rng.standard_normal((1, width)))
    cover = smoothstep(-2, 2, edge.astype(np.float32) - rows)[..., None]
    ground[: verge + 24] += (tint(lawn, (16, 36, 36), (104, 162, 156)) - ground[: verge + 24]) * cover
    for _ in range(150):  # fallen leaves, most of them near the verge
        at = (int(rng.integers(0, width)), int(verge + abs(rng.normal(0, 170))))
        colour = np.array((48, 100, 146)) * rng.uniform(0.5, 1.1)
        cv2.ellipse(
            ground,
            at,
            (int(rng.integers(3, 7)), int(rng.integers(2, 4))),
            float(rng.uniform(0, 180)),
            0,
            360,
            colour.tolist(),
            -1,
            cv2.LINE_AA,
        )
    ground[:40] *= np.linspace(0.72, 1, 40)[:, None, None]  # the foot of the wall

    leaves = clouds(rng, (depth, width), 420, 4)
    sun = smoothstep(-1.5, -0.35, leaves) * 0.65 + 0.35
    for x in POST_XS:  # their shadows never move, so they are part of the floor
        start = np.array(((x + HALF_WIDTH) * GROUND_PX, (WALL_Z - POST_Z) * GROUND_PX))
        end = start + POST_HEIGHT * GROUND_PX * np.array((SUN_X, -SUN_Z))
        mark = np.zeros(sun.shape, np.float32)
        cv2.line(mark, tuple(map(int, start)), tuple(map(int, end)), 1.0, 24, cv2.LINE_AA)
        sun *= 1 - 0.85 * cv2.GaussianBlur(mark, (0, 0), 5)
    floor = np.dstack([to_bytes(ground), to_bytes(sun * 255)])
    return cv2.resize(floor, (width, int((WALL_Z - NEAR_Z) * GROUND_DEPTH_PX)), interpolation=cv2.INTER_AREA)


def make_post(rng: np.random.Generator) -> Image:
    """A cast-iron lamp post with a thicker base, lit from the right; BGRA, WALL_PX a metre."""
    height, width = int(POST_HEIGHT * WALL_PX), 72
    rows = height - np.arange(height, dtype=np.float32)[:, None]  # px above the ground
    radius = np.interp(rows, (0, 12, 14, 120, 150, 158, 170, height), (31, 31, 25, 21, 15, 19, 12, 9.5))
    across = (np.arange(width, dtype=np.float32)[None] - width / 2 + 0.5) / radius
    facing = np.sqrt(np.clip(1 - across**2, 0, 1))
    light = 0.42 + 0.5 * np.clip(0.75 * across + 0.55 * facing, 0, 1) + 0.4 * np.clip(across - 0.5, 0, 1)
    paint = cv2.resize(photo("skimage", "data/gravel.png", cv2.IMREAD_GRAYSCALE), (256, height)).astype(np.float32)
    light = light * (0.82 + 0.18 * paint[:, :width] / 128) * (1 + 0.07 * clouds(rng, (height, width), 60))
    light[np.abs(rows[:, 0] - 13) < 2] *= 0.6  # the step of the base
    cover = np.clip((1 - np.abs(across)) * radius + 0.5, 0, 1)
    return np.dstack([to_bytes(tint(light.astype(np.float32), (0, 0, 0), (78, 88, 73))), to_bytes(cover * 255)])
