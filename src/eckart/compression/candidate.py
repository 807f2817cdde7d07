"""A layer together with its inputs: what each rank would lose and cost, and the factors."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from eckart.compression.layers import Form, Layer, dense_weight
from eckart.compression.moments import Moments
from eckart.compression.two_sided import TwoSided, two_sided
from eckart.linalg.svd import balance, singular_values
from eckart.linalg.whitened import Whitened, loss_on_inputs, whitened
from eckart.nn.low_rank_conv import unfolded

# Columns of a convolution's matrix up to which all forms are tried; of larger ones the two of the literature.
ALL_FORMS = 1200
# Share of the mean that is added to the moment of the gradients in all directions: those that few samples show as
# irrelevant may matter for others.
DAMPING = 1e-3


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
        gradients: Moments of the loss's gradients at its outputs, as of
            :func:`~eckart.compression.sensitivity.output_moments`, by path: losses are those of the model, to second
            order. None: losses are errors of the outputs.

    Attributes:
        of_model: Whether twice the loss of the model is what the losses are.
    """

    def __init__(
        self, layer: Layer, moments: Mapping[str, Moments] | None, gradients: Mapping[str, Tensor] | None = None
    ) -> None:
        self.layer = layer
        self.outputs = None if gradients is None else _outputs(layer, gradients)
        self.of_model = self.outputs is not None
        self.dense = layer.weight.detach().double().clone()
        biases = [module._parameters.get("bias") for module in layer.modules]
        self.biases = [None if bias is None else bias.detach().double().clone() for bias in biases]
        self._moments = None if moments is None else [moments[path] for path in layer.module_paths]
        self.moment, self.metric = self._metrics()

    def _metrics(self) -> tuple[Tensor | None, Tensor | None]:
        """Second moment of the inputs, and of the outputs for embeddings, that the loss is taken in."""
        if self._moments is None:
            return None, None
        kinds = [isinstance(module, nn.Embedding) for module in self.layer.modules]
        if all(kinds):
            shares = torch.stack([moments.mean() for moments in self._moments]).sum(0)
            return None, shares
        seen = [
            moments.second() if bias is None else moments.covariance()
            for moments, bias, embedding in zip(self._moments, self.biases, kinds, strict=True)
            if not embedding
        ]
        moment = torch.stack(seen).sum(0)
        if any(kinds):
            # Every token counts alike, and both layers count alike, relative to their outputs.
            energy = loss_on_inputs(self.dense, moment)
            eye = torch.eye(len(moment), dtype=moment.dtype, device=moment.device)
            moment = moment / energy + eye / self.dense.square().sum() if energy > 0 else eye
        return moment, None

    @cached_property
    def best(self) -> dict[Form, Whitened | TwoSided | list[TwoSided]]:
        """The best factors of each form."""
        layer, found = self.layer, dict[Form, Whitened | TwoSided | list[TwoSided]]()
        forms = layer.forms()
        plain = self.moment is None or not layer.kind.startswith("conv")
        if len(forms) > 2 and self.dense[0].numel() > ALL_FORMS:
            forms = forms[:2]
        for form in forms:
            weighed = self.dense if self.outputs is None else self.outputs.weigh(self.dense)
            if plain or form == forms[0]:
                matrix = weighed if form is None else unfolded(weighed, form, layer.groups)
                found[form] = whitened(matrix, self.moment, self.metric if self.outputs is None else None)
            else:
                assert form is not None and self.moment is not None
                moments = self.moment if layer.groups > 1 else self.moment[None]
                parts = zip(weighed.chunk(layer.groups), moments, strict=True)
                found[form] = [two_sided(weight, form, moment) for weight, moment in parts]
        return found

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
            left, right = best.factors(rank)
        else:
            pairs = [part.factors(min(rank, len(part.losses) - 1)) for part in best]
            lefts = [nn.functional.pad(left, (0, rank - left.shape[1])) for left, _ in pairs]
            rights = [nn.functional.pad(right, (0, 0, 0, rank - len(right))) for _, right in pairs]
            left, right = (torch.stack(lefts), torch.stack(rights)) if len(pairs) > 1 else (lefts[0], rights[0])
        if self.outputs is None:
            return left, right
        # Rows are outputs times places of the kernel, those of one output together.
        rows = left.reshape(len(self.dense), -1)
        return balance(self.outputs.unweigh(rows).reshape(left.shape), right)

    @torch.no_grad()
    def fill(self, replaced: list[Any], option: Option) -> None:
        """Give layers of low rank their weights; each bias absorbs what the mean of its inputs would lose."""
        left, right = self.factors(option)
        for place, module in enumerate(replaced):
            module.left.copy_(left)
            module.right.copy_(right)
            if (bias := self.biases[place]) is not None:
                module.bias.copy_(bias + self._shift(module, place))

    def _shift(self, module: nn.Module, place: int) -> Tensor:
        """What the layer loses at the mean of its inputs, ``(out,)``."""
        if self._moments is None:
            return torch.zeros(len(self.dense), dtype=torch.float64, device=self.dense.device)
        lost = self._lost(module)
        return (lost @ self._moments[place].mean()[..., None]).flatten()

    def _lost(self, module: Any) -> Tensor:
        """Dense weight minus that of a layer, as the matrix that patches are multiplied with."""
        # The product of the factors that the layer has, not rounded once more.
        lost = self.dense - dense_weight(module, module.left.double(), module.right.double())
        first = self.layer.forms()[0]
        return lost if first is None else unfolded(lost, first, self.layer.groups)

    @torch.no_grad()
    def certificate(self, replaced: list[Any], option: Option) -> Certificate:
        """Measure layers of low rank on the inputs, by the weights and biases that they have."""
        difference = self._lost(replaced[0])
        if self.outputs is not None:
            difference = self.outputs.weigh(difference.reshape(len(self.dense), -1)).reshape(difference.shape)
        metric = self.metric if self.outputs is None else None
        lost = float(loss_on_inputs(difference, self.moment, metric).sum())
        for place, module in enumerate(replaced):
            if self._moments is not None and (bias := self.biases[place]) is not None:
                off = bias + self._shift(module, place) - module.bias.double()
                lost += float((off if self.outputs is None else self.outputs.weigh(off[:, None])).square().sum())
        least, exact = self._least(option)
        energy = self.energy
        if energy == 0:
            return Certificate(0.0 if lost == 0 else float("inf"), 0.0, exact)
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

    def spectrum(self) -> Tensor:
        """Singular values of the weight as the matrix of its first form."""
        return singular_values(self.layer.matrix(self.layer.forms()[0]).double())


