"""Ratings beside other programs: five folds of MovieLens 100K, the same for everyone, and a matrix of 10⁵ rows.

Each program runs in a process of its own, so that its peak of memory is its own. A program that is not installed is
named, with the figure that its authors publish. MovieLens 100K is read out of the installed recbole, or of its wheel:

    pip install -e ".[benchmark]"
    pip install --no-deps recbole==1.2.1
    python scripts/benchmark_ratings.py --out ratings.csv
    python scripts/benchmark_ratings.py --large

``--write ratings.tsv`` writes the ratings as a table that ``data=ratings`` reads.
"""

import argparse
import csv
import importlib.metadata
import importlib.util
import multiprocessing
import resource
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

FILE = "recbole/dataset_example/ml-100k/ml-100k.inter"
PUBLISHED = {
    "surprise SVD": (0.934, "surprise's README"),
    "surprise SVD++": (0.919, "surprise's README"),
    "cmfrec": (None, "none"),
}
NEEDED = {"surprise SVD": "surprise", "surprise SVD++": "surprise", "cmfrec": "cmfrec", "cmfrec, implicit": "cmfrec"}


def table_of(wheel: Path | None) -> str:
    """The ratings of MovieLens 100K, as a table with tabs between its columns."""
    if wheel is not None:
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(FILE).decode()
    try:
        found = importlib.metadata.distribution("recbole").locate_file(FILE)
    except importlib.metadata.PackageNotFoundError:
        sys.exit("MovieLens 100K comes with recbole: pip install --no-deps recbole==1.2.1. Found it not installed.")
    return Path(str(found)).read_text(encoding="utf-8")


def ratings(wheel: Path | None) -> tuple[Any, Any, Any]:
    """User, item and rating of MovieLens 100K, the first two as numbers from 0."""
    lines = table_of(wheel).splitlines()
    table = np.array([line.split("\t")[:3] for line in lines[1:]], dtype=np.float64)
    user, item = (np.unique(table[:, place], return_inverse=True)[1].astype(np.int64) for place in (0, 1))
    return user, item, table[:, 2]


def folds(count: int) -> list[tuple[Any, Any]]:
    """Places of the ratings that are seen and of those that are held out, of each of five folds."""
    from sklearn.model_selection import KFold

    return list(KFold(5, shuffle=True, random_state=0).split(np.arange(count)))


Split = tuple[Any, Any, Any, Any, Any]
"""User, item and rating of those seen, then user and item of those held out."""
Program = Callable[[list[Split], tuple[int, int], int], tuple[list[Any], float, float]]
"""Of all splits, the shape and the rank, the predictions of each; seconds in all, and those of all cores together."""


class Clock:
    """Seconds, and those of all cores together, between starts and stops; it starts at once."""

    def __init__(self) -> None:
        self.seconds = self.work = 0.0
        self.start()

    def start(self) -> None:
        """Go on to count, from now."""
        self._began = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        """Count what has passed since the start."""
        self.seconds += time.perf_counter() - self._began[0]
        self.work += time.process_time() - self._began[1]


def ours(optimizer: str, **options: Any) -> Program:
    """A rating model of this package: the five folds are one stack, trained side by side."""

    def run(splits: list[Split], shape: tuple[int, int], rank: int) -> tuple[list[Any], float, float]:
        import torch

        from eckart.api.choosing import choose
        from eckart.linalg.entries import Entries
        from eckart.linalg.held_out import predictions
        from eckart.methods.ratings import RatingsCompletion

        tensors = [[torch.from_numpy(part) for part in split] for split in splits]
        entries = [Entries.of_lists(split[0], split[1], split[2], shape) for split in tensors]

        def trained(some: list[Entries], **own: Any) -> RatingsCompletion:
            chosen = choose("completion", optimizer, None, options | own)
            made: Any = chosen["optimizer"].partial()
            count = len(some)
            method = RatingsCompletion(
                some, ranks=[rank] * count, seeds=[0] * count, optimizer=made, record_every=10**6
            )
            method.learn()
            return method

        # Compilation, once for each machine.
        trained([entries[0][torch.arange(500)]], sweeps=22)
        clock = Clock()
        method = trained(entries)
        left, right = method.factors()
        found = []
        for member, split in enumerate(tensors):
            solver = method.members[member]
            limits = solver.low, solver.high
            found.append(predictions(left[member], right[member], split[3], split[4], limits).numpy())
        clock.stop()
        return found, clock.seconds, clock.work

    return run


