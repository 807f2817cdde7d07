"""Gauss–Newton on factor pairs, started by variational Bayes: recovery from few observed entries."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eckart.linalg.entries import Entries
from eckart.linalg.random import stream
from eckart.optim.lists import Floats, Lists
from eckart.optim.objectives import Objective, ObservedEntries
from eckart.optim.peeling import Core
from eckart.optim.posterior import Posterior
from eckart.optim.riemannian_cg import RiemannianCG
from eckart.optim.solver import PairSolver
from eckart.optim.variable_projection import Projected

# What a member does next.
BEGIN, POSTERIOR, LEAST_SQUARES, CONJUGATE, SETTLED = range(5)

# Floor of the posterior: where it begins, in the order of the starts, how it grows, and where a start ends.
_FLOORS, _GROWTH, _LAST = (0.01, 0.01, 0.02, 0.005), 1.03, 0.4
# A step that changes the estimated noise by less than this stands still; so many of them with all directions found end.
_STILL, _PATIENCE = 1e-2, 10
# All is found when the noise is this small beside the weakest direction, or beside the entries.
_FOUND, _NOTHING = 1e-4, 1e-24
# Factors with at most this relative residual are worth least squares at once.
_WARM = 0.9
# Least squares steps that decrease the residual by less than this are slow.
_SLOW = 1e-2
# Steps of least squares of one start; a residual that is rounding; one that nothing but a recovery leaves at the end.
_STEPS, _EXACT, _FITS = 100, 1e-13, 1e-9
# Costs that differ by less than this differ by rounding.
_LEVEL = 1e-12
# Two starts found the same noise.
_SAME = 1e-2
# Columns with so many times the mean are outliers.
_OUTLYING = 5.0
# A posterior mean of at most this size, relative to what is expected, explains nothing; sweeps with ridge in its place.
_NONE, _SWEEPS = 0.1, 30
# Least squares may go this many expected errors away from the posterior mean.
_FAR = 0.5


class GaussNewton(PairSolver):
    """Recovery of a low-rank matrix from observed entries near the limit of information.

    A start has two parts. Variational Bayes gives every row of both factors a mean and a covariance: rows with few
    entries stay uncertain, so they cannot run off as they do in least squares, and a random start finds the directions
    of the target one after the other, strongest first. The least variance that a direction may have is raised slowly
    while the estimated noise stands still, so that directions weaker than the noise of their own absence appear too.
    Then variable projection, a damped Gauss–Newton method with the left factor eliminated, goes from the posterior mean
    to the least-squares solution.

    A start whose residual vanishes, or two that find the same optimum, settle a member. Where entries are many and
    noise is left, least squares is well determined: one start is enough, and conjugate gradients go from its posterior
    mean to the optimum. Where they are few, and least squares leaves the neighborhood of the posterior mean, which says
    how far off it expects to be, the entries do not determine its solution; after all starts, or four that agree, the
    member then keeps the posterior mean with the least noise. It is bounded, and in general closer to the target than a
    least-squares solution, but not stationary: the member stops without a certificate.

    Args:
        objective: Entries of a stack of targets, on the CPU.
        left: Left factors, shape ``(J, m, k)``; a start takes their right ones, restarts draw their own.
        right: Right factors, shape ``(J, k, n)``.
        tolerance: A member has converged when its gradient in the scaled metric is at most this fraction of the norm of
            the entries seen.
        starts: Starts at most.

    Raises:
        ValueError: If the factors are not on the CPU, or ``starts`` is not positive.

    Example:
        >>> from eckart.linalg.entries import Entries
        >>> from eckart.optim.objectives import ObservedEntries
        >>> target = torch.outer(torch.arange(1.0, 7), torch.arange(1.0, 6)).double()
        >>> seen = Entries.of_matrix(target, torch.eye(6, 5) + torch.ones(6, 5).triu(2) + torch.ones(6, 5).tril(-3) > 0)
        >>> left, right = torch.ones(1, 6, 1).double(), torch.ones(1, 1, 5).double()
        >>> solver = GaussNewton(ObservedEntries([seen]), left, right, tolerance=1e-10)
        >>> while solver.active.any():
        ...     squared = solver.step()
        >>> bool(((left @ right)[0] - target).abs().max() < 1e-8)
        True

    References:
        Lim & Teh, KDD Cup 2007, and Raiko, Ilin & Karhunen, ECML 2007 (variational Bayes); Ruhe & Wedin, SIAM Review
        22, 1980, and Okatani, Yoshida & Deguchi, ICCV 2011 (variable projection).
    """

    on_cpu = True

    def __init__(
        self, objective: Objective, left: Tensor, right: Tensor, *, tolerance: float = 1e-10, starts: int = 6
    ) -> None:
        super().__init__(objective, left, right, tolerance=tolerance, starts=starts)
        if left.device.type != "cpu":
            raise ValueError(f"Gauss–Newton needs factors on the CPU. Found {left.device.type}.")
        if starts < 1:
            raise ValueError(f"starts must be at least 1. Found {starts}.")
        self._lists: dict[int, Lists] = {}
        self._cores: dict[int, Core] = {}
        self._alone: dict[int, ObservedEntries] = {}

    def restart(self, members: Tensor) -> None:
        """Look at the entries and the factors of these members anew."""
        for member in members.nonzero()[:, 0].tolist():
            self._lists.pop(member, None)
            self._cores.pop(member, None)
            self._alone.pop(member, None)
            known = self._memory()[member].get("best_noise", np.inf)
            self._memory()[member] = _blank() | {"known": known}

    def at_rest(self) -> Tensor:
        """Members that have no start left to try."""
        resting = [memory["phase"] == SETTLED for memory in self._memory()]
        return torch.tensor(resting, device=self.active.device)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Tensor:  # type: ignore[override]
        """Take one step of either part and return ``‖residual‖²`` before it, shape ``(J,)``."""
        before = self.squared_residual()
        for member in self.active.nonzero()[:, 0].tolist():
            memory = self._memory()[member]
            rank = int((self.right[member] != 0).any(-1).sum()) if memory["rank"] < 0 else memory["rank"]
            memory["rank"] = rank
            if rank == 0 or memory["phase"] == SETTLED:
                memory["phase"] = SETTLED
                self._stop(member)
                continue
            one = _Member(self, member, memory)
            try:
                one.advance(warm=float(before[member]) <= (_WARM * one.lists.norm) ** 2)
            except np.linalg.LinAlgError:
                # Factors ran off so far that their products are no numbers any more.
                one.abandon()
        return before

    def lists(self, member: int) -> Lists:
        """The entries that a member sees now, as lists."""
        if member not in self._lists:
            row, col, values = (part.numpy() for part in self.objective.entries(member))
            shape = self.left.shape[1], self.right.shape[2]
            self._lists[member] = Lists.of(row, col, values.astype(np.float64), shape)
        return self._lists[member]

    def alone(self, member: int) -> ObservedEntries:
        """The same entries as an objective of one member."""
        if member not in self._alone:
            row, col, values = self.objective.entries(member)
            seen = Entries(row, col, values, (self.left.shape[1], self.right.shape[2]))
            self._alone[member] = ObservedEntries([seen])
        return self._alone[member]

    def core(self, member: int, rank: int) -> Core:
        """What least squares works on: rows and columns with at most ``rank`` entries follow from the others."""
        if member not in self._cores:
            self._cores[member] = Core.of(self.lists(member), rank)
        return self._cores[member]

    def write(self, member: int, left: Floats, right: Floats) -> None:
        """Give a member factors ``(m, rank)`` and ``(n, rank)``."""
        rank = left.shape[1]
        self.left[member, :, :rank] = torch.from_numpy(np.ascontiguousarray(left)).to(self.left)
        self.right[member, :rank] = torch.from_numpy(np.ascontiguousarray(right.T)).to(self.right)

    def _stop(self, member: int) -> None:
        if self.tolerance > 0:
            self.active[member] = False

    def _memory(self) -> list[dict[str, Any]]:
        memory = self.state[self.left]
        if "members" not in memory:
            memory["members"] = [_blank() for _ in range(len(self.left))]
        return memory["members"]  # type: ignore[no-any-return]


def _blank() -> dict[str, Any]:
    return {"phase": BEGIN, "rank": -1, "start": 0, "known": np.inf}


class _Member:
    """One member in one step. What has to outlast it is in the memory: numbers, and tensors of the factors' dtype."""

    def __init__(self, solver: GaussNewton, member: int, memory: dict[str, Any]) -> None:
        self.solver, self.member, self.memory = solver, member, memory
        self.lists = solver.lists(member)

    def advance(self, *, warm: bool) -> None:
        """Do what comes next."""
        phase = self.memory["phase"]
        if phase == BEGIN:
            self.begin(warm=warm)
        elif phase == POSTERIOR:
            self.update_posterior()
        elif phase == CONJUGATE:
            self.follow_conjugates()
        else:
            self.take_step()

    def abandon(self) -> None:
        """Leave a start, and what was found before it, for the next one; after all starts for a fit with ridge."""
        start, rank = self.memory["start"] + 1, self.memory["rank"]
        self.memory.clear()
        self.memory.update(_blank(), start=start, rank=rank)
        if start >= self.solver.defaults["starts"]:
            self._settle(*self._ridge_fit(), noise=np.inf)

    def begin(self, *, warm: bool) -> None:
        """Begin a start: at the factors if they are good, else at the directions of the right one or random ones."""
        memory = self.memory
        left, right = self._factors()
        if warm and memory["start"] == 0:
            posterior = Posterior.resume(self.lists, left, right)
        else:
            memory["known"] = np.inf
            odd = self._outliers() if memory["start"] % 2 and "best_left" in memory else np.zeros(0, dtype=np.int64)
            if len(odd):
                # What is left may be a few columns that run off: the others go on without what they said.
                right = self._double("best_right").copy()
                right[odd] = 0.0
                posterior = Posterior.resume(self.lists, self._double("best_left"), right)
            else:
                if memory["start"] > 0:
                    right = self._random(right.shape)
                posterior = Posterior.begin(self.lists, right)
        self._keep_posterior(posterior)
        memory.update(phase=POSTERIOR, floor=_FLOORS[memory["start"] % len(_FLOORS)], still=0)
        self.update_posterior()

    def update_posterior(self) -> None:
        """Update the posterior once; go on to least squares when it has found all, or stands still."""
        memory = self.memory
        posterior = self._posterior()
        before = posterior.noise
        left = posterior.update(self.lists, floor=memory["floor"])
        self._keep_posterior(posterior)
        self._show(left, posterior.mean)
        weakest, power = float(posterior.strength[-1]), self.lists.norm**2 / len(self.lists.values)
        if abs(np.log(max(posterior.noise, 1e-300) / before)) >= _STILL:
            memory["still"] = 0
        else:
            # Where every direction is above the floor, to raise it changes nothing.
            memory["still"] += weakest > 1.5 * memory["floor"] * posterior.noise
            memory["floor"] *= _GROWTH
        found = posterior.noise <= max(_FOUND * weakest, _NOTHING * power)
        if not (found or memory["still"] >= _PATIENCE or memory["floor"] > _LAST):
            return
        if not found and self.lists.are_many(memory["rank"]):
            if weakest <= memory["floor"] * posterior.noise:
                # The posterior takes it all for noise. Conjugate gradients would rest at zero, a saddle.
                left, right = Projected.at(self.lists, self._random(posterior.mean.shape)).balanced()
                self.solver.write(self.member, left, right)
            else:
                self.solver.write(self.member, left, posterior.mean)
            memory.update(phase=CONJUGATE)
        else:
            memory.update(anchor_left=self._tensor(left), anchor_right=self._tensor(posterior.mean))
            memory.update(phase=LEAST_SQUARES, point=self._tensor(posterior.mean[self._core().cols]))
            memory.update(damping=1e-6, growth=2.0, taken=0, stuck=0, slow=0)

    def follow_conjugates(self) -> None:
        """Take a step of conjugate gradients from the posterior mean: where noise is left it is faster at the end."""
        solver, member, rank = self.solver, self.member, self.memory["rank"]
        left, right = (factor.detach()[member : member + 1] for factor in (solver.left, solver.right))
        conjugate = RiemannianCG(
            solver.alone(member), left[:, :, :rank], right[:, :rank], tolerance=solver.tolerance, warm_up=0
        )
        conjugate.state[conjugate.left] = self.memory.get("conjugate", {})
        conjugate.step()
        self.memory["conjugate"] = dict(conjugate.state[conjugate.left])
        if not conjugate.active.any():
            self._settle(*self._factors(), noise=self.memory["posterior"]["noise"])

    def take_step(self) -> None:
        """Take a damped Gauss–Newton step if it decreases the residual, and judge where it leads."""
        memory, lists = self.memory, self._core().lists
        now = Projected.at(lists, self._double("point"))
        change, predicted = now.step(lists, memory["damping"])
        tried = Projected.at(lists, now.right + change)
        gain = min(max((now.cost - tried.cost) / max(predicted, 1e-300), 0.0), 2.0)
        memory["taken"] += 1
        # Near an optimum the cost is flat to rounding, and the gradient tells which point is the better one.
        memory["slow"] += now.cost - tried.cost < _SLOW * now.cost
        level = abs(now.cost - tried.cost) <= _LEVEL * now.cost
        gain = 1.0 if level else gain
        if tried.stationarity(lists) < now.stationarity(lists) if level else tried.cost < now.cost:
            memory["stuck"] = 0
            memory["damping"] = max(memory["damping"] * max(0.2, 1 - (2 * gain - 1) ** 3), 1e-16)
            memory["growth"] = 2.0
            now = tried
        else:
            memory["stuck"] += 1
            memory["damping"] = min(memory["damping"] * memory["growth"], 1e100)
            memory["growth"] = min(2 * memory["growth"], 1e10)
        memory["point"] = self._tensor(now.right)
        self._judge(now)

    def _judge(self, now: Projected) -> None:
        memory, lists, tolerance = self.memory, self._core().lists, self.solver.tolerance
        eps = torch.finfo(self.solver.left.dtype).eps
        exact = now.cost <= (max(_EXACT, 4 * eps) * lists.norm) ** 2
        flat = exact or memory["stuck"] >= 12 or now.stationarity(lists) <= 0.5 * tolerance
        pair = self._whole(*now.balanced())
        near = self._is_near(*pair)
        if near:
            self._show(*pair)
        lost = not near and (memory["slow"] >= _PATIENCE or now.size > 3 * self._expected_size())
        if not (flat or lost or memory["taken"] >= _STEPS):
            return
        if exact or now.cost <= (max(_FITS, 100 * eps) * lists.norm) ** 2:
            self._settle(*pair, noise=0.0)
        else:
            self._compare(pair if near else None)

    def _compare(self, found: tuple[Floats, Floats] | None) -> None:
        """Hold the optimum of a start, or its posterior mean, against the best one so far."""
        memory = self.memory
        pair = found or (self._double("anchor_left"), self._double("anchor_right"))
        noise, best = memory["posterior"]["noise"], memory.get("best_noise", np.inf)
        memory["agreed"] = memory.get("agreed", 0) + 1 if abs(noise - best) <= _SAME * noise else 0
        if noise < best:
            memory.update(best_noise=noise, best_left=self._tensor(pair[0]), best_right=self._tensor(pair[1]))
        memory["start"] += 1
        # Least squares confirms one posterior mean that another start found too; without it, it takes more of them.
        # After a restart with more entries, what was settled before is confirmed if it still holds.
        sure = (
            (found is not None and self.lists.are_many(memory["rank"]))
            or memory["agreed"] >= (1 if found else 3)
            or noise <= 1.1 * memory["known"] < np.inf
        )
        if sure or memory["start"] >= self.solver.defaults["starts"]:
            left, right = self._double("best_left"), self._double("best_right")
            explained = np.sqrt(((left.T @ left) * (right.T @ right)).sum()) > _NONE * self._expected_size()
            pair = (left, right) if explained else self._ridge_fit()
            self._settle(*pair, noise=memory["best_noise"])
        else:
            memory["phase"] = BEGIN

    def _ridge_fit(self) -> tuple[Floats, Floats]:
        """Alternating least squares with ridge, where the posterior takes all for noise: not zero, and bounded."""
        objective = self.solver.alone(self.member)
        shape = self.memory["rank"], self.solver.right.shape[2]
        right = torch.from_numpy(self._random(shape))[None].to(self.solver.right)
        for _ in range(_SWEEPS):
            left = objective.best_left(right, objective.ridge)
            right = objective.best_right(left, objective.ridge)
        return left[0].double().numpy(), right[0].mT.double().numpy()

    def _random(self, shape: tuple[int, ...]) -> Floats:
        generator = stream(self.memory["start"], "starts")
        return torch.randn(shape, generator=generator, dtype=torch.float64).numpy()

    def _settle(self, left: Floats, right: Floats, *, noise: float) -> None:
        self.solver.write(self.member, left, right)
        start, rank = self.memory["start"], self.memory["rank"]
        self.memory.clear()
        self.memory.update(phase=SETTLED, rank=rank, start=start, best_noise=noise)
        self.solver._stop(self.member)

    def _show(self, left: Floats, right: Floats) -> None:
        """Give the member these factors unless an earlier start explained more."""
        if self.memory["posterior"]["noise"] <= self.memory.get("best_noise", np.inf):
            self.solver.write(self.member, left, right)

    def _outliers(self) -> NDArray[np.int64]:
        """Columns whose factor is far too large, or that leave far more than others, at the best start so far."""
        left, right = self._double("best_left"), self._double("best_right")
        side = self.lists.by_col
        col = np.repeat(np.arange(len(right)), np.diff(side.starts))
        rest = np.einsum("ij,ij->i", left[side.other], right[col]) - self.lists.values[side.place]
        counts = np.maximum(np.diff(side.starts), 1)
        shares = np.bincount(col, rest**2, len(right)) / counts
        sizes = (right**2 / np.maximum((right**2).mean(0), np.finfo(float).tiny)).sum(1)
        return np.flatnonzero((sizes > _OUTLYING * right.shape[1]) | (shares > _OUTLYING * shares.mean()))

    def _core(self) -> Core:
        return self.solver.core(self.member, self.memory["rank"])

    def _whole(self, left: Floats, right: Floats) -> tuple[Floats, Floats]:
        """Factors of all rows and columns, near the posterior mean, from those of the core."""
        core, first, other = self._core(), self._double("anchor_left"), self._double("anchor_right")
        if not core.layers:
            return left, right
        turn = np.linalg.lstsq(other[core.cols], right, rcond=None)[0]
        return core.whole(left, right, first @ np.linalg.pinv(turn).T, other @ turn)

    def _is_near(self, left: Floats, right: Floats) -> bool:
        """Whether a pair lies where the posterior expects the target."""
        if self.lists.are_many(self.memory["rank"]):
            return True
        first = np.hstack([left, -self._double("anchor_left")])
        other = np.hstack([right, self._double("anchor_right")])
        distance = float(np.linalg.norm(np.linalg.qr(first)[1] @ np.linalg.qr(other)[1].T))
        return distance <= _FAR * self.memory["posterior"]["spread"] ** 0.5 + 1e-6 * self._expected_size()

    def _expected_size(self) -> float:
        rows, cols = self.lists.shape
        return float(self.lists.norm * (rows * cols / len(self.lists.values)) ** 0.5)

    def _posterior(self) -> Posterior:
        kept = self.memory["posterior"]
        arrays = {name: kept[name].double().numpy() for name in ("mean", "covariance", "precision", "strength")}
        return Posterior(**arrays, noise=kept["noise"], spread=kept["spread"])

    def _keep_posterior(self, posterior: Posterior) -> None:
        self.memory["posterior"] = {
            "mean": self._tensor(posterior.mean),
            "covariance": self._tensor(posterior.covariance),
            "precision": self._tensor(posterior.precision),
            "strength": self._tensor(posterior.strength),
            "noise": posterior.noise,
            "spread": posterior.spread,
        }

    def _factors(self) -> tuple[Floats, Floats]:
        rank, (left, right) = self.memory["rank"], (self.solver.left, self.solver.right)
        pair = left[self.member, :, :rank], right[self.member, :rank].mT
        return tuple(factor.detach().double().numpy() for factor in pair)  # type: ignore[return-value]

    def _tensor(self, array: Floats) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.solver.left.dtype)

    def _double(self, name: str) -> Floats:
        return self.memory[name].double().numpy()  # type: ignore[no-any-return]
