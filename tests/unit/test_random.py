from typing import Any

import pytest
import torch

from eckart.linalg.random import stream

PURPOSES: list[tuple[Any, ...]] = [
    (0, "target"),
    (1, "target"),
    (0, "factors"),
    (0, "probes", 0),
    (0, "probes", 1),
    (0, "probes", "0"),
]


def test_a_stream_depends_on_the_seed_and_on_every_part_of_its_purpose() -> None:
    draws = [torch.randn(4, generator=stream(*purpose)).tolist() for purpose in PURPOSES]
    assert len({tuple(draw) for draw in draws}) == len(PURPOSES)
    assert draws == [torch.randn(4, generator=stream(*purpose)).tolist() for purpose in PURPOSES]


@pytest.mark.parametrize(
    ("purpose", "seed"), [((0, "target"), 7915103339031887365), ((3, "probes", 2), 284991985658261512)]
)
def test_a_stream_stays_the_same_in_later_versions(purpose: tuple[Any, ...], seed: int) -> None:
    # Results of earlier versions can be repeated only with the same numbers.
    assert stream(*purpose).initial_seed() == seed
    assert stream(*purpose).device.type == "cpu"
