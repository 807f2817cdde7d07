"""Targets that are known by their products: what is trained on them is what is trained on their entries."""

import functools
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io  # type: ignore[import-untyped, unused-ignore]
import scipy.sparse  # type: ignore[import-untyped, unused-ignore]
import torch
from matrices import gaussian, with_spectrum
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import eckart
from eckart.api.choosing import matrix_methods
from eckart.data.files.reading import open_matrix
from eckart.data.matrix import MatrixData
from eckart.data.sparse_entries import drawn
from eckart.linalg.listed_reference import ListedReference
from eckart.linalg.operators import Dense, MatrixFree, Operator, Sparse, Stacked
from eckart.methods.factorization import Factorization
from eckart.optim.objectives import KnownTarget
from eckart.optim.products import KnownOperator
from eckart.optim.riemannian_cg import RiemannianCG
from eckart.optim.scaled_gd import ScaledGD
from eckart.optim.second_order import leave_saddles
from eckart.optim.solver import ALS, stationarity

MATRIX = gaussian(14, 11) * (gaussian(14, 11, seed=1) > 0.4)
SQUARES = MATRIX.square().sum()[None]
UNIT = torch.ones(1, 1, 1, dtype=torch.float64)


def free(matrix: Tensor) -> Operator:
    return MatrixFree(lambda x: x @ matrix.mT, (matrix.shape[0], matrix.shape[1]), lambda y: y @ matrix)


def in_dask(matrix: Tensor) -> Operator:
    array = pytest.importorskip("dask.array", reason='needs the extra dask: pip install "eckart[dask]"')
    from eckart.linalg.dask_blocks import DaskBlocks

    return DaskBlocks(array.from_array(matrix.numpy(), chunks=(5, 4)))


KINDS: dict[str, Callable[[Tensor], Operator]] = {
    "sparse": lambda matrix: Sparse(matrix.to_sparse()),
    "matrix-free": free,
    "stacked": lambda matrix: Stacked([free(matrix)]),
    "dask": in_dask,
}


@pytest.mark.parametrize("kind", KINDS)
def test_products_say_of_a_pair_what_the_entries_say(kind: str) -> None:
    operator = KINDS[kind](MATRIX)
    left, right = gaussian(14, 3, seed=2)[None], gaussian(3, 11, seed=3)[None]
    direction = gaussian(14, 3, seed=4)[None], gaussian(3, 11, seed=5)[None]
    torch.testing.assert_close(operator.squares(), SQUARES)
    scale = 2.5 * UNIT
    stored, known = KnownTarget(MATRIX[None] / scale), KnownOperator(operator, operator.squares(), scale)
    torch.testing.assert_close(known.norms, stored.norms)
    residuals: Any = [objective.residual(left, right) for objective in (stored, known)]
    torch.testing.assert_close(known.squares(residuals[1]), stored.squares(residuals[0]))
    for found, expected in zip(
        known.gradients(residuals[1], left, right), stored.gradients(residuals[0], left, right), strict=True
    ):
        torch.testing.assert_close(found, expected)
    for found, expected in zip(
        known.along(residuals[1], left, right, direction),
        stored.along(residuals[0], left, right, direction),
        strict=True,
    ):
        torch.testing.assert_close(found, expected)
    torch.testing.assert_close(known.best_left(right), stored.best_left(right))
    torch.testing.assert_close(known.best_right(left), stored.best_right(left))
    torch.testing.assert_close(stationarity(known, left, right), stationarity(stored, left, right))


def test_the_loss_has_the_gradients_that_the_entries_give() -> None:
    known = KnownOperator(KINDS["sparse"](MATRIX), SQUARES, UNIT)
    found = []
    for objective in (known, KnownTarget(MATRIX[None])):
        pair = [
            part.clone().requires_grad_() for part in (gaussian(14, 3, seed=2)[None], gaussian(3, 11, seed=3)[None])
        ]
        loss = objective.loss(*pair)  # type: ignore[attr-defined]
        (3 * loss.sum()).backward()
        found.append((loss.detach(), *(part.grad for part in pair)))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_what_was_asked_last_is_not_asked_again_unless_the_factors_changed() -> None:
    asked: list[int] = []
    operator = MatrixFree(lambda x: (asked.append(1), x @ MATRIX.mT)[1], (14, 11), lambda y: y @ MATRIX)  # type: ignore[func-returns-value]
    known = KnownOperator(operator, SQUARES, UNIT)
    left, right = gaussian(14, 3, seed=2)[None], gaussian(3, 11, seed=3)[None]
    first = known.residual(left, right)
    assert known.residual(left.clone(), right) is first and len(asked) == 1
    left[0, 0, 0] += 1
    assert not torch.equal(known.residual(left, right).left, first.left) and len(asked) == 2


