"""The second pass in chunks that survive a kill and may be filled by several processes.

Nothing of the result is encoded in chunks: a chunk keeps the samples inside its holes, lossless, and one encoder writes the
result, as in a run in one piece. So every container, codec and track works, and what lies outside the holes is the same to the
bit. The price is one more decoding of the clip, and that the encoding alone is done again after a kill.
"""