def surprise(name: str) -> Program:
    """SVD or SVD++ of scikit-surprise, with its own settings: 100 and 20 factors."""

    def run(splits: list[Split], shape: tuple[int, int], rank: int) -> tuple[list[Any], float, float]:
        import pandas as pd
        import surprise as program

        found, clock = [], Clock()
        for user, item, value, test_user, test_item in splits:
            frame = pd.DataFrame({"user": user, "item": item, "rating": value})
            data = program.Dataset.load_from_df(frame, program.Reader(rating_scale=(1, 5))).build_full_trainset()
            clock.start()
            model = getattr(program, name)(random_state=0).fit(data)
            found.append(np.array([model.predict(u, i).est for u, i in zip(test_user, test_item, strict=True)]))
            clock.stop()
        return found, clock.seconds, clock.work

    return run


def cmfrec(**options: Any) -> Program:
    """Collective matrix factorization of cmfrec, by ALS with biases; the ridge is the best of several on held-out data.

    The regularization is chosen for it on the first fold's test ratings, which no other program here is allowed.
    """

    def run(splits: list[Split], shape: tuple[int, int], rank: int) -> tuple[list[Any], float, float]:
        import pandas as pd
        from cmfrec import CMF

        best: tuple[float, list[Any], Clock] | None = None
        for ridge in (0.03, 0.06, 0.1, 0.15):
            found, clock = [], Clock()
            for user, item, value, test_user, test_item in splits:
                frame = pd.DataFrame({"UserId": user, "ItemId": item, "Rating": value})
                clock.start()
                model = CMF(k=rank, lambda_=ridge, scale_lam=True, niter=15, verbose=False, nthreads=2, **options)
                model.fit(frame)
                found.append(np.clip(model.predict(test_user, test_item), 1, 5))
                clock.stop()
            error = float(np.mean([_rmse(part, truth) for part, truth in zip(found, TRUTHS, strict=True)]))
            if best is None or error < best[0]:
                best = error, found, clock
        assert best is not None
        return best[1], best[2].seconds, best[2].work

    return run


TRUTHS: list[Any] = []

PROGRAMS: dict[str, Program] = {
    "eckart gibbs": ours("gibbs"),
    "eckart gibbs, not implicit": ours("gibbs", implicit=False),
    "eckart weighted_als": ours("weighted_als"),
    "surprise SVD": surprise("SVD"),
    "surprise SVD++": surprise("SVDpp"),
    "cmfrec": cmfrec(),
    "cmfrec, implicit": cmfrec(add_implicit_features=True),
}


def _rmse(found: Any, truth: Any) -> float:
    return float(np.sqrt(np.mean(np.square(found - truth))))


def _measure(name: str, wheel: Path | None, rank: int, sender: Any) -> None:
    user, item, value = ratings(wheel)
    splits = [(user[a], item[a], value[a], user[b], item[b]) for a, b in folds(len(value))]
    TRUTHS[:] = [value[b] for _, b in folds(len(value))]
    found, seconds, work = PROGRAMS[name](splits, (int(user.max()) + 1, int(item.max()) + 1), rank)
    errors = [_rmse(part, truth) for part, truth in zip(found, TRUTHS, strict=True)]
    absolute = [float(np.mean(np.abs(part - truth))) for part, truth in zip(found, TRUTHS, strict=True)]
    sender.send((errors, absolute, seconds, work, _peak()))


def _peak() -> float:
    """Peak of the memory of this process, in GiB."""
    unit = 2**30 if sys.platform == "darwin" else 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def large_ours(epochs: int, sender: Any) -> None:
    """Epochs of plain ALS, without biases, on 10⁵ rows and columns with 10⁷ entries, at rank 10."""
    import torch

    from eckart.linalg.entries import Entries
    from eckart.optim.weighted_als import WeightedALS

    row, col, value = large_triplets()
    lists = [torch.from_numpy(part) for part in (row, col, value)]
    entries = Entries.of_lists(lists[0], lists[1], lists[2], (SIZE, SIZE))
    del lists
    del row, col, value
    solver = WeightedALS(entries, 10, 0, torch.float32, ridge=0.05, sweeps=epochs, biases=False)
    solver.advance(0)
    clock = Clock()
    for step in range(epochs):
        solver.advance(step)
    clock.stop()
    sender.send((clock.seconds / epochs, clock.work / epochs, solver.squared_residual() / len(entries), _peak()))


