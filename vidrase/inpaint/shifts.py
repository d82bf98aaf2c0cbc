"""Completion by a few shifts of the picture itself, joined along the least visible cuts: nothing is averaged, texture stays.

Papers:  He, Sun, "Statistics of patch offsets for image completion", ECCV 2012 (the method: most patches of a picture have a
         match at a few typical offsets; shifted by those, the picture covers the hole); Kwatra et al., "Graphcut textures",
         SIGGRAPH 2003 (equation 1, the cost of a cut); Boykov, Veksler, Zabih, "Fast approximate energy minimization via
         graph cuts", PAMI 2001 (α-expansion); Boykov, Kolmogorov, PAMI 2004 (maximum flow, as PyMaxflow has it).
Differs: typical offsets come from a sample of exact neighbours under principal components; the rim is compared over a window, not
         over single pixels; a guess of the coarse colours guides the choice; seams are feathered instead of a Poisson equation.
"""

from __future__ import annotations

from importlib.util import find_spec

import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.inpaint.classical import OpenCvInpainter, check

# Evidence for synthesis.texture, synthesis.seen_texture: `rules.py`. Values of constants without a figure have no record yet.
PATCH = 8  # px a side, for the offset statistics
DIMENSIONS = 20  # principal components of a patch
MAX_QUERIES = 1600  # patches whose matches are searched
MAX_NODES = 9000  # px of the hole at working size, at most
WORKING_SIDE = 300  # px: long side of the crop at working size, at most
MARGIN = 1.0  # margin on each side, in sizes of the hole
MIN_SHIFT = 1 / 15  # of the crop's long side: ignore closer matches (the same object, not a repetition)
SHIFTS = 48  # typical offsets that compete
MOST_FREQUENT = 24  # of these, how many are chosen by frequency alone
MIN_CHOICES = 6  # further offsets must be valid where fewer than this many are
SWEEPS = 2  # sweeps of α-expansion over all offsets
UNKNOWN_COST = 60.0  # grey levels: cost of a cut where one of the two shifted pictures is unknown
POTTS_COST = 1.5  # grey levels: cost of any cut
RIM = 2  # px at working size: radius of the window in which the rim is compared
RIM_WEIGHT = 3.0
GUIDE_WEIGHT = 0.3
"""Cost of a grey level between shifted picture and guess, both averaged over `GUIDE_SIDE` px at working size."""
GUIDE_SIDE = 7
FEATHER = 0.4  # px of either size: blur of the seam between two shifts
INVALID_COST = 1e5

Picture = NDArray[np.float32]
Mask = NDArray[np.bool_]
Offsets = NDArray[np.intp]


def can_shift() -> bool:
    """Whether the maximum-flow library is installed; it has no wheel for every platform."""
    return find_spec("maxflow") is not None


class ShiftInpainter:
    """See the module. Any size; where no known pixel can be shifted in, Telea's surface."""

    name = "shifts"
    stride = 1

    def __init__(self) -> None:
        self._guide = OpenCvInpainter("telea")

    def __call__(self, pixels: NDArray[np.float32], hole: NDArray[np.bool_]) -> NDArray[np.float32]:
        """See `Inpainter`."""
        check(pixels, hole)
        out = self._guide(pixels, hole)
        for picture, where in zip(out, hole[:, 0], strict=True):
            if where.any() and not where.all():
                done = completed(np.ascontiguousarray(picture.transpose(1, 2, 0)), where)
                picture[:, where] = done[where].T
        return out


