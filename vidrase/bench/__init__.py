"""Measures the engine against known truth and against what else one could use: `vidrase bench`.

`suite` runs `quality`, `stills`, `removal`, `masks`, `speed` · `case` is what is judged; `scenes`, `completion`, `sample`,
`pasted`, `fixed` make cases · `peers`, `tools`, `user_script`, `floor` are the others · `ratios` and `startup` time whole
processes · `judge` has the numbers · `record`, `compare`, `table`, `page` show them.
"""