def large_cmfrec(epochs: int, sender: Any) -> None:
    """The same by cmfrec, with Cholesky steps."""
    from cmfrec import CMF
    from scipy import sparse

    row, col, value = large_triplets()
    matrix = sparse.coo_matrix((value.astype(np.float32), (row.astype(np.int32), col.astype(np.int32))), (SIZE, SIZE))
    del row, col, value

    def fitted(count: int) -> tuple[Clock, Any]:
        model = CMF(
            k=10, lambda_=0.05, scale_lam=True, niter=count, use_cg=False, user_bias=False, item_bias=False,
            center=True, use_float=True, finalize_chol=False, verbose=False, nthreads=2,
            precompute_for_predictions=False,
        )  # fmt: skip
        clock = Clock()
        model.fit(matrix)
        clock.stop()
        return clock, model

    (short, _), (whole, model) = fitted(1), fitted(epochs + 1)
    found = model.predict(matrix.row[:100_000], matrix.col[:100_000])
    error = float(np.mean(np.square(found - matrix.data[:100_000])))
    took = (whole.seconds - short.seconds) / epochs, (whole.work - short.work) / epochs
    sender.send((*took, error, _peak()))


SIZE, COUNT = 100_000, 10_000_000


def large_triplets() -> tuple[Any, Any, Any]:
    """10⁷ entries of a matrix of rank 10 with noise: more of some rows and columns, as ratings are."""
    draws = np.random.default_rng(0)
    place = np.empty(0, dtype=np.int64)
    while len(place) < COUNT:
        row, col = ((draws.random(COUNT // 2, dtype=np.float32) ** 2 * SIZE).astype(np.int64) for _ in range(2))
        place = np.unique(np.concatenate([place, row * SIZE + col]))
    place = place[np.sort(draws.permutation(len(place))[:COUNT])]
    row, col = np.divmod(place, SIZE)
    del place
    left, right = (draws.standard_normal((SIZE, 10), dtype=np.float32) / 10**0.25 for _ in range(2))
    value = np.empty(COUNT, dtype=np.float32)
    for start in range(0, COUNT, 2**20):
        some = slice(start, start + 2**20)
        value[some] = np.einsum("ij,ij->i", left[row[some]], right[col[some]])
    return row, col, value + 0.5 * draws.standard_normal(COUNT, dtype=np.float32)


def apart(work: Callable[..., None], *arguments: Any) -> Any:
    """What a function sends, from a process of its own."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(*arguments, sender))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        return None
    finally:
        process.join()


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PROGRAMS, default=list(PROGRAMS), help="some of the programs")
    parser.add_argument("--rank", type=int, default=10, help="of ours and of cmfrec")
    parser.add_argument("--wheel", type=Path, help="of recbole, where it is not installed")
    parser.add_argument("--out", type=Path, help="the table as CSV too")
    parser.add_argument("--large", action="store_true", help="10⁵ × 10⁵ with 10⁷ entries instead")
    parser.add_argument("--epochs", type=int, default=200, help="of --large")
    parser.add_argument("--write", type=Path, help="only write the ratings of MovieLens 100K, as .tsv")
    asked = parser.parse_args()
    if asked.write is not None:
        asked.write.write_text(table_of(asked.wheel), encoding="utf-8")
        return
    if asked.large:
        print(f"{'':14}{'s per epoch':>12}{'CPU, s':>9}{'mean square':>13}{'peak, GiB':>11}")
        for name, work in (("eckart", large_ours), ("cmfrec", large_cmfrec)):
            if name == "cmfrec" and importlib.util.find_spec("cmfrec") is None:
                print(f"{name:14}  not installed")
                continue
            seconds, cores, error, peak = apart(work, asked.epochs)
            print(f"{name:14}{seconds:12.2f}{cores:9.2f}{error:13.4f}{peak:11.2f}", flush=True)
        return
    print(f"{'five folds, MovieLens 100K':28}{'RMSE':>8}{'±':>8}{'MAE':>8}{'seconds':>9}{'CPU, s':>9}{'peak, GiB':>11}")
    table = []
    for name in asked.only:
        needed = NEEDED.get(name)
        if needed is not None and importlib.util.find_spec(needed) is None:
            figure, source = PUBLISHED.get(name, (None, "none"))
            print(f"{name:28}{figure or '–':>8}  published ({source}); {needed} is not installed")
            continue
        found = apart(_measure, name, asked.wheel, asked.rank)
        if found is None:
            print(f"{name:28}  failed")
            continue
        errors, absolute, seconds, work, peak = found
        row = [np.mean(errors), np.std(errors, ddof=1), np.mean(absolute), seconds, work, peak]
        print(f"{name:28}{row[0]:8.4f}{row[1]:8.4f}{row[2]:8.4f}{row[3]:9.1f}{row[4]:9.1f}{row[5]:11.2f}", flush=True)
        table.append([name, *map(float, row)])
    if asked.out is not None:
        with asked.out.open("w", newline="") as file:
            csv.writer(file).writerows(
                [["program", "rmse", "deviation", "mae", "seconds", "cpu_seconds", "peak_gib"], *table]
            )


if __name__ == "__main__":
    main()
