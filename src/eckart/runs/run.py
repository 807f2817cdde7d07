"""One stack of jobs: build, fit, measure, write. The only place that instantiates configs."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Trainer
from torch import Tensor

from eckart.config import NETS, plain
from eckart.data.matrix import MatrixData
from eckart.data.ratings import RatingsData
from eckart.data.samples import SampleData
from eckart.data.together import together
from eckart.errors import concerns_all, prefixed
from eckart.linalg.blocked_reference import BlockedReference
from eckart.linalg.blocks import Blocked
from eckart.linalg.entries import Entries
from eckart.linalg.held_out import HeldOutReference
from eckart.linalg.listed_reference import ListedReference
from eckart.linalg.operators import Sparse
from eckart.linalg.reference import ObservedReference, Reference
from eckart.linalg.row_threads import threads
from eckart.methods.method import Method
from eckart.methods.network import Network
from eckart.methods.optimizers import on_cpu
from eckart.results.history import HISTORY, History
from eckart.results.ids import write_ids
from eckart.results.result import FACTORS, MODEL
from eckart.runs.callbacks import CommonState, Interruption, LastState
from eckart.runs.checkpoint import check, form_of, read_checkpoint
from eckart.runs.choosing_rank import with_ranks
from eckart.runs.drawing import Subject
from eckart.runs.interruption import Interrupted, before_exit, claim_exit
from eckart.runs.lightning_loggers import LightningTracker, logger_settings
from eckart.runs.loggers import StackLogger
from eckart.runs.measuring import floors, measure
from eckart.runs.outcome import Outcome
from eckart.runs.process import accelerator, quiet
from eckart.runs.progress import Progress, show_passes
from eckart.runs.recorder import Recorder
from eckart.runs.stack import Stack
from eckart.runs.user_callbacks import sees_steps, trainer_options
from eckart.runs.weights import read_weights
from eckart.tracking.job import config_of
from eckart.whitelist import whitelisted

_DTYPES = {"64": torch.float64, "64-true": torch.float64}


def run(stack: Stack) -> list[dict[str, Any]]:
    """Train a stack of jobs.

    Returns:
        The result of each job, as in its ``result.json``; nothing in a process that only helps another to train.

    Raises:
        Exception: Whatever stopped the stack. Its W&B runs are then finished as failed.
    """
    outcome = Outcome(stack)
    with quiet(), whitelisted(), before_exit(outcome.interrupt):
        try:
            return _train(stack, outcome)
        except (KeyboardInterrupt, SystemExit) as end:
            claim_exit()
            outcome.interrupt()
            # Lightning turns an interrupt into an exit.
            raise Interrupted.by(end.__context__ if isinstance(end, SystemExit) else end) from None
        except Exception as error:
            if not concerns_all(error):
                outcome.disown()
            raise
        finally:
            outcome.close()


@dataclasses.dataclass
class _Conductor:
    """Lightning's trainer of a stack, and what listens to it."""

    trainer: Trainer
    histories: list[History]
    logger: StackLogger
    last_state: LastState
    common: CommonState | None


def _train(stack: Stack, outcome: Outcome) -> list[dict[str, Any]]:
    data = _data(stack)
    stack, method = with_ranks(stack, lambda known: _method(known, data))
    outcome.jobs = stack.jobs
    reference = _reference(stack, method, data)
    conductor = _conductor(stack, method, reference, outcome)
    trainer, histories = conductor.trainer, conductor.histories
    checkpoint = _checkpoint(stack, method, conductor)
    if trainer.is_global_zero:
        _track(stack, method, outcome)
        conductor.logger.begin(trainer)
    with threads(one=method.one_thread):
        datamodule = data[0] if method.reads_batches else None
        trainer.fit(method, datamodule=datamodule, ckpt_path=checkpoint, weights_only=True)
        if not trainer.is_global_zero:
            return []
        if reference is None:
            measured = [_of_net(method, trainer, data[0])]
        else:
            measured = [(*found, {}) for found in measure(method, reference)]
    # What was computed is on disk before anything is drawn or sent, which can fail.
    for member, (fields, tensors, metadata) in enumerate(measured):
        chosen = stack.jobs[member].chosen
        own = data[member]
        if isinstance(own, RatingsData):
            write_ids(stack.jobs[member].folder, own.row_ids, own.col_ids)
        name = FACTORS if method.of_matrices else MODEL
        outcome.write(member, fields | (chosen.fields(reference) if chosen else {}), name, tensors, metadata)
    for member, (_, tensors, _) in enumerate(measured):
        outcome.present(member, tensors, histories[member], _subject(member, method, reference, data[member]))
    if stack.jobs[0].sweep is not None and method.saves_between_blocks:
        # The factors of a job are all that a sweep is for; a single run can be resumed.
        stack.forget()
    return [result for result in outcome.results if result is not None]


