"""Matrices and operators: decompositions, norms, ranks and the measures of an approximation. Pure torch."""
