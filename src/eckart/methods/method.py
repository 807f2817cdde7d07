"""The contract of everything that is trained: what a run asks of a method, whatever it learns."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from pytorch_lightning import LightningModule
from torch import Tensor

from eckart.methods.processes import Processes
from eckart.methods.validation import Validated


class Method(LightningModule):
    """A method that learns something of low rank, on a stack of J members; a single run is a stack of one.

    A run builds it from what its data supply, the ranks, the seeds and an optimizer; lets Lightning train it; and asks
    it the questions below. A method knows nothing of runs, folders, loggers, or of what it is measured against.

    Attributes:
        ranks: Rank of each member.
        seeds: Seed of each member.
        precision: Lightning's name of the precision that it is trained in unless the config names another.
        precisions: Those that it can be trained in; empty for any.
        max_epochs: Passes over its data; -1 where the method itself says when it is done.
        pictures: Pictures of a result that have a meaning for it.
        stop: ``gradient``, or ``excess`` where it may be stopped by the excess that the run measures.
        tolerance: What ``stop`` is held against.
        interrupted: Whether the training is asked to end after the step it is at.
        fit_seconds: Time that the training took.
        needs_optimizer: Whether the optimizer of the config trains it; where it does not, the config must name none.
        reads_batches: Whether Lightning feeds it the batches of the data.
        trains_factors: Whether training changes the approximation; it is measured once where it does not.
        saves_between_blocks: Whether its state can be kept after each batch, and not only after an epoch.
        keeps_state: Whether a state is worth keeping; not of what is computed in one step from a large file.
        block_steps: Optimizer steps in one training step of Lightning; None leaves it to the method.
        one_thread: Whether a second thread costs more than it saves.
        of_matrices: Whether it learns approximations of matrices, which are measured against them; a method that trains
            a net does not, and asks for the test set once, after the training.
        common_settings: Names of its settings that decide its first epochs, if not all do; jobs of a sweep that agree
            in these, and in all that is not of the method, share those epochs.
        common_epochs: How many.
    """

    ranks: list[int]
    seeds: list[int]
    precision = "64-true"
    precisions: tuple[str, ...] = ("64", "64-true", "32", "32-true")
    max_epochs = -1
    pictures: tuple[str, ...] = ("approximation", "singular_values", "convergence")
    stop = "gradient"
    tolerance = 0.0
    needs_optimizer = True
    reads_batches = False
    trains_factors = True
    saves_between_blocks = True
    keeps_state = True
    block_steps: int | None = None
    one_thread = True
    of_matrices = True
    common_settings: tuple[str, ...] = ()
    common_epochs = 0

    def __init__(self, ranks: Sequence[int], seeds: Sequence[int]) -> None:
        super().__init__()
        self.ranks, self.seeds = list(ranks), list(seeds)
        self.interrupted = False
        self.fit_seconds = 0.0
        self.processes = Processes()

    @classmethod
    def stack_key(cls, rank: int, optimizer: object | None, settings: Mapping[str, Any]) -> Hashable | None:
        """What else must be equal for jobs to be members of one stack.

        Their configs may differ in the rank, in the seed and in the content of the target, not in its shape.

        Args:
            rank: Rank of the job.
            optimizer: Class or factory of its optimizer.
            settings: Config of its method.

        Returns:
            A value that is the same for the members of a stack; None where the job must run alone.
        """
        return None

    def to_choose_from(self) -> Any:
        """What the choice of a rank may rest on: what training sees, of a stack of one.

        Returns:
            A matrix, shape ``(m, n)``, or the entries that are observed.

        Raises:
            ValueError: If the method has none.
        """
        law = f"{type(self).__name__} needs a rank that is given, as in rank=10: it has nothing that one is chosen from"
        raise ValueError(f"{law}. Found rank=auto.")

    def validated(self) -> Validated | None:
        """The rank whose loss on a part of the training set is good enough; None where no such loss is known."""
        return None

    @property
    def largest_rank(self) -> int | None:
        """Largest rank that its other settings allow; None where the shape of the target alone is the limit."""
        return None

    def take_over(self, other: Any) -> None:
        """Take over what a method of the same settings, whose evidence a rank was chosen from, has asked for."""

    @classmethod
    def trained_by(cls, optimizer: object | None) -> type["Method"]:
        """The class that an optimizer trains: this one, unless it has another for some."""
        return cls

    def columns(self, member: int) -> int:
        """Columns of the left factor of a member that are not padding: its rank, unless it keeps biases there too."""
        return self.ranks[member]

    def factors(self) -> tuple[Tensor, Tensor]:
        """Approximations of the targets: ``left (J, m, k)`` and ``right (J, k, n)``, zero beyond a member's columns."""
        raise NotImplementedError

    def stored(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The weights that a net leaves, by the path of their layer, and what else a reader must know of it."""
        raise NotImplementedError

    def enter(self, epoch: int) -> bool:
        """Do what a net has to do before an epoch; behind the last one, what is left to do."""
        return False

    def undetermined(self, member: int) -> tuple[Tensor, Tensor] | None:
        """Rows and columns of which nothing was seen, boolean, ``(m,)`` and ``(n,)``; they are given back as NaN.

        None where every row and column is seen.
        """
        return None

    def record(self) -> dict[str, Any] | None:
        """Figures to log since the last call, shape ``(J,)`` or numbers; None where there is nothing new.

        Two of them say what the others are of: ``step``, the steps of each member, and ``moved``, which members have
        something new.
        """
        return None

    def fields(self, member: int) -> dict[str, Any]:
        """Fields of ``result.json`` that the method knows: at least status, error, stop_reason, loss and steps."""
        raise NotImplementedError

    def stop_members(self, members: Tensor) -> None:
        """Stop members from outside, boolean, shape ``(J,)``."""

    def progress(self) -> tuple[int, int]:
        """Steps done and steps at most."""
        raise NotImplementedError

    def describe(self) -> str:
        """What a checkpoint must be of to be resumed."""
        return f"{type(self).__name__}, rank {', '.join(map(str, self.ranks))}"

    def left_to_do(self, checkpoint: Mapping[str, Any]) -> tuple[str, int, int]:
        """Name and value of the setting that limits the training, and how much of it a checkpoint has done."""
        raise ValueError(f"{type(self).__name__} cannot be resumed from a checkpoint. Found one.")

    def take_shape(self, checkpoint: Mapping[str, Any] | None) -> None:
        """Give the model the shapes that a checkpoint has, where training changes them; None: those of its start.

        Raises:
            ValueError: If it cannot have them. One line, to be put behind the name of the file.
        """

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what is no tensor of the model, under ``eckart``, and what the checkpoint is of."""
        checkpoint["eckart"] = {"of": self.describe(), "fit_seconds": self.fit_seconds}

    def setup(self, stage: str) -> None:
        """Learn who shares the training, before an optimizer is made."""
        self.processes = Processes(self.trainer.world_size, self.global_rank)