class _Outputs:
    """A metric of the outputs of a layer, ``(m, m)`` or a diagonal ``(m,)``, and how weights are held against it."""

    def __init__(self, moment: Tensor, groups: int) -> None:
        m = len(moment)
        if moment.dim() > 1 and groups > 1:
            # Outputs of different groups have no weights in common.
            owner = torch.arange(m, device=moment.device) // (m // groups)
            moment = torch.where(owner[:, None] == owner, moment, 0)
        if moment.dim() == 1:
            self._root = (moment + DAMPING * moment.mean()).sqrt()
            self._inverse = 1 / self._root
            return
        values, vectors = torch.linalg.eigh((moment + moment.mT) / 2)
        values = (values.clamp(min=0) + DAMPING * values.mean()).sqrt()
        self._root, self._inverse = (vectors * values) @ vectors.mT, (vectors / values) @ vectors.mT

    def weigh(self, weight: Tensor) -> Tensor:
        """``G^½ W``, of the shape of W."""
        return self._applied(self._root, weight)

    def unweigh(self, weight: Tensor) -> Tensor:
        """``G^-½ W``."""
        return self._applied(self._inverse, weight)

    def _applied(self, factor: Tensor, weight: Tensor) -> Tensor:
        rows = weight.reshape(len(weight), -1)
        return (factor @ rows if factor.dim() > 1 else factor[:, None] * rows).reshape(weight.shape)


def _outputs(layer: Layer, gradients: Mapping[str, Tensor]) -> _Outputs | None:
    """The metric of a layer's outputs; None for embeddings, and where the loss does not depend on it."""
    if any(isinstance(module, nn.Embedding) for module in layer.modules):
        return None
    moment = torch.stack([gradients[path] for path in layer.module_paths]).sum(0)
    trace = moment.diagonal().sum() if moment.dim() > 1 else moment.sum()
    return _Outputs(moment, layer.groups) if float(trace) > 0 else None
