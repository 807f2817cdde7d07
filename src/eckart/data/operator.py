"""A matrix-free target: an operator that gives images, from any importable callable."""

from collections.abc import Callable, Mapping
from typing import Any

from pytorch_lightning import LightningDataModule

from eckart.allowed import imported
from eckart.linalg.conversion import as_operator
from eckart.linalg.operators import Operator


class OperatorData(LightningDataModule):
    """A target that is known by its images alone.

    Args:
        source: A callable, or its importable name ``package.module.function``, that returns the operator: anything
            that has a ``shape (m, n)`` and gives products by ``@``, a :class:`MatrixFree`, an array, or a sparse
            matrix. A name outside this package must be listed in the environment variable ``ECKART_ALLOW``.
        arguments: Keyword arguments of the callable.
        **parameters: What the config keeps beside them; not used here.

    Raises:
        ValueError: If the name is not allowed or cannot be imported, or the callable returns no operator.

    Example:
        >>> data = OperatorData("eckart.data.targets.identity", {"rows": 3, "cols": 3})
        >>> data.setup()
        >>> data.operator().shape
        (3, 3)
    """

    def __init__(
        self, source: str | Callable[..., Any], arguments: Mapping[str, Any] | None = None, **parameters: Any
    ) -> None:
        super().__init__()
        self._source, self._arguments = source, dict(arguments or {})
        self._operator: Operator | None = None

    def setup(self, stage: str | None = None) -> None:
        """Make the operator."""
        make = imported(self._source, "data.source") if isinstance(self._source, str) else self._source
        try:
            self._operator = as_operator(make(**self._arguments))
        except TypeError as error:
            raise ValueError(f"data.source={self._source} must return an operator. {error}") from error

    def supply(self, needs: str) -> dict[str, Any]:
        """What a method is built from: the operator."""
        if needs == "entries":
            raise ValueError("method=completion needs a target with entries. Found data=operator, which gives images.")
        return {"operator" if needs == "images" else "target": self.operator()}

    def operator(self) -> Operator:
        """The target as it is measured against."""
        assert self._operator is not None
        return self._operator
