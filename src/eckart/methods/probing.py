"""What the methods share that learn a matrix from probes and their images."""

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from eckart.data.probes import Probes, orthogonal
from eckart.linalg.images import Images
from eckart.linalg.operators import Operator
from eckart.linalg.random import stream
from eckart.methods.compiled_steps import CompiledSteps, takes
from eckart.methods.matrix import MatrixMethod
from eckart.methods.optimizers import solver_class
from eckart.methods.seen import Seen, shown_by
from eckart.nn.bottleneck import Bottleneck
from eckart.optim.driver import Problem
from eckart.optim.objectives import KnownTarget, Objective
from eckart.optim.scaled_gd import ScaledGD


class ProbingMethod(MatrixMethod):
    """Linear layers that learn a matrix from probes x and their images A x, and from nothing else.

    The operator is asked for images, a batch at a time; its entries, its norm and its singular values are never seen.
    Probes that are drawn once have their images asked for once. A :class:`PairSolver` then works in the coordinates of
    the probes (see :class:`Seen`), and finds the minimizer of the loss on them: with n orthogonal probes that is the
    truncated SVD of the target.

    With fewer probes than columns, ``rank <= vectors < n``, the minimizer is the best matrix of the rank on the span of
    the probes, and zero off it. With ``transpose`` the images only choose a basis, and training fits as many images
    of the transpose, of that basis (the randomized range finder of Halko, Martinsson & Tropp 2011): the best matrix of
    the rank whose columns lie in the span of the images, which is far closer to the target.

    Args:
        operator: Targets, asked for images alone.
        probes: Law of the probes: ``orthogonal``, ``gaussian`` or ``uniform``.
        vectors: How many are drawn once; None draws fresh ones at each step (orthogonal: one set of n).
        transpose: Whether the transpose is asked for images as well; needs ``vectors`` below n.
        batch_size: Probes a step; None takes all, or 32 of fresh ones.
        **common: As in :class:`MatrixMethod`; a member's seed draws its probes and its initial weights.

    Several processes share the probes of each batch.

    Raises:
        ValueError: If a solver is asked for that needs fixed probes and there are none, there are fewer probes than
            the rank, or a probe or an image is not finite.
    """

    net: Bottleneck
    """The layers; a subclass makes them."""
    left: Tensor
    right: Tensor

    def __init__(
        self,
        operator: Operator,
        *,
        probes: str = "orthogonal",
        vectors: int | None = None,
        transpose: bool = False,
        batch_size: int | None = None,
        **common: Any,
    ) -> None:
        super().__init__(operator.stack, operator.shape, **common)
        (rows, size), dtype = operator.shape, self.trained_dtype
        self.images = Images(operator)
        self.probes = Probes(probes, size, vectors=vectors, batch_size=batch_size, seeds=self.seeds, dtype=dtype)
        count = self.probes.count
        self.transpose = transpose
        if self.probes.fixed and count < max(self.ranks):
            raise ValueError(f"vectors must be at least the rank, {max(self.ranks)}. Found {count}.")
        if transpose and not (self.probes.fixed and count < size):
            raise ValueError(
                f"vectors must be a number below the n = {size} columns where transpose=true. Found {vectors}."
            )
        # While it trains, torch itself has one.
        self._threads = torch.get_num_threads()
        self._orthogonal = probes == "orthogonal" and count <= size
        self._solved = solver_class(self.make_optimizer) is not None
        self._objective: KnownTarget | None = None
        self._seen: Seen | None = None
        # Whether a solver has the factors: the layers are brought up to date when it rests.
        self._begun = False
        self._drawn: Tensor | None = None
        self._transposed: Tensor | None = None
        self._scale = torch.ones(self.stack, 1, 1, dtype=dtype)
        # The mean over the outputs too, as in the paper.
        self.loss_unit /= size if transpose else rows
        if self._solved:
            seen = (min(rows, count), size) if transpose else (rows, min(count, size))
            self.register_buffer("left", torch.zeros(self.stack, seen[0], self.width, dtype=dtype))
            self.register_buffer("right", torch.zeros(self.stack, self.width, seen[1], dtype=dtype))

    def to_choose_from(self) -> Tensor:
        """What the images of the probes say of the target, as :func:`shown_by` computes it from them.

        Where the probes are fresh at each step, the images of n orthogonal vectors are asked for, and counted.
        """

        def drawn(size: int) -> Tensor:
            return orthogonal(size, size, stream(self.seeds[0], "choosing")).to(self.loss_unit)

        if not self.probes.fixed:
            x = drawn(self.shape[1])
            return shown_by(x, self.outputs(x[None])[0])
        seen = self._look()
        if self.transpose:
            # In another basis of the same span: the last vectors of this one can be nothing but rounding.
            size = seen.matrix.shape[1]
            return drawn(size) @ seen.matrix[0] / size**0.5
        assert self._drawn is not None
        return shown_by(self.probes.all[0], self._drawn[0])

    @property
    def largest_rank(self) -> int | None:
        """The number of probes that are drawn once."""
        return self.probes.count if self.probes.fixed else None

    def take_over(self, other: "ProbingMethod") -> None:
        """Take over the images, so that none is asked for twice, and their count."""
        self.images, self._drawn, self._transposed = other.images, other._drawn, other._transposed

    def outputs(self, x: Tensor) -> Tensor:
        """What the layers are to make of probes, ``(J, batch, n)`` to ``(J, batch, m)``."""
        return self.images.of(x)

    def factors(self) -> tuple[Tensor, Tensor]:
        """Product of the layers up to the bottleneck, and of those after it; those of a solver, where one trains."""
        return self._lifted(self.left, self.right) if self._begun else self.net.factors()

    def losses(self, step: int) -> Tensor:
        """Half the squared error of the images, averaged over the batch."""
        if self.transpose:
            left, right = self._look().seen(*self.factors())
            matrix = self._look().matrix
            return (left @ right - matrix).square().sum((1, 2)) / (2 * matrix.shape[1])
        x, outputs = self._batch(step)
        return (self.net(x) - outputs).square().sum((1, 2)) / (2 * x.shape[1])

    def descend(self, step: int) -> Tensor:
        """The losses of a step and their gradient; each of several processes takes its share of the batch."""
        if self.transpose:
            return super().descend(step)
        x, outputs = self._batch(step, share=True)
        losses = self.net.regress(x, outputs, 1 / self._batch_count(step))
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
        """Factors against the images of the fixed probes; None where they are fresh at each step."""
        if not self.probes.fixed:
            return None
        seen = self._look()
        if self._objective is None:
            self._objective = seen.objective(self._scale)
        if self._solved:
            return self._objective, self.left, self.right
        left, right = seen.seen(*self.factors())
        return self._objective, left / self._scale, right

    def set_factors(self, left: Tensor, right: Tensor) -> None:
        """Bring the layers to factors in the coordinates of the probes."""
        self.net.assign(*self._lifted(left, right))

    def on_fit_start(self) -> None:
        """Take the probes along to the device that is trained on."""
        super().on_fit_start()
        self.probes.to(self.device)

    def on_train_start(self) -> None:
        """Hand the factors of the layers to the solver, at unit scale."""
        if self._solved and self.driver.step_count == 0:
            self.fixed_problem()
            left, right = self._look().seen(*self.factors())
            self.left.copy_(left / self._scale)
            self.right.copy_(right)
        self._begun = self._solved
        super().on_train_start()

    def on_block_end(self) -> None:
        """Bring the layers up to date with the solver."""
        if self._solved:
            self.set_factors(self.left, self.right)

    def fields(self, member: int) -> dict[str, Any]:
        """Also how many images training asked for."""
        asked = {"images": self.images.count, "transpose_images": self.images.transpose_count}
        return super().fields(member) | asked

    def examples(self) -> tuple[Tensor, Tensor]:
        """The fixed probes of each seed, ``(S, N, n)``, and what each member is to make of its own, ``(J, N, m)``."""
        self._look()
        assert self._drawn is not None
        return self.probes.sets, self._drawn

    def _lifted(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        """Factors in the coordinates of the probes and at unit scale, out of them."""
        return self._look().lifted(left * self._scale.to(left.device), right)

    def _make_problem(self) -> Problem:
        optimizer = self._optimizer()
        # Where a callback sees each step, or a subclass has another loss, torch takes them.
        plain = type(self).descend is ProbingMethod.descend and type(self).losses is ProbingMethod.losses
        alone = self.processes.count == 1 and self.block_steps is None
        if plain and alone and self.probes.fixed and not self.transpose and takes(optimizer, self.net):
            return CompiledSteps(self, self._threads)
        return super()._make_problem()

    def _look(self) -> Seen:
        """What is seen of the targets through the fixed probes; their images are asked for once."""
        if self._seen is None:
            # An optimizer is made before a fit starts.
            self.probes.to(self.loss_unit.device)
            x = self.probes.all
            if self._drawn is None:
                self._drawn = self.outputs(x)
            self._drawn = self._drawn.to(x.device)
            if self.transpose:
                basis = torch.linalg.qr(self._drawn.mT).Q
                if self._transposed is None:
                    self._transposed = self.images.of_transpose(basis.mT)
                self._seen = Seen.from_transpose(basis, self._transposed.to(x.device))
            else:
                self._seen = Seen.from_images(x, self._drawn, orthogonal=self._orthogonal)
            if self._solved:
                norms = torch.linalg.matrix_norm(self._seen.matrix)
                if not (norms > 0).all():
                    raise ValueError("The images of the probes must not all be zero. Found norm 0.")
                self._scale = norms[:, None, None]
                self.loss_unit *= norms.square()
            self._scale = self._scale.to(self._seen.matrix.device)
        return self._seen

    def _take_along(self) -> None:
        """Bring the probes and their images to the device of the layers: a trainer takes these back when it ends."""
        self.probes.to(self.loss_unit.device)
        if self._drawn is not None:
            self._drawn = self._drawn.to(self.loss_unit.device)

    def _batch(self, step: int, *, share: bool = False) -> tuple[Tensor, Tensor]:
        """Probes of a step and what the layers are to make of them; with ``share``, this process's part."""
        part = self.processes.share if share else lambda whole, dim: whole
        if not self.probes.fixed:
            x = part(self.probes.batch(step), 1)
            return x, self.outputs(x)
        self._look()
        assert self._drawn is not None
        places = self.probes.places(step)
        if places is None:
            return part(self.probes.all, 1), part(self._drawn, 1)
        return self.probes.batch(step, part(places, 1)), _rows(self._drawn, part(places, 1))

    def _batch_count(self, step: int) -> int:
        if not self.probes.fixed:
            return self.probes.batch_size
        places = self.probes.places(step)
        return self.probes.count if places is None else places.shape[1]


def _rows(stacked: Tensor, places: Tensor) -> Tensor:
    # One gather for the whole stack: a copy for each member takes longer than its training step.
    stack, count, width = stacked.shape
    shift = torch.arange(stack, device=places.device)[:, None] * count
    return stacked.reshape(-1, width).index_select(0, (places + shift).flatten()).view(*places.shape, width)
