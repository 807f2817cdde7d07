"""What training may ask of an operator: images of vectors, counted."""

from torch import Tensor

from eckart.linalg.operators import Apply, Operator


class Images:
    """All that training may ask of an operator: images of vectors, a batch at a time. They are counted.

    Args:
        operator: Gives the images.

    Attributes:
        count: Images asked for so far, of each member of the stack.
        transpose_count: Images of the transpose asked for so far, of each member.

    Example:
        >>> import torch
        >>> from eckart.linalg.operators import Dense
        >>> images = Images(Dense(torch.eye(3)))
        >>> _ = images.of(torch.ones(1, 5, 3))
        >>> images.count, images.transpose_count
        (5, 0)
    """

    def __init__(self, operator: Operator) -> None:
        self._operator, self.stack, self.shape = operator, operator.stack, operator.shape
        self.count = self.transpose_count = 0

    def of(self, x: Tensor) -> Tensor:
        """Images ``A x``, ``(J, N, n)`` to ``(J, N, m)``.

        Raises:
            ValueError: If a vector or an image is not finite.
        """
        self.count += x.shape[1]
        return self._asked(x, self._operator.images, "probes")

    def of_transpose(self, y: Tensor) -> Tensor:
        """Images ``Aᵀ y`` of the transpose, ``(J, N, m)`` to ``(J, N, n)``.

        Raises:
            ValueError: If the operator has no transpose, or a vector or an image is not finite.
        """
        self.transpose_count += y.shape[1]
        return self._asked(y, self._operator.transpose_images, "probes of the transpose")

    def _asked(self, vectors: Tensor, ask: Apply, what: str) -> Tensor:
        images = ask(vectors)
        for name, part in ((what, vectors), (f"images of the {what}", images)):
            # The sum, which takes one pass, is finite unless a number is not, or it overflows.
            broken = 0 if part.sum().isfinite() else int((~part.isfinite()).sum())
            if broken:
                raise ValueError(f"The {name} must be finite. Found {broken} NaN or infinite entries.")
        return images
