"""Learn one matrix in plain Python: the code of the command line, without its files."""

import contextlib
import operator
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from eckart.api.choosing import Choice, choose
from eckart.api.result import Result
from eckart.config import type_law
from eckart.data.listed import ListedData
from eckart.data.matrix import MatrixData
from eckart.data.operator import OperatorData
from eckart.data.together import together
from eckart.linalg.blocked_reference import BlockedReference
from eckart.linalg.blocks import Blocked
from eckart.linalg.conversion import as_operator, is_dask
from eckart.linalg.entries import Entries
from eckart.linalg.held_out import HeldOutReference
from eckart.linalg.operators import Dense
from eckart.linalg.reference import ObservedReference, Reference
from eckart.linalg.row_threads import threads
from eckart.methods.matrix import MatrixMethod
from eckart.results import terminal
from eckart.results.history import History
from eckart.results.result import whole
from eckart.results.screen import Screen
from eckart.results.settings import AUTO
from eckart.runs.choosing_rank import choose_rank
from eckart.runs.fingerprint import versions
from eckart.runs.measuring import measure
from eckart.runs.process import quiet
from eckart.runs.progress import TrainingBar, show_passes
from eckart.runs.recorder import Recorder


def fit(
    target: Any,
    rank: int | str = 10,
    method: str = "bottleneck",
    *,
    seed: int = 0,
    optimizer: str | Callable[..., Optimizer] | None = None,
    schedule: str | Callable[[float], float] | None = None,
    selection: str | None = None,
    observed: Any = None,
    dtype: torch.dtype = torch.float64,
    verbose: bool = False,
    **options: Any,
) -> Result:
    """Learn the best rank-k approximation of a matrix, and measure it against the optimum.

    It runs the code of the command line on the CPU: the same method, options and seed give the same numbers, to the
    last bit. It writes no files, and prints nothing unless asked.

    Args:
        target: The matrix, shape ``(m, n)``: an array, a tensor, nested lists, a sparse matrix of SciPy or torch, or an
            operator, which is anything that has a shape and gives products by ``@``, such as a SciPy
            ``LinearOperator``. With ``method="completion"``, NaN marks the missing entries, and of a sparse matrix of
            SciPy the entries that it stores are observed, zeros among them.
        rank: Rank k, ``1 <= rank <= min(m, n)``, or ``"auto"``: a rule chooses it from what the method sees.
        method: ``bottleneck``, ``factorization``, ``completion``, ``factorized_linear`` or ``svd``.
        seed: Draws the probes and the initial weights.
        optimizer: Name of an optimizer, such as ``adam``, or a callable that makes one from parameters; None for the
            one that comes with the method.
        schedule: Name of a schedule of the learning rate, or a function of the share of the training that is done.
        selection: With ``rank="auto"``, the rule: ``energy``, ``gavish_donoho``, ``screenot``, ``information``,
            ``parallel_analysis``, ``cross_validation`` or ``best``, which None stands for.
        observed: For ``completion``: the fraction of the entries that are observed, or a boolean mask of shape
            ``(m, n)``; None for all that are not NaN.
        dtype: Type that is trained in, ``torch.float64`` or ``torch.float32``. Errors are measured in float64.
        verbose: Whether to show the progress, and to print the table at the end.
        **options: Settings of the method, the optimizer, the schedule and the rule, by their names in ``conf/``:
            ``max_steps``, ``tolerance``, ``probes``, ``vectors``, ``transpose``, ``lr``, ``share``, …

    Returns:
        Factors, errors, optimum and history.

    Raises:
        ValueError: If an option is not known or out of its range, the rank does not fit the shape, or the target is
            zero, not finite or not real.
        TypeError: If the target is not a matrix.

    Example:
        >>> result = fit([[4.0, 0.0, 0.0], [0.0, 3.0, 0.0]], rank=1, seed=7)
        >>> (result.left @ result.right).round(decimals=6).abs()
        tensor([[4., 0., 0.],
                [0., 0., 0.]], dtype=torch.float64)
        >>> round(result.optimum["frobenius"], 6), result.errors["excess_frobenius"] < 1e-8
        (0.6, True)
        >>> fit([[4.0, 0.0], [0.0, 3.0]], rank=1, max_step=5)
        Traceback (most recent call last):
        ValueError: Unknown option max_step. Did you mean max_steps?
    """
    began = time.perf_counter()
    automatic, seed = isinstance(rank, str) and rank == AUTO, _integer("seed", seed)
    if selection is not None and not automatic:
        raise ValueError(f"selection is for rank={AUTO!r}, where a rule chooses the rank. Found rank={rank!r}.")
    number = 1 if automatic else _rank(rank)
    chosen = choose(method, optimizer, schedule, options, selection=selection or "best" if automatic else None)
    # A notebook is no terminal, and shows the bars all the same.
    hidden = (False if "ipykernel" in sys.modules else None) if verbose else True
    with quiet(), torch.inference_mode(False), torch.enable_grad():
        data = _data(target, method, chosen["method"].needs, observed, seed)
        if not isinstance(data, ListedData):
            show_passes(data.operator(), hidden=hidden)
        trained, by_rule = _method(chosen, data, number, seed, dtype), None
        if automatic:
            by_rule, first = choose_rank(trained, chosen["selection"].settings, seed=seed), trained
            trained = _method(chosen, data, by_rule.rank, seed, dtype)
            trained.take_over(first)
        (number,) = trained.ranks
        reference = _reference(chosen["method"].needs, data, number, dtype)
        recorder, history = Recorder(reference), History(None)
        bar = TrainingBar(trained, recorder, hidden=hidden)
        with threads(one=trained.one_thread), contextlib.closing(bar):

            def record() -> None:
                _keep(history, recorder.take(trained))
                bar.move()

            trained.learn(record)
        ((fields, factors),) = measure(trained, reference)
    settings = {group: dict(choice.settings) for group, choice in chosen.items()}
    identity = {"method": method, "rank": number, "seed": seed, "config": settings, "versions": versions()}
    # The options are keywords here, in no group.
    fields = fields | {"stop_reason": fields["stop_reason"].replace("method.", "")}
    fields |= by_rule.fields(reference) if by_rule else {}
    fields = whole(identity | fields | {"total_seconds": time.perf_counter() - began})
    matrix = None if reference.matrix is None else reference.matrix[0]
    result = Result(fields, factors=(factors["left"], factors["right"]), history=history, target=matrix)
    if verbose:
        print(terminal.table(result.fields, None, Screen.of(sys.stdout)))
    return result


