"""Make the sample clip: a man walks past a brick wall; with him, without him, and his masks.

    python samples/make_sample.py

Everything the camera sees was photographed (SOURCES.md says by whom) but is set up again as planes in space, so
that the clip without the man is known to the pixel: same camera, same light, same grain. The frames are the same
on every run; encoded bytes may differ between FFmpeg versions. backdrop.py makes the street, walker.py the man.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import backdrop
import cv2
import numpy as np
from backdrop import GROUND_DEPTH_PX, GROUND_PX, HALF_WIDTH, SUN_X, SUN_Z, WALL_PX, WALL_Z, Image
from walker import MIDDLE_X, PAD, PAD_TOP, PERSON_PX, SOLE_Y, SPEED, STRIDES, Floats, Matrix, Walker, smoothstep

HERE = Path(__file__).resolve().parent
WIDTH, HEIGHT, FRAMES = 848, 480, 156
RATE = Fraction(30000, 1001)
SUPER = 2  # drawn at twice the size and averaged: no shimmer in the brick joints while the camera moves
FOCAL_PX = 1000.0  # 46 degrees across, about the 2x lens of a phone
EYE, HORIZON_Y = 1.5, 164.0  # metres above the ground; row of the horizon
FACADE_Z, WALK_Z = 22.0, 5.6  # metres from the camera; the wall and the posts say theirs in backdrop.py
ENTER_SECONDS, START_X = 0.30, -2.95  # when and where, in metres, he starts; he needs 0.3 s more to come into view
STILL = 74  # the frame that street.jpg shows
SKY = np.array((0.58, 0.53, 0.49), np.float32)  # what lights the floor in the shade, BGR; a blue sky
SUN = np.array((0.50, 0.57, 0.62), np.float32)  # what the sun adds

Vector = tuple[float, float, float]


class Camera:
    """A hand-held camera: slow random drift of place, direction and zoom, and a slow pan against the walker."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.phases = rng.uniform(0, 2 * np.pi, (6, 6))

    def _sway(self, seconds: float) -> Matrix:
        rates = np.array((0.21, 0.37, 0.68, 1.15, 1.9, 3.1))
        weights = np.array((1.0, 0.8, 0.55, 0.3, 0.14, 0.05))  # a hand shakes little above 2 Hz
        return np.sum(weights * np.sin(2 * np.pi * rates * seconds + self.phases), axis=1)

    def plane(self, seconds: float, origin: Vector, step_x: Vector, step_y: Vector) -> Matrix:
        """Homography to the picture from a plane, given by its corner and the steps of one texel, in metres."""
        sway = self._sway(seconds)
        tilt, turn, roll = np.radians(sway[:3] * (0.20, 0.26, 0.22))
        rotation, _ = cv2.Rodrigues(np.array((0, 0, roll)))
        for axis in ((tilt, 0, 0), (0, turn, 0)):
            rotation = rotation @ cv2.Rodrigues(np.array(axis))[0]
        eye = np.array((0.16 - 0.075 * seconds + 0.02 * sway[3], 0.012 * sway[4] - EYE, 0))
        focal = FOCAL_PX * (1 + 0.004 * sway[5])
        lens = np.array(((focal, 0, WIDTH / 2), (0, focal, HORIZON_Y), (0, 0, 1)))
        # pixel centres are at whole numbers in both sizes, hence the half pixel
        enlarge = np.array(((SUPER, 0, (SUPER - 1) / 2), (0, SUPER, (SUPER - 1) / 2), (0, 0, 1)))
        return enlarge @ lens @ rotation @ np.column_stack((step_x, step_y, np.array(origin) - eye))


class View(NamedTuple):
    """One moment as light, before the sensor, at SUPER times the size: BGR float32 and cover 0 to 1."""

    street: Floats
    clip: Floats
    person: Floats
    shadow: Floats


