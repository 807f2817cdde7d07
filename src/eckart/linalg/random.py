"""Random streams: each purpose in a run draws from a generator of its own."""

import hashlib

import torch


def stream(seed: int, *purpose: str | int) -> torch.Generator:
    """Generator of one random stream of a run.

    Streams of different purposes are independent of each other, so a target and the initial factors of its
    approximation have no numbers in common, although both follow from the same seed. The generators are on the CPU: a
    run draws the same numbers with every accelerator, and a member of a stack the same numbers as alone.

    Args:
        seed: Seed of the run.
        purpose: Purpose of the stream, and which part of it, such as ``("probes", block)``.

    Returns:
        A generator on the CPU, in a state that depends only on the arguments.

    Example:
        >>> a, b = stream(0, "target"), stream(0, "target")
        >>> torch.equal(torch.randn(3, generator=a), torch.randn(3, generator=b))
        True
        >>> torch.equal(torch.randn(3, generator=a), torch.randn(3, generator=stream(0, "factors")))
        False
    """
    digest = hashlib.sha256(repr((seed, *purpose)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little"))