class Unformed(Sparse):
    """A sparse matrix that is asked for no entries."""

    def dense(self) -> Tensor:
        raise AssertionError("the matrix must not be formed")


OPTIMIZERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "riemannian_cg": (RiemannianCG, {"max_steps": 500}),
    "als": (ALS, {"max_steps": 3000}),
    "scaled_gd": (lambda parameters: ScaledGD([tuple(parameters)]), {"max_steps": 3000}),
    "lbfgs": (functools.partial(torch.optim.LBFGS, line_search_fn="strong_wolfe"), {"max_steps": 15}),
}
CASES = [*((name, torch.float64) for name in OPTIMIZERS), ("riemannian_cg", torch.float32)]


@pytest.mark.parametrize(("optimizer", "dtype"), CASES)
def test_a_factorization_by_products_is_at_the_optimum(optimizer: str, dtype: torch.dtype) -> None:
    matrix = with_spectrum(40, 30, [9.0, 7.0, 5.0, *np.geomspace(1, 0.1, 17)]) * 1e3
    make, options = OPTIMIZERS[optimizer]
    method = Factorization(
        Unformed(matrix.to_sparse()), ranks=[3], seeds=[0], optimizer=make, dtype=dtype, tolerance=1e-9, **options
    )
    method.learn()
    left, right = (factor.detach()[0].double() for factor in method.factors())
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    best = (u[:, :3] * s[:3]) @ vh[:3]
    accuracy = 1e-7 if dtype == torch.float64 and optimizer != "lbfgs" else 1e-4
    assert torch.linalg.matrix_norm(left @ right - best) <= accuracy * torch.linalg.matrix_norm(best)
    fields = method.fields(0)
    assert fields["status"] == "completed"
    assert fields["loss"] == pytest.approx(float(s[3:].square().sum()), rel=1e-4)


def test_a_target_of_the_rank_is_found_to_the_floor_of_the_loss() -> None:
    matrix = with_spectrum(30, 20, [2.0, 1.0])
    method = Factorization(
        Unformed(matrix.to_sparse()), ranks=[2], seeds=[0], optimizer=RiemannianCG, max_steps=200, tolerance=1e-12
    )
    method.learn()
    left, right = (factor.detach()[0] for factor in method.factors())
    # The factors are exact to rounding; their loss, a difference of squares, is known to some eps of ‖A‖².
    assert torch.linalg.matrix_norm(left @ right - matrix) <= 1e-11
    assert 0 <= method.fields(0)["loss"] <= 1e-14


@pytest.mark.parametrize("kind", ["sparse", "dask"])
@pytest.mark.parametrize("sizes", [(30, 20), (30, 7)])
def test_a_saddle_is_left_by_products(kind: str, sizes: tuple[int, int]) -> None:
    count = min(sizes)
    matrix = torch.zeros(sizes, dtype=torch.float64)
    values = torch.arange(count, 0, -1.0, dtype=torch.float64)
    matrix.diagonal().copy_(values)
    # The third triplet in place of the second: the gradient is zero.
    left = torch.zeros(1, sizes[0], 2, dtype=torch.float64)
    right = torch.zeros(1, 2, sizes[1], dtype=torch.float64)
    for column, place in enumerate((0, 2)):
        left[0, place, column] = right[0, column, place] = values[place].sqrt()
    operator = KINDS[kind](matrix)
    known = KnownOperator(operator, operator.squares(), UNIT)
    moved = leave_saddles(known, left, right, [2], torch.tensor([True]), tolerance=1e-9)
    assert moved.all()
    # Iterated until there is a better direction, which need not be the best.
    assert float(known.squares(known.residual(left, right))) == pytest.approx(
        float(values[2:].square().sum()), rel=1e-4
    )
    left, right = torch.zeros_like(left), torch.zeros_like(right)
    for place in (0, 1):
        left[0, place, place] = right[0, place, place] = values[place].sqrt()
    assert not leave_saddles(known, left, right, [2], torch.tensor([True]), tolerance=1e-9).any()


