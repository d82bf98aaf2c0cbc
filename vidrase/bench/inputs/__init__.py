"""Inputs as people have them, and damaged, odd and hostile ones: each with what it has to come to.

`corpus` is the list; `names`, `byproducts`, `recordings`, `damage`, `requests`, `random_damage`, `homes` are its parts. `case`
says what a case is and what is asserted of every one. `process` runs one, `measure` all. `clips` and `heic` write what they need.
"""