def build(stack: Stack) -> Method:
    """Make the data of a stack whose ranks are known, and its method, ready to be trained."""
    with whitelisted():
        return _method(stack, _data(stack))


def _of_net(
    method: Method, trainer: Trainer, data: MatrixData | RatingsData
) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, str]]:
    """Fields of the result of a net, its weights and their metadata; the test set is read, once."""
    assert isinstance(data, SampleData) and isinstance(method, Network)
    if not method.diverged:
        method.enter(method.max_epochs)
    trainer.test(method, dataloaders=data.test_dataloader(), verbose=False)
    return ({"fit_seconds": method.fit_seconds, **method.fields(0)}, *method.stored())


def _data(stack: Stack) -> list[MatrixData | RatingsData]:
    data: list[MatrixData | RatingsData] = []
    for job in stack.jobs:
        with prefixed("data", job.config.data):
            part = instantiate(job.config.data)
            part.prepare_data()
            part.setup()
        if not data:
            _check_memory(stack, part)
        if isinstance(part, MatrixData):
            show_passes(part.operator(), hidden=None if job.config.trainer.enable_progress_bar else True)
        data.append(part)
    return data


def _check_memory(stack: Stack, data: MatrixData | RatingsData) -> None:
    if len(stack.jobs) == 1:
        return
    if isinstance(data, MatrixData) and isinstance(data.operator(), Blocked):
        raise MemoryError("A target that is read in blocks is alone in its stack. Found a stack of more.")
    if stack.memory is None:
        return
    needed = len(stack.jobs) * _bytes(stack, data)
    if needed > stack.memory:
        asked = f"A stack may take hydra.launcher.memory={stack.memory / 2**30:g} GiB"
        raise MemoryError(f"{asked}. Found {needed / 2**30:.1f}.")


def _bytes(stack: Stack, data: MatrixData | RatingsData) -> int:
    """Memory that a member of a stack takes, estimated."""
    if isinstance(data, RatingsData):
        return data.bytes()
    node, operator = stack.jobs[0].config.method, data.operator()
    rows, cols = operator.shape
    # The probes drawn once, and their images.
    probes = 8 * (node.get("vectors") or 0) * (rows + cols)
    if isinstance(operator, Sparse):
        # Lists of the entries with their residuals, and factors with what an optimizer remembers of them.
        listed = len(data.entries()) if node.needs == "entries" else operator.matrix.values().numel()
        width = stack.width or max(job.rank or 0 for job in stack.jobs)
        return probes + 80 * listed + 128 * width * (rows + cols)
    # The target, its residual, a hidden layer and what the optimizer remembers.
    return probes + 128 * rows * cols


