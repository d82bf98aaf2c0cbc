"""Measures the engine against known truth and against other methods: `vidrase bench`.

`suite` runs `quality`, `stills`, `removal`, `masks`, `speed` · `case` is the type; `scenes`, `completion`, `sample`,
`pasted`, `fixed` make cases · `peers`, `tools`, `user_script`, `floor` are other methods · `ratios` and `startup` time whole
processes · `evaluate` has the numbers · `record`, `compare`, `table`, `page` show them.
"""
