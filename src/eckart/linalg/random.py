"""Random streams: every draw of a run comes from a generator named by what it is for."""

import hashlib

import torch


def stream(seed: int, *purpose: str | int) -> torch.Generator:
    """Generator of one random stream of a run.

    Streams of different purposes are independent of each other, so a target and the initial factors that are to learn
    it never share numbers though both follow from the same seed. They live on the CPU: a run draws the same numbers
    on every accelerator, and a member of a stack the same as when it runs alone.

    Args:
        seed: The run's seed.
        purpose: What the stream is for, and which part of it, such as ``("probes", block)``.

    Returns:
        A generator on the CPU that always starts at the same state for the same arguments.

    Example:
        >>> a, b = stream(0, "target"), stream(0, "target")
        >>> torch.equal(torch.randn(3, generator=a), torch.randn(3, generator=b))
        True
        >>> torch.equal(torch.randn(3, generator=a), torch.randn(3, generator=stream(0, "factors")))
        False
    """
    digest = hashlib.sha256(repr((seed, *purpose)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little"))