def _rank(value: Any) -> int:
    try:
        return _integer("rank", value)
    except ValueError as error:
        raise ValueError(str(error).replace("an integer", f"an integer or {AUTO!r}")) from None


def _integer(name: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise ValueError(type_law(name, int, value)) from None


def _data(target: Any, method: str, needs: str, observed: Any, seed: int) -> MatrixData | OperatorData | ListedData:
    if needs == "entries" and observed is None and (isinstance(target, Entries) or hasattr(target, "tocsr")):
        return ListedData(target if isinstance(target, Entries) else _stored(target))
    if observed is not None and needs != "entries":
        raise ValueError(f"method={method!r} learns every entry; observed is for method='completion'. Found it given.")
    found = as_operator(_plain(target))
    if found.stack != 1:
        raise TypeError(f"The target must be one matrix, of shape (m, n). Found a stack of {found.stack}.")
    if not isinstance(found, Dense):
        if needs == "entries":
            raise ValueError(f"method={method!r} needs the entries of an array. Found {type(target).__name__}.")
        data: MatrixData | OperatorData = OperatorData(lambda: found)
        data.setup()
        return data
    entries = found.matrix[0].cpu()
    missing = entries.isnan()
    if missing.any() and needs != "entries":
        raise ValueError(
            f"The target must be finite; method='completion' learns from the entries that are not NaN. "
            f"Found {int(missing.sum())} NaN."
        )
    data = _observed(entries, ~missing, observed, seed)
    data.setup()
    return data


def _stored(target: Any) -> Entries:
    found = target.tocoo()
    if found.dtype.kind not in "biuf":
        raise ValueError(f"The target must be real. Found {found.dtype}.")
    value = torch.from_numpy(np.asarray(found.data, dtype=np.float64))
    if not value.isfinite().all():
        law = "The entries that a sparse matrix stores must be finite: those that are missing are not stored"
        raise ValueError(f"{law}. Found {int((~value.isfinite()).sum())} NaN or infinite.")
    row, col = (torch.from_numpy(np.asarray(part, dtype=np.int64)) for part in (found.row, found.col))
    return Entries.of_lists(row, col, value, (int(found.shape[0]), int(found.shape[1])))


def _observed(entries: Tensor, known: Tensor, observed: Any, seed: int) -> MatrixData:
    if observed is None:
        return MatrixData(lambda: entries, own_mask=known)
    if isinstance(observed, int | float) and not isinstance(observed, bool):
        if not known.all():
            raise ValueError("observed must be a mask, or None, where NaN marks the missing entries. Found a fraction.")
        return MatrixData(lambda: entries, observed=observed, seed=seed)
    mask = torch.as_tensor(np.asarray(observed))
    if mask.dtype != torch.bool or mask.shape != known.shape:
        law = f"observed must be a fraction in (0, 1] or a boolean mask of shape {tuple(known.shape)}"
        raise ValueError(f"{law}. Found {mask.dtype} of shape {tuple(mask.shape)}.")
    return MatrixData(lambda: entries, own_mask=mask)


def _plain(target: Any) -> Any:
    kind = getattr(target, "dtype", None)
    if isinstance(target, Tensor):
        if target.is_complex():
            raise ValueError(f"The target must be real. Found {kind}.")
        target = target.detach()
    elif is_dask(target):
        pass
    elif isinstance(target, list | tuple) or (hasattr(target, "__array__") and not hasattr(target, "tocsr")):
        # Also data frames, whose products by @ are slow.
        target = np.asarray(target)
        kind = target.dtype
    if getattr(kind, "kind", None) == "c":
        raise ValueError(f"The target must be real. Found {kind}.")
    if len(getattr(target, "shape", (0, 0))) != 2:
        raise TypeError(f"The target must be one matrix, of shape (m, n). Found shape {tuple(target.shape)}.")
    return target


def _method(
    chosen: dict[str, Choice], data: MatrixData | OperatorData | ListedData, rank: int, seed: int, dtype: torch.dtype
) -> MatrixMethod:
    if dtype not in (torch.float64, torch.float32):
        raise ValueError(f"dtype must be torch.float64 or torch.float32. Found {dtype}.")
    choice = chosen["method"]
    supply = {name: together([part]) for name, part in data.supply(choice.needs).items()}
    common: dict[str, Any] = {"ranks": [rank], "seeds": [seed], "dtype": dtype}
    if chosen["optimizer"].make is not None:
        common |= {"optimizer": chosen["optimizer"].partial(), "schedule": chosen["schedule"].partial()}
    kind: Any = choice.make
    method = kind.trained_by(common.get("optimizer"))(**choice.settings, **supply, **common)
    assert isinstance(method, MatrixMethod)
    return method


def _reference(
    needs: str, data: MatrixData | OperatorData | ListedData, rank: int, dtype: torch.dtype
) -> Reference | ObservedReference:
    if isinstance(data, ListedData):
        # As a list it can be long: it is measured in parts.
        seen = data.entries
        none = seen[torch.zeros(len(seen), dtype=torch.bool)]
        return HeldOutReference([seen], [none], [rank], how=ObservedReference.how)
    observed = None
    if needs == "entries" and isinstance(data, MatrixData):
        if data.target.isnan().any():
            return ObservedReference([data.supply(needs)["entries"]], [rank])
        observed = data.mask()[None]
    operator = data.operator()
    if isinstance(operator, Blocked):
        return BlockedReference(operator, [rank])
    # Squares of float32 numbers overflow sooner.
    limit = 1e140 if dtype == torch.float64 else 1e15
    return Reference(operator, [rank], observed=observed, limit=limit)


def _keep(history: History, taken: dict[str, Any] | None) -> None:
    if taken is None:
        return
    row = {name: float(value) for name, value in taken.items() if value is not None}
    if row.pop("moved"):
        history.add(int(row.pop("step")), row)
