import functools
import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from eckart.data.probes import LAWS, Probes
from eckart.linalg.random import stream

COUNTS = st.tuples(st.sampled_from(sorted(LAWS)), st.integers(1, 6), st.integers(1, 20), st.integers(1, 25))


def make(law: str = "gaussian", size: int = 4, **options: Any) -> Probes:
    return Probes(law, size, **{"vectors": None, "batch_size": None, "seeds": [0], **options})


@functools.cache
def one_set(law: str, count: int, size: int, seed: int) -> Tensor:
    return LAWS[law](count, size, stream(seed, "probes"))


def drawn(law: str, size: int, vectors: int | None, batch_size: int | None, seed: int, step: int) -> Tensor:
    """Batch of one member, written out."""
    if vectors is None and law != "orthogonal":
        return LAWS[law](batch_size or 32, size, stream(seed, "probes", step))
    count = vectors or size
    everything = one_set(law, count, size, seed)
    if batch_size is None or batch_size >= count:
        return everything
    epoch, place = divmod(step, math.ceil(count / batch_size))
    order = torch.randperm(count, generator=stream(seed, "order", epoch))
    return everything[order[place * batch_size : (place + 1) * batch_size]]


@pytest.mark.parametrize("size", [1, 2, 7, 40])
@pytest.mark.parametrize("sets", [1, 3])
def test_sets_of_orthogonal_probes_have_exact_second_moment(size: int, sets: int) -> None:
    x = LAWS["orthogonal"](sets * size, size, stream(3, "probes")).numpy()
    np.testing.assert_allclose(x.T @ x, sets * size * np.eye(size), atol=1e-12 * sets * size)
    for part in np.split(x, sets):
        np.testing.assert_allclose(part @ part.T, size * np.eye(size), atol=1e-12 * size)


def test_few_orthogonal_probes_of_a_long_vector_are_drawn_alone() -> None:
    # A whole set of them would be 80 GB.
    x = LAWS["orthogonal"](3, 100_000, stream(0, "probes")).numpy()
    np.testing.assert_allclose(x @ x.T, 100_000 * np.eye(3), atol=1e-8)
    found = LAWS["orthogonal"](2, 3, stream(0, "probes"))
    assert found.shape == (2, 3)
    # Of either sign: the factorization alone would fix one of them.
    firsts = [LAWS["orthogonal"](1, 2, stream(seed, "probes"))[0, 0].sign().item() for seed in range(20)]
    assert {*firsts} == {-1.0, 1.0}


def test_orthogonal_probes_have_no_preferred_direction() -> None:
    # QR alone would fix the signs of the diagonal of R, and the mean of Q would not vanish.
    x = LAWS["orthogonal"](3 * 20000, 3, stream(0, "probes")).view(-1, 3, 3).numpy() / np.sqrt(3)
    np.testing.assert_allclose(x.mean(0), np.zeros((3, 3)), atol=5 / np.sqrt(3 * len(x)))
    assert abs((np.linalg.det(x) > 0).mean() - 0.5) < 5 * 0.5 / np.sqrt(len(x))


@pytest.mark.parametrize(
    ("law", "mean", "moment"),
    [
        ("gaussian", np.zeros(5), np.eye(5)),
        ("uniform", np.full(5, 0.5), np.eye(5) / 12 + 0.25),
    ],
)
def test_second_moment(law: str, mean: np.ndarray[Any, Any], moment: np.ndarray[Any, Any]) -> None:
    count = 100_000
    x = LAWS[law](count, 5, stream(1, "probes")).numpy()
    # Five standard deviations of the mean of a product of two entries, at most √2 each.
    np.testing.assert_allclose(x.mean(0), mean, atol=5 / np.sqrt(count))
    np.testing.assert_allclose(x.T @ x / count, moment, atol=5 * np.sqrt(2 / count))
    if law == "uniform":
        assert x.min() >= 0
        assert x.max() < 1


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize(("vectors", "batch_size"), [(None, None), (None, 3), (10, 3), (10, None), (7, 9)])
@pytest.mark.parametrize("seeds", [[3], [5, 3], [3, 5, 3, 0, 5]])
def test_members_of_a_stack_see_what_they_see_alone(
    law: str, vectors: int | None, batch_size: int | None, seeds: list[int]
) -> None:
    stacked = make(law, vectors=vectors, batch_size=batch_size, seeds=seeds)
    single = make(law, vectors=vectors, batch_size=batch_size, seeds=seeds, dtype=torch.float32)
    for step in (0, 1, 3, 4, 2, 11):
        batch = stacked.batch(step)
        for member, seed in enumerate(seeds):
            assert torch.equal(batch[member], drawn(law, 4, vectors, batch_size, seed, step))
        assert torch.equal(single.batch(step), batch.float())


