"""Matrices and operators: decompositions, norms, ranks, and the errors of an approximation. Pure torch."""
