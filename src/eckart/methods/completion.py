"""Matrix completion: A ≈ U Vᵀ, trained on the observed entries alone."""

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from eckart.linalg.determined import amplification, undetermined
from eckart.linalg.entries import Entries
from eckart.methods.factorization import PairMethod
from eckart.methods.method import Method
from eckart.methods.optimizers import solver_class, solves_ratings
from eckart.methods.ratings import RatingsCompletion
from eckart.methods.withheld import Evidence, has_direction, withhold
from eckart.optim.objectives import Objective, ObservedEntries
from eckart.optim.solver import PairSolver

# Size of a completed matrix, as of its evidence, from which it is brought back unless it is confirmed.
_RAN_OFF = 1.5
# Ridge, relative to the mean diagonal of a row's Gram matrix, and sweeps with each.
_RIDGES, _SWEEPS = (0.1, 0.3, 1.0, 3.0, 10.0), 5


class Completion(PairMethod):
    """Two factors, trained on the observed entries of the target; held-out entries are not even handed over.

    To fit what is observed is not to recover the rest. So a share of the observed entries is withheld at first. When a
    member has come to rest, or half of ``max_steps`` is over, it is held against them, and is then trained on all
    observed entries: from where it is, or from the start if it has not found those withheld about as well as the
    others. :class:`eckart.methods.withheld.Evidence` says what follows from it. A member that ends larger than what is
    observed, because rows with few entries ran off, and is not confirmed, is fitted anew with as much ridge as brings
    it back.

    Args:
        entries: Observed entries of each target, of one shape ``(m, n)``.
        ranks: Rank of each member.
        seeds: Seed of each member; it also draws the entries that are withheld.
        withheld: Share of the observed entries that is withheld at first, from 0 to .5.
        **common: As in :class:`PairMethod`.

    Raises:
        ValueError: If no entry is observed or all that are observed are zero, or as in :class:`PairMethod`.
    """

    checked: Tensor
    errors_then: Tensor

    def __init__(
        self,
        entries: Sequence[Entries],
        *,
        ranks: Sequence[int],
        seeds: Sequence[int],
        withheld: float = 0.05,
        **common: Any,
    ) -> None:
        rows, cols = entries[0].shape
        if not 0 <= withheld <= 0.5:
            raise ValueError(f"withheld must be a share from 0 to 0.5. Found {withheld}.")
        self._freedom = [rank * (rows + cols - rank) for rank in ranks]
        for own, rank, freedom in zip(entries, ranks, self._freedom, strict=True):
            if len(own) < freedom:
                warnings.warn(
                    f"{len(own)} entries are observed, fewer than the {freedom} degrees of freedom of a {rows}×{cols} "
                    f"matrix of rank {rank}: many matrices fit them, and held-out entries cannot be trusted",
                    stacklevel=2,
                )
        self._undetermined = [undetermined(own, rank) for own, rank in zip(entries, ranks, strict=True)]
        norms = torch.stack([own.norm() for own in entries])
        super().__init__(len(entries), (rows, cols), norms, ranks=ranks, seeds=seeds, **common)
        self.entries = [own.to(self.trained_dtype) for own in entries]
        solver = solver_class(self.make_optimizer)
        self._share = withheld if solver is None or solver.unit_scale else 0.0
        members = zip(self.entries, self.ranks, self.seeds, strict=True)
        self.withheld = [withhold(own, rank, share=self._share, seed=seed) for own, rank, seed in members]
        self.register_buffer("checked", torch.tensor([not bool(chosen.any()) for chosen in self.withheld]))
        # Relative errors at the check: on the entries that were seen, on those withheld; and whether they had a
        # direction in common.
        # -1 before it: a checkpoint holds finite numbers alone.
        self.register_buffer("errors_then", torch.full((self.stack, 3), -1.0, dtype=self.trained_dtype))

    def to_choose_from(self) -> Entries:
        """The observed entries."""
        return self.entries[0]

    @classmethod
    def trained_by(cls, optimizer: object | None) -> type[Method]:
        """A rating model where the optimizer is one for ratings."""
        return RatingsCompletion if solves_ratings(optimizer) else cls

    def make_objective(self) -> Objective:
        """The observed entries, as lists."""
        scales = self.scale.flatten()
        scaled = [own.to(scales.device) / scale for own, scale in zip(self.entries, scales, strict=True)]
        objective = ObservedEntries(scaled, [chosen.to(scales.device) for chosen in self.withheld])
        objective.release(self.checked)
        return objective

    def on_train_start(self) -> None:
        """Let members that were resumed see what they saw."""
        objective, _, _ = self.pair_problem()
        assert isinstance(objective, ObservedEntries)
        objective.release(self.checked)
        super().on_train_start()

    def go_on(self) -> None:
        """Hold members that have come to rest against the entries withheld from them, and train them on all."""
        driver = self.driver
        if driver.done:
            ran_off = [
                size > _RAN_OFF and not self.evidence(member).confirmed
                for member, size in enumerate(self._sizes().tolist())
            ]
            self._bring_back(self.checked & torch.tensor(ran_off, device=self.checked.device))
        late = driver.step_count >= driver.max_steps // 2
        members = ~self.checked & (~driver.active.to(self.checked.device) | late)
        if not members.any():
            return
        begin = self._start(self._initialization)
        for member in members.nonzero()[:, 0].tolist():
            self.errors_then[member] = torch.tensor(self._hold_against(member), dtype=self.trained_dtype)
            if not self.evidence(member).as_promised:
                for factor, first in zip((self.left, self.right), begin, strict=True):
                    factor.data[member] = first[member].to(factor)
        self.checked |= members
        objective, _, _ = self.pair_problem()
        assert isinstance(objective, ObservedEntries)
        objective.release(self.checked)
        optimizer = self._optimizer()
        if isinstance(optimizer, PairSolver):
            optimizer.restart(members)
        driver.active |= members.to(driver.active.device) & ~driver.diverged

    def own_figures(self) -> dict[str, Tensor]:
        """Relative error on the entries withheld, as it was when they were; NaN where none is or was yet."""
        return {"relative_withheld": self._errors_then()[:, 1]} if self._share > 0 else {}

    def evidence(self, member: int) -> Evidence:
        """What the fit of a member is to be judged by."""
        own, chosen = self.entries[member], self.withheld[member]
        fit, error, directed = self._errors_then()[member].tolist()
        withheld = int(chosen.sum()) if error == error else 0
        everything = torch.ones(len(own), dtype=torch.bool)
        return Evidence(
            observed=len(own) - withheld,
            withheld=withheld,
            freedom=self._freedom[member],
            short=self._undetermined[member],
            fit=fit,
            error=error,
            directed=directed == 1,
            final=self._relative(member, everything),
            rested=not bool(self.driver.active[member] | self.driver.diverged[member]),
            whole=self._expected(member),
        )

    def fields(self, member: int) -> dict[str, Any]:
        """Those of every driven method, and what the withheld entries say."""
        evidence, fields = self.evidence(member), super().fields(member)
        if len(self.entries[member]) == self.shape[0] * self.shape[1]:
            # Nothing is missing that could be recovered.
            return fields
        if evidence.verdict != "recovered":
            # A gradient of zero is the end of the training, and no more.
            fields["stop_reason"] = fields["stop_reason"].replace("converged:", "at rest:")
        return fields | {
            "withheld": evidence.withheld,
            "verdict": evidence.verdict,
            "verdict_reason": evidence.reason,
        }

    def undetermined(self, member: int) -> tuple[Tensor, Tensor] | None:
        """Rows and columns without an observed entry."""
        rows, cols = (count.cpu() == 0 for count in self.entries[member].counts())
        return (rows, cols) if bool(rows.any() or cols.any()) else None

    def _errors_then(self) -> Tensor:
        return torch.where(self.errors_then >= 0, self.errors_then, torch.nan)

    def _hold_against(self, member: int) -> tuple[float, float, float]:
        chosen = self.withheld[member]
        kept = self.entries[member][~chosen]
        residual = self._residual(member, kept)
        directed = has_direction(kept, residual, self.seeds[member])
        return self._relative(member, ~chosen), self._relative(member, chosen), float(directed)

    def _expected(self, member: int) -> float:
        own, rank = self.entries[member], self.ranks[member]
        spare = len(own) - self._freedom[member]
        if spare <= 0:
            return torch.inf
        left, right = (factor[member].detach().double().cpu() for factor in self.factors())
        left, right = left[:, :rank], right[:rank]
        variance = self._residual(member, own).square().sum() / spare
        squares = ((left.mT @ left) * (right @ right.mT)).sum()
        return float((variance * amplification(own, left, right) / squares).sqrt())

    @torch.no_grad()
    def _sizes(self) -> Tensor:
        """Root mean square of each completed matrix, relative to that of its observed entries, shape ``(J,)``."""
        left, right = (factor.detach().double().cpu() for factor in self.factors())
        # The sum of the squares of all entries, without forming them.
        squares = ((left.mT @ left) * (right @ right.mT)).sum((1, 2)).clamp(min=0)
        seen = torch.stack([own.norm() / len(own) ** 0.5 for own in self.entries])
        return (squares / (self.shape[0] * self.shape[1])).sqrt() / seen

    @torch.no_grad()
    def _bring_back(self, members: Tensor) -> None:
        if not members.any():
            return
        (objective, left, right), left_over = self.pair_problem(), members
        for ridge in _RIDGES:
            for _ in range(_SWEEPS):
                found = objective.best_left(right, ridge)
                left.data[left_over] = found[left_over]
                right.data[left_over] = objective.best_right(left, ridge)[left_over]
            left_over = left_over & (self._sizes() > 1).to(members.device)
        assert self._problem is not None
        loss = self._problem.loss(self.driver.step_count).cpu().double()
        self.driver.loss = torch.where(members.cpu(), loss, self.driver.loss)

    def _residual(self, member: int, entries: Entries) -> Tensor:
        left, right = (factor[member].detach().double().cpu() for factor in self.factors())
        return entries.to(torch.float64).value - entries.product(left, right)

    def _relative(self, member: int, chosen: Tensor) -> float:
        own = self.entries[member]
        part = own[chosen]
        # Relative to the size of an observed entry: those chosen may all be zero.
        size = own.norm() * (len(part) / len(own)) ** 0.5
        return float(torch.linalg.vector_norm(self._residual(member, part)) / size)
