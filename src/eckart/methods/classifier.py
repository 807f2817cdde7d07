"""A classifier on inputs of reduced rank."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from pytorch_lightning.callbacks import GradientAccumulationScheduler, StochasticWeightAveraging
from torch import Tensor, nn
from torch.optim import Optimizer

from eckart.linalg.checks import require_count
from eckart.linalg.gram import gram_svd
from eckart.linalg.ranks import check_rank
from eckart.methods.epochs import EpochMethod
from eckart.methods.optimizers import is_sgd, solver_class
from eckart.methods.validation import Validated, validated
from eckart.nn import descent
from eckart.nn.coordinate_linear import CoordinateLinear
from eckart.nn.gradients import set_gradients
from eckart.nn.mlp import MLP
from eckart.optim import schedules
from eckart.optim.schedules import Schedule

BLOCK = 32
"""Batches that are handed over at once where a step takes less time than handing over its batch."""
# Callbacks that change what Lightning does in its steps.
_OF_STEPS = (StochasticWeightAveraging, GradientAccumulationScheduler)


class Classifier(EpochMethod):
    """A sigmoid MLP on inputs projected to the leading right singular vectors of the training set.

    The reduction ``x V Vᵀ`` is fitted on the training set alone and applied to the test set as it is; on the training
    set it is the truncated SVD.

    Args:
        inputs: Training inputs, floating point or integers, shape ``(1, N, pixels)``.
        labels: Training labels, shape ``(1, N)``.
        ranks: The rank, in a list of one.
        seeds: The seed, in a list of one.
        optimizer: Makes the optimizer from parameters.
        schedule: Factor on the learning rate by the share of the steps that is done; None leaves it as it is.
        dtype: Type that is trained in.
        hidden: Widths of the layers between the inputs and the logits.
        epochs: Passes over the training set.
        coordinates: Whether the first layer is trained in the coordinates of the components where that trains the same
            net, at a fraction of the cost: with ``torch.optim.SGD``. See
            :class:`eckart.nn.coordinate_linear.CoordinateLinear`; at the end the net has its dense layer again.

    Several processes share each batch, so their number changes neither the batches nor the steps. In coordinates one
    process takes the steps of ``BLOCK`` batches in each training step of Lightning, unless a callback sees single steps
    or the trainer has options that concern them.

    Raises:
        ValueError: If the rank does not fit the inputs, a width or number of epochs is below 1, or the optimizer is
            one for factor pairs.
    """

    pictures = ("approximation", "singular_values", "accuracy")
    components: Tensor

    def __init__(
        self,
        inputs: Tensor,
        labels: Tensor,
        *,
        ranks: Sequence[int],
        seeds: Sequence[int],
        optimizer: Callable[..., Optimizer],
        schedule: Schedule | None = None,
        dtype: torch.dtype = torch.float32,
        hidden: Sequence[int] = (500,),
        epochs: int = 10,
        coordinates: bool = True,
    ) -> None:
        super().__init__(ranks, seeds)
        (rank,), (seed,) = ranks, seeds
        matrix = inputs[0]
        check_rank(rank, matrix.shape)
        for name, value in [("epochs", epochs), *(("hidden", width) for width in hidden)]:
            require_count(name, value)
        if (solver := solver_class(optimizer)) is not None:
            raise ValueError(f"The classifier needs an optimizer like optimizer=adam. Found {solver.__name__}.")
        self.max_epochs, self.make_optimizer, self.schedule = epochs, optimizer, schedule
        self._samples, self._hidden = (matrix, labels[0]), list(hidden)
        u, s, vh = gram_svd(matrix, rank, dtype=torch.float64)
        self.left, self.right = u * s, vh
        self.register_buffer("components", vh.to(dtype))
        self._classes = int(labels.max()) + 1
        # nn.Linear draws from the global generator; its state is given back, so that nothing else depends on it.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.net = MLP([matrix.shape[1], *hidden, self._classes]).to(dtype)
        self.trained_in_coordinates = coordinates and is_sgd(optimizer)
        if self.trained_in_coordinates:
            first = self.net.layers[0]
            assert isinstance(first, nn.Linear)
            self.net.layers[0] = CoordinateLinear(first, self.components)
        self.step_count = 0
        self.accuracy: float | None = None
        # Test samples by true class and predicted class, at the end of the last epoch.
        self._confusion = torch.zeros(self._classes, self._classes, dtype=torch.int64)

    def to_choose_from(self) -> Tensor:
        """The training inputs."""
        inputs = self._samples[0]
        return inputs if inputs.is_floating_point() else inputs.float()

    def validated(self) -> Validated:
        """The rank by the loss on a part of the training set; see :func:`eckart.methods.validation.validated`."""
        return validated(
            *self._samples,
            seed=self.seeds[0],
            hidden=self._hidden,
            epochs=self.max_epochs,
            optimizer=self.make_optimizer,
            schedule=self.schedule,
            dtype=self.components.dtype,
        )

    def factors(self) -> tuple[Tensor, Tensor]:
        """``U Σ`` and ``Vᵀ`` of the training inputs, whose product is what the net is trained on."""
        return self.left[None], self.right[None]

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(batch, classes)`` of inputs ``(batch, pixels)``."""
        return self.net(self._reduced(x))  # type: ignore[no-any-return]

    def _reduced(self, x: Tensor) -> Tensor:
        """What the first layer sees: inputs of the rank, or their coordinates."""
        c = x.to(self.components.dtype) @ self.components.mT
        return c if isinstance(self.net.layers[0], CoordinateLinear) else c @ self.components

    def configure_optimizers(self) -> Optimizer:
        """Make the optimizer of the config."""
        return self.make_optimizer(self.net.parameters())

    def on_train_end(self) -> None:
        """Put the dense layer back; the last checkpoint, from which the training can go on, is written before."""
        if isinstance(first := self.net.layers[0], CoordinateLinear):
            self.net.layers[0] = first.to_linear(self.components)

    @property  # type: ignore[misc]
    def automatic_optimization(self) -> bool:
        """Whether Lightning takes the steps, one for each training step of its own."""
        return not self.in_blocks

    @property
    def in_blocks(self) -> bool:
        """Whether a training step is a block of steps: in coordinates, where nothing else concerns single steps."""
        trainer = self._trainer
        if trainer is None or not self.trained_in_coordinates or self.block_steps is not None:
            return False
        if any(isinstance(callback, _OF_STEPS) for callback in trainer.callbacks):  # type: ignore[attr-defined]
            return False
        plain = (trainer.world_size, trainer.accumulate_grad_batches, trainer.limit_train_batches, trainer.max_steps)
        precise = str(trainer.precision) in ("32-true", "64-true")
        return plain == (1, 1, 1.0, -1) and precise and not trainer.gradient_clip_val and self._data is not None

    @property
    def _data(self) -> Any:
        # Another module of data may hand over its batches one by one alone.
        found = getattr(self.trainer, "datamodule", None)
        return found if hasattr(found, "at_once") else None

    def setup(self, stage: str) -> None:
        """Learn who shares the training, and ask for as many batches at once as one training step takes."""
        super().setup(stage)
        trainer = self.trainer
        if self.trained_in_coordinates and trainer.gradient_clip_val and trainer.gradient_clip_algorithm == "value":
            law = "Gradients are clipped entry by entry, which depends on the basis: method.coordinates=false"
            raise ValueError(f"{law}. Found trainer.gradient_clip_algorithm=value.")
        if self._data is not None:
            self._data.at_once = BLOCK if self.in_blocks else 1

    @property
    def _batches(self) -> int:
        """Batches of an epoch."""
        if self.in_blocks:
            return -(-len(self._samples[1]) // int(self._data.batch_size))
        return int(self.trainer.num_training_batches)

    def on_fit_start(self) -> None:
        """Ask for the coordinates of the training samples in place of the inputs, where those do not change."""
        if self._data is None:
            return
        self._data.coordinates = None
        if self.in_blocks and not self._data.augments:
            components = self.components.cpu()
            # Those of a checkpoint may have other signs than those found here.
            turn = self.right @ components.mT.double()
            self._data.coordinates = (self.left @ turn).to(components.dtype)

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """Cross-entropy of a batch, of which each of several processes takes its share; or steps on each of a block."""
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, Optimizer)
        inputs, labels = batch
        if not self.in_blocks:
            own = self.processes.share(labels)
            logits = self(self.processes.share(inputs))
            part = nn.functional.cross_entropy(logits, own, reduction="sum") / len(labels)
            whole = part.detach().clone()
            self.processes.sum([whole])
            self.take_step(optimizer, whole)
            # Lightning takes the mean of the gradients of all processes.
            return part * self.processes.count
        x = self._reduced(inputs) if self._data.coordinates is None else inputs
        return self._take_block(optimizer, x, labels, int(self._data.batch_size))

    def _take_block(self, optimizer: Optimizer, x: Tensor, labels: Tensor, size: int) -> Tensor:
        """A step on each batch of a block; the last loss."""
        if descent.takes(optimizer, self.net):
            rates = [self._rate(optimizer, self.step_count + step) for step in range(-(-len(labels) // size))]
            losses = descent.descend(self.net, x, labels, size, rates)
            finite = losses.isfinite()
            self.step_count += len(rates) if bool(finite.all()) else int((~finite).int().argmax()) + 1
            self.count(losses.double().sum())
            return losses[-1]
        for own, known in zip(x.split(size), labels.split(size), strict=True):
            loss = set_gradients(self.net, own, known)
            self.take_step(optimizer, loss)
            if self.diverged:
                break
            optimizer.step()
        return loss

    def _rate(self, optimizer: Optimizer, step: int) -> float:
        """Set the learning rate of a step."""
        schedules.apply(self.schedule, optimizer, step / (self.max_epochs * self._batches))
        return float(optimizer.param_groups[0]["lr"])

    def take_step(self, optimizer: Optimizer, loss: Tensor) -> None:
        """Count a step, and set its learning rate; the loss is that of the whole batch."""
        self._rate(optimizer, self.step_count)
        self.step_count += 1
        self.count(loss)

    def record(self) -> dict[str, Any] | None:
        """Losses and accuracy of an epoch that has ended; empty at the start, so that the reduction is measured."""
        found, self._record = self._record, None
        return None if found is None else {**found, "step": self.step_count}

    def fields(self, member: int) -> dict[str, Any]:
        """Status, why it stopped, the loss of each epoch, the accuracy and the confusion."""
        return {
            **self.of_epochs(f"method.epochs={self.max_epochs}"),
            "steps": self.step_count,
            "accuracy": self.accuracy,
            "confusion": None if self.accuracy is None else self._confusion.tolist(),
        }

    def progress(self) -> tuple[int, int]:
        """Batches done and batches of all epochs."""
        return self.step_count, self._batches * self.max_epochs

    def left_to_do(self, checkpoint: Mapping[str, Any]) -> tuple[str, int, int]:
        """``epochs``, and the epochs of a checkpoint."""
        return "method.epochs", self.max_epochs, len(checkpoint["train_loss_sum_per_epoch"])

    def on_validation_epoch_start(self) -> None:
        """Count anew."""
        self._taken = torch.zeros(self._classes**2, dtype=torch.int64, device=self.device)
        self._seen = 0

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        """Count the samples of a batch by true class and predicted class."""
        inputs, labels = (self.processes.share(part) for part in batch)
        # A class that is not in the training set can only be mistaken.
        known = labels < self._classes
        pairs = labels * self._classes + self(inputs).argmax(1)
        self._taken += torch.bincount(pairs[known], minlength=self._classes**2)
        self._seen += len(labels)

    def on_validation_epoch_end(self) -> None:
        """Take the accuracy on the test set, and record the epoch."""
        seen = torch.tensor([self._seen], device=self.device)
        self.processes.sum([self._taken, seen])
        self._confusion = self._taken.view(self._classes, self._classes).cpu()
        self.accuracy = float(self._confusion.trace() / seen.cpu())
        self.end_epoch(self._batches, {"accuracy": self.accuracy})

    def describe(self) -> str:
        """What a checkpoint must be of to be resumed."""
        widths = "-".join(str(layer.in_features) for layer in self.net.layers)
        how = ", in coordinates" if self.trained_in_coordinates else ""
        return f"{type(self).__name__} {widths}, rank {self.ranks[0]}{how}"

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what is no tensor of the model."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["eckart"] |= {
            "step_count": self.step_count,
            "accuracy": self.accuracy,
            "confusion": self._confusion,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Continue where the checkpoint stopped."""
        super().on_load_checkpoint(checkpoint)
        self.step_count = checkpoint["eckart"]["step_count"]
        self.accuracy = checkpoint["eckart"]["accuracy"]
        self._confusion = checkpoint["eckart"]["confusion"]
