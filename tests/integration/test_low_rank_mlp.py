"""Table T2 of docs/compression.md: one seed of each width reaches what the page says; minutes."""

import os

import pytest
from commandline import MNIST, Train

pytestmark = [
    pytest.mark.compression,
    pytest.mark.skipif(MNIST not in os.environ, reason="MNIST is read from $ECKART_DATA"),
]


@pytest.mark.parametrize(
    ("experiment", "parameters", "accuracy"),
    [("compression_mlp", 86_692, 0.984), ("compression_mlp_784", 141_120, 0.985)],
)
def test_an_mlp_of_low_rank_reaches_its_row(experiment: str, parameters: int, accuracy: float, train: Train) -> None:
    ended = train(f"experiment={experiment}", "logger=none", "figures=false")
    assert ended.code == 0, ended.stderr
    found = ended.result
    assert found["parameters"] <= parameters and found["accuracy"] >= accuracy
