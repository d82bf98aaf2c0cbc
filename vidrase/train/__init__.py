"""Training of the networks shipped with vidrase: the segmenter (`segmenter*.py`) and the inpainters."""
