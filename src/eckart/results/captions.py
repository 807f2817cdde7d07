"""Sentences over figures: what there is to see, with its numbers."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

_ROUNDING = 1e-9


def approximation(result: Mapping[str, Any]) -> str:
    """What the rank keeps of the target, and how far the error is from the optimum.

    Args:
        result: As in ``result.json``.

    Example:
        >>> approximation({"rank": 2, "relative_frobenius": 0.5, "optimum_frobenius": 0.5})
        'Rank 2 keeps 75 % of the squared norm; relative Frobenius error 0.5, the optimum'
        >>> approximation({"rank": 2, "relative_frobenius": 0.6, "optimum_frobenius": 0.5, "status": "diverged"})
        'Rank 2, diverged; relative Frobenius error 0.6, 20 % above the optimum 0.5'
        >>> approximation({"rank": 2, "relative_frobenius": 0.6, "optimum_frobenius": 0.5, "relative_held_out": 0.7})
        'Rank 2, from some entries; relative error on all others 0.7, on the whole 0.6, 20 % above the optimum 0.5'
    """
    error, optimum = result["relative_frobenius"], result["optimum_frobenius"]
    if result.get("accuracy") is not None:
        kept = f"{share(1 - error**2)} of the squared norm"
        return f"The classifier sees rank {result['rank']}, {kept}; test accuracy {100 * result['accuracy']:.1f} %"
    compared = against(error, optimum)
    if result.get("relative_held_out") is not None:
        held_out = f"relative error on all others {result['relative_held_out']:.4g}, on the whole"
        return f"Rank {result['rank']}, from some entries; {held_out} {compared}"
    if result.get("status") == "diverged":
        kept = ", diverged"
    elif error is None or error > 1:
        kept = " keeps nothing"
    else:
        kept = f" keeps {share(1 - error**2)} of the squared norm"
    return f"Rank {result['rank']}{kept}; relative Frobenius error {compared}"


def against(error: float | None, optimum: float | None) -> str:
    """An error, and how far it is from the optimum.

    Example:
        >>> against(0.101, 0.1), against(0.4, 0.1), against(2e-16, 0.0)
        ('0.101, 1 % above the optimum 0.1', '0.4, 4 times the optimum 0.1', '2e-16, zero to rounding')
    """
    if error is None or not math.isfinite(error):
        return "not finite"
    if optimum is None:
        return f"{error:.4g}"
    if error <= _ROUNDING:
        return f"{error:.2g}, zero to rounding"
    if error - optimum <= 1e-6 * optimum:
        return f"{error:.4g}, the optimum"
    if optimum <= _ROUNDING:
        return f"{error:.4g}; 0 is possible"
    if error < 2 * optimum:
        return f"{error:.4g}, {100 * (error / optimum - 1):.2g} % above the optimum {optimum:.4g}"
    return f"{error:.4g}, {error / optimum:.3g} times the optimum {optimum:.4g}"


def convergence(steps: Sequence[float], errors: Mapping[str, tuple[float, float]]) -> str:
    """Where the errors of a training end.

    Args:
        steps: Steps of the measurements.
        errors: Last error and optimum by the name of the norm.

    Example:
        >>> convergence([0, 43], {"2-norm": (0.03, 0.03), "Frobenius": (0.15, 0.15)})
        'Both errors end at the optimum, after 43 steps'
        >>> convergence([0, 43], {"2-norm": (0.06, 0.03), "Frobenius": (0.15, 0.15)})
        'After 43 steps: 2-norm error 0.06, 2 times the optimum 0.03; Frobenius error 0.15, the optimum'
    """
    after = f"after {steps[-1]:,.0f} step{'s' * (steps[-1] != 1)}"
    found = {name: against(error, optimum) for name, (error, optimum) in errors.items()}
    if all(text.endswith((", the optimum", "to rounding")) for text in found.values()):
        return f"Both errors end at the optimum, {after}"
    return f"{after.capitalize()}: " + "; ".join(f"{name} error {text}" for name, text in found.items())


def spectrum(target: Sequence[float], trained: Sequence[float], rank: int) -> str:
    """What the leading singular values hold, and how far the trained ones are from them.

    Args:
        target: Singular values of the target.
        trained: Those of the approximation.
        rank: The rank.

    Example:
        >>> spectrum([4.0, 3.0, 0.0], [4.0, 2.9], 1)
        'The largest of 3 singular values holds 64 % of the squared norm; the trained one is the same'
        >>> spectrum([4.0, 3.0, 0.0], [4.0, 2.9], 2).partition("; ")[2]
        'the trained ones differ by up to 2.5 % of the largest'
    """
    count, whole = len(target), sum(value**2 for value in target)
    if not (math.isfinite(whole) and whole > 0):
        return f"Singular values, and the rank {rank}"
    held = share(sum(value**2 for value in target[:rank]) / whole)
    which = f"The first {rank} of {count} singular values hold"
    ours = "the trained ones"
    if rank == 1:
        which, ours = f"The largest of {count} singular values holds", "the trained one"
    if count == 1:
        which = "The only singular value holds"
    difference = max(abs(a - b) for a, b in zip(target[:rank], trained[:rank], strict=False)) / target[0]
    if not math.isfinite(difference):
        end = f"{ours} {'is' if rank == 1 else 'are'} not finite"
    elif difference < 1e-4:
        end = f"{ours} {'is' if rank == 1 else 'are'} the same"
    else:
        end = f"{ours} {'differs' if rank == 1 else 'differ'} by up to {100 * difference:.2g} % of the largest"
    return f"{which} {held} of the squared norm; {end}"


def accuracy(values: Sequence[float], of: str = "test") -> str:
    """Accuracy at the end of a training.

    Args:
        values: Accuracy after each epoch.
        of: Samples that it is taken on.

    Example:
        >>> accuracy([0.8, 0.92, 0.91])
        'Test accuracy ends at 91.0 %, after 3 epochs; the best is 92.0 %, after epoch 2'
        >>> accuracy([0.8])
        'Test accuracy ends at 80.0 %, after 1 epoch'
    """
    count = len(values)
    last = f"{of.capitalize()} accuracy ends at {100 * values[-1]:.1f} %, after {count} epoch{'s' * (count != 1)}"
    best = max(range(count), key=lambda epoch: values[epoch])
    if values[best] < values[-1] + 5e-4:
        return last
    return f"{last}; the best is {100 * values[best]:.1f} %, after epoch {best + 1}"


def confusion(counts: Sequence[Sequence[int]]) -> str:
    """How many samples are classified correctly, and the most frequent mistake.

    Args:
        counts: Samples by true class and predicted class.

    Example:
        >>> confusion([[9, 1], [3, 7]])
        '16 of 20 test samples are classified correctly; the most frequent mistake: 1 taken for 0 (3 times)'
        >>> confusion([[9, 0], [0, 7]])
        '16 of 16 test samples are classified correctly'
    """
    classes, total = range(len(counts)), sum(map(sum, counts))
    right = sum(counts[label][label] for label in classes)
    told = f"{right:,} of {total:,} test samples are classified correctly"
    wrong = [(counts[true][taken], true, taken) for true in classes for taken in classes if true != taken]
    most, true, taken = max(wrong, default=(0, 0, 0), key=lambda mistake: mistake[0])
    if not most:
        return told
    return f"{told}; the most frequent mistake: {true} taken for {taken} ({most} time{'s' * (most != 1)})"


def share(value: float) -> str:
    """A part of a whole in percent, with as many digits as tell it from the whole.

    Example:
        >>> share(0.75), share(0.97778), share(0.999999), share(1.0)
        ('75 %', '97.78 %', '99.9999 %', '100 %')
    """
    missing = 1 - value
    if missing <= 1e-12:
        return "100 %"
    digits = 2 if missing > 1e-4 else 1 - math.ceil(math.log10(100 * missing))
    return f"{100 * value:.{max(digits, 2)}f}".rstrip("0").rstrip(".") + " %"
