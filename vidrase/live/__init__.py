"""Live object removal for cameras and streams: the engine in causal form."""

from vidrase.live.background import BackgroundModel
from vidrase.live.eraser import LiveEraser, Result

__all__ = ["LiveEraser", "BackgroundModel", "Result"]
