"""What a method has to know of the optimizer that its config names."""

from collections.abc import Callable

from torch.optim import LBFGS, SGD, Optimizer

from eckart.optim.ratings import RatingsSolver
from eckart.optim.solver import PairSolver

OptimizerFactory = Callable[..., Optimizer]


def restore_settings(optimizer: object) -> None:
    """Give an optimizer that was resumed the settings of this run's config, and not those of the checkpoint."""
    if isinstance(optimizer, Optimizer):
        for group in optimizer.param_groups:
            group.pop("initial_lr", None)
            group.update({name: value for name, value in optimizer.defaults.items() if name in group})


def solver_class(factory: OptimizerFactory | None) -> type[PairSolver] | None:
    """The kind of :class:`PairSolver` that a factory makes; None for an optimizer of ``torch.optim``."""
    made = getattr(factory, "func", factory)
    return made if isinstance(made, type) and issubclass(made, PairSolver) else None


def solves_ratings(optimizer: object) -> bool:
    """Whether a class or a factory makes a :class:`RatingsSolver`."""
    made = getattr(optimizer, "func", optimizer)
    return isinstance(made, type) and issubclass(made, RatingsSolver)


def on_cpu(optimizer: object) -> bool:
    """Whether a class or a factory makes a solver that computes on the CPU alone."""
    return bool(getattr(getattr(optimizer, "func", optimizer), "on_cpu", False))


def is_sgd(optimizer: object) -> bool:
    """Whether a class or a factory makes gradient descent, whose steps do not depend on the basis of the weights."""
    return getattr(optimizer, "func", optimizer) is SGD


def is_lbfgs(optimizer: object) -> bool:
    """Whether a class or a factory makes L-BFGS, whose line search would couple the members of a stack."""
    return getattr(optimizer, "func", optimizer) is LBFGS
