"""The person gone as you watch: the engine made causal, for cameras and streams."""

from vidrase.live.background import BackgroundModel
from vidrase.live.eraser import LiveEraser, Result

__all__ = ["LiveEraser", "BackgroundModel", "Result"]
