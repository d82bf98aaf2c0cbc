"""Frames in any order: exact ones by seeking with PyAV, quick looks by decord where its table of times proves right.

Invariant: `frame(n)` is the n-th frame that iterating the source gives: same pts, same planes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol, Self

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from vidrase.errors import DecodeError, SourceError, UnsupportedSource
from vidrase.frames import Frame, SourceInfo
from vidrase.source.video import VideoSource

Note = Callable[[str], None]