def completed(guess: Picture, hole: Mask, made: Mask | None = None) -> Picture:
    """float32 [H, W, 3] in [0, 1]: `guess`, which shows the coarse colours in the hole, replaced there by shifted pixels.

    Where no pixel can be shifted in, the guess stays. made: bool [H, W] known pixels that are synthesized themselves: nothing is
    copied from them, as each copy would lose detail.
    """
    crop = surroundings(hole)
    full, where = guess[crop], hole[crop]
    barred = where if made is None else where | made[crop]
    height, width = where.shape
    scale = min(1.0, WORKING_SIDE / max(height, width), float(np.sqrt(MAX_NODES / max(int(where.sum()), 1))))
    size = max(round(height * scale), 1), max(round(width * scale), 1)
    small_hole, small_barred = (
        cv2.resize(mask.astype(np.uint8) * 255, size[::-1], interpolation=cv2.INTER_AREA) > 0
        for mask in (where, barred)
    )
    small = 255 * cv2.resize(full, size[::-1], interpolation=cv2.INTER_AREA)
    offsets = typical_offsets(small, small_barred)
    if not len(offsets):
        return guess if made is None else completed(guess, hole)
    labels, chosen, origin = _cut(small, small_hole, small_barred, offsets)
    whole = np.full(size, -1, np.int32)
    whole[origin[0] : origin[0] + labels.shape[0], origin[1] : origin[1] + labels.shape[1]] = labels
    out, left = guess.copy(), np.zeros_like(hole)
    out[crop], left[crop] = _composed(full, where, barred, whole, offsets[chosen], (height / size[0], width / size[1]))
    return completed(out, left) if made is not None and left.any() else out


def surroundings(hole: Mask) -> tuple[slice, slice]:
    """Rows and columns of the crop from which pixels may be shifted in."""
    rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
    margin = max(int(MARGIN * max(rows[-1] - rows[0], columns[-1] - columns[0])), 48)
    return (
        slice(max(int(rows[0]) - margin, 0), int(rows[-1]) + 1 + margin),
        slice(max(int(columns[0]) - margin, 0), int(columns[-1]) + 1 + margin),
    )