def test_members_of_one_seed_share_one_set() -> None:
    probes = make("uniform", vectors=6, seeds=[3, 5, 3])
    assert probes.sets.shape == (2, 6, 4)
    assert torch.equal(probes.all, probes.sets[[0, 1, 0]])
    assert torch.equal(probes.members, torch.tensor([0, 1, 0]))


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize(("vectors", "batch_size"), [(None, None), (None, 3), (10, 3), (10, None)])
def test_batch_follows_from_seed_and_step_alone(law: str, vectors: int | None, batch_size: int | None) -> None:
    steps = [0, 1, 2, 5, 9]
    forward = make(law, vectors=vectors, batch_size=batch_size)
    backward = make(law, vectors=vectors, batch_size=batch_size)
    first = {step: forward.batch(step) for step in steps}
    torch.manual_seed(99)
    for step in reversed(steps):
        assert torch.equal(backward.batch(step), first[step])
    other = make(law, vectors=vectors, batch_size=batch_size, seeds=[1])
    assert not torch.equal(other.batch(0), first[0])


@pytest.mark.parametrize("law", ["gaussian", "uniform"])
def test_fresh_probes_differ_from_step_to_step(law: str) -> None:
    probes = make(law)
    assert not probes.fixed
    assert probes.batch(0).shape == (1, 32, 4)
    assert not torch.equal(probes.batch(0), probes.batch(1))


@settings(max_examples=60, deadline=None)
@given(COUNTS)
def test_epochs_visit_every_vector_once(counts: tuple[str, int, int, int]) -> None:
    law, size, vectors, batch_size = counts
    probes = make(law, size, vectors=vectors, batch_size=batch_size)
    batches = -(-vectors // min(batch_size, vectors))
    rows = sorted(map(tuple, probes.all[0].tolist()))
    assert probes.all.shape == (1, vectors, size)
    for epoch in range(3):
        seen = torch.cat([probes.batch(epoch * batches + place) for place in range(batches)], dim=1)
        assert sorted(map(tuple, seen[0].tolist())) == rows


def test_epochs_are_shuffled_anew() -> None:
    probes = make(vectors=20, batch_size=5)
    epochs = [torch.cat([probes.batch(4 * epoch + place) for place in range(4)], dim=1) for epoch in range(3)]
    assert not torch.equal(epochs[0], epochs[1])
    assert not torch.equal(epochs[1], epochs[2])


def test_last_batch_of_an_epoch_is_what_is_left() -> None:
    probes = make(vectors=10, batch_size=4)
    assert [probes.batch(step).shape[1] for step in range(6)] == [4, 4, 2, 4, 4, 2]


def test_orthogonal_probes_are_one_whole_set_by_default() -> None:
    probes = make("orthogonal", 6)
    assert probes.fixed
    assert probes.batch(0).shape == (1, 6, 6)
    assert torch.equal(probes.batch(0), probes.batch(17))


@pytest.mark.parametrize("law", LAWS)
def test_probes_are_float64_on_the_cpu(law: str) -> None:
    batch = make(law).batch(0)
    assert batch.dtype == torch.float64
    assert batch.device.type == "cpu"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"law": "cauchy"}, "probes must be one of: gaussian, uniform, orthogonal. Found 'cauchy'."),
        ({"vectors": 0}, "vectors must be an integer of at least 1. Found 0."),
        ({"batch_size": -2}, "batch_size must be an integer of at least 1. Found -2."),
    ],
)
def test_errors_state_the_law_and_the_value(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make(**options)
