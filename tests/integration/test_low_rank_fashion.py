"""Table T3 of docs/compression.md: one seed comes near what the page says of five; minutes."""

import pytest
from commandline import MNIST, Train, has_downloaded

pytestmark = [
    pytest.mark.compression,
    pytest.mark.skipif(not has_downloaded("fashion_mnist"), reason=f"Fashion-MNIST is read from ${MNIST}"),
]


def test_a_small_net_of_low_rank_reaches_its_row(train: Train) -> None:
    ended = train("experiment=compression_fashion", "logger=none", "figures=false")
    assert ended.code == 0, ended.stderr
    found = ended.result
    # The accuracies of five seeds differ by some tenths of a percent.
    assert found["parameters"] <= 30_000 and found["accuracy"] >= 0.921
