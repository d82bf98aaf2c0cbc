"""Training of the networks that vidrase ships: the segmenter (`segmenter*.py`) and the inpainters."""
