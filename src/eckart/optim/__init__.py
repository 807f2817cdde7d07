"""Factor-pair problems, their solvers, and the driver that runs them. Pure torch."""
