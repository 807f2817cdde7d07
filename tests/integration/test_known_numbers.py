import pytest
from commandline import MNIST, QUIET, Train, has_downloaded

needs_mnist = pytest.mark.skipif(not has_downloaded("mnist"), reason=f"MNIST is a download: set {MNIST} to its folder.")


def test_default_data_reach_the_optimum(train: Train) -> None:
    ended = train("method=bottleneck", "rank=10", "logger=csv", "figures=false")
    assert (ended.code, ended.stderr) == (0, "")
    result = ended.result
    assert (result["data"], result["shape"]) == ("photo", [400, 400])
    assert result["excess_2norm"] <= 1e-8 and result["excess_frobenius"] <= 1e-8
    for norm in ("2norm", "frobenius"):
        assert f"{result[f'optimum_{norm}']:.10f}" in ended.stdout
        assert f"{result[f'relative_{norm}']:.10f}" in ended.stdout
    assert ended.folder.name in ended.stdout
    assert all(len(line) <= 120 for line in ended.stdout.splitlines() if ended.folder.name not in line)


def test_lab_optimum(train: Train) -> None:
    result = train("method=svd", "data=lab", "rank=2", *QUIET).result
    assert result["loss"] == pytest.approx(0.121911, abs=1e-6)


def test_lab_gradient_descent(train: Train) -> None:
    result = train(
        *("method=factorization", "data=lab", "rank=2", "optimizer=entrywise_sgd"),
        *("method.initialization=uniform", "method.max_steps=1000", *QUIET),
    ).result
    assert result["steps"] == 1000
    assert 0.1219 <= result["loss"] <= 0.1235


@pytest.mark.mnist
@needs_mnist
def test_mnist_truncated(train: Train) -> None:
    result = train("method=svd", "data=mnist", "rank=16", "method.solver=gram", *QUIET).result
    assert result["shape"] == [60000, 784]
    assert result["relative_frobenius"] == pytest.approx(0.49423, abs=1e-5)
    assert result["relative_2norm"] == pytest.approx(0.13751, abs=1e-5)


@pytest.mark.mnist
@needs_mnist
def test_mnist_classified(train: Train) -> None:
    result = train("method=classifier", "data=mnist", "rank=16", "method.epochs=2", *QUIET).result
    first, second = result["train_loss_sum_per_epoch"]
    assert 475 <= first <= 505 and 285 <= second <= 310
    assert result["accuracy"] > 0.9
