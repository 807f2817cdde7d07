"""A net that is trained with layers of low rank from the start."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from eckart.compression.counting import count, count_parameters
from eckart.compression.factorized import Factorized
from eckart.compression.joint_truncation import JointTruncation
from eckart.linalg.checks import require_count, require_one_of
from eckart.linalg.random import stream
from eckart.methods.network import Network, Phase
from eckart.nn.start_values import normal, spectral
from eckart.nn.untrained import untrained
from eckart.optim.low_rank_integrator import LowRankIntegrator, low_rank_layers, set_factors
from eckart.optim.rank_truncation import Tolerance, Truncation

INITIALIZATIONS = ("spectral", "normal")

BEGIN = 0.1
"""Share of the steps in which ranks adapt, after which they begin to."""

MEMORY = 0.98
"""Share of the sensitivities that a step keeps: they are means over some fifty batches."""


class LowRankTraining(Network):
    r"""A net whose large layers have low rank from the first step to the last: no dense weight is ever held.

    The ranks follow from one of three. A ``budget`` is the share of the dense net's parameters that may be left, all
    biases and both factors counted: the layers start above it and are truncated together while it falls to that. A
    ``tolerance`` truncates each layer by itself, to that relative error. A rank stays as it is.

    Args:
        *samples: As of :class:`~eckart.methods.network.Network`: inputs, labels and the shape of an image.
        model: Makes the dense net; it is made without memory for its weights.
        ranks: The rank of each layer, in a list of one, cut to what saves weights; None with a budget or a tolerance.
        budget: Share of the dense parameters, in (0, 1].
        tolerance: Relative truncation error in the Frobenius norm, in (0, 1).
        optimizer: Makes the optimizer. Ranks that adapt need
            :class:`~eckart.optim.low_rank_integrator.LowRankIntegrator`; others train the factors at a given rank.
        weights: None: nothing is trained before.
        epochs: Passes over the training samples.
        start: Share of a dense weight that its factors have at the start, where ranks adapt; None: 2.5 times the
            budget, or a half with a tolerance.
        adapting: Share of the steps in which ranks adapt; they stay afterwards.
        every: Steps between two truncations.
        initialization: ``spectral``: factors are the truncated SVD of a dense weight (Khodak et al.); ``normal``:
            entries of both factors are normal. Both with the variance ``gain / inputs`` of the dense weight.
        gain: 2 suits ReLU units.
        frobenius_decay: λ of the decay of ``λ/2 ‖W‖²``, W the product of two factors, and of other weights.
        smoothing: Share of a label that is spread over all classes.
        **network: Arguments of :class:`~eckart.methods.network.Network`.

    Raises:
        ValueError: If not exactly one of budget, tolerance and rank is given, one is out of its range, the budget is
            below rank 1 in each layer, or the model has no layer that can have low rank.

    References:
        :class:`~eckart.optim.low_rank_integrator.LowRankIntegrator` names them.
    """

    one_thread = True
    trains_whole_nets = True

    def __init__(
        self,
        *samples: Any,
        model: Callable[[], nn.Module],
        ranks: Sequence[Any],
        budget: float | None = None,
        tolerance: float | None = None,
        optimizer: Callable[..., Optimizer],
        weights: Mapping[str, Tensor] | None = None,
        epochs: int = 20,
        start: float | None = None,
        adapting: float = 0.5,
        every: int = 10,
        initialization: str = "spectral",
        gain: float = 2.0,
        frobenius_decay: float = 0.0,
        smoothing: float = 0.0,
        **network: Any,
    ) -> None:
        (rank,) = ranks
        self._budget, self._tolerance, self._rank = budget, tolerance, rank
        self._check(weights, optimizer, start, adapting)
        for name, value in (("epochs", epochs), ("every", every)):
            require_count(name, value)
        require_one_of("initialization", initialization, INITIALIZATIONS)
        for name, number in (("gain", gain), ("frobenius_decay", frobenius_decay), ("smoothing", smoothing)):
            if not 0 <= number < math.inf:
                raise ValueError(f"{name} must not be negative. Found {number}.")
        if smoothing >= 1:
            raise ValueError(f"smoothing must satisfy 0 <= smoothing < 1. Found {smoothing}.")
        self.epochs, self.adapting, self.every = epochs, adapting, every
        self.frobenius_decay, self.smoothing = frobenius_decay, smoothing
        self._start = start if start is not None else 0.5 if budget is None else min(1.0, 2.5 * budget)
        super().__init__(
            *samples,
            model=lambda: self._untrained(model, initialization, gain),
            ranks=ranks,
            optimizer=optimizer,
            **network,
        )
        if not low_rank_layers(self.net):
            raise ValueError("The model must have a layer that can have low rank. Found none.")
        self._parameters_at_start = count_parameters(self.net)
        with torch.device("meta"):
            dense = model()
        self.dense_parameters = count_parameters(dense)
        self.dense_multiply_adds = _multiply_adds(dense.eval(), self.prepared(self.samples[0][:1]).to("meta"))
        self._limit = None if budget is None else int(budget * self.dense_parameters + 1e-9)
        if self._limit is not None:
            self._check_budget(self._limit)

    def phases(self) -> list[Phase]:
        """One: the ranks adapt during the first part of it."""
        return [Phase("training", self.epochs)]

    def configure_optimizers(self) -> Optimizer:
        """Make the optimizer of the config: the integrator trains the whole net, others its parameters."""
        if _integrates(self.make_optimizer):
            memory = None if self._limit is None else MEMORY
            return self.make_optimizer(self.net, decay=self.frobenius_decay, memory=memory)
        return super().configure_optimizers()

    def loss(self, x: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy, and the decay where the optimizer does not do it."""
        loss = nn.functional.cross_entropy(self.net(x), labels, label_smoothing=self.smoothing)
        if self.frobenius_decay and not _integrates(self.make_optimizer):
            layers = low_rank_layers(self.net)
            factors = {id(factor) for layer in layers.values() for factor in (layer.left, layer.right)}
            others = [p.square().sum() for p in self.net.parameters() if p.ndim > 1 and id(p) not in factors]
            products = [
                ((layer.left.mT @ layer.left) * (layer.right @ layer.right.mT)).sum() for layer in layers.values()
            ]
            loss = loss + self.frobenius_decay / 2 * sum([*products, *others])
        return loss

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """Loss of a batch; before it, how the step is to be truncated."""
        optimizer = self.optimizers(use_pl_optimizer=False)
        if isinstance(optimizer, LowRankIntegrator):
            optimizer.truncation = self._truncation()
            if self._limit is not None and self.global_step >= self._last_truncation:
                optimizer.memory = None
        return super().training_step(batch, index)

    def optimizer_step(self, epoch: int, index: int, optimizer: Any, closure: Any = None) -> None:
        """Take a step; a gradient that is not finite ends the run as a loss that is not finite does."""
        try:
            optimizer.step(closure)
        except FloatingPointError:
            self.diverged = True

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Go back to the state at the start of the epoch, with the ranks of then, if the run diverges."""
        if self.diverged:
            self._shape_like(self._finite_state)
        super().on_train_batch_end(outputs, batch, batch_idx)

    def on_train_end(self) -> None:
        """Truncate to the budget where a callback has ended the training before the ranks were there."""
        optimizer = self.optimizers(use_pl_optimizer=False)
        if self._limit is not None and not self.diverged and count_parameters(self.net) > self._limit:
            assert isinstance(optimizer, LowRankIntegrator)
            optimizer.truncate(self._joint(self._limit))

    def recorded(self) -> dict[str, float]:
        """Parameters, and the rank of each layer."""
        ranks = {f"rank/{path or 'net'}": float(layer.rank) for path, layer in low_rank_layers(self.net).items()}
        return {"parameters": float(count_parameters(self.net)), **ranks}

    def low_rank(self) -> Factorized:
        """The net with the ranks that its layers have."""
        return Factorized.around(self.net, {"parameters": count_parameters(self.net)})

    def fields(self, member: int) -> dict[str, Any]:
        """What a net has, and the ranks of its layers."""
        counts = count(self.net, self.prepared(self.samples[0][:1].to(self.mean.device)))
        return {
            **super().fields(member),
            "budget": self._budget,
            "parameters": counts.parameters,
            "dense_parameters": self.dense_parameters,
            "multiply_adds": counts.multiply_adds,
            "dense_multiply_adds": self.dense_multiply_adds,
            "layers": [
                {
                    "path": path,
                    "shape": _shape(self.net.get_submodule(path)),
                    "rank": getattr(self.net.get_submodule(path), "rank", None),
                    "parameters": layer.parameters,
                }
                for path, layer in counts.layers.items()
                if _shape(self.net.get_submodule(path)) is not None
            ],
        }

    def shape_like(self, own: Mapping[str, Any], state: Mapping[str, Tensor]) -> None:
        """Give the layers the ranks of a checkpoint."""
        prefix = "net."
        self._shape_like({k.removeprefix(prefix): value for k, value in state.items() if k.startswith(prefix)})

    def _check(
        self, weights: object, optimizer: Callable[..., Optimizer], start: float | None, adapting: float
    ) -> None:
        given = {"budget": self._budget, "method.tolerance": self._tolerance, "rank": self._rank}
        named = [f"{name}={value}" for name, value in given.items() if value is not None]
        if len(named) != 1:
            law = "Ranks follow from one of budget=, method.tolerance= and rank="
            raise ValueError(f"{law}. Found {' and '.join(named) or 'none'}.")
        if self._rank == "auto":
            law = "A net that is trained from the start has no weights that a rank could be chosen from: rank=20"
            raise ValueError(f"{law}, budget= or method.tolerance=. Found rank=auto.")
        if weights is not None:
            raise ValueError("A net that is trained from the start has no model.checkpoint. Found one.")
        for name, value in (("tolerance", self._tolerance), ("start", start), ("adapting", adapting)):
            above = value is not None and not 0 < value <= 1
            if above or (name == "tolerance" and value == 1):
                raise ValueError(
                    f"{name} must satisfy 0 < {name} {'<' if name == 'tolerance' else '<='} 1. Found {value}."
                )
        if self._rank is None and not _integrates(optimizer):
            law = "Ranks that adapt need optimizer=low_rank_integrator; another optimizer needs a rank, as in rank=20"
            raise ValueError(f"{law}. Found {getattr(getattr(optimizer, 'func', optimizer), '__name__', optimizer)}.")

    def _check_budget(self, limit: int) -> None:
        smallest = self._other_parameters() + sum(_costs(self.net))
        if limit < smallest:
            law = f"The budget must be at least {math.ceil(1e4 * smallest / self.dense_parameters) / 1e4:.4f} of the "
            law += f"dense net's {self.dense_parameters:,} parameters: rank 1 in each layer has {smallest:,}"
            raise ValueError(f"{law}. Found budget={self._budget}, which is {limit:,}.")

    def _rank_at_start(self, path: str, m: int, n: int) -> int:
        return self._rank if self._rank is not None else round(self._start * m * n / (m + n))

    def _untrained(self, model: Callable[[], nn.Module], initialization: str, gain: float) -> nn.Module:
        net = untrained(model, self._rank_at_start)
        generator = stream(self.seeds[0], "factors")
        draw = spectral if initialization == "spectral" else normal
        for layer in low_rank_layers(net).values():
            draw(layer, gain=gain, generator=generator)
        return net

    def _other_parameters(self) -> int:
        layers = low_rank_layers(self.net).values()
        return count_parameters(self.net) - sum(layer.left.numel() + layer.right.numel() for layer in layers)

    def _joint(self, limit: int) -> JointTruncation:
        return JointTruncation(_costs(self.net), limit - self._other_parameters())

    def _truncation(self) -> Truncation | None:
        """How the step that comes is truncated; None keeps the ranks."""
        if self._rank is not None:
            return None
        step, until = self.global_step + 1, self._last_truncation
        # Before the first truncation, what the layers are sensitive to is measured.
        done = (step - BEGIN * until) / (until - BEGIN * until)
        if done < 0 or (step < until and step % self.every):
            return None
        if self._tolerance is not None:
            return Tolerance(self._tolerance) if step <= until else None
        assert self._limit is not None
        if step < until:
            above = max(self._parameters_at_start - self._limit, 0)
            return self._joint(self._limit + int(above * (1 - done) ** 3))
        return self._joint(self._limit) if count_parameters(self.net) > self._limit else None

    @property
    def _last_truncation(self) -> int:
        """Steps in which ranks adapt."""
        return max(1, round(self.adapting * int(self.trainer.num_training_batches) * self.epochs))

    def _shape_like(self, state: Mapping[str, Tensor]) -> None:
        for path, layer in low_rank_layers(self.net).items():
            names = [f"{path}.{side}" if path else side for side in ("left", "right")]
            set_factors(layer, *(state[name].to(layer.left) for name in names))


def _integrates(optimizer: object) -> bool:
    made = getattr(optimizer, "func", optimizer)
    return isinstance(made, type) and issubclass(made, LowRankIntegrator)


def _costs(net: nn.Module) -> list[int]:
    """Parameters of one singular value of each layer, with both of its vectors."""
    return [
        (layer.left.numel() + layer.right.numel()) // layer.left.shape[-1] for layer in low_rank_layers(net).values()
    ]


def _multiply_adds(dense: nn.Module, x: Tensor) -> int | None:
    try:
        return count(dense, x).multiply_adds
    except (RuntimeError, NotImplementedError):
        # A model whose steps depend on values cannot be followed where tensors have none.
        return None


def _shape(module: Any) -> list[int] | None:
    """Shape of a weight, also of one that is not formed."""
    if hasattr(module, "left") and hasattr(module, "right"):
        return list(getattr(module, "shape", (module.left.shape[-2], module.right.shape[-1])))
    weight = getattr(module, "weight", None)
    return list(weight.shape) if isinstance(weight, Tensor) and weight.ndim > 1 else None
