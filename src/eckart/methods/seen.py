"""What training sees of a target through probes and their images, as a problem in two factors."""

from dataclasses import dataclass

import torch
from torch import Tensor

from eckart.optim.objectives import KnownTarget


@dataclass
class Seen:
    """A least-squares problem in the coordinates of the probes.

    With probes ``X (N, n)`` and images ``Y = X Aᵀ`` alone, the mean squared error of a model W is ``‖W Xᵀ - Yᵀ‖² / N``.
    So the left factor is kept, the right one is seen as ``right @ coordinates``, and their product is held against
    ``matrix``, which holds nothing but images. Where the images are those of the transpose, of orthonormal vectors
    ``Q``, the left factor is seen as ``Qᵀ left`` instead.

    Attributes:
        matrix: What the product of the factors is held against, shape ``(J, a, b)``.
        coordinates: Takes a right factor to the coordinates, shape ``(J, n, b)``; None where it stays as it is.
        back: Takes it back, shape ``(J, b, n)``: the least-norm factor that is seen so.
        basis: ``Q``, shape ``(J, m, a)``; None where the left factor stays as it is.
    """

    matrix: Tensor
    coordinates: Tensor | None = None
    back: Tensor | None = None
    basis: Tensor | None = None

    @classmethod
    def from_images(cls, x: Tensor, y: Tensor, *, orthogonal: bool) -> "Seen":
        """The problem of probes and their images.

        Args:
            x: Probes, shape ``(J, N, n)``.
            y: Their images, shape ``(J, N, m)``.
            orthogonal: Whether the probes are orthogonal and of norm ``√n``, N at most n, by construction: their
                coordinates are then taken back by the probes themselves, and no rounding is added.

        Raises:
            ValueError: If the probes are linearly dependent, so that a matrix is not determined on their span.
        """
        count, size = x.shape[1:]
        x, y = x / count**0.5, y / count**0.5
        if orthogonal and count <= size:
            return cls(y.mT, x.mT, x * (count / size))
        # N >= n: X/√N = Q T, so that ‖W Xᵀ - Yᵀ‖ is ‖W Tᵀ - Yᵀ Q‖ but for a constant. N < n: the same of Xᵀ.
        tall = count >= size
        q, triangle = torch.linalg.qr(x if tall else x.mT)
        diagonal = triangle.diagonal(dim1=-2, dim2=-1).abs()
        if not (diagonal.amin(-1) > max(count, size) * torch.finfo(x.dtype).eps * diagonal.amax(-1)).all():
            raise ValueError(
                f"The {count} probes must be linearly independent, or span all {size} dimensions. "
                "Found that they do not."
            )
        unit = torch.eye(min(count, size), dtype=x.dtype, device=x.device)
        if tall:
            return cls(y.mT @ q, triangle.mT, torch.linalg.solve_triangular(triangle, unit, upper=True).mT)
        return cls(y.mT, x.mT, torch.linalg.solve_triangular(triangle, q.mT, upper=True))

    @classmethod
    def from_transpose(cls, basis: Tensor, images: Tensor) -> "Seen":
        """The problem of orthonormal vectors ``(J, m, a)`` and their images by the transpose, ``(J, a, n)``."""
        return cls(images, basis=basis)

    def objective(self, scale: Tensor) -> KnownTarget:
        """What the factors, as they are seen, are held against, divided by a scale ``(J, 1, 1)``."""
        return KnownTarget(self.matrix / scale)

    def seen(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        """Factors ``(J, m, k)`` and ``(J, k, n)`` in the coordinates."""
        if self.basis is not None:
            left = self.basis.mT @ left
        return left, right if self.coordinates is None else right @ self.coordinates

    def lifted(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        """Factors ``(J, a, k)`` and ``(J, k, b)`` out of the coordinates."""
        # A trainer takes the factors back to the CPU when it ends.
        if self.basis is not None:
            left = self.basis.to(left.device) @ left
        return left, right if self.back is None else right @ self.back.to(right.device)


def shown_by(x: Tensor, y: Tensor) -> Tensor:
    """The matrix that probes and their images show: the target itself, or its part on the span of the probes.

    Args:
        x: Probes, linearly independent or spanning all n dimensions, shape ``(N, n)``.
        y: Their images, shape ``(N, m)``.

    Returns:
        With N >= n the target, shape ``(m, n)``, which its images then determine. With fewer probes the images of an
        orthonormal basis of their span, shape ``(m, N)``.

    Example:
        >>> matrix = torch.tensor([[4.0, 0.0], [3.0, 1.0]])
        >>> x = torch.tensor([[1.0, 1.0], [1.0, -1.0], [0.0, 2.0]])
        >>> shown_by(x, x @ matrix.T).round(decimals=5).abs()
        tensor([[4., 0.],
                [3., 1.]])
        >>> shown_by(x[2:], x[2:] @ matrix.T).abs()
        tensor([[0.],
                [1.]])
    """
    if len(x) < x.shape[1]:
        triangle = torch.linalg.qr(x.mT).R
        return torch.linalg.solve_triangular(triangle, y.mT, upper=True, left=False)
    q, triangle = torch.linalg.qr(x)
    return torch.linalg.solve_triangular(triangle, q.mT @ y, upper=True).mT
