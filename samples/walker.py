"""The walker of the sample clip: a photographed man, moved as a puppet."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Matrix = NDArray[np.float64]

# All in pixels of person.png, 281 of which make a metre; y down.
PERSON_PX, MIDDLE_X, SOLE_Y, PELVIS_Y = 281.0, 90.0, 507.0, 262.0
CROTCH_X = 88.0  # left of it is the near leg, right of it the far one
PAD, PAD_TOP, PAD_LOW = 110, 10, 14  # room around the cut-out for the legs to swing into
SPEED, STRIDES, STANCE = 330.0, 1.0, 0.6  # px/s (1.2 m/s), cycles/s, share of a cycle that a foot stands still
HEM = [(0, 307), (36, 307), (60, 311), (110, 312), (121, 310), (125, 305), (141, 302), (222, 304), (222, 0), (0, 0)]


class Leg(NamedTuple):
    """A leg as photographed: where its joints are, and what makes it differ from the other one."""

    hip: tuple[float, float]
    knee: tuple[float, float]
    ankle: tuple[float, float]
    heel: tuple[float, float]
    toe: tuple[float, float]
    flat: float  # the turn, in radians, that sets the photographed foot flat on the ground
    phase: float  # share of a cycle by which it is ahead
    light: float  # the far leg is a little darker, or the two melt together when they pass
    inward: float  # he was photographed half from the front, hips apart; seen from the side they are closer


LEGS = {
    "far": Leg((115.5, 262.0), (133.7, 375.5), (154.8, 466.0), (143, 505), (206, 495), 0.10, 0.5, 0.86, -9.0),
    "near": Leg((65.0, 262.0), (54.0, 378.0), (36.5, 466.0), (17, 504), (70, 510), 0.0, 0.0, 1.0, 9.0),
}


def smoothstep(low: float, high: float, value: Floats) -> Floats:
    """0 below `low`, 1 above `high`, and no corner in between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def turned(angle: float, vector: Matrix) -> Matrix:
    """`vector` [2, ...] turned by `angle` radians, clockwise on the screen."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array((c * vector[0] - s * vector[1], s * vector[0] + c * vector[1]))


class Walker:
    """The photographed man as a puppet: torso and two legs, each leg bent at hip, knee and ankle."""

    def __init__(self, cutout: Path) -> None:
        picture = cv2.imread(str(cutout), cv2.IMREAD_UNCHANGED)
        if picture is None:
            raise SystemExit(f"{cutout} is not here; it belongs to the sources of the sample")
        cut = picture.astype(np.float32)
        cut[..., :3] *= cut[..., 3:] / 255  # premultiplied, or warping drags the colour of nothing in
        height, width = cut.shape[:2]
        self.grid = np.mgrid[-PAD_TOP : height + PAD_LOW, -PAD : width + PAD][::-1].astype(np.float32)
        above = np.zeros((height, width), np.uint8)
        cv2.fillPoly(above, [np.array(HEM, np.int32)], 255, cv2.LINE_AA)
        self.torso = cut * (above[..., None] / 255)
        self.legs: dict[str, Floats] = {}
        ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
        for name, bones in LEGS.items():
            side = (xs < CROTCH_X) if name == "near" else (xs >= CROTCH_X)
            leg = cut * side[..., None] * (bones.light, bones.light, bones.light, 1)
            # the thigh goes on under the coat: cloth from below the hem, mirrored upwards along the bone
            row = np.where(ys < 320, 320 + (320 - ys) * 0.5, ys)
            column = xs + (row - ys) * (bones.knee[0] - bones.hip[0]) / (bones.knee[1] - bones.hip[1])
            leg = cv2.remap(leg.astype(np.float32), column.astype(np.float32), row, cv2.INTER_LINEAR)
            self.legs[name] = leg * smoothstep(246, 254, ys)[..., None]

    def _ankle(self, leg: str, phase: float) -> tuple[Matrix, float]:
        """Where the ankle is and how far the foot is turned.

        A standing foot moves back exactly as fast as the body moves on, so that it does not slide.
        """
        bones = LEGS[leg]
        reach = SPEED / STRIDES * STANCE / 2
        if phase < STANCE:
            along = reach - 2 * reach * phase / STANCE
            pitch = np.interp(phase, (0, 0.08, 0.34, STANCE), (-0.26, 0, 0, 0.55))
            lift = 0.0
        else:
            s = (phase - STANCE) / (1 - STANCE)
            slope = -SPEED / STRIDES * (1 - STANCE)  # leaves and meets the ground at the ground's own speed
            along = reach * (-2 * s**3 + 3 * s**2) * 2 - reach + slope * (2 * s**3 - 3 * s**2 + s)
            pitch = np.interp(s, (0, 0.2, 0.6, 1), (0.55, 0.5, -0.05, -0.26))
            lift = 11 * np.sin(np.pi * s) ** 1.5
        turn = bones.flat + float(pitch)
        pivot = np.subtract(bones.heel if pitch <= 0 else bones.toe, bones.ankle)  # what stays on the ground
        at = np.array((bones.hip[0] + 1.8 * bones.inward + along, bones.ankle[1] - lift))
        return at + turned(bones.flat, pivot) - turned(turn, pivot), turn

    def _bend(self, leg: str, hip: Matrix, ankle: Matrix, turn: float) -> Floats:
        """The leg's picture bent so that it reaches from `hip` to `ankle`, the foot turned by `turn`.

        Each pixel asks thigh, shin and foot where it came from and takes the mean of the bones near by.
        """
        hip0, knee0, ankle0 = (np.array(joint) for joint in LEGS[leg][:3])
        thigh, shin = np.linalg.norm(knee0 - hip0), np.linalg.norm(ankle0 - knee0)
        span = ankle - hip
        far = np.linalg.norm(span)
        stretch = max(1.0, far / (0.998 * (thigh + shin)))  # up to 4 % at heel strike: the hip is low then
        a, b = thigh * stretch, shin * stretch
        bend = np.arccos(np.clip((a * a + far * far - b * b) / (2 * a * far), -1, 1))
        knee = hip + turned(-bend, span) * a / far
        grid = self.grid

        def bone(top: Matrix, low: Matrix, top0: Matrix, low0: Matrix) -> tuple[Floats, Floats]:
            ut, us = (low - top) / np.linalg.norm(low - top), (low0 - top0) / np.linalg.norm(low0 - top0)
            ratio = np.linalg.norm(low0 - top0) / np.linalg.norm(low - top)
            along = (grid[0] - top[0]) * ut[0] + (grid[1] - top[1]) * ut[1]
            across = -(grid[0] - top[0]) * ut[1] + (grid[1] - top[1]) * ut[0]
            source = [top0[i] + along * ratio * us[i] + across * (-us[1], us[0])[i] for i in (0, 1)]
            return np.stack(source), along

        upper, _ = bone(hip, knee, hip0, knee0)
        lower, along_shin = bone(knee, ankle, knee0, ankle0)
        offset = np.stack((grid[0] - ankle[0], grid[1] - ankle[1]))
        foot = turned(-turn, offset) + ankle0[:, None, None]
        middle = (knee - hip) / a + (ankle - knee) / b
        middle /= np.linalg.norm(middle)
        in_shin = smoothstep(-18, 18, (grid[0] - knee[0]) * middle[0] + (grid[1] - knee[1]) * middle[1])
        in_foot = smoothstep(-9, 9, along_shin - b)
        source = upper * (1 - in_shin) + in_shin * (lower * (1 - in_foot) + foot * in_foot)
        column, row = source.astype(np.float32)
        return cv2.remap(self.legs[leg], column, row, cv2.INTER_CUBIC)

    def at(self, seconds: float) -> Floats:
        """The man `seconds` into his walk, premultiplied BGRA on a canvas padded by PAD and PAD_TOP."""
        cycle = seconds * STRIDES
        bob = 3 - 6 * np.cos(4 * np.pi * (cycle - 0.3))  # highest when one leg passes the other
        picture: Floats = np.zeros((*self.grid.shape[1:], 4), np.float32)
        for leg in ("far", "near"):
            phase = (cycle + LEGS[leg].phase) % 1
            hip = np.add(LEGS[leg].hip, (LEGS[leg].inward + 5 * np.cos(2 * np.pi * phase), bob))
            layer = np.clip(self._bend(leg, hip, *self._ankle(leg, phase)), 0, 255)
            picture = picture * (1 - layer[..., 3:] / 255) + layer
        lean = np.radians(0.9 * np.sin(2 * np.pi * cycle + 0.6) + 0.5 * np.cos(4 * np.pi * cycle))
        offset = np.stack((self.grid[0] - MIDDLE_X, self.grid[1] - bob - PELVIS_Y))
        source = turned(-lean, offset)
        # the hem swings a little behind the thighs
        hem = 3.5 * np.cos(2 * np.pi * (cycle - 0.12)) * smoothstep(-90, 60, source[1])
        column = (source[0] + MIDDLE_X + hem).astype(np.float32)
        row = (source[1] + PELVIS_Y).astype(np.float32)
        layer = np.clip(cv2.remap(self.torso, column, row, cv2.INTER_CUBIC), 0, 255)
        return picture * (1 - layer[..., 3:] / 255) + layer
