"""Text that runs print: the table of a result, and the lines of a job of a sweep."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eckart.printable import visible
from eckart.results import nets
from eckart.results.numbers import NONE, fixed, scientific
from eckart.results.result import FIGURES
from eckart.results.screen import PAGE, Screen, left, length, right

ROUNDING = 1e-12
"""An excess of at most this is what float64 leaves of none: it is green where colors are shown."""
_ENDS = {"converged": "green", "computed": "green", "diverged": "red", "failed": "red"}
_VERDICTS = {"recovered": "green", "did not fit": "red"}
# Epochs whose loss is printed; of more, the first and the last.
_EPOCHS = 8
# Failed jobs that are listed one by one; of more, so many are named for each error.
_FEW, _NAMED = 10, 3


def shown(folder: Path) -> str:
    """A folder as a user writes it: relative to the working directory where it lies inside.

    Example:
        >>> shown(Path.cwd() / "outputs"), shown(Path("/elsewhere"))
        ('outputs', '/elsewhere')
    """
    return str(folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder)


def table(result: Mapping[str, Any], folder: Path | None, screen: Screen = PAGE) -> str:
    """Table of a result: the optimum, the trained approximation, and the excess of the second over the first.

    Args:
        result: The result, as in ``result.json``.
        folder: The run's folder; None where it has none.
        screen: What it is printed on.

    Returns:
        The lines, to be printed as they are. All but that of the folder fit a screen of at least 60 characters.
    """
    if nets.is_net(result):
        return _of_net(result, folder, screen)
    (rows, cols), wide = result["shape"], screen.width >= 72
    digits, widths = (10, (28, 16, 16, 12)) if wide else (6, (26, 13, 11, 10))
    what = " on ".join(visible(result[name]) for name in ("method", "data") if result[name] is not None)
    chosen = " (auto)" if result.get("rank_rule") else ""
    title = f"{what}, {rows}×{cols}, rank {result['rank']}{chosen}, seed {result['seed']}"
    target_rank = result["target_rank"]
    best_rank = None if target_rank is None else min(result["rank"], target_rank)
    # A model of ratings is not a truncated matrix of rank k: there is no optimum that it could be held against.
    plain = result["rating_range"] is None
    cells = [("", "truncated SVD" if plain else "", _trained(result), "excess" if plain else "")]
    for name, key in (
        () if not plain else (("relative 2-norm error", "2norm"), ("relative Frobenius error", "frobenius"))
    ):
        best, error, over = (result[f"{kind}_{key}"] for kind in ("optimum", "relative", "excess"))
        cells.append((name, fixed(best, digits), fixed(error, digits), excess(over, screen)))
    if plain:
        cells.append(("numerical rank", _count(best_rank), _count(result["numerical_rank"]), ""))
    parameters = _count(result["parameters"])
    name = "parameters of the factors" if plain else "parameters with the biases"
    cells.append((name, parameters if plain else "", parameters, ""))
    lines = [_row(row, widths, screen) for row in cells]
    for name, value in _further(result, digits):
        lines.append(_row((name, "", value, ""), (sum(widths[:2]), 0, *widths[2:]), screen))
    blocks = [[screen.paint(line, "bold") for line in screen.wrap(title)], lines]
    if result["measured"] not in (None, "exact"):
        blocks.append(screen.wrap(f"errors are {visible(result['measured'])}") + _bounds(result, digits, screen))
    if chosen:
        blocks.append(choices(result, screen))
    if result["accuracy"] is not None:
        blocks.append([f"test accuracy {result['accuracy']:.4f}", *_losses(result, screen)])
    return _whole([*blocks, [*_verdict(result, screen), *_ending(result, folder, screen)]])


def _of_net(result: Mapping[str, Any], folder: Path | None, screen: Screen) -> str:
    blocks = [[screen.paint(line, "bold") for line in screen.wrap(nets.title(result))], nets.figures(result, screen)]
    blocks += [own] if (own := nets.layers(result, screen)) else []
    return _whole([*blocks, _losses(result, screen), _ending(result, folder, screen)])


def _whole(blocks: Sequence[Sequence[str]]) -> str:
    return "\n\n".join("\n".join(line.rstrip() for line in block) for block in blocks if block)


def _ending(result: Mapping[str, Any], folder: Path | None, screen: Screen) -> list[str]:
    lines = [*_end(result, screen), *_took(result, screen)]
    if folder is not None:
        lines += [visible(shown(folder)), *(f"  {line}" for line in _files(folder, screen))]
    return lines


def choices(result: Mapping[str, Any], screen: Screen = PAGE) -> list[str]:
    """Lines on a rank that a rule chose: why, and what each rule would have chosen with the error there.

    Args:
        result: The result, as in ``result.json``, of a run with ``rank=auto``.
        screen: What they are printed on.

    Example:
        >>> told = {"energy": {"rank": 3, "error": 0.0625}, "screenot": {"rank": 2, "error": 0.25}}
        >>> result = {"rank": 2, "rank_rule": "screenot", "rank_reason": "white noise", "rank_choices": told}
        >>> print(*choices(result | {"withheld": None}), sep=chr(10))
        rank 2 chosen by screenot: white noise
        <BLANKLINE>
        rule                    rank  SVD's error there
        energy                     3           0.062500
        screenot                   2           0.250000
    """
    rule, reason = (visible(result[name]) for name in ("rank_rule", "rank_reason"))
    lines = screen.wrap(f"rank {result['rank']} chosen by {rule}: {reason}")
    others = {name: other for name, other in (result["rank_choices"] or {}).items() if isinstance(other, Mapping)}
    if len(others) < 2:
        return lines
    error = "SVD's error there" if result["withheld"] is None else "withheld error"
    lines += ["", screen.paint(f"{'rule':<20}{'rank':>8}{error:>19}", "dim")]
    for name, other in others.items():
        rank, value = other.get("rank"), other.get("error")
        told = _count(rank if isinstance(rank, int) else None), fixed(value if isinstance(value, float) else None, 6)
        row = f"{left(visible(name), 20)}{told[0]:>8}{told[1]:>19}"
        lines.append(screen.paint(row, "bold") if name == result["rank_rule"] else row)
    return lines


def line(result: Mapping[str, Any], folder: Path, screen: Screen = PAGE) -> str:
    """A result in one line, for a job of a sweep; its folder stands below where it does not fit."""
    figures = (
        f"Frobenius error {fixed(result['relative_frobenius'], 6)}, excess {scientific(result['excess_frobenius'])}"
    )
    if result.get("accuracy") is not None:
        figures = f"accuracy {result['accuracy']:.4f}, Frobenius error {fixed(result['relative_frobenius'], 6)}"
    if nets.is_net(result):
        figures = f"accuracy {fixed(result['accuracy'], 4)}, {_count(result['parameters'])} parameters"
    if result.get("rank_rule"):
        figures = f"rank {result['rank']}, {figures}"
    text = f"{result['status']}: {figures}, {_steps(result)}, {result['total_seconds']:.1f} s"
    place = visible(shown(folder))
    beside = f"{text}  {place}"
    return beside if length(beside) <= screen.width else "\n".join([*screen.wrap(text), f"  {place}"])


def failure(result: Mapping[str, Any], title: str, folder: Path, screen: Screen = PAGE) -> str:
    """Text on a job that failed: what was asked for, why it failed, and its folder.

    Args:
        result: The result, as in ``result.json``.
        title: The job as it was typed; empty where it was not.
        folder: The job's folder.
        screen: What it is printed on.

    Example:
        >>> print(failure({"status": "failed", "error": "The rank must be at least 1."}, "rank=0", Path("/a/rank=0")))
        failed: rank=0: The rank must be at least 1.
          /a/rank=0
    """
    status = screen.paint(visible(result["status"]), "red")
    return (
        f"{': '.join([status, *filter(None, [visible(title)]), visible(result['error'])])}\n  {visible(shown(folder))}"
    )


def failures(errors: Mapping[Path, str]) -> list[str]:
    r"""Lines on the jobs that failed: a line for each, or where they are many a line for each error.

    Args:
        errors: The error by the folder of the job.

    Example:
        >>> print("\n".join(failures({Path(f"/a/rank={rank}"): "Too large." for rank in range(12)})))
        Too large. (12 jobs)
          /a/rank=0
          /a/rank=1
          /a/rank=2
          and 9 more
    """
    if len(errors) <= _FEW:
        return [visible(f"{shown(folder)}: {error}") for folder, error in errors.items()]
    folders: dict[str, list[Path]] = {}
    for folder, error in errors.items():
        folders.setdefault(error, []).append(folder)
    lines = []
    for error, found in folders.items():
        lines += [f"{visible(error)} ({len(found)} job{'s' * (len(found) != 1)})"]
        lines += [f"  {visible(shown(folder))}" for folder in found[:_NAMED]]
        lines += [f"  and {len(found) - _NAMED} more"] * (len(found) > _NAMED)
    return lines


def excess(value: float | None, screen: Screen) -> str:
    """An excess; green where it is no more than rounding."""
    text = scientific(value)
    return screen.paint(text, "green") if value is not None and abs(value) <= ROUNDING else text


def _row(cells: Sequence[str], widths: Sequence[int], screen: Screen) -> str:
    name, best, own, over = cells
    aligned = [right(cell, width) for cell, width in zip((best, own, over), widths[1:], strict=True)]
    return f"{left(name, widths[0])}{screen.paint(aligned[0], 'dim')}{aligned[1]}{aligned[2]}"


def _further(result: Mapping[str, Any], digits: int) -> list[tuple[str, str]]:
    rows = [("parameters if it were dense", _count(result["dense_parameters"]))]
    if result["images"] is not None:
        rows.append(("images that training asked for", _count(result["images"])))
    if result["transpose_images"]:
        rows.append(("images of the transpose", _count(result["transpose_images"])))
    for name, key in (
        ("error on the observed entries", "relative_observed"),
        ("error on the withheld entries", "relative_withheld"),
        ("error on the held-out entries", "relative_held_out"),
        ("RMSE on the held-out ratings", "rmse"),
        ("mean absolute error on them", "mae"),
        ("largest output difference", "largest_output_difference"),
    ):
        if result[key] is not None:
            rows.append((name, fixed(result[key], digits)))
    return rows


def _losses(result: Mapping[str, Any], screen: Screen) -> list[str]:
    losses = [f"{value:.2f}" for value in result["train_loss_sum_per_epoch"] or []]
    if not losses:
        return []
    if len(losses) > _EPOCHS:
        half = _EPOCHS // 2
        losses = [*losses[:half], f"({len(losses) - 2 * half} more)", *losses[-half:]]
    return screen.wrap(f"cross-entropy summed over batches, by epoch: {', '.join(losses)}")


def _verdict(result: Mapping[str, Any], screen: Screen) -> list[str]:
    if result["verdict"] is None:
        return []
    verdict = visible(result["verdict"])
    lines = screen.wrap(f"{verdict}: {visible(result['verdict_reason'] or '')}")
    if verdict in _VERDICTS:
        lines[0] = screen.paint(verdict, _VERDICTS[verdict]) + lines[0].removeprefix(verdict)
    return lines


def _end(result: Mapping[str, Any], screen: Screen) -> list[str]:
    reason = visible(result["stop_reason"])
    word = reason.partition(" ")[0].rstrip(":")
    lines = screen.wrap(reason)
    if word in _ENDS:
        lines[0] = screen.paint(word, _ENDS[word]) + lines[0].removeprefix(word)
    return lines


def _bounds(result: Mapping[str, Any], digits: int, screen: Screen) -> list[str]:
    """Where the optimum and the excess lie, if they are known within bounds."""
    lines = []
    for name, key in (("2-norm", "2norm"), ("Frobenius", "frobenius")):
        best, over = (result.get(f"{kind}_{key}_bounds") for kind in ("optimum", "excess"))
        if best and over:
            low, high = (fixed(value, digits) for value in best)
            least, most = (excess(value, screen).strip() for value in over)
            lines += screen.wrap(f"{name} optimum from {low} to {high}, excess from {least} to {most}")
    return lines


def _took(result: Mapping[str, Any], screen: Screen) -> list[str]:
    steps = "" if result["stop_reason"] == "computed" else f"{_steps(result)} in "
    solver = f" by method.solver={visible(result['solver'])}" if result.get("solver") else ""
    return screen.wrap(f"{steps}{result['fit_seconds']:.2f} s{solver}, {result['total_seconds']:.1f} s in all")


def _files(folder: Path, screen: Screen) -> list[str]:
    lines, between = [""], ""
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        # A long list of figures is broken behind a comma.
        for part in re.split("(?<=,)", visible(_name(path))):
            if lines[-1] and length(lines[-1] + between + part) + 2 > screen.width:
                lines.append(part)
            else:
                lines[-1] += (between if lines[-1] else "") + part
            between = ""
        between = "  "
    return lines


def _name(path: Path) -> str:
    if path.name != FIGURES:
        return f"{path.name}/" if path.is_dir() else path.name
    stems, kinds = (sorted({getattr(item, part) for item in path.iterdir()}) for part in ("stem", "suffix"))
    kind = "".join(kinds) if len(kinds) < 2 else f".{{{','.join(kind[1:] for kind in kinds)}}}"
    return f"{path.name}/{{{','.join(stems)}}}{kind}"


def _trained(result: Mapping[str, Any]) -> str:
    if result["accuracy"] is not None:
        return "reduction"
    return "trained" if result["stop_reason"] != "computed" else "computed"


def _steps(result: Mapping[str, Any]) -> str:
    return f"{result['steps']} step{'s' * (result['steps'] != 1)}"


def _count(value: int | None) -> str:
    return NONE if value is None else f"{value:,}"