def typical_offsets(picture: Picture, hole: Mask) -> Offsets:
    """(down, right) px [K, 2]: the offsets at which the known part repeats most, the most frequent first.

    picture: float32 [H, W, 3]; hole: bool [H, W].
    """
    height, width = hole.shape
    if height <= PATCH or width <= PATCH:
        return np.zeros((0, 2), np.intp)
    windows = np.lib.stride_tricks.sliding_window_view(picture, (PATCH, PATCH), axis=(0, 1))  # [H', W', 3, 8, 8]
    touched = cv2.dilate(hole.astype(np.uint8), np.ones((PATCH, PATCH), np.uint8), anchor=(0, 0))[
        : windows.shape[0], : windows.shape[1]
    ]
    rows, columns = np.nonzero(touched == 0)
    if len(rows) < 100:
        return np.zeros((0, 2), np.intp)
    some = slice(None, None, max(len(rows) // 2000, 1))
    sample = windows[rows[some], columns[some]].reshape(-1, 3 * PATCH**2)
    mean = sample.mean(0)
    _, axes = np.linalg.eigh((sample - mean).T @ (sample - mean))
    axes = axes[:, -DIMENSIONS:].astype(np.float32)
    known = np.empty((len(rows), DIMENSIONS), np.float32)
    for start in range(0, len(rows), 4096):
        some = slice(start, start + 4096)
        known[some] = (windows[rows[some], columns[some]].reshape(-1, 3 * PATCH**2) - mean) @ axes
    # one product gives the squared distances but for each query's own energy, another the squared lengths of the shifts
    likeness = np.column_stack([-2 * known, np.square(known).sum(1)]).T
    ends = np.column_stack([rows, columns]).astype(np.float32)
    lengths = np.column_stack([-2 * ends, np.square(ends).sum(1)]).T
    # search matches where they matter: near the hole
    away = cv2.distanceTransform((~hole).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)[rows, columns]
    near = np.argsort(away, kind="stable")[: 4 * MAX_QUERIES]
    near = near[:: max(len(near) // MAX_QUERIES, 1)]
    shortest = MIN_SHIFT * max(height, width)
    votes = np.zeros((2 * height + 1, 2 * width + 1), np.float32)
    for start in range(0, len(near), 64):
        part = near[start : start + 64]
        distance = np.column_stack([known[part], np.ones(len(part), np.float32)]) @ likeness
        apart = np.column_stack([ends[part], np.ones(len(part), np.float32)]) @ lengths
        distance[apart < (shortest**2 - np.square(ends[part]).sum(1))[:, None]] = np.inf
        best = distance.argmin(1)
        np.add.at(votes, (rows[best] - rows[part] + height, columns[best] - columns[part] + width), 1)
    votes += votes[::-1, ::-1]  # what is like there is like here
    votes = cv2.GaussianBlur(votes, (0, 0), np.sqrt(2))
    peaks = (votes == cv2.dilate(votes, np.ones((5, 5), np.uint8))) & (votes > 1e-3)
    down, right = np.nonzero(peaks)
    order = np.argsort(-votes[down, right], kind="stable")
    return np.stack([down[order] - height, right[order] - width], axis=1)


def _shifted(picture: Picture, hole: Mask, box: tuple[slice, slice], offset: NDArray[np.intp]) -> tuple[Picture, Mask]:
    """Content of `box` when the picture is shifted by `offset`, and where it is known."""
    shape = box[0].stop - box[0].start, box[1].stop - box[1].start
    image, known = np.zeros((*shape, 3), picture.dtype), np.zeros(shape, bool)
    source, target = [], []
    for along, by, side in zip(box, offset.tolist(), hole.shape, strict=True):
        start, stop = max(along.start + by, 0), min(along.stop + by, side)
        source.append(slice(start, max(stop, start)))
        target.append(slice(start - along.start - by, max(stop, start) - along.start - by))
    image[*target] = picture[*source]
    known[*target] = ~hole[*source]
    return image, known


def _cut(
    picture: Picture, hole: Mask, barred: Mask, offsets: Offsets
) -> tuple[NDArray[np.int32], NDArray[np.intp], tuple[int, int]]:
    """(index of the shift for each pixel of the hole [h, w], -1: none; the shifts that competed; (y, x) of the box)."""
    rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
    pad = RIM + 1
    box = (
        slice(max(int(rows[0]) - pad, 0), min(int(rows[-1]) + 1 + pad, hole.shape[0])),
        slice(max(int(columns[0]) - pad, 0), min(int(columns[-1]) + 1 + pad, hole.shape[1])),
    )
    wanted = hole[box]
    chosen: list[int] = []
    shown: list[tuple[Picture, Mask]] = []
    count = np.zeros(wanted.shape, np.int32)
    for k, offset in enumerate(offsets[: 12 * SHIFTS]):
        image, valid = _shifted(picture, barred, box, offset)
        serves = valid & wanted
        # the most frequent first; later ones must be valid where few are
        if len(chosen) > MOST_FREQUENT and float((serves & (count < MIN_CHOICES)).sum()) < 0.02 * wanted.sum():
            continue
        chosen.append(k)
        shown.append((image, valid))
        count += serves
        if len(chosen) == SHIFTS:
            break
    images = np.stack([image for image, _ in shown])  # [K, h, w, 3]
    valid = np.stack([v for _, v in shown])
    known = ~wanted
    unary = np.where(valid, 0, INVALID_COST).astype(np.float32)
    window = (2 * RIM + 1, 2 * RIM + 1)
    near = cv2.boxFilter(known.astype(np.float32), -1, window, normalize=False)
    for k in range(len(images)):
        gap = np.where(valid[k], _apart(images[k], picture[box]), UNKNOWN_COST) * known
        evaluated = cv2.boxFilter(gap.astype(np.float32), -1, window, normalize=False) / np.maximum(near, 1)
        unary[k] += RIM_WEIGHT * evaluated * (near > 0)
    # shifted pixels should have roughly the colours of the guess
    broad = cv2.blur(picture, (GUIDE_SIDE, GUIDE_SIDE))
    for k, offset in enumerate(offsets[chosen]):
        unary[k] += GUIDE_WEIGHT * np.minimum(_apart(_shifted(broad, barred, box, offset)[0], broad[box]), UNKNOWN_COST)
    labels = _expanded(images, valid, unary, wanted)
    labels[~valid.any(0) | ~wanted] = -1
    return labels, np.array(chosen, np.intp), (box[0].start, box[1].start)


def _apart(a: Picture, b: Picture) -> NDArray[np.float32]:
    return np.sqrt(np.square(a - b).sum(-1))


def _expanded(images: Picture, valid: NDArray[np.bool_], unary: NDArray[np.float32], wanted: Mask) -> NDArray[np.int32]:
    """The labelling [h, w] that α-expansion finds. images: [K, h, w, 3]; valid: [K, h, w]; unary: [K, h, w]."""
    import maxflow

    count, height, width = valid.shape
    where = np.flatnonzero(wanted)
    node = np.full(height * width, -1, np.intp)
    node[where] = np.arange(len(where))
    grid = node.reshape(height, width)
    pairs = [_joined(grid[:-1], grid[1:]), _joined(grid[:, :-1], grid[:, 1:])]
    p, q = (np.concatenate([pair[k] for pair in pairs]) for k in (0, 1))
    colours = np.ascontiguousarray(images.reshape(count, -1, 3)[:, where])  # [K, N, 3]
    known = valid.reshape(count, -1)[:, where]
    costs = unary.reshape(count, -1)[:, where]
    labels = costs.argmin(0).astype(np.intp)
    every = np.arange(len(where))
    fresh = True
    since = 0  # expansions without a change
    for alpha in (k for _ in range(SWEEPS) for k in range(count)):
        if since == count:
            break
        if fresh:
            at_p, at_q = labels[p], labels[q]
            now, now_known = colours[labels, every], known[labels, every]
            # what one pixel's shift shows at the other's position
            there, there_known = colours[at_p, q], known[at_p, q]
            here, here_known = colours[at_q, p], known[at_q, p]
            same = at_p == at_q
            stay = _gap(now[p], here, now_known[p] & here_known) + _gap(there, now[q], there_known & now_known[q])
            stay[same] = 0
        new, new_known = colours[alpha], known[alpha]
        step = _gap(now, new, now_known & new_known)
        q_goes = np.where(at_p == alpha, 0, step[p] + _gap(there, new[q], there_known & new_known[q]))
        p_goes = np.where(at_q == alpha, 0, step[q] + _gap(here, new[p], here_known & new_known[p]))
        now_costs = np.minimum(
            stay, q_goes + p_goes
        )  # else no cut can represent the cost (Kolmogorov, Zabih 2004, section 4)
        terminal = (costs[alpha] - costs[labels, every]).astype(np.float64)
        terminal += np.bincount(p, p_goes - now_costs, len(where)) - np.bincount(q, p_goes, len(where))
        graph = maxflow.Graph[float](len(where), len(p))
        nodes = graph.add_grid_nodes((len(where),))
        graph.add_edges(p, q, (q_goes + p_goes - now_costs).astype(np.float64), np.zeros(len(p)))
        graph.add_grid_tedges(nodes, np.maximum(terminal, 0), np.maximum(-terminal, 0))
        graph.maxflow()
        goes = graph.get_grid_segments(nodes) & (labels != alpha)
        fresh = bool(goes.any())
        since = 0 if fresh else since + 1
        labels[goes] = alpha
    out = np.full(height * width, -1, np.int32)
    out[where] = labels
    return out.reshape(height, width)


def _joined(one: NDArray[np.intp], other: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    both = (one >= 0) & (other >= 0)
    return one[both], other[both]


def _gap(a: Picture, b: Picture, known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Cost [N] of half a cut between the colours a and b, [N, 3] each."""
    difference = a - b
    gap = np.sqrt(np.einsum("ij,ij->i", difference, difference))
    return np.where(known, gap, np.float32(UNKNOWN_COST)) + np.float32(POTTS_COST / 2)


def _composed(
    guess: Picture,
    hole: Mask,
    barred: Mask,
    labels: NDArray[np.int32],
    offsets: Offsets,
    scale: tuple[float, float],
) -> tuple[Picture, Mask]:
    """`guess` with the shifted pixels, at full size, and where there are none; labels: int32 at working size, -1: nothing."""
    height, width = hole.shape
    box = (slice(0, height), slice(0, width))
    total, sums = np.zeros((height, width), np.float32), np.zeros(guess.shape, np.float32)
    sigma = FEATHER * (max(scale) + 1)
    for k in np.unique(labels[labels >= 0]).tolist():
        area = cv2.resize((labels == k).astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
        share = cv2.GaussianBlur(area, (0, 0), sigma)
        offset = np.rint(offsets[k] * np.array(scale)).astype(np.intp)
        image, known = _shifted(guess, barred, box, offset)
        share = np.where(known & hole, share, 0)
        sums += share[..., None] * image
        total += share
    out = guess.copy()
    some = total > 0.02
    out[some] = sums[some] / total[some][:, None]
    return out, hole & ~some
