"""A trained net made low-rank, then fine-tuned."""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from eckart.compression.evidence import SENSITIVITIES
from eckart.compression.factorize import factorize
from eckart.compression.factorized import Factorized
from eckart.compression.fine_tuning import distillation_loss
from eckart.compression.latency import measure
from eckart.linalg.checks import require_one_of
from eckart.methods.network import Network, Phase, require_epochs
from eckart.optim.scaled_metric import ScaledMetric
from eckart.optim.schedules import Schedule

CALIBRATION = 10_000
"""Training samples at most that the layers are fitted to, and the ranks chosen by."""
_BATCH = 500


class Compression(Network):
    """A net that is trained, made low-rank, and trained on.

    Args:
        *samples: As of :class:`~eckart.methods.network.Network`: inputs, labels and the shape of an image.
        budget: Share of the dense net that may be left; None where a rank is asked for.
        of: What the budget is a share of, as of :func:`eckart.factorize`.
        layers: Patterns of the paths of the layers that may be factorized.
        sensitivity: What an error of a layer is worth, as of :func:`eckart.factorize`.
        keep_slower: Whether a layer gets low rank also where that is slower; if not, the ranks depend on times that are
            measured.
        epochs: Passes over the training samples before; a net that begins with given weights has none.
        lowering: Budgets on the way, falling, above the last one; at each the net is fine-tuned.
        fine_tuning: Passes after the layers were factorized, at each budget.
        fine_tuning_rate: Factor on the learning rate in them: nets of few parameters can take larger steps.
        distillation: Share of the loss that is the distance to the outputs of the dense net, in [0, 1].
        temperature: What the logits are divided by for that distance.
        scaled: Whether pairs of factors are fine-tuned in the scaled metric.
        **network: Arguments of :class:`~eckart.methods.network.Network`.

    Raises:
        ValueError: For a number of epochs below 0, budgets that do not fall, or as of
            :class:`~eckart.methods.network.Network` and :func:`eckart.factorize`.
    """

    common_settings = ("_target_", "needs", "epochs")

    def __init__(
        self,
        *samples: Any,
        budget: float | None,
        of: str = "parameters",
        layers: str | Sequence[str] = "*",
        sensitivity: str | None = None,
        keep_slower: bool = False,
        epochs: int = 5,
        lowering: Sequence[float] = (),
        fine_tuning: int = 5,
        fine_tuning_rate: float = 1.0,
        distillation: float = 0.0,
        temperature: float = 2.0,
        scaled: bool = False,
        **network: Any,
    ) -> None:
        require_epochs("epochs", epochs)
        require_epochs("fine_tuning", fine_tuning)
        self._epochs, self._fine_tuning = 0 if network.get("weights") is not None else epochs, fine_tuning
        self._budget, self._budgets = budget, [*lowering, budget]
        self.common_epochs = self._epochs
        if lowering and (budget is None or sorted({*lowering, budget}, reverse=True) != self._budgets):
            raise ValueError(f"lowering must be budgets that fall, all above budget={budget}. Found {list(lowering)}.")
        if not 0 <= distillation <= 1:
            raise ValueError(f"distillation must be a share of the loss, from 0 to 1. Found {distillation}.")
        if not 0 < fine_tuning_rate < math.inf:
            raise ValueError(f"fine_tuning_rate must be positive and finite. Found {fine_tuning_rate}.")
        if sensitivity is not None:
            require_one_of("sensitivity", sensitivity, SENSITIVITIES)
        super().__init__(*samples, **network)
        self._rate = fine_tuning_rate
        self._of, self._patterns, self._sensitivity, self._keep_slower = of, layers, sensitivity, keep_slower
        self._distillation, self._temperature, self._scaled = distillation, temperature, scaled
        self.factorized: Factorized | None = None
        self.dense: nn.Module | None = None
        self.at_once: nn.Module | None = None
        self._metric: ScaledMetric | None = None
        self._check_possible()

    def phases(self) -> list[Phase]:
        """Training, and fine-tuning at each budget."""
        names = [f"fine-tuning at {budget:g}" if budget is not None else "fine-tuning" for budget in self._budgets]
        return [Phase("training", self._epochs), *(Phase(name, self._fine_tuning) for name in names)]

    def begin(self, phase: int) -> None:
        """Factorize the net before it is fine-tuned; one of low rank is factorized anew, for a smaller budget."""
        if phase == 0:
            return
        if self.dense is None:
            self.dense = copy.deepcopy(self.net).eval().requires_grad_(False)
        whole = self.net if self.factorized is None else self.factorized.defactorize()
        self.factorized = factorize(
            whole.eval(),
            budget=self._budgets[phase - 1],
            rank=self.ranks[0],
            rule=self.selection,
            inputs=list(self._calibration()),
            of=self._of,
            layers=self._patterns,
            sensitivity=self._sensitivity,
            keep_slower=self._keep_slower,
            seed=self.seeds[0],
        )
        self.net = self.factorized.model
        self.at_once = copy.deepcopy(self.net).requires_grad_(False)
        self._tune()

    def _check_possible(self) -> None:
        """Refuse before the training what would be refused after it: the sizes of the layers are known."""
        factorize(
            self.net,
            budget=self._budget,
            rank=self.ranks[0],
            rule=self.selection,
            inputs=[self.prepared(self.samples[0][:2])],
            of=self._of,
            layers=self._patterns,
            sensitivity="relative",
            keep_slower=True,
        )

    def _tune(self) -> None:
        if self._scaled and self.factorized is not None and self.factorized.places:
            self._metric = ScaledMetric(self.net)

    def shape_like(self, own: Mapping[str, Any], state: Mapping[str, Tensor]) -> None:
        """Give the net the layers of a checkpoint, and make place for those that it is compared with."""
        self.factorized = self.dense = self.at_once = None
        if self.phase == 0:
            return
        self.dense = copy.deepcopy(self.net).requires_grad_(False)
        self.factorized = Factorized.of(self.net, own["factorized"])
        self.net = self.factorized.model
        self.at_once = copy.deepcopy(self.net).requires_grad_(False)
        self._tune()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what the layers of low rank are."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["eckart"]["factorized"] = "" if self.factorized is None else self.factorized.description()

    def schedule_of_phase(self) -> Schedule | None:
        """The schedule of the config; in the fine-tuning by the factor that it has."""
        rate, schedule = self._rate, self.schedule
        if self.phase < 1 or rate == 1:
            return schedule
        return lambda progress: rate * (1.0 if schedule is None else schedule(progress))

    def loss(self, x: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy, and once the net is factorized the distance to the outputs of the dense one."""
        if self.dense is None or not self._distillation:
            return super().loss(x, labels)
        with torch.no_grad():
            teacher = self.dense(x)
        return distillation_loss(self.net(x), teacher, labels, weight=self._distillation, temperature=self._temperature)

    def finals(self) -> dict[str, nn.Module]:
        """The net before, just after it was factorized for the last budget, and at the end."""
        before = {"accuracy_dense": self.dense, "accuracy_factorized": self.at_once}
        return {name: net for name, net in before.items() if net is not None} | super().finals()

    def low_rank(self) -> Factorized | None:
        """The net with its certificates."""
        return self.factorized

    def fields(self, member: int) -> dict[str, Any]:
        """What the layers were, what they are, and what that costs."""
        found, factorized = super().fields(member), self.factorized
        if factorized is None or self.dense is None:
            return found
        # After the training Lightning moves the net to the CPU; its time is that of where it was trained.
        device = self.trainer.strategy.root_device
        dense, net = (copy.deepcopy(net).to(device) for net in (self.dense, self.net))
        latency, _ = measure(dense, net, next(self._calibration())[0].to(device))
        return found | {
            "budget": self._budget,
            "parameters": factorized.parameters,
            "dense_parameters": factorized.dense_parameters,
            "multiply_adds": factorized.multiply_adds,
            "dense_multiply_adds": factorized.dense_multiply_adds,
            "latency": latency,
            "layers": [asdict(layer) | {"excess": layer.excess} for layer in factorized.layers],
        }

    def _calibration(self) -> Iterator[tuple[Tensor, Tensor]]:
        inputs, labels = (part[:CALIBRATION] for part in self.samples)
        for x, y in zip(inputs.split(_BATCH), labels.split(_BATCH), strict=True):
            yield self.prepared(x.to(self.device)), y.to(self.device)
