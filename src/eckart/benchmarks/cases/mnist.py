"""MNIST: its rank reduction, and the whole notebook."""

import json
import os
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from eckart.benchmarks.case import Case, Command, Contender, Prepared, Score
from eckart.benchmarks.goals import error_at_most, faster_than, memory_share, no_larger_error_than
from eckart.benchmarks.peers import svds
from eckart.benchmarks.programs import eckart, results

RANK = 16
NUMPY, RANDOMIZED, CELLS = "numpy.linalg.svd, as in the notebook", "randomized_svd", "the notebook's cells"
DEVIATION = "largest deviation of a loss sum from the one that the notebook prints, relative"
PRINTED = (497.6570819616318, 302.81817691773176)


def cases(quick: bool) -> Iterable[Case]:
    """The reduction to rank 16 of the raw pixels, and the notebook as a process."""
    images = 6000 if quick else 60_000
    yield Case(
        "mnist_reduction",
        f"rank reduction of MNIST, {images:,}×784, rank {RANK}, with the errors of all ranks",
        [
            Contender("eckart, Gram matrix", lambda: _ours(images)),
            _peer(NUMPY, svds.numpy_svd, images),
            _peer("torch.linalg.svd, float32", svds.torch_svd, images, kind="float32"),
            _peer("SciPy eigh of the Gram matrix", svds.scipy_gram, images, kind="float64"),
            _peer("torch.svd_lowrank, float32", svds.torch_lowrank, images, kind="float32"),
            _peer(RANDOMIZED, svds.sklearn_randomized, images, kind="float64"),
            _peer("randomized_svd, float32", svds.sklearn_randomized, images, kind="float32"),
            _peer("TruncatedSVD, arpack", svds.sklearn_truncated, images, kind="float64"),
            _peer("SciPy svds, arpack", partial(svds.scipy_svds, "arpack"), images, kind="float64"),
            _peer("dask svd_compressed", svds.dask_compressed, images, kind="float64", needs=("dask",)),
            _peer("PRIMME svds", svds.primme_svds, images, kind="float64", needs=("primme",)),
        ],
        accuracy="excess of the Frobenius error, relative to the optimum",
        level=1e-9,
        goals=[
            faster_than(NUMPY, 8),
            memory_share(NUMPY, 1 / 20),
            faster_than(RANDOMIZED, 1.0),
            no_larger_error_than(RANDOMIZED),
        ],
        budget=5.0,
        patience=40.0,
        note="Truncated decompositions give the errors of no other rank; the full ones and ours do.",
    )
    yield Case(
        "mnist_notebook",
        "the MNIST notebook: rank reduction, and two epochs of its net",
        [Contender("eckart, method=classifier", _net), Contender(CELLS, _notebook)],
        accuracy=DEVIATION,
        goals=[faster_than(CELLS, 8), error_at_most(0.03)],
        budget=2.0 if quick else 12.0,
        patience=100.0,
    )
    yield Case(
        "mnist_process",
        "the MNIST notebook as a process, from its start to its end; ours measures the errors of its reduction as well",
        [
            Command("eckart experiment=mnist_classifier", lambda _: _classifier(), _sums_of_ours),
            Command(CELLS, _cells, lambda folder: _sums(json.loads((folder / "sums.json").read_text()))),
        ],
        accuracy=DEVIATION,
        goals=[error_at_most(0.03)],
        budget=2.0 if quick else 12.0,
        note="About half of the processor time of ours is the import of its packages.",
    )


def _ours(images: int) -> Prepared:
    import torch

    from eckart.benchmarks.ours import reduced

    matrix = torch.from_numpy(images_of(images, "uint8"))

    def score(found: Any) -> Score:
        (u, s, vh), errors = found
        return Score(excess_of(images, (u * s).numpy(), vh.numpy()), f"errors of {len(errors)} ranks")

    return Prepared(lambda: reduced(matrix, RANK), score)


def _peer(
    name: str, load: Callable[[], svds.Decompose], images: int, *, kind: str = "uint8", needs: tuple[str, ...] = ()
) -> Contender:
    def prepare() -> Prepared:
        matrix, decompose = images_of(images, kind), load()
        return Prepared(lambda: decompose(matrix, RANK), lambda factors: excess_of(images, *factors))

    return Contender(name, prepare, needs)


def images_of(count: int, kind: str) -> Any:
    """The first images as rows of numbers of a kind, shape ``(count, 784)``.

    Raises:
        FileNotFoundError: If MNIST is not where it should be.
    """
    from eckart.data.files.idx import find_idx, read_idx

    path = find_idx(Path(_root(), "MNIST", "raw"), "train-images-idx3-ubyte")
    if path is None:
        raise FileNotFoundError(f"MNIST is not under {_root()}: ECKART_DATA names the folder that holds it")
    return read_idx(path, 3).flatten(1).numpy()[:count].astype(kind)


def excess_of(images: int, left: Any, right: Any) -> float:
    """How far the error of ``left @ right`` is above the optimum for the first images, relative to the latter."""
    import numpy as np

    from eckart.benchmarks.accuracy import excess
    from eckart.benchmarks.scratch import kept

    def values() -> Any:
        return np.linalg.svd(images_of(images, "float64"), compute_uv=False)

    return excess(images_of(images, "uint8"), left, right, kept(f"values-{images}", values))


def _net() -> Prepared:
    import pytorch_lightning
    import torch

    from eckart.data.samples import SampleData, mnist
    from eckart.data.together import together
    from eckart.linalg.row_threads import threads
    from eckart.methods.classifier import Classifier
    from eckart.runs.process import quiet

    def task() -> Any:
        # The notebook's cells read their images too.
        data = SampleData(mnist, root=_root(), pixels="raw", batch_size=64, seed=0)
        data.prepare_data()
        data.setup()
        supply = {name: together([part]) for name, part in data.supply("labels").items()}
        with quiet():
            made = Classifier(**supply, ranks=[RANK], seeds=[0], optimizer=partial(torch.optim.SGD, lr=0.01), epochs=2)
            trainer = pytorch_lightning.Trainer(
                accelerator="cpu",
                max_epochs=2,
                num_sanity_val_steps=0,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
            with threads(one=made.one_thread):
                trainer.fit(made, datamodule=data)
        return made

    return Prepared(task, lambda made: _sums(made.fields(0)["train_loss_sum_per_epoch"]))


def _notebook() -> Prepared:
    # Its imports are cells of their own.
    import numpy as np  # noqa: F401
    import torch  # noqa: F401
    import torchvision  # noqa: F401

    from eckart.benchmarks.peers.notebook import cells

    return Prepared(lambda: cells(_root()), _sums)


def _root() -> str:
    return str(Path(os.environ.get("ECKART_DATA", "data")).absolute())


def _classifier() -> list[str]:
    return eckart("experiment=mnist_classifier", f"data.root={_root()}", "logger=csv", "figures=false")


def _cells(folder: Path) -> list[str]:
    return [sys.executable, "-m", "eckart.benchmarks.peers.notebook", str(folder), _root()]


def _sums_of_ours(folder: Path) -> Score:
    return _sums(results(folder)[0]["train_loss_sum_per_epoch"])


def _sums(found: list[float]) -> Score:
    error = max(abs(mine / its - 1) for mine, its in zip(found, PRINTED, strict=True))
    return Score(error, f"loss sums {', '.join(f'{value:.2f}' for value in found)}")