def test_members_of_a_stack_have_their_own_products() -> None:
    matrices = [with_spectrum(12, 9, [4.0, 2.0, 1.0], seed) for seed in (0, 1)]
    stack = Stacked([Sparse(matrix.to_sparse()) for matrix in matrices])
    options: dict[str, Any] = {"seeds": [0, 1], "optimizer": RiemannianCG, "max_steps": 300, "tolerance": 1e-11}
    together = Factorization(stack, ranks=[2, 1], **options)
    together.learn()
    for member, matrix in enumerate(matrices):
        left, right = (factor.detach()[member] for factor in together.factors())
        u, s, vh = torch.linalg.svd(matrix)
        rank = (2, 1)[member]
        torch.testing.assert_close(left @ right, (u[:, :rank] * s[:rank]) @ vh[:rank], atol=1e-8, rtol=0)


def test_what_needs_entries_says_so() -> None:
    known = KnownOperator(KINDS["sparse"](MATRIX), SQUARES, UNIT)
    with pytest.raises(ValueError, match=r"^This optimizer needs a target that is stored .* Found Sparse\.$"):
        known.entries(0)
    broken = MATRIX.clone()
    broken[0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"^The target must be finite, .* Found NaN or infinite entries\.$"):
        Factorization(Sparse(broken.to_sparse()), ranks=[2], seeds=[0], optimizer=ALS)


def test_the_squares_of_an_operator_are_those_of_its_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eckart.linalg.operators._BLOCK", 3 * 14)
    for operator in (free(MATRIX), Dense(MATRIX), Sparse(MATRIX.to_sparse())):
        torch.testing.assert_close(operator.squares(), SQUARES)


