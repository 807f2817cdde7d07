"""What a training changes in its process for a while: threads, and what libraries print; and the device it asks for."""

import contextlib
import logging
import warnings
from collections.abc import Iterator

import torch


def accelerator(asked: str, precision: str, *, on_cpu: bool = False) -> str:
    """The accelerator for a precision: MPS has no float64.

    Args:
        asked: ``trainer.accelerator``.
        precision: ``trainer.precision``.
        on_cpu: Whether the training is one for the CPU alone.

    Raises:
        ValueError: If ``mps`` is asked for in double precision.

    Example:
        >>> accelerator("cpu", "64-true"), accelerator("auto", "64-true", on_cpu=True)
        ('cpu', 'cpu')
    """
    double = precision.startswith("64")
    if asked == "mps" and double:
        raise ValueError(
            f"trainer=mps has no float64: add trainer.precision=32-true. Found trainer.precision={precision}."
        )
    if asked == "auto" and (on_cpu or (double and torch.backends.mps.is_available())):
        return "cpu"
    return asked


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence what Lightning says of itself, which is of no use to a user of a method, and W&B's own log."""
    names = ("pytorch_lightning", "lightning_fabric")
    raising, logging.raiseExceptions = logging.raiseExceptions, False
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric|torch.utils.data")
        for beta in ("Sparse CSR tensor support is in beta", "Sparse invariant checks are implicitly disabled"):
            warnings.filterwarnings("ignore", message=beta)
        # No target is written to.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        try:
            yield
        finally:
            logging.raiseExceptions = raising
            for name, level in before.items():
                logging.getLogger(name).setLevel(level)
