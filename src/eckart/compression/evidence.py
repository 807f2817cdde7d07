"""What inputs say of a dense model and its layers."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from eckart.compression.candidate import Candidate, Option
from eckart.compression.costs import Called, Costs, MultiplyAdds, Parameters, Seconds
from eckart.compression.counting import calling_layers
from eckart.compression.layers import Layer
from eckart.compression.moments import Forward, Moments, gather, samples_of, to_device
from eckart.compression.ranks import measured_losses, predicted_losses, relative_losses
from eckart.compression.sensitivity import Divergence, NoLogits, output_moments
from eckart.compression.speed import Speed

Loss = Callable[[nn.Module, Any], Tensor]
SENSITIVITIES = ("second_order", "measured", "relative")
# Samples that losses are measured on, and multiply-adds up to which they are by default: some seconds.
MEASURED_SAMPLES = 1024
MEASURED_UP_TO = 1e12
MEASURED_RANKS = 8


class Evidence:
    """What inputs say of a dense model and its layers; nothing without inputs.

    Args:
        model: The dense model.
        layers: Its layers.
        inputs: Batches, which can be taken more than once; or None.
        forward: Calls the model with a batch.
        loss: Loss of the model on a batch; None for the divergence of its logits.
        timed: Whether layers are timed.

    Attributes:
        moments: Moments of the inputs of each layer; None without inputs.
        multiply_adds: Multiply-adds of the model and its layers; None without inputs.
        speed: Measures which ranks are faster; None where nothing is timed.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[Layer],
        inputs: Iterable[Any] | None,
        forward: Forward,
        loss: Loss | None,
        *,
        timed: bool,
    ) -> None:
        self.model, self.layers, self.inputs, self.forward, self.loss = model, layers, inputs, forward, loss
        self.moments: dict[str, Moments] | None = None
        self.multiply_adds: MultiplyAdds | None = None
        self.speed: Speed | None = None
        if inputs is not None:
            self.moments, self.batch = gather(model, layers, inputs, forward)
            self.multiply_adds = MultiplyAdds(model, layers, self.batch, forward)
            self.speed = Speed(model, layers, self.batch, forward) if timed else None

    def candidates(self, sensitivity: str | None, seed: int) -> tuple[list[Candidate], str]:
        """The layers on their inputs, in the metric of the loss where that is wanted and known; and the sensitivity.

        Args:
            sensitivity: One of ``SENSITIVITIES``; None for the best that the model allows.
            seed: Seed of the labels that are drawn.

        Raises:
            NoLogits: If gradients are needed, and the outputs of the model are no logits.
        """
        wanted = "relative" if self.inputs is None else sensitivity
        gradients = None if wanted == "relative" else self._gradients(wanted, seed)
        found = [Candidate(layer, self.moments, gradients) for layer in self.layers]
        if wanted is None:
            wanted = "measured" if self.loss is not None else "relative" if gradients is None else self._by_work(found)
        return found, wanted

    def losses(self, candidates: Sequence[Candidate], sensitivity: str) -> list[list[float]]:
        """What each option of each layer adds to the loss of the model.

        Args:
            candidates: The layers.
            sensitivity: One of ``SENSITIVITIES``.
        """
        if sensitivity == "second_order":
            return predicted_losses(candidates)
        if sensitivity == "relative":
            return relative_losses(candidates)
        if self.loss is None:
            return measured_losses(candidates, Divergence(Called(self.model, self.forward), self._some))
        return measured_losses(candidates, self._mean_loss)

    def costs(self, of: str) -> Costs:
        """What a budget is a share of: ``parameters``, ``multiply_adds`` or ``latency``."""
        if of == "parameters":
            return Parameters(self.model)
        if of == "latency":
            return Seconds(self.model, self.layers, self.batch, self.forward)
        assert self.multiply_adds is not None
        return self.multiply_adds

    def ratio(self, layer: Layer, option: Option) -> float | None:
        """Measured time of an option relative to the dense layer; None where it was not measured."""
        if self.speed is None or option.rank is None:
            return None
        return self.speed.ratio(layer, option.rank, option.form)

    def _gradients(self, wanted: str | None, seed: int) -> dict[str, Tensor] | None:
        modules = {
            path: module
            for layer in self.layers
            for path, module in zip(layer.module_paths, layer.modules, strict=True)
        }
        try:
            return output_moments(Called(self.model, self.forward), modules, self._batches(), seed=seed)
        except NoLogits:
            if wanted is None or self.loss is not None:
                return None
            raise

    def _by_work(self, candidates: Sequence[Candidate]) -> str:
        """Losses are measured, where that takes few multiply-adds."""
        assert self.multiply_adds is not None
        passes = sum(len(candidate.best) for candidate in candidates) * MEASURED_RANKS
        samples = sum(samples_of(batch) for (batch,) in self._some)
        return "measured" if self.multiply_adds.total * passes * samples <= MEASURED_UP_TO else "second_order"

    def _batches(self) -> Iterator[tuple[Any]]:
        assert self.inputs is not None
        device = next(self.model.parameters()).device
        return ((to_device(batch, device),) for batch in self.inputs)

    @cached_property
    def _some(self) -> list[tuple[Any]]:
        """The first batches: as many as have few samples together, and one at least.

        They are kept, so that all ranks are compared on the same samples, also where the inputs are shuffled.
        """
        found, samples = list[tuple[Any]](), 0
        for (batch,) in self._batches():
            samples += samples_of(batch)
            if found and samples > MEASURED_SAMPLES:
                break
            found.append((batch,))
        return found

    def _mean_loss(self) -> float:
        assert self.loss is not None
        with calling_layers(self.model), torch.no_grad():
            values = [float(self.loss(self.model, batch)) for (batch,) in self._some]
        return sum(values) / len(values)
