"""Every method on a GPU, where there is one, held against the CPU."""

from collections.abc import Callable

import pytest
import torch
from commandline import Train
from torch import Tensor

from eckart.benchmarks import nets
from eckart.benchmarks.ours import trained
from eckart.linalg.choosing_solver import auto_svd
from eckart.linalg.gram import gram_svd
from eckart.linalg.krylov import randomized_svd

GPU = "cuda"
SMALL = ("data.rows=14", "data.cols=10", "rank=3", "logger=csv", "figures=false")
RUNS = [
    "method=bottleneck",
    "method=bottleneck optimizer=adam method.max_steps=30",
    "method=bottleneck optimizer=adam method.vectors=64 method.batch_size=32 method.max_steps=30",
    "method=bottleneck method.vectors=8 method.transpose=true",
    "method=factorized_linear",
    "method=factorized_linear optimizer=adam method.max_steps=30",
    "method=factorized_linear method.initialization=svd",
    "method=factorization",
    "method=factorization optimizer=als",
    "method=factorization optimizer=scaled_gd",
    "method=factorization optimizer=adam method.max_steps=30",
    "method=factorization optimizer=lbfgs method.max_steps=30",
    "method=completion data.observed=0.7 optimizer=riemannian_cg method.max_steps=30",
    "method=completion data.observed=0.7 optimizer=als method.max_steps=30",
    "method=completion data.observed=0.7 optimizer=adam method.max_steps=30",
    "method=svd",
    "method=svd method.solver=randomized",
]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("typed", RUNS)
def test_a_gpu_gives_the_numbers_of_the_cpu(typed: str, train: Train) -> None:
    data = "low_rank" if "completion" in typed else "uniform"
    by = {}
    for device in ("cpu", "gpu"):
        ended = train(*typed.split(), f"data={data}", *SMALL, f"trainer={device}")
        # So few steps may leave a lower rank, which is told.
        told = [line for line in ended.stderr.splitlines() if not line.startswith("warning: the approximation has")]
        assert (ended.code, told) == (0, []), ended.stderr
        by[device] = ended.result
    for name in ("relative_frobenius", "relative_2norm"):
        # Steps of Adam on unlike bits part slowly; where both converge they agree to rounding.
        assert by["gpu"][name] == pytest.approx(by["cpu"][name], rel=1e-4, abs=1e-7), name


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_what_a_gpu_cannot_do_is_done_on_the_cpu(train: Train) -> None:
    ended = train(
        "method=factorization",
        "optimizer=entrywise_sgd",
        "method.max_steps=5",
        "data=lab",
        "rank=2",
        "logger=csv",
        "figures=false",
    )
    assert (ended.code, ended.stderr) == (0, ""), ended.stderr
    assert ended.result["steps"] == 5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("solve", [randomized_svd, gram_svd, auto_svd])
def test_decompositions_on_a_gpu_are_those_of_the_cpu(solve: Callable[..., tuple[Tensor, ...]]) -> None:
    draw = torch.Generator().manual_seed(0)
    matrix = torch.randn(400, 300, generator=draw, dtype=torch.float64) / (1 + torch.arange(300))
    u, s, vh, *_ = solve(matrix.to(GPU), 5)
    assert {part.device.type for part in (u, s, vh)} == {GPU}
    torch.testing.assert_close(s.cpu(), torch.linalg.svdvals(matrix)[:5], rtol=1e-9, atol=0)
    images = (matrix @ vh.cpu().mT).mT
    torch.testing.assert_close((u * s).cpu().mT, images, rtol=0, atol=1e-8)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_stack_reaches_the_optimum_on_a_gpu() -> None:
    # Enough of them that some come to rest at a saddle, or are moved because they are slow.
    matrices, ranks = nets.targets(45), [1 + job % 9 for job in range(45)]
    made = trained(torch.from_numpy(matrices), ranks, list(range(45)), lightning=False, device=GPU)
    left, right = (factor.detach() for factor in made.factors())
    assert left.device.type == GPU
    assert nets.excesses(list(matrices), list((left @ right).cpu().numpy()), ranks).max() < 1e-8
