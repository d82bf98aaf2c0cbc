"""Measures the engine against known truth and against what else one could use: `vidrase bench`.

`case` what is judged · `folders` the data · `scenes` clips made from nothing · `completion`, `removal`, `stills`, `masks`, `speed`,
`memory` the suites · `peers` the others · `judge` the numbers · `record`, `compare`, `table`, `page` what is shown.
"""
