import pytest
import torch

from eckart.linalg.checks import require_count, require_nonzero, require_one_of


@pytest.mark.parametrize("value", [0, -1, 1.0, True, "3", None])
def test_what_is_no_count_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=rf"^vectors must be an integer of at least 1\. Found {value!r}\.$"):
        require_count("vectors", value)


def test_counts_and_known_names_pass() -> None:
    require_count("vectors", 1)
    require_one_of("solver", "gram", (name for name in ("exact", "gram")))


def test_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"^solver must be one of: exact, gram\. Found 'fast'\.$"):
        require_one_of("solver", "fast", (name for name in ("exact", "gram")))


def test_zero_norm_is_refused() -> None:
    require_nonzero(torch.tensor([1.0, 1e-30]))
    with pytest.raises(ValueError, match=r"^The input must not be all zero: .* Found norm 0\.$"):
        require_nonzero(torch.tensor([1.0, 0.0]), name="The input")
    with pytest.raises(ValueError, match=r"^The target must not be all zero"):
        require_nonzero(torch.tensor([0.0]))
