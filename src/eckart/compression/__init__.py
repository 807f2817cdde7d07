"""Any model made low-rank: its layers, their ranks, what they cost. Pure torch."""
