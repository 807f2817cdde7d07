"""Errors of libraries, in one line of our words."""

import pytest
import torch

from eckart.errors import one_line


def test_an_array_that_is_too_large_says_how_large_and_what_needs_less() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**57, dtype=torch.float64)
    line = one_line(raised.value)
    assert line.startswith("The memory is too small for an array of 1073741824.0 GiB. Less memory is needed by ")
    assert "\n" not in line
