from typing import Any

import pytest
from example import CONFIG, changed

from eckart.results.aggregate import by_method_and_rank
from eckart.results.settings import decides, differing, flatten, hashable, names, settings
from eckart.runs.fingerprint import fingerprint

UNIFORM = {"data": "uniform", "data.rows": 9, "data.source.rows": 9}
ADAM = {"optimizer._target_": "torch.optim.Adam", "optimizer.lr": 0.1, "optimizer.eps": 1e-8}
SGD = {"optimizer._target_": "torch.optim.SGD", "optimizer.lr": 0.1, "optimizer.momentum": 0.9}
SVD = {"method": "svd", "method.solver": "exact", "optimizer._target_": None, "rank": 2, "seed": 0, **UNIFORM}
NET = {"method": "bottleneck", "method.hidden": "paper", "rank": 2, "seed": 0, **UNIFORM, **ADAM}


def test_settings_are_named_as_on_the_command_line() -> None:
    config = {"rank": 2, "seed": 1, "name": None, "method": {"hidden": [8], "a": {"b": 1.5}}, "claim": {}}
    result = {"method": "bottleneck", "data": "lab", "rank": 2, "seed": 1, "loss": 0.5, "config": config}
    assert settings(result) == {
        **{"method": "bottleneck", "data": "lab", "rank": 2, "seed": 1, "name": None},
        **{"method.hidden": [8], "method.a.b": 1.5},
    }
    assert settings({"method": "svd", "config": None}) == {"method": "svd", "data": None, "rank": None, "seed": None}


def test_flat_names_can_be_put_together_again() -> None:
    nested: dict[str, Any] = {"a": 1, "b": {"c": [1, {"d": 2}], "e": {"f": None, "g": True}}}
    flat = flatten(nested)
    assert flat == {"a": 1, "b.c": [1, {"d": 2}], "b.e.f": None, "b.e.g": True}


def test_names_stand_in_one_order_whatever_that_of_the_jobs() -> None:
    jobs: list[dict[str, Any]] = [{"b.z": 1, "seed": 0, "rank": 1}, {"b.a": 1, "a": 1, "method": "svd", "data": "lab"}]
    assert names(jobs) == names(jobs[::-1]) == ["method", "data", "rank", "seed", "a", "b.a", "b.z"]


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [
        ([NET], []),
        ([NET, NET], []),
        # What comes with a choice is told by the choice.
        ([NET, SVD], ["method"]),
        ([NET, NET | SGD], ["optimizer._target_"]),
        ([NET, SVD, NET | SGD], ["method", "optimizer._target_"]),
        ([NET, NET | {"data": "lab", "data.rows": 3, "data.source.rows": 3}], ["data"]),
        # What varies within a choice is not.
        ([NET, SVD, NET | {"optimizer.lr": 0.2}], ["method", "optimizer.lr"]),
        ([NET, NET | SGD, NET | {"optimizer.eps": 1.0}], ["optimizer._target_", "optimizer.eps"]),
        ([SVD, SVD | {"method.solver": "gram"}, NET], ["method", "method.solver"]),
        ([NET, NET | {"method.hidden": [8, 2]}, NET | {"method.hidden": [8]}], ["method.hidden"]),
        ([NET, NET | {"schedule._target_": "eckart.optim.schedules.cosine"}], ["schedule._target_"]),
        # An optimizer told apart by the method alone still has its own settings compared.
        ([NET, NET | {"method": "factorization", "optimizer.lr": 0.2}], ["method", "optimizer.lr"]),
        # What repeats another setting in every job says nothing new, and does as soon as it differs in one.
        ([NET, NET | {"data.rows": 8, "data.source.rows": 8}], ["data.rows"]),
        ([NET, NET | {"data.rows": 8, "data.source.rows": 7}], ["data.rows", "data.source.rows"]),
        (
            [NET, NET | {"data.rows": 8, "data.source.rows": 8}, NET | {"data": "digits", "data.source.rows": None}],
            ["data", "data.rows"],
        ),
        ([NET | {"data.seed": 0}, NET | {"seed": 1, "data.seed": 1}], ["seed"]),
        ([NET | {"data.seed": 0}, NET | {"seed": 1, "data.seed": 0}], ["seed"]),
        ([NET | {"data.seed": 0}, NET | {"seed": 1, "data.seed": 5}], ["seed", "data.seed"]),
        # Equal values do not make a repetition where the names differ.
        ([NET | {"method.width": 2}, NET | {"rank": 3, "method.width": 3}], ["rank", "method.width"]),
        # Numbers count as what they are.
        ([NET | {"optimizer.lr": 1}, NET | {"optimizer.lr": 1.0}], []),
        ([NET | {"optimizer.betas": [0, 1]}, NET | {"optimizer.betas": [0.0, 1.0]}], []),
    ],
)
def test_differing_names_what_tells_jobs_apart(jobs: list[dict[str, Any]], expected: list[str]) -> None:
    assert differing(jobs) == expected
    assert differing(jobs[::-1]) == expected


def test_values_that_look_alike_are_told_apart() -> None:
    values = [1, 2.5, "1", "paper", None, [1], ["1"], [[1]], [1, 1], {"a": 1}, {"a": 2}]
    assert len({hashable(value) for value in values}) == len(values)


@pytest.mark.parametrize(
    ("name", "decided"),
    [
        *((name, True) for name in ("rank", "seed", "ckpt", "method.hidden", "data.rows", "data.source.seed")),
        *((name, True) for name in ("optimizer.lr", "schedule.final", "callbacks.early_stopping.patience")),
        ("trainer.precision", True),
        *((name, False) for name in ("name", "figures", "trainer", "trainer.accelerator", "logger.wandb.project")),
        *((name, False) for name in ("claim.value", "objective", "resume", "methods.hidden", "trainer.precision.x")),
    ],
)
def test_decides(name: str, decided: bool) -> None:
    assert decides(name) is decided


@pytest.mark.parametrize("name", [name for name in flatten(CONFIG) if name not in ("rank", "seed")])
def test_one_law_decides_the_fingerprint_and_the_rows_of_a_table(name: str) -> None:
    other = changed(name, "another")
    assert (fingerprint(other) != fingerprint(CONFIG)) is decides(name)
    result = {"status": "completed", "method": "svd", "data": "lab", "rank": 2, "seed": 0}
    rows = by_method_and_rank([result | {"config": CONFIG}, result | {"config": other}])
    # A target that came from another class, or a seed of the data, is no setting of its own.
    if name not in ("data._target_", "method._target_", "optimizer._target_", "data.source.seed"):
        assert (len(rows) == 2) is decides(name)
