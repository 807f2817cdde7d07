"""Train low-rank models and measure them against the proven optimum."""
