"""Cases of the benchmark: a module for each group, with a function ``cases(quick)``."""
