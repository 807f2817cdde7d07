"""What the methods share that learn a matrix from probes and their images."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from eckart.data.probes import Probes
from eckart.methods.base import MatrixMethod
from eckart.methods.optimizers import solver_class
from eckart.nn.bottleneck import Bottleneck
from eckart.optim.objectives import KnownTarget, Objective
from eckart.optim.scaled_gd import ScaledGD


class ProbingMethod(MatrixMethod):
    """Linear layers that learn a matrix from probes x and their images A x.

    On a fixed set of probes ``X (N, n)`` the mean squared error of layers that stand for W is
    ``‖(W - A) Tᵀ‖² / m`` with ``XᵀX / N = TᵀT``. So a :class:`PairSolver` is given the target ``A Tᵀ``, and what it
    finds is the minimizer on those probes. A set of orthogonal probes has T = I, and the minimizer is the truncated
    SVD.

    Args:
        target: Stack of targets, shape ``(J, m, n)``.
        probes: Law of the probes: ``orthogonal``, ``gaussian`` or ``uniform``.
        vectors: How many are drawn once; None draws fresh ones at each step (orthogonal: one set of n).
        batch_size: Probes a step; None takes all, or 32 of fresh ones.
        **common: As in :class:`MatrixMethod`; a member's seed draws its probes and its initial weights.

    Several processes share the probes: of each batch, or of the fixed set that T is the triangle of (a QR of the
    triangles of their shares). Nothing depends on probes where T = I.

    Raises:
        ValueError: If a solver is asked for that needs fixed probes and there are none, or fewer than n.
    """

    net: Bottleneck
    """The layers; a subclass makes them."""
    left: Tensor
    right: Tensor
    scale: Tensor

    def __init__(
        self,
        target: Tensor,
        *,
        probes: str = "orthogonal",
        vectors: int | None = None,
        batch_size: int | None = None,
        **common: Any,
    ) -> None:
        super().__init__(target, **common)
        (stack, rows, size), dtype = target.shape, self.target.dtype
        self.probes = Probes(probes, size, vectors=vectors, batch_size=batch_size, seeds=self.seeds, dtype=dtype)
        # Exact by construction; from the probes it would be so only to rounding.
        self._isotropic = probes == "orthogonal" and self.probes.count % size == 0
        self._solved = solver_class(self.make_optimizer) is not None
        # The mean over the outputs too, as in the paper.
        self.loss_unit /= rows
        self._objective: KnownTarget | None = None
        self._triangle: Tensor | None = None
        norms = torch.linalg.matrix_norm(self.target)
        self.register_buffer("scale", norms[:, None, None], persistent=False)
        if self._solved:
            if self.probes.fixed and self.probes.count < size:
                raise ValueError(
                    f"This optimizer needs at least n = {size} probes to learn a matrix from. "
                    f"Found method.vectors={vectors}."
                )
            self.loss_unit *= norms.square()
            self.register_buffer("left", torch.zeros(stack, rows, self.width, dtype=dtype))
            self.register_buffer("right", torch.zeros(stack, self.width, size, dtype=dtype))

    def images(self, x: Tensor) -> Tensor:
        """What the layers are to make of probes, ``(J, batch, n)`` to ``(J, batch, m)``."""
        return x @ self.target.mT

    def factors(self) -> tuple[Tensor, Tensor]:
        """Product of the layers up to the bottleneck, and of those after it."""
        return self.net.factors()

    def losses(self, step: int) -> Tensor:
        """Half the squared error of the images, averaged over the batch."""
        x = self.probes.batch(step)
        return (self.net(x) - self.images(x)).square().sum((1, 2)) / (2 * x.shape[1])

    def descend(self, step: int) -> Tensor:
        """The losses of a step and their gradient; each of several processes takes its share of the batch."""
        x = self.probes.batch(step)
        own = self.processes.share(x, dim=1)
        losses = self.net.regress(own, self.images(own), 1 / x.shape[1])
        self.processes.sum([losses, *(weight.grad for weight in self.net.weights)])
        return losses

    def configure_optimizers(self) -> Optimizer:
        """Make the optimizer; one for factor pairs needs layers that are one."""
        made = self.make_optimizer
        if made is not None and getattr(made, "func", made) is ScaledGD:
            layers = len(self.net.weights)
            if layers != 2:
                raise ValueError(f"optimizer=scaled_gd trains a pair of layers: method.hidden=[]. Found {layers}.")
            return made([tuple(reversed(list(self.net.weights)))])
        return super().configure_optimizers()

    def pair_problem(self) -> tuple[Objective, Tensor, Tensor] | None:
        """Factors against the target as the fixed probes show it; None where they are fresh at each step."""
        if not self.probes.fixed or self.probes.count < self.probes.size:
            return None
        if self._objective is None:
            target = self.target
            if not self._isotropic:
                self._triangle = self._reduced()
                target = target @ self._triangle.mT
            self._objective = KnownTarget(target / self.scale)
        if self._solved:
            return self._objective, self.left, self.right
        left, right = self.factors()
        return self._objective, left / self.scale, self._seen(right)

    def on_fit_start(self) -> None:
        """Take the probes along to the device that is trained on."""
        super().on_fit_start()
        self.probes.to(self.device)

    def on_train_start(self) -> None:
        """Hand the factors of the layers to the solver, at unit scale."""
        if self._solved and self.step_count == 0:
            self.fixed_problem()
            left, right = self.factors()
            self.left.copy_(left / self.scale)
            self.right.copy_(self._seen(right))
            self.on_block_end()
        super().on_train_start()

    def on_block_end(self) -> None:
        """Bring the layers up to date with the solver."""
        if self._solved:
            right = self.right
            if self._triangle is not None:
                right = torch.linalg.solve_triangular(self._triangle, right.mT, upper=True).mT
            self.net.assign(self.left * self.scale, right)

    def _seen(self, right: Tensor) -> Tensor:
        return right if self._triangle is None else right @ self._triangle.mT

    def _reduced(self) -> Tensor:
        """``T (J, n, n)`` of the fixed probes; each of several processes reduces its share of them."""
        # An optimizer is made before a fit starts.
        self.probes.to(self.target.device)
        sets, size = self.probes.sets, self.probes.size
        triangle = torch.linalg.qr(self.processes.share(sets, dim=1) / sets.shape[1] ** 0.5, mode="r").R
        if self.processes.count > 1:
            # A share of fewer than n probes has a triangle of fewer rows.
            triangle = nn.functional.pad(triangle, (0, 0, 0, size - triangle.shape[1]))
            triangle = torch.linalg.qr(self.processes.gather(triangle).transpose(0, 1).flatten(1, 2), mode="r").R
        return triangle[self.probes.members]