def _method(stack: Stack, data: Sequence[MatrixData | RatingsData]) -> Method:
    config = stack.jobs[0].config
    node = config.method
    with prefixed("data", config.data):
        supplies: list[Mapping[str, Any]] = [part.supply(node.needs) for part in data]
    keywords: dict[str, Any] = {"seeds": [job.config.seed for job in stack.jobs]}
    if node.needs == NETS:
        # A net is trained alone, and makes of its rank or budget the ranks of its layers.
        (stacked,) = supplies
        keywords |= {
            "ranks": [config.rank],
            "budget": config.budget,
            "selection": plain(config.selection),
            **_model(config),
        }
    else:
        stacked = {name: together([supply[name] for supply in supplies]) for name in supplies[0]}
        keywords["ranks"] = [job.rank for job in stack.jobs]
    if config.optimizer.get("_target_") is not None:
        with prefixed("optimizer", config.optimizer):
            keywords["optimizer"] = instantiate(config.optimizer, _convert_="all")
        with prefixed("schedule", config.schedule):
            keywords["schedule"] = instantiate(config.schedule) if config.schedule._target_ else None
    factory = instantiate(OmegaConf.masked_copy(node, [key for key in node if key != "needs"]), _convert_="all")
    kind = factory.func.trained_by(keywords.get("optimizer"))
    if kind.needs_optimizer != ("optimizer" in keywords):
        choices = stack.jobs[0].choices
        law = "needs an optimizer" if kind.needs_optimizer else "takes no optimizer: optimizer=none"
        raise ValueError(f"method={choices.get('method')} {law}. Found optimizer={choices.get('optimizer')}.")
    precision = str(config.trainer.precision or kind.precision)
    if kind.precisions and precision not in kind.precisions:
        law = f"{kind.__name__} computes in trainer.precision=64-true or 32-true"
        raise ValueError(f"{law}. Found {precision}.")
    if stack.width is not None:
        keywords["width"] = stack.width
    with prefixed("method", node), prefixed("model", config.model or {}):
        method = kind(**factory.keywords, **stacked, **keywords, dtype=_DTYPES.get(precision, torch.float32))
    assert isinstance(method, Method)
    return method


def _model(config: DictConfig) -> dict[str, Any]:
    """What makes the net of a method, and the weights that it begins with."""
    settings = plain(config.model)
    checkpoint, arguments = settings.pop("checkpoint", None), settings.pop("arguments", None) or {}
    with prefixed("model", config.model):
        model = instantiate({**settings, **arguments, "_partial_": True})
    weights = None if checkpoint is None else read_weights(Path(checkpoint))
    return {"model": model, "weights": weights}


def _reference(
    stack: Stack, method: Method, data: Sequence[MatrixData | RatingsData]
) -> Reference | ObservedReference | None:
    if not method.of_matrices:
        return None
    ratings = [part for part in data if isinstance(part, RatingsData)]
    if ratings:
        seen, hidden = [part.supply("entries")["entries"] for part in ratings], [part.held_out for part in ratings]
        return HeldOutReference(seen, hidden, method.ranks, how=ratings[0].how)
    node = stack.jobs[0].config.method
    matrices = [part for part in data if not isinstance(part, RatingsData)]
    observed: Tensor | list[Entries] | None = None
    if node.needs == "entries" and any(part.is_sparse for part in matrices):
        observed = [part.entries() for part in matrices]
    elif node.needs == "entries":
        observed = torch.stack([part.mask() for part in matrices])
    operator = together([part.operator() for part in matrices])
    if isinstance(operator, Blocked):
        return BlockedReference(operator, method.ranks)
    # Squares of float32 numbers overflow sooner.
    limit = 1e140 if stack.jobs[0].config.trainer.precision in (None, *_DTYPES) else 1e15
    if isinstance(observed, list):
        return ListedReference(operator, method.ranks, observed, limit=limit)
    return Reference(operator, method.ranks, observed=observed, limit=limit)


def _subject(
    member: int, method: Method, reference: Reference | ObservedReference | None, data: MatrixData | RatingsData
) -> Subject:
    if reference is None:
        return Subject(target=None, spectrum=None, pictures=method.pictures)
    values = None
    if isinstance(reference, BlockedReference):
        values = reference.singular_values(*(factor[member] for factor in method.factors()))
    return Subject(
        target=None if reference.matrix is None else reference.matrix[member].cpu(),
        spectrum=None if reference.spectrum is None else reference.spectrum[member].cpu(),
        pictures=method.pictures,
        image=getattr(data, "image", None),
        observed=None if reference.observed is None else reference.observed[member].cpu(),
        computed=not (method.needs_optimizer and method.trains_factors),
        values=values,
    )


