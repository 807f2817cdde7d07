"""Figures of results: each function writes one, a PNG or an SVG by the suffix of its path, and returns the path.

The folder is created where it is missing. Values are numpy arrays or tensors on the CPU without gradient; those that
are not finite, as after a divergence, are left out.
"""

from eckart.results.figures.curves import accuracy, convergence, singular_values
from eckart.results.figures.labels import components, confusion
from eckart.results.figures.matrices import approximation
from eckart.results.figures.phase import phase_diagram
from eckart.results.figures.ranks import accuracy_by_rank, errors_by_rank

__all__ = [
    "accuracy",
    "accuracy_by_rank",
    "approximation",
    "components",
    "confusion",
    "convergence",
    "errors_by_rank",
    "phase_diagram",
    "singular_values",
]
