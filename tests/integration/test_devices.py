"""Every method on a GPU, where there is one, held against the CPU."""

import pytest
import torch
from commandline import Train

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
    "method=completion data.observed=0.7 method.max_steps=30",
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
        assert (ended.code, ended.stderr) == (0, ""), ended.stderr
        by[device] = ended.result
    for name in ("relative_frobenius", "relative_2norm"):
        # Steps of Adam on unlike bits part slowly; where both converge they agree to rounding.
        assert by["gpu"][name] == pytest.approx(by["cpu"][name], rel=1e-4, abs=1e-7), name


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_what_a_gpu_cannot_do_is_done_on_the_cpu(train: Train) -> None:
    ended = train("method=factorization", "optimizer=entrywise_sgd", "method.max_steps=5", "data=lab", "rank=2")
    assert (ended.code, ended.stderr) == (0, ""), ended.stderr
    assert ended.result["steps"] == 5
