"""The baseline that every trained method is held against: truncated SVD."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from eckart.linalg.blocks import Blocked
from eckart.linalg.checks import require_one_of
from eckart.linalg.choosing_solver import auto_svd
from eckart.linalg.gram import gram_svd
from eckart.linalg.krylov import randomized_svd
from eckart.linalg.norms import residual_squares
from eckart.linalg.operators import Dense, Member, Operator
from eckart.linalg.out_of_core import SOLVERS, decompose, leading
from eckart.linalg.reference import EXACT_ENTRIES
from eckart.linalg.svd import truncated_svd
from eckart.methods.matrix import MatrixMethod, entries_to_choose_from
from eckart.optim.driver import Problem

Solver = Callable[[Any, int, int], tuple[Tensor, Tensor, Tensor, str]]


class SVD(MatrixMethod):
    """Truncated SVD of each target, computed in one step.

    Args:
        operator: Targets.
        solver: ``auto`` (:func:`eckart.linalg.choosing_solver.auto_svd`), ``exact``, ``gram`` (from the Gram matrix) or
            ``randomized`` (iterated); of a target in blocks one of :data:`eckart.linalg.out_of_core.SOLVERS`.
        tolerance: Residual at which the iteration stops, relative to the largest singular value; a target in blocks is
            iterated until its excess is proven to be small.
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
        solver: str = "auto",
        tolerance: float = 1e-10,
        **common: Any,
    ) -> None:
        super().__init__(operator.stack, operator.shape, **common)
        dtype = self.trained_dtype
        solvers: dict[str, Solver] = {
            "auto": lambda matrix, rank, seed: auto_svd(matrix, rank, seed=seed, tolerance=tolerance, dtype=dtype),
            "exact": lambda matrix, rank, _: (*truncated_svd(matrix.to(dtype), rank), "exact"),
            "gram": lambda matrix, rank, _: (*gram_svd(matrix, rank, dtype=dtype), "gram"),
            "randomized": lambda matrix, rank, seed: (
                *randomized_svd(
                    matrix if isinstance(matrix, Operator) else matrix.to(dtype), rank, seed=seed, tolerance=tolerance
                ),
                "randomized",
            ),
        }
        rows, cols = self.shape
        self._operator, self._solver = operator, solver
        self._solvers: list[str] = []
        self._kept: list[Tensor] = []
        if isinstance(operator, Blocked):
            require_one_of("solver", solver, SOLVERS)
            # The factors have no place before they are computed, and no state is kept of them.
            self.keeps_state = self.saves_between_blocks = self._by_products = False
            self.left = torch.zeros(()).expand(1, rows, self.width)
            self.right = torch.zeros(()).expand(1, self.width, cols)
            return
        require_one_of("solver", solver, solvers)
        # Nothing but products is asked of a large operator that is not stored, where there is a choice.
        self._by_products = not isinstance(operator, Dense) and (
            solver == "randomized" or (solver == "auto" and rows * cols > EXACT_ENTRIES and operator.has_transpose())
        )
        self._solve = solvers[solver]
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
        if self._by_products and rows * cols > EXACT_ENTRIES:
            law = f"rank=auto needs the entries of the target, at most {EXACT_ENTRIES:,} where it gives images alone"
            raise ValueError(f"{law}. Found {rows * cols:,}.")
        return self._operator.dense()[0]

    def stop_reason(self, member: int) -> str:
        """One decomposition."""
        return "computed"

    def fields(self, member: int) -> dict[str, Any]:
        """As of every method, and the solver that the decomposition was by."""
        return {**super().fields(member), "solver": self._solvers[member] if self._solvers else None}

    def decompose(self) -> Tensor | None:
        """Decompose every target; the squared residual of each, shape ``(J,)``; None where entries are not known."""
        if isinstance(self._operator, Blocked):
            return self._decompose_blocks(self._operator)
        self._solvers, self._kept = [], []
        if self._by_products:
            for member in range(self.stack):
                self._keep(member, self._solve(Member(self._operator, member), self.ranks[member], self.seeds[member]))
            return None
        stored = self._operator.matrix if isinstance(self._operator, Dense) else self._operator.dense()
        targets = stored.to(self.left.device)
        for member, (rank, seed) in enumerate(zip(self.ranks, self.seeds, strict=True)):
            self._keep(member, self._solve(targets[member], rank, seed))
        return torch.stack([self._lost(member, target) for member, target in enumerate(targets)])

    def _lost(self, member: int, target: Tensor) -> Tensor:
        left, right = self.left[member], self.right[member]
        # The rows of A V are orthogonal to what they leave, so that only a small remainder has to be formed.
        if target.dtype == left.dtype == torch.float64:
            whole, kept = torch.linalg.vector_norm(target).square(), self._kept[member]
            if whole - kept > 1e-4 * whole:
                return whole - kept
        return residual_squares(target, left, right)

    def _decompose_blocks(self, operator: Blocked) -> Tensor:
        before = operator.memory.get("leading")
        found = decompose(operator, self.ranks[0], solver=self._solver, seed=self.seeds[0])
        self._solvers = [leading(operator, self.ranks[0]).solver]
        short = found.short.to(found.long.dtype)
        left, right = (short.mT, found.long.mT) if operator.transposed else (found.long, short)
        self.left, self.right = left[None], right[None]
        # Who measures has asked for the first pass before.
        self.driver.seconds += before.seconds if before is not None else 0.0
        return torch.tensor([found.error**2 * found.moments.squares], dtype=torch.float64)

    def _keep(self, member: int, found: tuple[Tensor, Tensor, Tensor, str]) -> None:
        (u, s, vh, solver), rank = found, self.ranks[member]
        self.left[member, :, :rank] = u * s.sqrt()
        self.right[member, :rank] = s.sqrt()[:, None] * vh
        self._solvers.append(solver)
        self._kept.append(s.double().square().sum())

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