def _conductor(
    stack: Stack, method: Method, reference: Reference | ObservedReference | None, outcome: Outcome
) -> _Conductor:
    config = stack.jobs[0].config
    node, precision = config.trainer, str(config.trainer.precision or method.precision)
    device = accelerator(node.accelerator, precision, on_cpu=on_cpu(getattr(method, "make_optimizer", None)))
    factory = instantiate(OmegaConf.masked_copy(node, [key for key in node if key != "enable_progress_bar"]))
    histories = [History(job.folder / HISTORY if config.logger.history else None) for job in stack.jobs]
    recorder, last_state = Recorder(reference), LastState(stack.checkpoint, stack.identity)
    asked = [instantiate(callback, _convert_="all") for callback in config.callbacks.values()]
    if any(map(sees_steps, asked)):
        method.block_steps = 1
    options = trainer_options(asked)
    # The config's callbacks find the metrics of the step, and the state that is saved after them holds theirs.
    path = stack.common(method.common_settings) if method.common_epochs else None
    common = None if path is None else CommonState(path, stack.jobs[0].folder / HISTORY)
    callbacks: list[Any] = [recorder, *asked, last_state, *([common] if common else []), Interruption()]
    if node.enable_progress_bar and not options["enable_progress_bar"]:
        callbacks.append(Progress(recorder))
    logger = StackLogger(histories, outcome.trackers, floors(reference))
    try:
        trainer = factory(
            accelerator=device,
            precision=precision,
            max_epochs=method.max_epochs,
            logger=logger,
            callbacks=callbacks,
            default_root_dir=stack.jobs[0].folder,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            **options,
        )
    except MisconfigurationException as error:
        raise ValueError(f"trainer.accelerator={device} is not available on this machine. {error}") from error
    if not trainer.is_global_zero:
        for silent in histories:
            silent.path = None
    return _Conductor(trainer, histories, logger, last_state, common)


def _track(stack: Stack, method: Method, outcome: Outcome) -> None:
    node = stack.jobs[0].config.logger.get("wandb")
    for member, job in enumerate(stack.jobs):
        for settings in plain(job.config.logger.get("lightning")).values():
            logger = instantiate(logger_settings(settings, job), _convert_="all")
            outcome.trackers[member].append(LightningTracker(logger, config_of(job)))
    if node is not None:
        # Imported here, since only this logger needs W&B.
        from eckart.tracking import live

        for member, run in enumerate(live.start(stack.jobs, node, epochs=method.reads_batches)):
            outcome.trackers[member] += [run] if run is not None else []


def _common(method: Method, conductor: _Conductor) -> Path | None:
    """The state that another job of the sweep left after the epochs that both have in common."""
    common = conductor.common
    kept = None if common is None else common.take(method, conductor.trainer)
    if common is None or kept is None:
        return None
    for history in conductor.histories:
        history.resume(kept)
    return common.path


def _checkpoint(stack: Stack, method: Method, conductor: _Conductor) -> Path | None:
    first = stack.jobs[0]
    kept = conductor.last_state.kept_step(method, conductor.trainer) if first.resumes else None
    if kept is not None:
        for history in conductor.histories:
            history.resume(kept)
        return stack.checkpoint
    if first.config.ckpt is None:
        return _common(method, conductor)
    path = Path(first.config.ckpt)
    try:
        found = read_checkpoint(path)
        method.take_shape(found)
        check(found, form_of(method, conductor.trainer))
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no checkpoint at ckpt={path}.") from None
    except ValueError as error:
        raise ValueError(f"ckpt={path}: {error}") from error
    name, limit, done = method.left_to_do(found["eckart"])
    if done >= limit:
        raise ValueError(f"{name} must be above the {done} that ckpt={path} has done. Found {name}={limit}.")
    return path
