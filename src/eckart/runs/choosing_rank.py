"""The rank of a run with ``rank=auto``: chosen by a rule from what its method sees, before it is trained."""

import contextlib
import dataclasses
import importlib
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from eckart.config import NETS, is_a, plain, settings_of, type_law
from eckart.errors import prefixed
from eckart.linalg.entries import Entries
from eckart.linalg.reference import ObservedReference, Reference
from eckart.linalg.row_threads import threads
from eckart.methods.method import Method
from eckart.results.bar import Bar, Field
from eckart.runs.stack import Stack
from eckart.selection import RULES, SEEDED, Choice, all_choices

COMPARED_ENTRIES = 250_000
"""Entries of the largest matrix of which all rules are asked; of a larger one the one that is to choose, and those that
need nothing but its singular values."""
# Observed entries up to which rules are asked for a comparison that fit them at many ranks.
_OBSERVED = {"energy": 50_000, "information": 30_000}


@dataclass(frozen=True)
class Chosen:
    """A rank that a rule chose.

    Attributes:
        rank: The rank, at least 1.
        rule: The rule that was asked for.
        reason: Why it chose that rank, in one line.
        others: What each rule would have chosen: its rank, its reason and, where the rule itself knows one, the error
            there, by the name of the rule.
    """

    rank: int
    rule: str
    reason: str
    others: Mapping[str, Mapping[str, Any]]

    def fields(self, reference: Reference | ObservedReference | None) -> dict[str, Any]:
        """Fields of ``result.json``; the error of each choice is that of the truncated SVD, where that is known.

        Args:
            reference: What the run is measured against, which the choice did not see.
        """
        # What completion could reach on the whole matrix says nothing of what it reaches from some entries.
        assert reference is not None
        partly = reference.observed is not None and not bool(reference.observed.all())
        spectrum = None if partly else reference.spectrum
        choices = {}
        for rule, other in self.others.items():
            error = other.get("error")
            if error is None and spectrum is not None:
                squares = spectrum[0].square()
                error = float((squares[other["rank"] :].sum() / squares.sum()).sqrt())
            choices[rule] = {"rank": other["rank"], "error": error, "reason": other["reason"]}
        return {"rank_rule": self.rule, "rank_reason": self.reason, "rank_choices": choices}


def with_ranks(stack: Stack, build: Callable[[Stack], Method]) -> tuple[Stack, Method]:
    """The stack with the rank of its job chosen, where it is to be chosen, and its method.

    A first method of rank 1 is made from what the data supply to it, and asked for its evidence. It holds nothing else,
    so the choice sees what training sees. What it asked of an operator is not asked for again.

    Args:
        stack: The jobs; one whose rank is to be chosen is alone.
        build: Makes the method of a stack whose ranks are known. A net chooses a rank for each of its layers by itself.
    """
    job = stack.jobs[0]
    if job.rank is not None or job.config.method.needs == NETS:
        return stack, build(stack)
    first = build(dataclasses.replace(stack, jobs=[dataclasses.replace(job, chosen=Chosen(1, "", "", {}))]))
    hidden = None if job.config.trainer.enable_progress_bar else True
    told = Field(0, f"choosing the rank by {job.config.selection.rule}")
    bar = Bar(lambda: (0.0, [told]), hidden=hidden, delay=0)
    with contextlib.closing(bar), threads(one=first.one_thread), prefixed("selection", job.config.selection):
        chosen = choose_rank(first, plain(job.config.selection), seed=job.config.seed)
    stack = dataclasses.replace(stack, jobs=[dataclasses.replace(job, chosen=chosen)])
    method = build(stack)
    method.take_over(first)
    return stack, method


def choose_rank(method: Method, selection: Mapping[str, Any], *, seed: int) -> Chosen:
    """Choose a rank from what a method sees.

    Args:
        method: The method, with any rank.
        selection: The name of the rule, under ``rule``, and its settings.
        seed: Seed of the rules that draw random numbers.

    Raises:
        ValueError: If a setting is out of its range, or the method has nothing that a rank could be chosen from.
    """
    rule, settings = str(selection["rule"]), {name: value for name, value in selection.items() if name != "rule"}
    if rule in ("best", "cross_validation") and (found := method.validated()) is not None:
        told = {"rank": found.rank, "reason": found.reason, "error": found.losses[found.ranks.index(found.rank)]}
        return Chosen(found.rank, rule, found.reason, {rule: told})
    _check_settings(rule, settings)
    source, limit = method.to_choose_from(), method.largest_rank
    if isinstance(source, Entries) and len(source) == source.shape[0] * source.shape[1]:
        source = source.dense()
    if isinstance(source, Entries):
        settings = _of_observed(rule, settings)
    rules = [name for name in RULES if name == rule or _is_compared(name, rule, source)]
    others = all_choices(source, seed=seed, max_rank=limit, rules=rules, settings={rule: settings})
    return _chosen(rule, others)


def _check_settings(rule: str, settings: Mapping[str, Any]) -> None:
    """Hold settings against the types of the rule's parameters, also those whose default is null."""
    kinds = typing.get_type_hints(getattr(importlib.import_module(f"eckart.selection.{rule}"), rule))
    for name, value in settings.items():
        numbers = list(value) if isinstance(value, list | tuple) else [value]
        plain_kind = next((kind for kind in (int, float) if kind in (kinds[name], *typing.get_args(kinds[name]))), None)
        if typing.get_origin(kinds[name]) is tuple:
            if len(numbers) != len(typing.get_args(kinds[name])) or not all(is_a(number, int) for number in numbers):
                raise ValueError(f"{name} must be two integers, as in [2,2]. Found {value}.")
        elif value is not None and plain_kind is not None and not is_a(value, plain_kind):
            raise ValueError(type_law(name, kinds[name], value))
        if any(isinstance(number, int | float) and number < 0 for number in numbers):
            raise ValueError(f"{name} must not be negative. Found {value}.")


def _is_compared(name: str, rule: str, source: Tensor | Entries) -> bool:
    """Whether a rule is asked for the comparison with the one that chooses, which must not take long."""
    rows, cols = source.shape
    if isinstance(source, Tensor):
        return name not in SEEDED or rows * cols <= COMPARED_ENTRIES
    if name in ("best", "cross_validation"):
        # Of some entries the two are one rule; with settings of its own, the second would be computed twice.
        return rule != "cross_validation"
    return len(source) <= _OBSERVED.get(name, COMPARED_ENTRIES) and rows * cols <= COMPARED_ENTRIES


def _of_observed(rule: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a rule for observed entries; those that are about whole matrices must be the usual ones."""
    usual = plain(settings_of("selection", rule))
    for name in ("folds", "repeats"):
        if name in settings and list(np.atleast_1d(settings[name])) != list(np.atleast_1d(usual[name])):
            raise ValueError(f"{name} is for a matrix of which every entry is known. Found {settings[name]}.")
    return {name: value for name, value in settings.items() if name not in ("folds", "repeats")}


def _chosen(rule: str, others: Sequence[Choice]) -> Chosen:
    told: dict[str, dict[str, Any]] = {}
    # Of some entries, withheld ones are what every rule is held against.
    withheld = next((other.errors for other in others if other.errors), ())
    for other in others:
        error = withheld[other.rank] if other.rank < len(withheld) else None
        told[other.rule] = {"rank": other.rank, "reason": other.reason, "error": error}
    (choice,) = (other for other in others if other.rule == rule)
    return Chosen(choice.rank, rule, choice.reason, told)
