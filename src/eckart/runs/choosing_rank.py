"""The rank of a run with ``rank=auto``: chosen by a rule from what its method sees, before it is trained."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from eckart.config import plain, settings_of
from eckart.errors import prefixed
from eckart.linalg.reference import ObservedReference, Reference
from eckart.methods.method import Method
from eckart.runs.stack import Stack
from eckart.selection import Choice, all_choices, choose, choose_observed


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

    def fields(self, reference: Reference | ObservedReference) -> dict[str, Any]:
        """Fields of ``result.json``; the error of each choice is that of the truncated SVD, where that is known.

        Args:
            reference: What the run is measured against, which the choice did not see.
        """
        # What completion could reach on the whole matrix says nothing of what it reaches from some entries.
        spectrum = reference.spectrum if getattr(reference, "observed", None) is None else None
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
        build: Makes the method of a stack whose ranks are known.
    """
    job = stack.jobs[0]
    if job.rank is not None:
        return stack, build(stack)
    first = build(dataclasses.replace(stack, jobs=[dataclasses.replace(job, chosen=Chosen(1, "", "", {}))]))
    with prefixed("selection", job.config.selection):
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
    evidence, limit = method.evidence(), method.largest_rank
    usual = settings == {name: value for name, value in plain(settings_of("selection", rule)).items() if name != "rule"}
    if not isinstance(evidence, Tensor):
        return _chosen(choose_observed(evidence, rule, seed=seed, max_rank=limit, **settings), rule, [])
    others = all_choices(evidence, seed=seed, max_rank=limit)
    by_rule = {other.rule: other for other in others}
    choice = by_rule[rule] if usual else choose(evidence, rule, seed=seed, max_rank=limit, **settings)
    return _chosen(choice, rule, others)


def _chosen(choice: Choice, rule: str, others: Sequence[Choice]) -> Chosen:
    every = {other.rule: other for other in others} | {rule: choice}
    told = {name: {"rank": other.rank, "reason": other.reason} for name, other in every.items()}
    return Chosen(choice.rank, rule, choice.reason, told)
