"""Lightning callbacks that the config names, and what they need of the training."""

from collections.abc import Iterable
from typing import Any

from pytorch_lightning import Callback
from pytorch_lightning.callbacks import Checkpoint, ProgressBar

STEP_HOOKS = (
    "on_train_batch_start",
    "on_train_batch_end",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
)
"""Hooks of a callback that Lightning calls at each training step."""


def sees_steps(callback: Callback) -> bool:
    """Whether a callback overrides a hook of single steps.

    Matrix methods run many optimizer steps in one training step of Lightning, which is faster; a callback that sees
    steps needs blocks of one step.

    Args:
        callback: Any Lightning callback; hooks that are set on the instance count too.

    Example:
        >>> from pytorch_lightning.callbacks import EarlyStopping, LambdaCallback, Timer
        >>> [sees_steps(callback) for callback in (Callback(), EarlyStopping("train/loss"), Timer())]
        [False, False, True]
        >>> sees_steps(LambdaCallback(on_before_optimizer_step=lambda trainer, method, optimizer: None))
        True
    """
    return any(getattr(getattr(callback, hook), "__func__", None) is not getattr(Callback, hook) for hook in STEP_HOOKS)


def trainer_options(callbacks: Iterable[Callback]) -> dict[str, Any]:
    """Options of Lightning's Trainer that some callbacks need; otherwise Lightning refuses them.

    Args:
        callbacks: The callbacks that the config names.

    Example:
        >>> from pytorch_lightning.callbacks import ModelCheckpoint, Timer
        >>> trainer_options([Timer()])
        {'enable_checkpointing': False, 'enable_progress_bar': False}
        >>> trainer_options([ModelCheckpoint()])["enable_checkpointing"]
        True
    """
    found = list(callbacks)
    return {
        "enable_checkpointing": any(isinstance(callback, Checkpoint) for callback in found),
        "enable_progress_bar": any(isinstance(callback, ProgressBar) for callback in found),
    }