class Scene:
    """Draws any frame, without and with the walker."""

    def __init__(self) -> None:
        rng = np.random.default_rng(20240517)
        self.facade = cv2.cvtColor(backdrop.make_facade(), cv2.COLOR_BGR2BGRA)
        self.wall, self.ground, self.post = (
            make(rng) for make in (backdrop.make_wall, backdrop.make_ground, backdrop.make_post)
        )
        self.camera, self.walker = Camera(rng), Walker(HERE / "person.png")
        self.drift = rng.uniform(0, 2 * np.pi, 4)

    def view(self, index: int) -> View:
        """The street and the street with the man at frame `index`."""
        seconds = float(index / RATE)
        size = (WIDTH * SUPER, HEIGHT * SUPER)

        def upright(texel: float, left: float, top: float, depth: float) -> Matrix:
            return self.camera.plane(seconds, (left, top, depth), (texel, 0, 0), (0, texel, 0))

        def draw(canvas: Floats, layer: Image, plane: Matrix) -> Floats:
            warped = cv2.warpPerspective(layer, plane, size).astype(np.float32)
            cover = warped[..., 3:] / 255
            return canvas * (1 - cover) + warped[..., :3] * cover

        far_edge = (-HALF_WIDTH, 0, WALL_Z)
        plane = self.camera.plane(seconds, far_edge, (1 / GROUND_PX, 0, 0), (0, 0, -1 / GROUND_DEPTH_PX))
        floor = cv2.warpPerspective(self.ground, plane, size, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
        sun = floor[..., 3:] / 255
        street = floor[..., :3] * (SKY + SUN * sun)
        texel = 1.2 * FACADE_Z / FOCAL_PX  # enlarged 1.2 times on the screen: about as sharp as the lens is there
        street = draw(street, self.facade, upright(texel, -565 * texel, -EYE - 268 * texel, FACADE_Z))
        texel = 1 / WALL_PX
        street = draw(street, self.wall, upright(texel, -HALF_WIDTH, -self.wall.shape[0] * texel, WALL_Z))
        for x in backdrop.POST_XS:
            place = (x - self.post.shape[1] / 2 * texel, -self.post.shape[0] * texel, backdrop.POST_Z)
            street = draw(street, self.post, upright(texel, *place))

        walked = seconds - ENTER_SECONDS
        if walked <= 0:
            nothing = np.zeros(street.shape[:2], np.float32)
            return View(street, street, nothing, nothing)
        man = self.walker.at(walked)
        x = START_X + SPEED / PERSON_PX * walked
        shadow, soles = np.split(self._shadow(man[..., 3] / 255, x, seconds, size), 2, axis=2)
        darker = (SKY + SUN * sun * (1 - shadow)) / (SKY + SUN * sun) * (1 - 0.22 * shadow) * (1 - soles)
        texel = 1 / PERSON_PX
        plane = upright(texel, x - (MIDDLE_X + PAD) * texel, -(SOLE_Y + PAD_TOP) * texel, WALK_Z)
        man = np.clip(cv2.warpPerspective(man, plane, size), 0, 255)
        cover = man[..., 3] / 255
        clip = street * darker * (1 - cover[..., None]) + man[..., :3] * np.array((0.96, 0.965, 0.97), np.float32)
        return View(street, clip, cover, 1 - darker.min(axis=2))

    def _shadow(self, cover: Floats, x: float, seconds: float, size: tuple[int, int]) -> Floats:
        """How much sun he takes from the floor, softer the higher what throws it, and the dark under his soles."""
        scale, left, back = 100, x - 1.9, WALK_Z + 0.5  # a piece of floor around him, `scale` px a metre
        k, sole = scale / PERSON_PX, SOLE_Y + PAD_TOP
        rows = np.arange(cover.shape[0], dtype=np.float32)[:, None]
        up = (sole - rows) / PERSON_PX
        across = scale * (x - left) - k * (MIDDLE_X + PAD)
        along = (0, SUN_Z * k, scale * (back - WALK_Z) - SUN_Z * k * sole)
        throw = np.array(((k, -SUN_X * k, across + SUN_X * k * sole), along))
        shadow = np.zeros((200, 330), np.float32)
        for low, high, blur in ((-1.0, 0.45, 1.6), (0.45, 1.1, 3.2), (1.1, 9.0, 5.5)):
            share = smoothstep(low - 0.2, low + 0.2, up) * (1 - smoothstep(high - 0.2, high + 0.2, up))
            shadow += cv2.GaussianBlur(cv2.warpAffine(cover * share, throw, (330, 200)), (0, 0), blur)
        throw = np.array(((k, 0, across), along))  # under the soles it is dark wherever the sun stands
        soles = cv2.GaussianBlur(cv2.warpAffine(cover * (up < 0.07), throw, (330, 200)), (0, 0), 2.5)
        both = np.dstack((0.82 * np.clip(shadow, 0, 1), np.clip(2.2 * soles, 0, 0.6))).astype(np.float32)
        plane = self.camera.plane(seconds, (left, 0, back), (1 / scale, 0, 0), (0, 0, -1 / scale))
        return cv2.warpPerspective(both, plane, size)

    def expose(self, light: Floats, index: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Image:
        """What the sensor makes of it: lens blur, vignette, drifting exposure and white balance, this frame's grain."""
        waves = np.sin(2 * np.pi * np.array((0.13, 0.31, 0.17, 0.9)) * float(index / RATE) + self.drift)
        gain = 1 + 0.035 * waves[0] + 0.015 * waves[1] + 0.004 * waves[3]
        balance = np.array((1 - 0.016 * waves[2], 1, 1 + 0.016 * waves[2]), np.float32)
        width, height = size
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
        small = cv2.GaussianBlur(cv2.resize(light, size, interpolation=cv2.INTER_AREA), (0, 0), 0.45)
        small *= (1 - 0.035 * (x * x + y * y))[..., None] * balance * gain
        rng = np.random.default_rng((7, index))  # the same grain with the man and without him
        grain = rng.standard_normal((height, width, 1), np.float32) * 1.7
        colour = rng.standard_normal((height // 2, width // 2, 3), np.float32) * 1.3
        return backdrop.to_bytes(small + grain + cv2.resize(colour, size))


def make_mask(cover: Floats, threshold: float) -> Image:
    """255 where `cover` is above `threshold` after the averaging and the lens blur that the picture gets."""
    small = cv2.GaussianBlur(cv2.resize(cover, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), (0, 0), 0.45)
    return (small > threshold).astype(np.uint8) * 255


def make_sound() -> Floats:
    """Stereo float32 [2, samples] at 48 kHz: a quiet street, and a step whenever a heel meets the ground."""
    rng, rate = np.random.default_rng(11), 48000
    count = int(FRAMES / RATE * rate)
    spectrum = np.fft.rfft(rng.standard_normal((2, count)))
    hertz = np.fft.rfftfreq(count, 1 / rate)
    hum = np.fft.irfft(spectrum / (1 + (hertz / 180) ** 1.3), count)
    sound = hum / np.abs(hum).max() * 0.10
    walk_seconds = count / rate - ENTER_SECONDS
    for step in range(1, int(walk_seconds * 2 * STRIDES) + 1):
        seconds = step / (2 * STRIDES)
        x = START_X + SPEED / PERSON_PX * seconds
        pan, near = np.clip(0.5 + x / 6, 0.1, 0.9), 1 / (1 + (x / 3) ** 2)
        length = int(0.16 * rate)
        t = np.arange(length) / rate
        noise = np.fft.rfft(rng.standard_normal(length)) / (1 + (np.fft.rfftfreq(length, 1 / rate) / 900) ** 2)
        scrape = np.fft.irfft(noise, length)
        thud = scrape / np.abs(scrape).max() * np.exp(-t * 45) + 0.7 * np.sin(2 * np.pi * 85 * t) * np.exp(-t * 60)
        thud *= np.minimum(1, t * 900) * 0.22 * near
        start = int((ENTER_SECONDS + seconds) * rate)
        part = slice(start, min(start + length, count))
        sound[:, part] += (np.array((1 - pan, pan))[:, None] ** 0.5 * thud)[:, : part.stop - part.start]
    fade = np.minimum(1, np.minimum(np.arange(count), np.arange(count)[::-1]) / (0.08 * rate))
    return (sound * fade).astype(np.float32)


class Film:
    """One file being written: H.264 with sound for pictures, FFV1 without for masks."""

    def __init__(self, name: str, sound: Floats | None = None) -> None:
        self.file = av.open(str(HERE / name), "w")
        self.sound, self.audio = sound, None
        if sound is None:
            self.video = self.file.add_stream("ffv1", rate=RATE)
            self.video.pix_fmt = "gray"
        else:
            # constant quality, not rate: clip and truth are then equally good where they are the same picture
            options = {"crf": "17", "preset": "slow", "bf": "2", "threads": "2"}
            self.video = self.file.add_stream("libx264", rate=RATE, options=options)
            self.video.pix_fmt = "yuv420p"
            # BT.601, limited range: what players assume for 480 lines, said so that nobody has to assume
            context = self.video.codec_context
            context.colorspace, context.color_primaries, context.color_trc, context.color_range = 6, 6, 6, 1
            self.audio = self.file.add_stream("aac", rate=48000, layout="stereo")
            self.audio.bit_rate = 96000
        self.video.width, self.video.height = WIDTH, HEIGHT

    def write(self, picture: Image) -> None:
        if self.audio is not None:
            # OpenCV rounds where swscale cuts off, which would darken the film by a level
            picture = cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420)
        self.file.mux(self.video.encode(av.VideoFrame.from_ndarray(picture, format=self.video.pix_fmt)))

    def close(self) -> None:
        self.file.mux(self.video.encode(None))
        if self.audio is not None and self.sound is not None:
            for start in range(0, self.sound.shape[1], 1024):
                block = np.ascontiguousarray(self.sound[:, start : start + 1024])
                frame = av.AudioFrame.from_ndarray(block, "fltp", "stereo")
                frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
                self.file.mux(self.audio.encode(frame))
            self.file.mux(self.audio.encode(None))
        self.file.close()


def main() -> None:
    scene, sound = Scene(), make_sound()
    clip, truth = Film("walk.mp4", sound), Film("walk_truth.mp4", sound)
    masks, shadow_masks = Film("walk_masks.mkv"), Film("walk_shadow_masks.mkv")
    for index in range(FRAMES):
        view = scene.view(index)
        clip.write(scene.expose(view.clip, index))
        truth.write(scene.expose(view.street, index))
        masks.write(make_mask(view.person, 0.1))
        shadow_masks.write(make_mask(view.shadow, 0.01))
        if index == STILL:
            still = scene.expose(view.clip, index, (WIDTH * 3 // 2, HEIGHT * 3 // 2))
            cv2.imwrite(str(HERE / "street.jpg"), still, [cv2.IMWRITE_JPEG_QUALITY, 88])
    for film in (clip, truth, masks, shadow_masks):
        film.close()


if __name__ == "__main__":
    main()
