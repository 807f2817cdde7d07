"""Convolutions as two convolutions that share the kernel's axes, for given inputs."""

from dataclasses import dataclass

import torch
from torch import Tensor

from eckart.linalg.svd import balance
from eckart.linalg.whitened import square_root, whitened
from eckart.nn.low_rank_conv import unfolded


@dataclass(frozen=True)
class TwoSided:
    """Pairs of convolutions of every rank for given inputs; see :func:`two_sided`.

    Attributes:
        losses: ``E‖G^½ (W - W_k) x‖²`` for k = 0, 1, …, r; shape ``(r + 1,)``, nonincreasing.
        second: Kernel places that the second convolution covers.
    """

    losses: Tensor
    second: int
    _first: Tensor
    _triangle: Tensor
    _image: Tensor

    def factors(self, rank: int) -> tuple[Tensor, Tensor]:
        """Balanced factors ``(m, k)`` and ``(k, n)`` of a rank, in the order of :func:`unfolded`."""
        end = rank * self.second
        image, triangle = self._image[:, :end], self._triangle[:end, :end]
        left = torch.linalg.solve_triangular(triangle, image, upper=False, left=False)
        left = left.unflatten(1, (rank, self.second)).transpose(1, 2).flatten(0, 1)
        return balance(left, self._first[:rank])


def two_sided(weight: Tensor, form: tuple[int, ...], moment: Tensor, metric: Tensor | None = None) -> TwoSided:
    r"""Write a convolution as two, for inputs of a given second moment.

    The two convolutions share the axes of the kernel, so patches of the input are not what the factors are multiplied
    with one by one, and no closed form gives the best pair. The first convolution takes the leading directions for the
    mean of the second moments of its patches over the places of the second one; the second convolution is then the
    exact regression of the outputs on what the first one gives, under the full second moment. One Cholesky
    factorization gives this regression, and its exact loss, for every rank.

    Args:
        weight: Shape ``(out, in, *kernel)``.
        form: Axes of the kernel that the first convolution covers.
        moment: Second moment (or covariance) of patches in the order of the weight, ``(in·kh·kw, in·kh·kw)``, float64.
        metric: Second moment of the outputs' errors that the loss is taken in, ``(out, out)``; None is the identity.

    Returns:
        Losses and factors of each rank up to the number of directions that the inputs have.

    Example:
        >>> weight = torch.arange(16.0).reshape(2, 2, 2, 2)
        >>> two_sided(weight, (1,), torch.eye(8, dtype=torch.float64)).losses.round(decimals=6)
        tensor([1240.0000,   15.1000,    0.0000], dtype=torch.float64)
    """
    w = weight.detach().double()
    places = unfolded(torch.arange(w[0].numel(), device=w.device).reshape(1, *w.shape[1:]), form)
    second, inputs = places.shape
    ordered = (
        moment[places.flatten()][:, places.flatten()].unflatten(0, (second, inputs)).unflatten(2, (second, inputs))
    )
    mean = torch.stack([ordered[place, :, place] for place in range(second)]).mean(0)
    root = None if metric is None else square_root(metric.double())
    weighted = w if root is None else (root @ w.flatten(1)).reshape(w.shape)
    best = whitened(unfolded(weighted, form), mean)
    squares = best.losses[:-1] - best.losses[1:]
    found = max(int((squares > 1e-12 * squares[:1]).sum()), 1)
    # Of unit variance each, so that the triangle is well scaled.
    first = best.right[:found] / squares[:found, None].clamp(min=torch.finfo(w.dtype).tiny).sqrt()
    seen = torch.einsum("ja,iabc,kc->jibk", first, ordered, first).permute(0, 1, 3, 2).flatten(2).flatten(0, 1)
    outputs = unfolded(w, form).unflatten(0, (len(w), second))
    image = torch.einsum("oia,iabc,kc->okb", outputs, ordered, first).flatten(1)
    triangle = _cholesky(seen)
    image = torch.linalg.solve_triangular(triangle.mT, image, upper=True, left=False)
    outputs = unfolded(weighted, form).unflatten(0, (len(w), second))
    total = torch.einsum("oia,iabc,obc->", outputs, ordered, outputs)
    # The regression is the same in any metric of the outputs; what it explains is not.
    explained = (image if root is None else root @ image).square().sum(0)
    explained = explained.unflatten(0, (found, second)).sum(1).cumsum(0)
    losses = torch.cat([total[None], (total - explained).clamp(min=0)])
    return TwoSided(losses, second, first, triangle, image)


def _cholesky(gram: Tensor) -> Tensor:
    """Triangle of a semidefinite matrix, with the least multiple of the identity that it needs."""
    size = gram.diagonal().mean().clamp(min=torch.finfo(gram.dtype).tiny)
    shift = len(gram) * torch.finfo(gram.dtype).eps * size
    eye = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    while True:
        triangle, failed = torch.linalg.cholesky_ex(gram + shift * eye)
        if not failed:
            return triangle
        shift = shift * 10
