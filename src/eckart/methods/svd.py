"""The baseline that every trained method is held against: truncated SVD."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from eckart.linalg.blocks import Blocked
from eckart.linalg.checks import require_one_of
from eckart.linalg.krylov import randomized_svd
from eckart.linalg.operators import Dense, Member, Operator
from eckart.linalg.out_of_core import SOLVERS, decompose
from eckart.linalg.reference import EXACT_ENTRIES
from eckart.linalg.svd import gram_svd, truncated_svd
from eckart.methods.matrix import MatrixMethod, entries_to_choose_from
from eckart.optim.driver import Problem
from eckart.optim.objectives import KnownTarget

Solver = Callable[[Any, int, int], tuple[Tensor, Tensor, Tensor]]


class SVD(MatrixMethod):
    """Truncated SVD of each target, computed in one step.

    Args:
        operator: Targets.
        solver: Of a target in blocks one of :data:`eckart.linalg.out_of_core.SOLVERS`; else ``exact``, ``gram`` (from the Gram matrix: fast for tall data) or ``randomized``.
        tolerance: Residual at which the randomized solver stops, relative to the largest singular value.
        **common: As in :class:`MatrixMethod`; a member's seed draws the sketch of the randomized solver.

    Raises:
        ValueError: For an unknown solver, or as in :class:`MatrixMethod`.
    """

    needs_optimizer = False
    left: Tensor
    right: Tensor

    def __init__(
        self,
        operator: Operator,
        *,
        solver: str = "exact",
        tolerance: float = 1e-10,
        **common: Any,
    ) -> None:
        super().__init__(operator.stack, operator.shape, **common)
        solvers: dict[str, Solver] = {
            "exact": lambda matrix, rank, _: truncated_svd(matrix, rank),
            "gram": lambda matrix, rank, _: gram_svd(matrix, rank),
            "randomized": lambda matrix, rank, seed: randomized_svd(matrix, rank, seed=seed, tolerance=tolerance),
        }
        self._operator, self._solver = operator, solver
        (rows, cols), dtype = self.shape, self.trained_dtype
        if isinstance(operator, Blocked):
            require_one_of("solver", solver, SOLVERS)
            # The factors have no place before they are computed, and no state is kept of them.
            self.keeps_state = self.saves_between_blocks = False
            self.left = torch.zeros(()).expand(1, rows, self.width)
            self.right = torch.zeros(()).expand(1, self.width, cols)
            return
        require_one_of("solver", solver, solvers)
        self._solve, self._randomized = solvers[solver], solver == "randomized"
        self.register_buffer("left", torch.zeros(self.stack, rows, self.width, dtype=dtype))
        self.register_buffer("right", torch.zeros(self.stack, self.width, cols, dtype=dtype))

    def configure_optimizers(self) -> None:  # type: ignore[override]
        """Nothing is trained."""

    def factors(self) -> tuple[Tensor, Tensor]:
        """``U Σ^½`` and ``Σ^½ Vᵀ`` of each member."""
        return self.left, self.right

    def to_choose_from(self) -> Tensor:
        """The target; one that gives images alone is computed from those of all unit vectors."""
        rows, cols = self.shape
        if isinstance(self._operator, Blocked):
            return entries_to_choose_from(self._operator)
        if not isinstance(self._operator, Dense) and self._randomized and rows * cols > EXACT_ENTRIES:
            law = f"rank=auto needs the entries of the target, at most {EXACT_ENTRIES:,} where it gives images alone"
            raise ValueError(f"{law}. Found {rows * cols:,}.")
        return self._operator.dense()[0]

    def stop_reason(self, member: int) -> str:
        """One decomposition."""
        return "computed"

    def decompose(self) -> Tensor | None:
        """Decompose every target; the squared residual of each, shape ``(J,)``; None where entries are not known."""
        if isinstance(self._operator, Blocked):
            return self._decompose_blocks(self._operator)
        if self._randomized and not isinstance(self._operator, Dense):
            # Nothing but products is asked of an operator that is not stored.
            for member in range(self.stack):
                self._keep(member, self._solve(Member(self._operator, member), self.ranks[member], self.seeds[member]))
            return None
        target = self._operator.dense().to(self.left)
        for member, (rank, seed) in enumerate(zip(self.ranks, self.seeds, strict=True)):
            self._keep(member, self._solve(target[member], rank, seed))
        return KnownTarget(target).residual(self.left, self.right).square().sum((1, 2))

    def _decompose_blocks(self, operator: Blocked) -> Tensor:
        before = operator.memory.get("leading")
        found = decompose(operator, self.ranks[0], solver=self._solver, seed=self.seeds[0])
        short = found.short.to(found.long.dtype)
        left, right = (short.mT, found.long.mT) if operator.transposed else (found.long, short)
        self.left, self.right = left[None], right[None]
        # Who measures has asked for the first pass before.
        self.driver.seconds += before.seconds if before is not None else 0.0
        return torch.tensor([found.error**2 * found.moments.squares], dtype=torch.float64)

    def _keep(self, member: int, triplets: tuple[Tensor, Tensor, Tensor]) -> None:
        (u, s, vh), rank = triplets, self.ranks[member]
        self.left[member, :, :rank] = u * s.sqrt()
        self.right[member, :rank] = s.sqrt()[:, None] * vh

    def _make_problem(self) -> Problem:
        return _Decomposition(self)

    def _optimizer(self) -> None:
        return None


class _Decomposition:
    """A decomposition as a problem of one step."""

    def __init__(self, method: SVD) -> None:
        self._method = method
        self._loss = torch.full((method.stack,), torch.nan)

    def advance(self, step: int, active: Tensor) -> Tensor | None:
        found = self._method.decompose()
        self._loss = self._loss if found is None else found
        return found

    def tensors(self) -> list[Tensor]:
        return [] if not self._method.keeps_state else [self._method.left, self._method.right]

    def loss(self, step: int) -> Tensor:
        return self._loss

    def size(self) -> Tensor:
        return torch.zeros(self._method.stack)

    def certificate(self) -> None:
        return None

    def leave_saddles(self, members: Tensor, *, always: bool) -> Tensor:
        return torch.zeros_like(members)
