"""A layer together with its inputs: what each rank would lose and cost, and the factors."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from eckart.compression.layers import Form, Layer
from eckart.compression.metrics import as_matrix, metrics_of
from eckart.compression.moments import Moments
from eckart.compression.replacing import dense_weight
from eckart.compression.two_sided import TwoSided, two_sided
from eckart.linalg.whitened import Whitened, loss_on_inputs, whitened
from eckart.nn.low_rank_conv import folded

# Columns of a convolution's matrix up to which all forms are tried; of larger ones the two of the literature.
ALL_FORMS = 1200
# What the rounding of a bias may come to, relative to the weight, where nothing else is lost.
ROUNDED = 1e-2


class Option(NamedTuple):
    """A rank of a layer.

    Attributes:
        rank: The rank, or None for the dense layer.
        form: How the weight is a matrix.
        loss: ``E‖(W - W_k) x‖²``, summed over the layers that share the weight.
        parameters: Parameters of the weight.
    """

    rank: int | None
    form: Form
    loss: float
    parameters: int


@dataclass(frozen=True)
class Certificate:
    """How good a layer is on its inputs, relative to its outputs.

    Attributes:
        error: Root of ``E‖y - ŷ‖² / E‖y - E[y]‖²`` (the mean is part of y where there is no bias), measured by the
            weights that the layer has.
        optimum: The least error of a layer of this rank, from singular values. Of a convolution whose two parts share
            the kernel's axes, it is a lower bound.
        exact: Whether the optimum is one.
    """

    error: float
    optimum: float
    exact: bool

    @property
    def excess(self) -> float:
        """Error minus optimum."""
        return self.error - self.optimum


class Candidate:
    """A layer that can be factorized, and the moments of its inputs.

    Args:
        layer: The layer, dense.
        moments: Moments of the inputs of each of its modules, by path; None for the plain SVD of the weight.
        gradients: Second moments of the loss's gradients at the outputs of each of its modules, by path: what the loss
            minds. None for outputs that all count alike.
    """

    def __init__(
        self, layer: Layer, moments: Mapping[str, Moments] | None, gradients: Mapping[str, Tensor] | None = None
    ) -> None:
        self.layer = layer
        self.dense = layer.weight.detach().double().clone()
        biases = [module._parameters.get("bias") for module in layer.modules]
        self.biases = [None if bias is None else bias.detach().double().clone() for bias in biases]
        self._moments = None if moments is None else [moments[path] for path in layer.module_paths]
        given = None if gradients is None else [gradients[path].to(self.dense.device) for path in layer.module_paths]
        self.metrics = metrics_of(layer, self._moments, given)

    @cached_property
    def best(self) -> dict[Form, Whitened | TwoSided | list[TwoSided]]:
        """The best factors of each form."""
        layer, found = self.layer, dict[Form, Whitened | TwoSided | list[TwoSided]]()
        forms = layer.forms()
        plain = self.metrics.moment is None or not layer.kind.startswith("conv")
        if len(forms) > 2 and self.dense[0].numel() > ALL_FORMS:
            forms = forms[:2]
        for form in forms:
            if plain or form == forms[0]:
                found[form] = whitened(layer.matrix(form), self.metrics.moment, self.metrics.outputs)
            else:
                assert form is not None and self.metrics.moment is not None
                moments = self.metrics.moment if layer.groups > 1 else self.metrics.moment[None]
                metrics = self.metrics.of_groups(layer.groups)
                parts = zip(self.dense.chunk(layer.groups), moments, metrics, strict=True)
                found[form] = [two_sided(weight, form, moment, metric) for weight, moment, metric in parts]
        return found

    def few_inputs(self) -> str:
        """What to say of a layer that was fitted to fewer inputs than each has entries; of others nothing."""
        rows = 0 if self._moments is None else sum(moments.rows for moments in self._moments)
        n = self.layer.sides(self.layer.forms()[0])[1]
        few = 0 < rows < n and self.layer.kind != "embedding"
        return f"; fitted to {rows} inputs of {n} entries, which may be too few" if few else ""

    def losses(self, form: Form) -> Tensor:
        """Loss at each rank of a form, of all groups together, from rank 0; float64."""
        best = self.best[form]
        if not isinstance(best, list):
            losses = best.losses
            return losses.sum(0) if losses.dim() > 1 else losses
        length = max(len(part.losses) for part in best)
        # A group with fewer directions than the others loses nothing more at higher ranks.
        return torch.stack([nn.functional.pad(p.losses, (0, length - len(p.losses))) for p in best]).sum(0)

    @property
    def energy(self) -> float:
        """``E‖y‖²`` of the outputs, about their mean where there is a bias: the loss of rank 0."""
        return float(self.losses(self.layer.forms()[0])[0])

    @cached_property
    def options(self) -> list[Option]:
        """The dense layer, and every rank with fewer parameters, of every form."""
        layer = self.layer
        found = [Option(None, None, 0.0, layer.parameters(None))]
        for form in self.best:
            for rank, loss in enumerate(self.losses(form).tolist()[1:], start=1):
                if (size := layer.parameters(rank, form)) < layer.parameters(None):
                    found.append(Option(rank, form, loss, size))
        return found

    def factors(self, option: Option) -> tuple[Tensor, Tensor]:
        """Factors of an option, ``(m, k)`` and ``(k, n)``, with a dimension of groups in front if there are several."""
        assert option.rank is not None
        best, rank = self.best[option.form], option.rank
        if not isinstance(best, list):
            return best.factors(rank)
        pairs = [part.factors(min(rank, len(part.losses) - 1)) for part in best]
        lefts = [nn.functional.pad(left, (0, rank - left.shape[1])) for left, _ in pairs]
        rights = [nn.functional.pad(right, (0, 0, 0, rank - len(right))) for _, right in pairs]
        return (torch.stack(lefts), torch.stack(rights)) if len(pairs) > 1 else (lefts[0], rights[0])

    @torch.no_grad()
    def fill(self, replaced: list[Any], option: Option) -> None:
        """Give layers of low rank their weights; each bias absorbs what the mean of its inputs would lose."""
        left, right = self.factors(option)
        for place, module in enumerate(replaced):
            module.left.copy_(left)
            module.right.copy_(right)
            if (bias := self.biases[place]) is not None:
                module.bias.copy_(bias + self._shift(self._lost(module), place))

    @contextlib.contextmanager
    def trying(self, form: Form) -> Iterator[Callable[[int], Tensor]]:
        """Gives the dense weight of a rank, and shifts the biases of the layers for it; restores them at the end."""
        biases = [module._parameters.get("bias") for module in self.layer.modules]
        before = [None if bias is None else bias.detach().clone() for bias in biases]

        @torch.no_grad()
        def truncated(rank: int) -> Tensor:
            left, right = self.factors(Option(rank, form, 0.0, 0))
            weight = left @ right
            if form is not None:
                weight = folded(weight, self.dense.shape, form, self.layer.groups)
            for place, bias in enumerate(biases):
                if bias is not None and (old := before[place]) is not None:
                    bias.copy_(old + self._shift(as_matrix(self.layer, self.dense - weight), place))
            return weight

        try:
            yield truncated
        finally:
            with torch.no_grad():
                for bias, value in zip(biases, before, strict=True):
                    if bias is not None and value is not None:
                        bias.copy_(value)

    def _shift(self, lost: Tensor, place: int) -> Tensor:
        """What a part of the weight gives for the mean of the inputs, ``(out,)``."""
        if self._moments is None:
            return torch.zeros(len(self.dense), dtype=torch.float64, device=self.dense.device)
        return (lost @ self._moments[place].mean()[..., None]).flatten()

    def _lost(self, module: Any) -> Tensor:
        """Dense weight minus that of a layer, as the matrix that patches are multiplied with."""
        # The product of the factors that the layer has, not rounded once more.
        return as_matrix(self.layer, self.dense - dense_weight(module, module.left.double(), module.right.double()))

    @torch.no_grad()
    def certificate(self, replaced: list[Any], option: Option) -> Certificate:
        """Measure layers of low rank on the inputs, by the weights and biases that they have."""
        lost = float(loss_on_inputs(self._lost(replaced[0]), self.metrics.moment, self.metrics.outputs).sum())
        for place, module in enumerate(replaced):
            if self._moments is not None and (bias := self.biases[place]) is not None:
                rest = (bias + self._shift(self._lost(module), place) - module.bias.double()).unflatten(
                    0, (self.layer.groups, -1)
                )
                rest = rest[..., None] if self.layer.groups > 1 else rest[0, :, None]
                lost += self.metrics.scales[place] * float(loss_on_inputs(rest, None, self.metrics.outputs).sum())
        least, exact = self._least(option)
        energy = self.energy
        if energy == 0:
            # Outputs that never vary are those of the bias, up to the rounding of its type.
            size = float(self.layer.weight.double().square().sum()) * ROUNDED**2
            return Certificate(0.0 if lost <= size else float("inf"), 0.0, exact)
        return Certificate((max(lost, 0.0) / energy) ** 0.5, (least / energy) ** 0.5, exact)

    def _least(self, option: Option) -> tuple[float, bool]:
        assert option.rank is not None
        forms = self.layer.forms()
        if option.form == forms[0] or not isinstance(self.best[option.form], list):
            return float(self.losses(option.form)[option.rank]), True
        # Every second convolution covers some places of the kernel: as filters, the pair has rank k times those.
        losses = self.losses(forms[0])
        covered = self.best[option.form][0].second  # type: ignore[index]
        return float(losses[min(option.rank * covered, len(losses) - 1)]), False
