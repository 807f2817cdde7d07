"""Completion of ratings: mean, biases and factors, by a solver that keeps them from overfitting."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor, nn

from eckart.linalg.checks import require_different
from eckart.linalg.entries import Entries
from eckart.linalg.held_out import predictions
from eckart.linalg.random import stream
from eckart.methods.matrix import MatrixMethod
from eckart.methods.validation import Validated, doubling, least_within_error
from eckart.optim.driver import Problem
from eckart.optim.ratings import RatingsSolver

# Entries of a single member from which its rows are shared out among threads.
_MANY = 200_000
# Where a rank is to be chosen: ratings that are looked at, sweeps at each rank, and the largest rank, at most.
_CHOSEN_FROM, _SWEEPS, _LARGEST = 1_000_000, 40, 64


class RatingsCompletion(MatrixMethod):
    """``mean + b_r + c_i + p_r · v_i``, trained on the observed entries by a :class:`RatingsSolver`.

    It is what ``method=completion`` trains with ``optimizer=gibbs`` or ``optimizer=weighted_als``. Its factors hold the
    mean and the biases in two columns more than the rank, so their product is the model; see
    :meth:`RatingsSolver.pair`. Members of a stack are trained side by side in threads.

    Args:
        entries: Observed entries of each target, of one shape ``(m, n)``.
        ranks: Rank of each member, without the biases.
        seeds: Seed of each member.
        optimizer: Makes the solver of a member from its entries, its rank, its seed and a dtype.
        dtype: Type of the vectors.
        width: As in :class:`MatrixMethod`.
        max_steps: Steps at most; the solver itself says when it is done.
        record_every: Steps between two records; None records ever further apart.
        **unused: Settings of completion that these solvers have no use for.

    Raises:
        ValueError: If all ratings are equal, or as the solver raises it.
    """

    precision = "32-true"
    pictures: tuple[str, ...] = ()

    def __init__(
        self,
        entries: Sequence[Entries],
        *,
        ranks: Sequence[int],
        seeds: Sequence[int],
        optimizer: Callable[..., Any],
        dtype: torch.dtype = torch.float32,
        width: int | None = None,
        max_steps: int = 2000,
        record_every: int | None = None,
        **unused: Any,
    ) -> None:
        limits: dict[str, Any] = {"max_steps": max_steps, "record_every": record_every}
        shape = entries[0].shape
        super().__init__(
            len(entries), shape, ranks=ranks, seeds=seeds, optimizer=optimizer, dtype=dtype, width=width, **limits
        )
        for own in entries:
            require_different(own.value)
        self._entries, self._make = entries[0], optimizer
        members = zip(entries, ranks, seeds, strict=True)
        self.solvers = nn.ModuleList(optimizer(own, rank, seed, dtype) for own, rank, seed in members)
        longest = max(solver.sweeps for solver in self.members)
        self.driver.max_steps = min(max_steps, longest)
        self.one_thread = len(entries) == 1 and len(entries[0]) < _MANY

    def to_choose_from(self) -> Any:
        """Nothing: a rule for matrices would take biases for components, and knows no ridge and no prior."""
        raise ValueError("rank=auto chooses the rank of ratings by withheld ones: selection=best. Found another rule.")

    def validated(self) -> Validated:
        """The rank by the RMSE on a tenth of the ratings, of the same model trained shortly on the others."""
        own, seed = _some_rows(self._entries, self.seeds[0]), self.seeds[0]
        if len(own) < 20:
            raise ValueError(f"rank=auto needs at least 20 ratings, some to hold out. Found {len(own)}.")
        order = torch.randperm(len(own), generator=stream(seed, "validation"))
        held = torch.zeros(len(own), dtype=torch.bool)
        held[order[: len(own) // 10]] = True
        seen, hidden, ranks, sweeps = own[~held], own[held], doubling(min(_LARGEST, *own.shape)), 0
        squares = []
        for rank in ranks:
            solver = self._make(seen, rank, seed, self.trained_dtype)
            sweeps = min(solver.sweeps, _SWEEPS)
            for step in range(sweeps):
                solver.sweep(step)
            left, right = solver.pair()
            found = predictions(left, right, hidden.row, hidden.col, (solver.low, solver.high))
            squares.append((hidden.value.double() - found).square())
        by_rank = torch.stack(squares)
        how = f"{sweeps} sweeps on {len(seen):,} ratings, {len(hidden):,} others held out"
        return least_within_error("RMSE", ranks, by_rank, by_rank.mean(1).sqrt().tolist(), how)

    @property
    def members(self) -> list[RatingsSolver]:
        """The solver of each member."""
        return list(self.solvers)  # type: ignore[arg-type]

    def configure_optimizers(self) -> None:  # type: ignore[override]
        """The solvers hold the whole state themselves."""

    def columns(self, member: int) -> int:
        """The rank, and two columns for mean and biases."""
        return self.ranks[member] + 2

    def factors(self) -> tuple[Tensor, Tensor]:
        """Left ``(J, m, k + 2)`` and right ``(J, k + 2, n)``, in the unit of the ratings."""
        pad, width = nn.functional.pad, self.width + 2
        pairs = [solver.pair() for solver in self.members]
        left = torch.stack([pad(own, (0, width - own.shape[1])) for own, _ in pairs])
        return left, torch.stack([pad(own, (0, 0, 0, width - len(own))) for _, own in pairs])

    def fields(self, member: int) -> dict[str, Any]:
        """As of every method, and the range of the ratings, to which predictions are clipped."""
        solver, (rows, cols) = self.members[member], self.shape
        parameters = 1 + (self.ranks[member] + 1) * (rows + cols)
        return super().fields(member) | {"parameters": parameters, "rating_range": [solver.low, solver.high]}

    def stop_reason(self, member: int) -> str:
        """What the solver says of its end."""
        reason = self.members[member].done(int(self.driver.steps[member]))
        if self.driver.diverged[member] or reason is None:
            return super().stop_reason(member)
        return reason

    def left_to_do(self, checkpoint: Mapping[str, Any]) -> tuple[str, int, int]:
        """The number of sweeps, and the steps of a checkpoint."""
        return "optimizer.sweeps", self.driver.max_steps, checkpoint["step_count"]

    def _make_problem(self) -> Problem:
        return _Sweeps(self.members)

    def _optimizer(self) -> None:
        return None


def _some_rows(entries: Entries, seed: int) -> Entries:
    """Entries of random rows, at most about a million."""
    if len(entries) <= _CHOSEN_FROM:
        return entries
    order = torch.randperm(entries.shape[0], generator=stream(seed, "rows"))
    kept = torch.zeros(entries.shape[0], dtype=torch.bool)
    kept[order[entries.counts()[0][order].cumsum(0) <= _CHOSEN_FROM]] = True
    return entries[kept[entries.row]]


class _Sweeps:
    """Sweeps of solvers, as a problem of the driver."""

    def __init__(self, solvers: list[RatingsSolver]) -> None:
        self._solvers = solvers

    def advance(self, step: int, active: Tensor) -> Tensor | None:
        for member, solver in enumerate(self._solvers):
            if solver.done(step) is not None:
                active[member] = False
        trained = [member for member, is_active in enumerate(active.tolist()) if is_active]
        sound = torch.ones(len(self._solvers), dtype=torch.bool)
        if trained:
            found = self._each(lambda member: self._solvers[member].sweep(step), trained)
            sound[trained] = torch.tensor(found)
        # A loss that is not a number tells the driver that a member diverged.
        return None if sound.all() else torch.where(sound, 0.0, torch.nan)

    def tensors(self) -> list[Tensor]:
        # A solver goes back by itself where a sweep diverges.
        return []

    def loss(self, step: int) -> Tensor:
        found = self._each(lambda member: self._solvers[member].squared_residual(), range(len(self._solvers)))
        return torch.tensor(found, dtype=torch.float64)

    def size(self) -> Tensor:
        return torch.zeros(len(self._solvers))

    def certificate(self) -> None:
        return None

    def leave_saddles(self, members: Tensor, *, always: bool) -> Tensor:
        return torch.zeros_like(members)

    @staticmethod
    def _each(work: Callable[[int], Any], members: Sequence[int]) -> list[Any]:
        threads = min(len(members), torch.get_num_threads())
        if threads == 1:
            return [work(member) for member in members]
        # The compiled loops hold no lock.
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(work, members))
