"""The targets, their norms and their optimum: the reference of every error. Training has no access to it."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from eckart.linalg.certificates import FAILURE, Certificate, certify, rounding_of
from eckart.linalg.checks import require_nonzero
from eckart.linalg.entries import Entries
from eckart.linalg.leading import can_iterate, certified, leading, upright
from eckart.linalg.norms import residual_norms
from eckart.linalg.operators import Dense, Member, Operator, Residual, Stacked
from eckart.linalg.optimality import errors_of, optimum
from eckart.linalg.random import stream
from eckart.linalg.ranks import check_rank
from eckart.linalg.svd import singular_values
from eckart.linalg.tall_norms import TallNorms

# Largest number of entries of a matrix-free target that is computed entry by entry, from its images of unit vectors.
EXACT_ENTRIES = 4_000_000
# Number of fresh probes that estimate the errors for a larger target.
PROBES = 100
# Longer sides times the square of shorter ones, and shorter ones, up to which stored targets are decomposed.
_EXACT_WORK, _EXACT_SIDE = 10**10, 1024
CERTIFIED = f"exact, against an optimum within bounds that are wrong with a probability of {FAILURE:.0e}"


class Reference:
    """A stack of targets, their norms and their optimum, to measure the errors of approximations.

    The errors are exact if the target is stored entry by entry, has at most 4,000,000 entries, or has a side too short
    to be iterated whose unit vectors have images. The spectrum of a large tall target and what an approximation leaves
    of it come from its Gram matrix, where that loses no digits: :mod:`eckart.linalg.tall_norms`. Where the SVD of a
    stored target would take long (a shorter side above 1024, and more than 10¹⁰ for the longer side times the square of
    the shorter one), and for a sparse one, the optimum is iterated, and known within proven bounds:
    :mod:`eckart.linalg.certificates`. The errors of other targets are estimated from fresh Gaussian probes x: the mean
    of ``‖(A - W) x‖²`` is ``‖A - W‖²`` in the Frobenius norm. The 2-norm and the optimum are then iterated if the
    operator has a transpose, and NaN if it has none.

    Args:
        operator: The targets.
        ranks: Rank of each member, ``1 <= rank <= min(m, n)``.
        observed: Entries that training sees, boolean, shape ``(J, m, n)``; None for methods that do not see entries.

    Attributes:
        spectrum: All singular values, shape ``(J, min(m, n))``, float64; None if they are not known.
        norms: 2-norm and Frobenius norm, each of shape ``(J,)``.
        optimum: Relative errors of the best approximation, each of shape ``(J,)``.
        certificates: Bounds on the optimum of each member; None where it is exact, or not known.
        how: Description of how the errors are measured: ``exact``, which may be against an optimum within bounds, or
            ``estimated from 100 fresh probes``.

    Raises:
        ValueError: If a rank does not fit the shape, a target is all zero, or its norm is so large or small that its
            square overflows or underflows.

    Example:
        >>> reference = Reference(Dense(torch.diag(torch.tensor([4.0, 3.0]))), [1])
        >>> errors = reference.errors(torch.tensor([[[0.0], [1.0]]]), torch.tensor([[[0.0, 3.0]]]))
        >>> errors["excess_2norm"]
        tensor([0.2500], dtype=torch.float64)
    """

    def __init__(
        self, operator: Operator, ranks: Sequence[int], *, observed: Tensor | None = None, limit: float = 1e140
    ) -> None:
        for rank in ranks:
            check_rank(rank, operator.shape)
        self.operator, self.ranks, self.observed = operator, list(ranks), observed
        self.stack, self.shape = operator.stack, operator.shape
        self.matrix: Tensor | None = None
        self.spectrum: Tensor | None = None
        self.how = "exact"
        self.certificates: list[Certificate] | None = None
        # What the leading vectors leave of a target, where the optimum is small.
        self._left: list[float] = [torch.nan] * self.stack
        self._squares: Tensor | None = None
        # What is known of each target from its Gram matrix, which measures residuals in little time.
        self._tall: list[TallNorms | None] = []
        if not (isinstance(operator, Dense) or _is_small(operator, max(self.ranks))):
            self.how = f"estimated from {PROBES} fresh probes"
            self._estimate(limit)
            return
        self.matrix = operator.dense()
        if not self.matrix.isfinite().all():
            raise ValueError("The target must be finite. Found NaN or infinite entries.")
        if isinstance(operator, Dense) and self._certify(self.matrix, limit):
            return
        self._tall = [TallNorms.of(member) for member in self.matrix]
        self.spectrum = torch.stack(
            [
                singular_values(member) if known is None else known.spectrum
                for known, member in zip(self._tall, self.matrix, strict=True)
            ]
        )
        self.norms = self.spectrum[:, 0], torch.linalg.vector_norm(self.spectrum, dim=-1)
        _require_scale(self.norms[0], limit)
        self.optimum = optimum(self.spectrum, torch.tensor(self.ranks))

    def to(self, device: torch.device) -> None:
        """Move the targets to a device, if it has float64."""
        if device.type == "mps" or self.matrix is None:
            return
        self.matrix = self.matrix.to(device)
        self._tall = [
            None if known is None else known.to(self.matrix[member]) for member, known in enumerate(self._tall)
        ]
        self.spectrum = None if self.spectrum is None else self.spectrum.to(device)
        self.norms = self.norms[0].to(device), self.norms[1].to(device)
        self.optimum = self.optimum[0].to(device), self.optimum[1].to(device)
        self.observed = None if self.observed is None else self.observed.to(device)

    def errors(self, left: Tensor, right: Tensor, *, tolerance: float = 1e-12) -> dict[str, Tensor]:
        """Relative errors of ``left @ right`` and their excess over the optimum, each of shape ``(J,)``, float64.

        Args:
            left: Shape ``(J, m, k)``.
            right: Shape ``(J, k, n)``.
            tolerance: Largest relative error of a 2-norm that is iterated.
        """
        device = self.norms[0].device
        left, right = (factor.detach().to(device).double() for factor in (left, right))
        if self.matrix is not None:
            two_norm, frobenius = self._residual_norms(self.matrix, left, right, tolerance)
        else:
            two_norm, frobenius = self._estimated(left, right)
        errors = errors_of((two_norm, frobenius), self.norms, self.optimum)
        if self.observed is not None and self.matrix is not None:
            residual = self.matrix - left @ right
            for name, part in (("relative_observed", self.observed), ("relative_held_out", ~self.observed)):
                norm = torch.linalg.matrix_norm(self.matrix * part)
                errors[name] = torch.linalg.matrix_norm(residual * part) / norm
        return errors

    def bounds(self, member: int, left: Tensor, right: Tensor, errors: dict[str, float]) -> dict[str, list[float]]:
        """Proven bounds ``[low, high]`` of the optimum of a member and of the excess over it, in both norms.

        Args:
            member: Its place.
            left: Shape ``(m, k)``.
            right: Shape ``(k, n)``.
            errors: Of the member, as of :meth:`errors`.

        Returns:
            ``optimum_2norm_bounds`` and so on; empty where the optimum is exact, or its bounds are not known.
        """
        if self.certificates is None:
            return {}
        bounds, norm = self.certificates[member], float(self.norms[1][member])
        known = self._left[member]
        two_norm, frobenius = bounds.optimum(norm, None if math.isnan(known) else known)
        device = self.norms[0].device
        factors = left.to(device).double(), right.to(device).double()
        stored = self.operator if self.matrix is None else Dense(self.matrix)
        residual = upright(Residual(Member(stored, member), *factors))
        # Its products are differences: they have the rounding of the products with its parts.
        parts = bounds.largest[1] + float(
            torch.linalg.matrix_norm(factors[0], 2) * torch.linalg.matrix_norm(factors[1], 2)
        )
        _, vectors = leading(residual, 1, factors[0], parts=parts)
        error = certify(residual, vectors, 1, parts=parts).largest
        error = error[0] / bounds.largest[1], error[1] / bounds.largest[0]
        found = {"optimum_2norm_bounds": two_norm, "optimum_frobenius_bounds": frobenius}
        found["excess_2norm_bounds"] = error[0] - two_norm[1], error[1] - two_norm[0]
        low = high = errors["relative_frobenius"]
        if self.matrix is None:
            low, high = blurred(low, self.shape)
        else:
            low, high = max(0.0, low - bounds.rounding), high + bounds.rounding
        found["excess_frobenius_bounds"] = low - frobenius[1], high - frobenius[0]
        return {name: list(pair) for name, pair in found.items()}

    def _residual_norms(self, matrix: Tensor, left: Tensor, right: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
        if not any(self._tall):
            return residual_norms(matrix, left, right, tolerance=tolerance)
        found = []
        for known, *member in zip(self._tall, matrix, left, right, strict=True):
            norms = None if known is None else known.residual(*member[1:])
            found.append(residual_norms(*member, tolerance=tolerance) if norms is None else norms)
        two_norms, frobenius = zip(*found, strict=True)
        return torch.stack(two_norms), torch.stack(frobenius)

    def _certify(self, matrix: Tensor, limit: float) -> bool:
        """Bounds in place of the spectra, where those would take long; whether it was done."""
        rows, cols = self.shape
        if min(self.shape) <= _EXACT_SIDE or rows * cols * min(self.shape) <= _EXACT_WORK:
            return False
        frobenius = torch.linalg.vector_norm(matrix, dim=(1, 2))
        _require_scale(frobenius, limit)
        if max(self.ranks) == min(self.shape):
            return False
        found = [certified(member, rank) for member, rank in zip(matrix, self.ranks, strict=True)]
        self.certificates, self._left = [bounds for bounds, _ in found], [left for _, left in found]
        self.how = CERTIFIED
        self._take(frobenius)
        return True

    def _take(self, frobenius: Tensor) -> None:
        """Norms and optimum from the bounds: what the Ritz vectors attain."""
        assert self.certificates is not None
        ends = zip(self.certificates, self._left, frobenius.tolist(), strict=True)
        pairs = [bounds.optimum(norm, None if math.isnan(left) else left) for bounds, left, norm in ends]
        largest = frobenius.new_tensor([bounds.largest[0] for bounds in self.certificates])
        self.norms = largest, frobenius
        two_norm = frobenius.new_tensor([pair[0][0] for pair in pairs])
        self.optimum = two_norm, frobenius.new_tensor([pair[1][1] for pair in pairs])

    def _estimate(self, limit: float) -> None:
        if self.operator.has_transpose() and _has_entries(self.operator):
            self._squares = self.operator.squares()
            frobenius = self._squares.sqrt()
            _require_scale(frobenius, limit)
            self.certificates = []
            for member, rank in enumerate(self.ranks):
                tall = upright(Member(self.operator, member))
                _, vectors = leading(tall, rank + 1, frobenius)
                self.certificates.append(certify(tall, vectors, rank))
            self.how = CERTIFIED
            self._take(frobenius)
            return
        x = self._probes()
        images = self.operator.images(x)
        frobenius = images.square().mean(1).sum(1).sqrt()
        self._x, self._images = x, images
        zero = frobenius.new_zeros(self.stack, self.shape[0], 0), frobenius.new_zeros(self.stack, 0, self.shape[1])
        values = self._leading(*zero, count=max(self.ranks) + 1)
        if values is None:
            unknown = torch.full_like(frobenius, torch.nan)
            self.norms, self.optimum = (unknown, frobenius), (unknown, unknown)
            _require_scale(frobenius, limit)
            return
        _require_scale(values[:, 0], limit)
        # The estimate of the whole norm must not be smaller than the part that is known.
        squares = torch.maximum(frobenius.square(), values.square().sum(1))
        index = torch.tensor(self.ranks)[:, None]
        kept = values.square().cumsum(1).gather(1, index - 1)[:, 0]
        self.norms = values[:, 0], squares.sqrt()
        self.optimum = values.gather(1, index)[:, 0] / values[:, 0], (1 - kept / squares).clamp(min=0).sqrt()

    def _estimated(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        values = self._leading(left, right, count=1)
        if self._squares is not None:
            frobenius = self.operator.residual_products(left, right, self._squares)[0].sqrt()
        else:
            residual = self._images - (self._x @ right.mT) @ left.mT
            frobenius = residual.square().mean(1).sum(1).sqrt()
        return torch.full_like(frobenius, torch.nan) if values is None else values[:, 0], frobenius

    def _probes(self) -> Tensor:
        drawn = torch.randn(PROBES, self.shape[1], generator=stream(0, "measuring"), dtype=torch.float64)
        return drawn.expand(self.stack, -1, -1)

    def _leading(self, left: Tensor, right: Tensor, count: int) -> Tensor | None:
        """Leading singular values of the residual, to six digits; None if the operator has no transpose."""
        if not self.operator.has_transpose():
            return None
        residuals = [
            Residual(Member(self.operator, member), left[member], right[member]) for member in range(self.stack)
        ]
        # Where nothing is subtracted the norm is not known yet.
        parts = [2 * float(norm) for norm in self.norms[0]] if left.shape[-1] else [0.0] * self.stack
        pairs = zip(residuals, parts, strict=True)
        return torch.stack([leading(residual, count, left, parts=own)[0] for residual, own in pairs])


class ObservedReference:
    """A stack of targets of which only some entries exist: there is no optimum, and no error on the others.

    It answers what :class:`Reference` answers; what is not known is NaN or None.

    Args:
        entries: Observed entries of each target, of one shape ``(m, n)``.
        ranks: Rank of each member, ``1 <= rank <= min(m, n)``.

    Raises:
        ValueError: If a rank does not fit the shape, an entry is infinite, or no entry differs from 0.

    Example:
        >>> observed = Entries.of_matrix(torch.tensor([[3.0, torch.nan], [torch.nan, 4.0]]))
        >>> reference = ObservedReference([observed], [1])
        >>> reference.errors(torch.tensor([[[3.0], [0.0]]]), torch.tensor([[[1.0, 9.0]]]))
        {'relative_observed': tensor([0.8000], dtype=torch.float64)}
    """

    how = "known on the observed entries alone"
    matrix = spectrum = observed = None

    def __init__(self, entries: Sequence[Entries], ranks: Sequence[int]) -> None:
        self.stack, self.shape, self.ranks = len(entries), entries[0].shape, list(ranks)
        for rank in ranks:
            check_rank(rank, self.shape)
        self._entries = [own.to(torch.float64) for own in entries]
        if not all(own.value.isfinite().all() for own in entries):
            raise ValueError("The observed entries must be finite. Found infinite ones.")
        self._norms = torch.stack([own.norm() for own in self._entries])
        _require_scale(self._norms, 1e140)
        unknown = torch.full_like(self._norms, torch.nan)
        self.norms = self.optimum = unknown, unknown

    def to(self, device: torch.device) -> None:
        """Measure on a device, where it has float64."""
        if device.type != "mps":
            self._entries, self._norms = [own.to(device) for own in self._entries], self._norms.to(device)

    def errors(self, left: Tensor, right: Tensor, *, tolerance: float = 1e-12) -> dict[str, Tensor]:
        """Relative Frobenius error of ``left @ right`` on the observed entries, shape ``(J,)``, float64."""
        left, right = (factor.detach().to(self._norms.device).double() for factor in (left, right))
        residuals = [own.value - own.product(*pair) for own, *pair in zip(self._entries, left, right, strict=True)]
        return {"relative_observed": torch.stack([torch.linalg.vector_norm(part) for part in residuals]) / self._norms}

    def bounds(self, member: int, left: Tensor, right: Tensor, errors: dict[str, float]) -> dict[str, list[float]]:
        """None: there is no optimum."""
        return {}


def blurred(error: float, shape: tuple[int, int]) -> tuple[float, float]:
    """Bounds of a relative error that is the root of a difference of squared norms: it has the rounding of these.

    Example:
        >>> low, high = blurred(0.0, (100, 100))
        >>> low, 1e-8 < high < 1e-6
        (0.0, True)
    """
    blur = 2 * rounding_of(shape)
    return math.sqrt(max(0.0, error**2 - blur)), math.sqrt(error**2 + blur)


def _is_small(operator: Operator, rank: int) -> bool:
    rows, cols = operator.shape
    if rows * cols <= EXACT_ENTRIES:
        return True
    # Iteration needs a block of vectors twice within the short side; below that, the images of its unit vectors do.
    return not can_iterate(operator.shape, rank + 1) and (cols <= rows or operator.has_transpose())


def _has_entries(operator: Operator) -> bool:
    """Whether the entries are stored, in whatever way, so that their squares can be summed up."""
    if isinstance(operator, Stacked):
        return all(map(_has_entries, operator.members))
    return type(operator).squares is not Operator.squares


def _require_scale(norms: Tensor, limit: float) -> None:
    require_nonzero(norms)
    for norm in norms.tolist():
        if not 1 / limit < norm < limit:
            law = f"The target's 2-norm must be between {1 / limit:.0e} and {limit:.0e}, so that its square is a number"
            raise ValueError(f"{law}. Found {norm:.1e}.")
