"""Small video files made on the spot: those of the corpus of inputs."""

from vidrase.bench.inputs.clips import FAST, packets, pictures, to_av, write_clip

__all__ = ["FAST", "packets", "pictures", "to_av", "write_clip"]
