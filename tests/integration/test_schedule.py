"""A learning-rate schedule of the config reaches the optimizer of both kinds of training."""

from commandline import QUIET, SMALL, Train, history


def test_a_matrix_method_follows_the_schedule(train: Train) -> None:
    step = ("method=factorization", *SMALL, "rank=2", "optimizer=sgd", "method.max_steps=1", "logger=csv")
    moved = train(*step, "figures=false")
    # The rate is zero at the start of a warm-up, so that the first step changes nothing.
    still = train(*step, "figures=false", "schedule=cosine", "schedule.warmup=0.5")
    assert (moved.code, still.code) == (0, 0)
    first, last = (float(row["train/loss"]) for row in history(still.folder))
    assert first == last
    before, after = (float(row["train/loss"]) for row in history(moved.folder))
    assert before == first
    assert after != before


def test_the_classifier_follows_the_schedule(train: Train) -> None:
    epoch = ("method=classifier", "data=digits", "data.pixels=scaled", "rank=8", "method.epochs=1", *QUIET)
    constant = train(*epoch, "optimizer=adam", "optimizer.lr=1e-2")
    # The rate is next to nothing after the first of some twenty batches.
    vanishing = train(*epoch, "optimizer=adam", "optimizer.lr=1e-2", "schedule=exponential", "schedule.final=1e-200")
    assert (constant.code, vanishing.code) == (0, 0)
    assert vanishing.result["loss"] > 1.1 * constant.result["loss"]
