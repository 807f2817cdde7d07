"""A target that is larger than one machine: a dask array, from a file or from any importable callable."""

from collections.abc import Callable, Mapping
from typing import Any

from pytorch_lightning import LightningDataModule

from eckart.allowed import imported
from eckart.data.dask_clients import client_of
from eckart.data.files.dask_files import open_array
from eckart.linalg.conversion import is_dask
from eckart.linalg.dask_blocks import DaskBlocks
from eckart.linalg.operators import Operator


class DaskData(LightningDataModule):
    """A target in blocks, whose products are computed by worker processes or by a cluster.

    Args:
        path: As of :func:`eckart.data.files.dask_files.open_array`; or None.
        key: Likewise.
        source: In place of a path, a callable or its importable name ``package.module.function``, that returns a dask
            array. A name outside this package must be listed in the environment variable ``ECKART_ALLOW``.
        arguments: Keyword arguments of the callable.
        scheduler: As of :func:`eckart.data.dask_clients.client_of`.
        workers: Likewise.
        memory: Likewise.
        **parameters: What the config keeps beside them; not used here.

    Raises:
        ValueError: If there is not one of ``path`` and ``source``, the file cannot be read, the name is not allowed, or
            the callable returns no dask array, or as of :func:`eckart.data.dask_clients.client_of`.

    Example:
        >>> import numpy as np
        >>> path = getfixture("tmp_path") / "target.npy"
        >>> np.save(path, np.eye(3))
        >>> data = DaskData(path=str(path), workers=0)
        >>> data.setup()
        >>> data.operator().shape
        (3, 3)
    """

    def __init__(
        self,
        path: str | None = None,
        key: str | None = None,
        source: str | Callable[..., Any] | None = None,
        arguments: Mapping[str, Any] | None = None,
        scheduler: str | None = None,
        workers: int | None = None,
        memory: float | None = None,
        **parameters: Any,
    ) -> None:
        super().__init__()
        if (path is None) == (source is None):
            law = "data=dask needs one of data.path=PATH and data.source=package.module.function"
            raise ValueError(f"{law}. Found {'none' if path is None else 'both'}.")
        self._path, self._key, self._source, self._arguments = path, key, source, dict(arguments or {})
        self._where = scheduler, workers, memory
        self._operator: Operator | None = None

    def setup(self, stage: str | None = None) -> None:
        """Open the array, and connect to what computes with it."""
        if self._path is not None:
            array = open_array(self._path, self._key)
            self._operator = DaskBlocks(array, client_of(*self._where))
            return
        make = imported(self._source, "data.source") if isinstance(self._source, str) else self._source
        assert make is not None
        # Before the call, so that it can keep its array in the memory of the workers: array.persist().
        client = client_of(*self._where)
        array = make(**self._arguments)
        if not is_dask(array):
            found = f"{type(array).__module__}.{type(array).__name__}"
            raise ValueError(f"data.source={self._source} must return a dask array. Found {found}.")
        self._operator = DaskBlocks(array, client)

    def supply(self, needs: str) -> dict[str, Any]:
        """What a method is built from: the operator."""
        if needs == "entries":
            raise ValueError("method=completion needs a target with entries. Found data=dask, which gives products.")
        return {"operator" if needs == "images" else "target": self.operator()}

    def operator(self) -> Operator:
        """The target as it is measured against."""
        assert self._operator is not None
        return self._operator