class Largest(TorchDispatchMode):
    """The number of entries of the largest dense tensor that is made."""

    def __init__(self) -> None:
        super().__init__()
        self.entries = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for each in found if isinstance(found, tuple | list) else [found]:
            if isinstance(each, Tensor) and each.layout == torch.strided:
                self.entries = max(self.entries, each.untyped_storage().nbytes() // each.element_size())
        return found


def sparse_target() -> Any:
    """Sparse, 3000 × 400, with four singular values far above the others."""
    whole = scipy.sparse.random(3000, 400, density=0.002, random_state=0, format="csr")
    left = scipy.sparse.random(3000, 4, density=0.05, random_state=1)
    right = scipy.sparse.random(4, 400, density=0.05, random_state=2)
    return (whole + 20 * (left @ right)).tocsr()


# What a matrix of images has: probes times rows. A method that is given n probes asks for as many numbers as A has.
PROBED = {"vectors": 20, "transpose": True}
SPARSE_METHODS: dict[str, dict[str, Any]] = {
    "factorization": {},
    "svd": {"solver": "randomized"},
    "bottleneck": PROBED,
    "factorized_linear": PROBED,
    "completion": {"max_steps": 2},
}


def test_every_method_has_a_case_of_a_sparse_target() -> None:
    assert SPARSE_METHODS.keys() == set(matrix_methods())


@pytest.mark.parametrize("method", SPARSE_METHODS)
def test_a_sparse_target_stays_sparse_through_every_method(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Larger targets are not measured by their entries.
    monkeypatch.setattr("eckart.linalg.reference.EXACT_ENTRIES", 1000)
    monkeypatch.setattr(Sparse, "dense", lambda self: pytest.fail("the matrix was formed"))
    target = sparse_target()
    with Largest() as seen:
        found = eckart.fit(target, 4, method, **SPARSE_METHODS[method])
    assert found.fields["status"] == "completed"
    assert seen.entries < target.shape[0] * target.shape[1] / 2
    if method in ("factorization", "svd"):
        dense = target.toarray()
        u, s, vh = np.linalg.svd(dense, full_matrices=False)
        best = (u[:, :4] * s[:4]) @ vh[:4]
        product = (found.left @ found.right).numpy()
        assert np.linalg.norm(product - best) <= 1e-7 * np.linalg.norm(best)


@pytest.mark.parametrize("extension", ["npz", "mtx", "mtx.gz"])
def test_a_sparse_file_stays_sparse(extension: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, path = sparse_target(), tmp_path / f"target.{extension}"
    if extension == "npz":
        scipy.sparse.save_npz(path, target)
    else:
        scipy.io.mmwrite(path if extension == "mtx" else tmp_path / "target.mtx", target)
        if extension == "mtx.gz":
            path.write_bytes(gzip.compress((tmp_path / "target.mtx").read_bytes()))
    monkeypatch.setattr(Sparse, "dense", lambda self: pytest.fail("the matrix was formed"))
    with Largest() as seen:
        data = MatrixData(open_matrix, path=str(path), scale=-2.0)
        data.setup()
        assert isinstance(data.operator(), Sparse) and data.is_sparse
        for needs in ("target", "images"):
            assert list(data.supply(needs).values()) == [data.operator()]
        entries = data.supply("entries")["entries"]
    # Its zeros are entries, half of which are observed.
    assert len(entries) == 3000 * 400 // 2 and seen.entries <= 3000 * 400
    dense = -2.0 * target.toarray()
    np.testing.assert_array_equal(entries.value, dense[entries.row, entries.col])
    y = torch.randn(1, 2, 3000, dtype=torch.float64)
    np.testing.assert_allclose(data.operator().transpose_images(y)[0], y[0].numpy() @ dense, atol=1e-10)


def test_a_sparse_mask_says_what_is_observed(tmp_path: Path) -> None:
    target = sparse_target()
    mask = scipy.sparse.random(3000, 400, density=0.02, random_state=5, format="csr")
    scipy.sparse.save_npz(tmp_path / "target.npz", target)
    scipy.sparse.save_npz(tmp_path / "mask.npz", mask)
    options: dict[str, Any] = {"path": str(tmp_path / "target.npz"), "observed": str(tmp_path / "mask.npz")}
    data = MatrixData(open_matrix, **options)
    data.setup()
    entries = data.entries()
    dense = target.toarray()
    np.testing.assert_array_equal((entries.row, entries.col), mask.toarray().nonzero())
    np.testing.assert_array_equal(entries.value, dense[entries.row, entries.col])
    left, right = gaussian(1, 3000, 2, seed=1), gaussian(1, 2, 400, seed=2)
    errors = ListedReference(data.operator(), [2], [entries]).errors(left, right)
    residual, seen = dense - (left @ right)[0].numpy(), mask.toarray() != 0
    for name, part in (("relative_observed", seen), ("relative_held_out", ~seen)):
        expected = np.linalg.norm(residual[part]) / np.linalg.norm(dense[part])
        assert float(errors[name]) == pytest.approx(expected, rel=1e-9)
    assert float(errors["relative_frobenius"]) == pytest.approx(np.linalg.norm(residual) / np.linalg.norm(dense))


@pytest.mark.parametrize("share", [1e-5, 0.1, 0.3, 0.5, 0.8, 1.0])
def test_drawn_places_are_distinct_and_as_many_as_asked(share: float) -> None:
    found = drawn((400, 50), share, seed=3)
    assert len(found) == len(found.unique()) == max(1, round(share * 20_000))
    assert bool((found.diff() > 0).all()) and int(found[0]) >= 0 and int(found[-1]) < 20_000
    assert torch.equal(found, drawn((400, 50), share, seed=3))
    if 0.05 < share < 1:
        # Nothing is drawn from one end more often than from the other.
        assert abs(float(found.double().mean()) / 10_000 - 1) < 0.05
        assert not torch.equal(found, drawn((400, 50), share, seed=4))


def test_more_entries_than_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^data\.observed must be a share of at most .* Found 0\.5 of 1000000×100000"):
        drawn((10**6, 10**5), 0.5, seed=0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "%%MatrixMarket matrix coordinate real general\n2 2 1\n1 2 nan\n",
            r"every entry must be finite\. Found 1 NaN",
        ),
        ("%%MatrixMarket matrix coordinate real general\n2 2 1\n3 2 1\n", r"Cannot read"),
        ("%%MatrixMarket matrix coordinate real general\n2 2 999999999999\n1 2 1\n", r"takes 4 bytes at least"),
        ("%%MatrixMarket matrix coordinate complex general\n2 2 1\n1 2 1 1\n", r"must be real"),
    ],
    ids=["nan", "outside", "count", "complex"],
)
def test_a_damaged_sparse_file_is_refused_in_one_line(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.mtx"
    path.write_text(content)
    with pytest.raises(ValueError, match=message) as raised:
        open_matrix(path)
    assert "\n" not in str(raised.value)


def test_the_largest_array_is_seen() -> None:
    with Largest() as seen:
        torch.ones(30, 1) @ torch.ones(1, 20)
    assert seen.entries == 600
