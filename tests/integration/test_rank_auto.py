"""rank=auto on the command line: what the choice sees, what becomes of it, and that it changes nothing else."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commandline import QUIET, Train, result
from torch import Tensor

from eckart.data import targets
from eckart.data.samples import SampleData, Samples, digits
from eckart.linalg.entries import Entries
from eckart.linalg.operators import Dense
from eckart.methods.bottleneck import BottleneckNet
from eckart.methods.classifier import Classifier
from eckart.methods.completion import Completion
from eckart.methods.factorization import Factorization
from eckart.methods.factorized_linear import FactorizedLinear
from eckart.methods.method import Method
from eckart.methods.probing import ProbingMethod
from eckart.methods.svd import SVD
from eckart.optim.riemannian_cg import RiemannianCG
from eckart.reports import reading
from eckart.runs.choosing_rank import choose_rank
from eckart.tracking import offline

PLANTED = ("data=low_rank", "data.rows=12", "data.cols=9", "data.rank=3")
IDENTITY = (
    "data=operator",
    "data.source=eckart.data.targets.identity",
    "data.arguments.rows=4",
    "data.arguments.cols=4",
)
ENERGY = {"rule": "energy", "share": 0.99}
PROBES: dict[str, dict[str, Any]] = {
    "one orthogonal set": {},
    "gaussian": {"probes": "gaussian", "vectors": 20},
    "fewer than columns": {"vectors": 5},
    "fewer, and the transpose": {"vectors": 5, "transpose": True},
}
# Images that choosing and training ask for together, and images of the transpose.
COUNTS = {
    "one orthogonal set": (9, 0),
    "gaussian": (20, 0),
    "fewer than columns": (5, 0),
    "fewer, and the transpose": (5, 5),
}


def planted(rows: int = 12, cols: int = 9, rank: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(*size, generator=generator).double() for size in ((rows, rank), (rank, cols)))
    return left @ right


def asked(operator: Dense) -> tuple[Dense, dict[str, int]]:
    """The operator, and a count of all that is asked of it."""
    counts = {"images": 0, "transpose": 0}

    class Asked(Dense):
        def images(self, x: Tensor) -> Tensor:
            counts["images"] += x.shape[1]
            return super().images(x)

        def transpose_images(self, y: Tensor) -> Tensor:
            counts["transpose"] += y.shape[1]
            return super().transpose_images(y)

    return Asked(operator.matrix), counts


@pytest.mark.parametrize("case", PROBES)
@pytest.mark.parametrize("kind", [BottleneckNet, FactorizedLinear])
def test_the_choice_sees_the_images_of_training_and_no_image_is_asked_for_twice(
    kind: type[ProbingMethod], case: str
) -> None:
    target = planted()
    operator, counts = asked(Dense(target))
    common: dict[str, Any] = {"seeds": [0], "optimizer": RiemannianCG, "max_steps": 200, "tolerance": 1e-9}
    first = kind(operator, ranks=[1], **common | PROBES[case])
    first.to_choose_from()
    alone = kind(Dense(target.clone()), ranks=[3], **common | PROBES[case])
    # What is not among the images is lost.
    target.fill_(torch.nan)
    chosen = choose_rank(first, ENERGY | {"share": 1.0}, seed=0)
    assert chosen.rank == 3
    method = kind(operator, ranks=[chosen.rank], **common | PROBES[case])
    method.take_over(first)
    method.learn()
    alone.learn()
    for found, expected in zip(method.factors(), alone.factors(), strict=True):
        assert found.isfinite().all() and torch.equal(found, expected)
    images, transpose = COUNTS[case]
    images += kind is FactorizedLinear
    fields = method.fields(0)
    assert (counts["images"], counts["transpose"]) == (images, transpose)
    assert (fields["images"], fields["transpose_images"]) == (images, transpose)


def test_with_fresh_probes_the_images_that_the_choice_asks_for_are_counted() -> None:
    operator, counts = asked(Dense(planted()))
    common: dict[str, Any] = {"seeds": [0], "optimizer": lambda weights: torch.optim.Adam(weights, lr=1e-2)}
    common |= {"probes": "gaussian", "max_steps": 3, "record_every": 3}
    first = BottleneckNet(operator, ranks=[1], **common)
    chosen = choose_rank(first, ENERGY, seed=0)
    assert counts["images"] == 9
    method = BottleneckNet(operator, ranks=[chosen.rank], **common)
    method.take_over(first)
    method.learn()
    # Three steps, and the losses of two records.
    assert method.fields(0)["images"] == counts["images"] == 9 + 5 * 32


def test_the_choice_of_completion_sees_the_observed_entries_alone() -> None:
    target = planted()
    mask = torch.rand(target.shape, generator=torch.Generator().manual_seed(1)) < 0.7
    ranks = []
    for hidden in (0.0, torch.nan, 1e30):
        entries = Entries.of_matrix(torch.where(mask, target, torch.as_tensor(hidden, dtype=target.dtype)), mask)
        method = Completion([entries], ranks=[1], seeds=[0], optimizer=RiemannianCG)
        evidence = method.to_choose_from()
        assert len(evidence) == int(mask.sum())
        ranks.append(choose_rank(method, {"rule": "best"}, seed=0))
    assert ranks[0] == ranks[1] == ranks[2]


def test_methods_that_see_the_target_choose_from_it() -> None:
    target = planted()
    common: dict[str, Any] = {"ranks": [1], "seeds": [0]}
    trained = common | {"optimizer": RiemannianCG}
    methods: list[Method] = [SVD(Dense(target), **common), Factorization(target[None], **trained)]
    for method in methods:
        torch.testing.assert_close(method.to_choose_from(), target, rtol=0, atol=0)


@pytest.mark.processes
def test_the_choice_of_a_classifier_sees_the_training_set_alone() -> None:
    def poisoned() -> Samples:
        samples = digits()
        lost = torch.full_like(samples.test_inputs, torch.nan, dtype=torch.float32)
        return samples._replace(test_inputs=lost, test_labels=samples.test_labels * 0)

    optimizer = functools.partial(torch.optim.Adam, lr=1e-2)
    found = []
    for source in (digits, poisoned):
        data = SampleData(source, pixels="scaled")
        data.setup()
        supply = {name: part[None, :300] for name, part in data.supply("labels").items()}
        method = Classifier(**supply, ranks=[1], seeds=[0], optimizer=optimizer, hidden=[30], epochs=3)
        found.append(choose_rank(method, {"rule": "best"}, seed=0))
    assert found[0] == found[1]
    # Ten digits are not told apart by one or two numbers.
    assert 4 <= found[0].rank <= 64
    assert "tried 1, 2, 4, 8, 16, 32, 64: 3 epochs on 240 training samples, 60 others held out" in found[0].reason


@pytest.mark.parametrize(
    "method", ["bottleneck", *(pytest.param(name, marks=pytest.mark.processes) for name in ("svd", "factorization"))]
)
def test_a_chosen_rank_gives_the_numbers_of_a_given_one(method: str, train: Train) -> None:
    ended = train(f"method={method}", *PLANTED, "rank=auto", *QUIET)
    assert (ended.code, ended.stderr) == (0, "")
    chosen, given = ended.result, train(f"method={method}", *PLANTED, "rank=3", *QUIET).result
    own = ("rank_rule", "rank_reason", "rank_choices", "fingerprint", "config", "fit_seconds", "total_seconds")
    assert {name: value for name, value in chosen.items() if name not in own} == {
        name: value for name, value in given.items() if name not in own
    }
    assert (chosen["rank"], chosen["rank_rule"]) == (3, "best")
    assert chosen["config"]["rank"] == "auto" and "selection" not in given["config"]
    assert given["rank_rule"] is None and given["rank_choices"] is None
    spectrum = np.linalg.svd(targets.low_rank(12, 9, 3, seed=0).numpy(), compute_uv=False) ** 2
    for rule, choice in chosen["rank_choices"].items():
        expected = np.sqrt(spectrum[choice["rank"] :].sum() / spectrum.sum())
        assert choice["error"] == pytest.approx(expected, abs=1e-12), rule
    title, *_ = ended.stdout.splitlines()
    assert title == f"{method} on low_rank, 12×9, rank 3 (auto), seed 0"
    assert "rank 3 chosen by best: " in ended.stdout and "\nenergy " in ended.stdout


def test_a_sweep_over_auto_and_given_ranks(train: Train) -> None:
    words = ("-m", "method=svd", *PLANTED, "rank=auto,2,9", "seed=0,1", "selection=energy", "selection.share=1", *QUIET)
    ended = train(*words)
    assert (ended.code, ended.stderr) == (0, "")
    ranks = {folder.name: result(folder)["rank"] for folder in ended.folders}
    asked_for = {"auto": 3, "2": 2, "9": 9}
    assert ranks == {f"rank={word},seed={seed}": rank for word, rank in asked_for.items() for seed in (0, 1)}
    table = [line.split() for line in ended.stdout.splitlines()]
    assert [row[0] for row in table if row[1:2] == ["2"]] == ["2", "9"]
    assert ["auto", "3", "2"] in [row[:3] for row in table]
    again = train(*words, "resume=latest")
    assert again.code == 0 and not again.folders and "completed: " not in again.stdout


@pytest.mark.processes
def test_a_run_is_resumed_and_continued_with_the_rank_that_was_chosen(train: Train, tmp_path: Path) -> None:
    words = ("method=factorization", *PLANTED, "rank=auto", "optimizer=adam", *QUIET)
    first = train(*words, "method.max_steps=20", "method.tolerance=0", "hydra.run.dir=run")
    again = train(*words, "method.max_steps=20", "method.tolerance=0", "resume=run")
    assert again.code == 0 and "rank 3 (auto)" in again.stdout and result(tmp_path / "run")["rank"] == 3
    other = train(*words, "method.max_steps=20", "method.tolerance=0", "selection=energy", "resume=run")
    assert other.line.endswith("Found one with selection.rule=best in place of selection.rule=energy.")
    further = train(*words, "method.max_steps=40", "method.tolerance=0", "ckpt=run/last.ckpt")
    whole = train(*words, "method.max_steps=40", "method.tolerance=0")
    assert (first.result["steps"], further.result["steps"], further.result["rank"]) == (20, 40, 3)
    assert further.result["loss"] == whole.result["loss"]
    given = train(*words, "rank=3", "method.max_steps=40", "method.tolerance=0", "ckpt=run/last.ckpt")
    assert given.result["loss"] == whole.result["loss"]


@pytest.mark.processes
@pytest.mark.parametrize(
    ("words", "rank"),
    [
        (("method=classifier", "data=digits", "data.pixels=scaled", "optimizer=adam", "method.epochs=3"), None),
        (("method=classifier", "data=digits", "selection=energy", "method.epochs=1"), 33),
        (("method=completion", *PLANTED, "data.rows=40", "data.cols=30", "data.observed=0.6"), 3),
        (("method=factorized_linear", *PLANTED), 3),
        (("method=bottleneck", *PLANTED, "method.vectors=5", "method.transpose=true"), 3),
        (("method=svd", "method.solver=randomized", *IDENTITY, "selection=energy"), 4),
        (("method=svd", "data=uniform", "data.rows=1", "data.cols=1"), 1),
        (("data=ratings", "data.path=ratings.csv"), 2),
    ],
)
def test_each_method_has_a_rank_that_a_rule_chooses(
    words: tuple[str, ...], rank: int | None, train: Train, tmp_path: Path
) -> None:
    table = planted(60, 40, 2) + 0.01 * planted(60, 40, 40)
    seen = torch.rand(table.shape, generator=torch.Generator().manual_seed(2)) < 0.5
    lines = [f"{row},{col},{table[row, col]:.4f}" for row, col in seen.nonzero().tolist()]
    (tmp_path / "ratings.csv").write_text("\n".join(["user,item,rating", *lines]))
    ended = train(*words, "rank=auto", *QUIET)
    assert (ended.code, ended.stderr) == (0, "")
    found = ended.result
    assert rank in (None, found["rank"]) and found["rank"] >= 1
    assert found["rank_reason"] in " ".join(ended.stdout.split())


@pytest.mark.wandb
def test_a_run_in_wandb_says_which_rank_was_chosen_and_a_page_knows_it(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = train("method=svd", *PLANTED, "rank=auto", "figures=false")
    (path,) = offline.find_offline_runs(ended.folder)
    run = offline.read_offline_run(path)
    assert run.identity["name"] == "svd-low_rank-rank-auto→3-seed0"
    assert run.tags == ("svd", "low_rank", "rank=auto")
    assert run.config["rank"] == run.summary["rank"] == 3 and run.config["choices"]["selection"] == "best"
    assert run.summary["rank_rule"] == "best"
    # The page takes the W&B run of another attempt for one of the same job.
    path_of_result = ended.folder / "result.json"
    path_of_result.write_text(path_of_result.read_text().replace(path.parent.name, "x"))
    (record,) = reading.read([ended.folder]).records
    assert record.fields["rank"] == 3
    path_of_result.unlink()
    kept = [record for record in reading.read([ended.folder]).records if record.link]
    assert [(record.fields["rank"], record.fields["rank_rule"]) for record in kept] == [(3, "best")]
