"""The base of methods that train a net on labeled samples, in phases."""

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from eckart.compression.factorized import Factorized
from eckart.linalg.random import stream
from eckart.methods.epochs import EpochMethod
from eckart.methods.optimizers import solver_class
from eckart.optim import schedules
from eckart.optim.low_rank_integrator import LowRankIntegrator
from eckart.optim.scaled_gd import ScaledGD
from eckart.optim.schedules import Schedule


@dataclass(frozen=True)
class Phase:
    """A part of the training in which the layers of the net, and its optimizer, stay the same.

    Attributes:
        name: What is done in it, in one or two words.
        epochs: Passes over the training samples.
    """

    name: str
    epochs: int


class Network(EpochMethod):
    """A net that is trained on labeled samples.

    It sees the training samples without those set apart for validation, and reads the test set once, after training.
    The values of the inputs are shifted and scaled to the mean 0 and the variance 1 of the training inputs, all by the
    same two numbers.

    Args:
        inputs: Training inputs, shape ``(N, values)``.
        labels: Training labels, shape ``(N,)``.
        image: Rows and columns of the image that a sample is; None where it is none.
        model: Makes the net, with weights that follow from torch's global generator.
        ranks: The rank asked for, in a list of one: a number, ``auto`` or None.
        seeds: The seed, in a list of one.
        optimizer: Makes the optimizer from parameters.
        schedule: Factor on the learning rate by the share of the steps of a phase that is done; None leaves it as it
            is.
        dtype: Type that is trained in.
        weights: Weights of a trained net, by name, that this one begins with; None draws them.
        selection: Name and settings of the rule of the rank ``auto``.

    Raises:
        ValueError: If the net does not fit the samples or the weights, or the optimizer is one for factor pairs.
    """

    pictures = ("accuracy",)
    one_thread = False
    of_matrices = False
    trains_whole_nets = False
    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        inputs: Tensor,
        labels: Tensor,
        image: tuple[int, int] | None,
        *,
        model: Callable[[], nn.Module],
        ranks: Sequence[Any],
        seeds: Sequence[int],
        optimizer: Callable[..., Optimizer],
        schedule: Schedule | None = None,
        dtype: torch.dtype = torch.float32,
        weights: Mapping[str, Tensor] | None = None,
        selection: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(ranks, seeds)
        self.selection = {"rule": "best"} if selection is None else selection
        made = getattr(optimizer, "func", optimizer)
        if solver_class(optimizer) is not None or made is ScaledGD:
            raise ValueError(f"A net needs an optimizer like optimizer=adam. Found {made.__name__}.")
        if made is LowRankIntegrator and not self.trains_whole_nets:
            law = "optimizer=low_rank_integrator is for method=low_rank_training; others need one like optimizer=adam"
            raise ValueError(f"{law}. Found it with {type(self).__name__}.")
        self.make_optimizer, self.schedule = optimizer, schedule
        self.samples, self.image = (inputs, labels), image
        self.classes = int(labels.max()) + 1
        values = inputs.double()
        self.register_buffer("mean", values.mean().to(dtype))
        self.register_buffer("deviation", values.std().clamp(min=1e-12).to(dtype))
        # The state of the global generator is given back, so that nothing else depends on it.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seeds[0])
            # Convolutions of few channels are two to three times faster with channels last.
            self.net = model().to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._check_fit()
        if weights is not None:
            self._load(weights)
        # What a training begins with, also after a look at a checkpoint that cannot be used.
        self._made = [copy.deepcopy(self.net)]
        self.phase = -1
        self.accuracies: dict[str, float] = {}
        self.validation_accuracy: float | None = None
        self._confusion: Tensor | None = None

    def phases(self) -> list[Phase]:
        """The phases of the training, in order."""
        raise NotImplementedError

    def begin(self, phase: int) -> None:
        """Prepare the net for a phase."""

    def loss(self, x: Tensor, labels: Tensor) -> Tensor:
        """What is minimized on a batch: the mean cross-entropy."""
        return nn.functional.cross_entropy(self.net(x), labels)

    def parameters_to_train(self) -> Any:
        """Parameters, or groups of them, for the optimizer of a phase."""
        return [parameter for parameter in self.net.parameters() if parameter.requires_grad]

    def schedule_of_phase(self) -> Schedule | None:
        """Factor on the learning rate by the share of the steps of this phase that is done."""
        return self.schedule

    def finals(self) -> dict[str, nn.Module]:
        """The nets whose accuracy on the test set is taken, by the name of the field; the result is ``accuracy``."""
        return {"accuracy": self.net}

    def recorded(self) -> dict[str, float]:
        """Further figures of an epoch that has ended."""
        return {}

    @property
    def max_epochs(self) -> int:  # type: ignore[override]
        """Epochs of all phases."""
        return sum(phase.epochs for phase in self.phases())

    def prepared(self, inputs: Tensor) -> Tensor:
        """Inputs as the net takes them: images ``(batch, 1, rows, columns)`` or vectors, shifted and scaled."""
        x = (inputs.to(self.mean.dtype) - self.mean) / self.deviation
        return x if self.image is None else x.view(len(x), 1, *self.image)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits ``(batch, classes)`` of inputs ``(batch, values)``."""
        return self.net(self.prepared(inputs))  # type: ignore[no-any-return]

    def configure_optimizers(self) -> Optimizer:
        """Make the optimizer of the config, for the net of this phase."""
        return self.make_optimizer(self.parameters_to_train())

    def begin_epoch(self) -> None:
        """Begin the phase of this epoch, where it is new."""
        if self.enter(self.current_epoch):
            self.trainer.optimizers = [self.configure_optimizers()]
        self.net.train()

    def enter(self, epoch: int) -> bool:
        """Begin every phase up to the one that an epoch belongs to; whether any was to be begun.

        Args:
            epoch: The epoch, from 0; that behind the last one begins those that are left.
        """
        began, first = False, 0
        for place, phase in enumerate(self.phases()):
            if place > self.phase and epoch >= first:
                self.phase, began = place, True
                self.begin(place)
            first += phase.epochs
        return began

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """Loss of a batch."""
        inputs, labels = batch
        if index == 0:
            # What layers such as dropout draw depends on the epoch alone, also after a resumption. Not before: a loader
            # draws as it starts, which a resumed training does elsewhere.
            torch.manual_seed(stream(self.seeds[0], "layers", self.current_epoch).initial_seed())
        schedules.apply(self.schedule_of_phase(), self.optimizers(use_pl_optimizer=False), self.share_done)  # type: ignore[arg-type]
        loss = self.loss(self.prepared(inputs), labels)
        self.count(loss.detach())
        return loss

    @property
    def share_done(self) -> float:
        """The share of the steps of this phase that is done."""
        batches, phases = int(self.trainer.num_training_batches), self.phases()
        before = sum(phase.epochs for phase in phases[: self.phase])
        return (self.global_step / batches - before) / phases[self.phase].epochs

    def on_validation_epoch_start(self) -> None:
        """Count anew."""
        self.net.eval()
        self._right, self._seen = torch.zeros((), dtype=torch.int64, device=self.device), 0

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        """Count the samples of a batch of the validation part that are classified right."""
        inputs, labels = batch
        self._right += (self(inputs).argmax(1) == labels).sum()
        self._seen += len(labels)

    def on_validation_epoch_end(self) -> None:
        """Record the epoch."""
        self.validation_accuracy = int(self._right) / self._seen if self._seen else None
        figures = {"validation_accuracy": self.validation_accuracy, **self.recorded()}
        self.end_epoch(int(self.trainer.num_training_batches), figures)

    def on_test_epoch_start(self) -> None:
        """Count anew, for each of the nets."""
        if self._confusion is not None:
            raise RuntimeError("the test set is read once")
        self._confusion = torch.zeros(self.classes, self.classes, dtype=torch.int64, device=self.device)
        self._tested = self.finals()
        self._right_of = dict.fromkeys(self._tested, 0)
        self._seen = 0
        for net in self._tested.values():
            net.eval()

    def test_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        """Count the samples of a batch of the test set that each net classifies right."""
        inputs, labels = batch
        assert self._confusion is not None
        x = self.prepared(inputs)
        # A class that is not in the training set can only be mistaken.
        known = labels < self.classes
        for name, net in self._tested.items():
            found = net(x).argmax(1)
            self._right_of[name] += int((found == labels).sum())
            if name == "accuracy":
                pairs = labels * self.classes + found
                self._confusion += torch.bincount(pairs[known], minlength=self.classes**2).view_as(self._confusion)
        self._seen += len(labels)

    def on_test_epoch_end(self) -> None:
        """Take the accuracies."""
        self.accuracies = {name: right / self._seen for name, right in self._right_of.items()}

    def record(self) -> dict[str, Any] | None:
        """Losses and accuracy of an epoch that has ended."""
        found, self._record = self._record, None
        return found or None

    def low_rank(self) -> Factorized | None:
        """The net with the places of its layers of low rank; None as long as it is dense."""
        return None

    def stored(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The weights, by the path of their layer, the ranks, and what the inputs are shifted and scaled by.

        :meth:`eckart.compression.factorized.Factorized.load` reads the file.
        """
        net = self.low_rank() or Factorized.around(self.net, {})
        tensors, metadata = net.stored()
        inputs = {"mean": float(self.mean), "deviation": float(self.deviation)}
        return tensors, metadata | {"eckart.inputs": json.dumps(inputs)}

    def fields(self, member: int) -> dict[str, Any]:
        """Status, why it stopped, the loss of each epoch, the accuracies and the confusion."""
        return {
            **self.of_epochs(f"{self.max_epochs} epochs"),
            "steps": self.trainer.global_step,
            "validation_accuracy": self.validation_accuracy,
            "input_mean": float(self.mean),
            "input_deviation": float(self.deviation),
            "confusion": None if self._confusion is None else self._confusion.tolist(),
            **self.accuracies,
        }

    def progress(self) -> tuple[int, int]:
        """Batches done and batches of all epochs."""
        return self.trainer.global_step, int(self.trainer.num_training_batches) * self.max_epochs

    def left_to_do(self, checkpoint: Mapping[str, Any]) -> tuple[str, int, int]:
        """The epochs of all phases, and those of a checkpoint."""
        return "The number of epochs", self.max_epochs, len(checkpoint["train_loss_sum_per_epoch"])

    def describe(self) -> str:
        """What a checkpoint must be of to be resumed."""
        return f"{type(self).__name__} of {type(self.net).__name__}"

    def take_shape(self, checkpoint: Mapping[str, Any] | None) -> None:
        """The layers that the net has in the phase of a checkpoint."""
        self.net = copy.deepcopy(self._made[0])
        self.phase = -1
        if checkpoint is None:
            return
        try:
            self.phase = int(checkpoint["eckart"]["phase"])
            self.shape_like(checkpoint["eckart"], checkpoint["state_dict"])
        except Exception as error:
            raise ValueError(f"its layers must be those of {self.describe()}. Found others.") from error

    def shape_like(self, own: Mapping[str, Any], state: Mapping[str, Tensor]) -> None:
        """Give the net the layers of a checkpoint.

        Args:
            own: What the method has put into it.
            state: Its tensors, of which the shapes alone may be used.
        """

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what is no tensor of the model."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["eckart"] |= {"phase": max(self.phase, 0), "validation_accuracy": self.validation_accuracy}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Continue where the checkpoint stopped."""
        super().on_load_checkpoint(checkpoint)
        own = checkpoint["eckart"]
        self.phase, self.validation_accuracy = int(own["phase"]), own["validation_accuracy"]

    def _check_fit(self) -> None:
        """Refuse a net that does not map samples to logits of their classes, before any training."""
        inputs = self.samples[0][:2]
        x = self.prepared(inputs)
        self.net.eval()
        try:
            with torch.no_grad():
                found = self.net(x)
        except Exception as error:
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ValueError(f"The model must take samples of shape {tuple(x.shape[1:])}. Found: {first}") from error
        if not isinstance(found, Tensor) or found.ndim != 2 or found.shape[1] < self.classes:
            shape = tuple(found.shape[1:]) if isinstance(found, Tensor) else type(found).__name__
            raise ValueError(f"The model must return {self.classes} logits for each sample. Found {shape}.")

    def _load(self, weights: Mapping[str, Tensor]) -> None:
        """Take over the weights of a trained net of the same kind."""
        own = self.net.state_dict()
        for name in (*own, *weights):
            found, wanted = weights.get(name), own.get(name)
            if found is None or wanted is None or found.shape != wanted.shape:
                law = f"model.checkpoint must hold the weights of a {type(self.net).__name__}: {name} "
                law += "is none of them" if wanted is None else f"of shape {tuple(wanted.shape)}"
                raise ValueError(f"{law}. Found {'none' if found is None else tuple(found.shape)}.")
        self.net.load_state_dict(dict(weights))


def require_epochs(name: str, epochs: object) -> None:
    """Refuse a number of epochs that is no count; 0 leaves a phase out.

    Example:
        >>> require_epochs("epochs", -1)
        Traceback (most recent call last):
        ValueError: epochs must be an integer of at least 0. Found -1.
    """
    if not isinstance(epochs, int) or isinstance(epochs, bool) or epochs < 0:
        raise ValueError(f"{name} must be an integer of at least 0. Found {epochs!r}.")
