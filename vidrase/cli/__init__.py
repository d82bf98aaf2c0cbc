"""The command line: the only place that prints, shows progress or picks an exit code."""
