"""The person gone as you watch: the engine made causal, for cameras and streams."""

from vidrase.live.eraser import LiveEraser, Shown
from vidrase.live.memory import Memory

__all__ = ["LiveEraser", "Memory", "Shown"]
