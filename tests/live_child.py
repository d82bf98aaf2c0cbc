"""`vidrase live` with the detector that needs no weights, in a process of its own: python live_child.py SOURCE ..."""

import cv2  # noqa: F401, I001 - before PyAV, as the command does it

from livefakes import MagentaSegmenter

import vidrase.live.eraser
from vidrase.cli.main import main

vidrase.live.eraser.load_segmenter = lambda options, note: MagentaSegmenter(0.01)
main()
