import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commandline import QUIET, SMALL, Train, result
from PIL import Image

FILE = ("data=file", "method=svd", "rank=2")
ARRAY = np.random.default_rng(0).random((4, 5))


def with_nan() -> Any:
    array = ARRAY.copy()
    array[1, 2] = array[3, 3] = np.nan
    return array


def save(array: Any) -> Callable[[Path], object]:
    return lambda path: np.save(path, array, allow_pickle=True)


def write(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def cut_off(make: Callable[[Path], object], part: float) -> Callable[[Path], object]:
    def cut(path: Path) -> None:
        make(path)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * part)])

    return cut


def draw(path: Path) -> None:
    Image.fromarray((np.random.default_rng(0).random((40, 40)) * 255).astype(np.uint8)).save(path)


ARGUMENTS = [
    (["rank=ten"], "rank must be an integer or auto. Found 'ten'."),
    (["rank=1.5"], "rank must be an integer or auto. Found 1.5."),
    (["rank=null"], "rank must be an integer or auto. Found null."),
    (["rank=auto", "selection=magic"], "Unknown choice selection=magic. It is one of: best, cross_validation, energy,"),
    (["rank=auto", "selection=energy", "selection.share=2", *SMALL], "selection.share must be in (0, 1]. Found 2."),
    (["rank=0"], "The rank must be at least 1. Found rank=0."),
    (["rank=401"], "1 <= rank <= min(m, n) = 400. Found 401."),
    (["rank"], "Cannot read the override 'rank'."),
    (["seed=x"], "seed must be an integer. Found 'x'."),
    (["trainer.enable_progress_bar=3"], "trainer.enable_progress_bar must be true or false. Found 3."),
    (["method=botleneck"], "Unknown choice method=botleneck. Did you mean bottleneck?"),
    (["data=fhoto"], "Unknown choice data=fhoto. Did you mean photo?"),
    (["data=elephant"], "Unknown choice data=elephant. It is one of: color_wheel, "),
    (["metod=svd"], "Unknown key metod. Did you mean method or model?"),
    (["method.hiden=3"], "Unknown key method.hiden. Did you mean hidden?"),
    (["optimizer.lr=3"], "Unknown key optimizer.lr. It is one of: damping, warm_up."),
    (["method.max_steps=ten"], "method.max_steps must be an integer. Found 'ten'."),
    (["method.max_steps=0", *SMALL, "rank=2"], "method.max_steps must be an integer of at least 1. Found 0."),
    (["method.tolerance=-1", *SMALL, "rank=2"], "method.tolerance must not be negative. Found -1."),
    (["method.record_every=often", *SMALL, "rank=2"], "method.record_every must be an integer"),
    (["method.vectors=many", *SMALL, "rank=2"], "method.vectors must be an integer"),
    (["method.probes=some", *SMALL, "rank=2"], "orthogonal. Found 'some'."),
    (["optimizer=adam", "optimizer.lr=fast"], "optimizer.lr must be a number. Found 'fast'."),
    (["optimizer=adam", "optimizer.betas=3"], "optimizer.betas must be a list, as in [1,2]. Found 3."),
    (["callbacks=learning_rate", *SMALL, "rank=2"], "optimizer=riemannian_cg has no learning rate that a callback"),
    (["method.transpose=true", *SMALL, "rank=2"], "method.vectors must be a number below the n = "),
    (["optimizer=none"], "method=bottleneck needs an optimizer. Found optimizer=none."),
    (["method=svd", "optimizer=adam"], "optimizer=none. Found optimizer=adam."),
    (["method=svd", "data.observed=0.5"], "such as method=completion. Found data.observed=0.5 with method=svd."),
    (["method=svd", "method.solver=magic", *SMALL, "rank=2"], "auto, exact, gram, randomized. Found 'magic'."),
    (["method=completion", "data.observed=2", *SMALL, "rank=2"], "a fraction in (0, 1], or a mask file. Found 2."),
    (["method=classifier", "data=photo"], "data=mnist, data=fashion_mnist or data=digits. Found data=photo."),
    (["method=classifier", "data=digits", "optimizer=riemannian_cg"], "Found RiemannianCG."),
    (["method=classifier", "data=digits", "data.pixels=big"], "raw, scaled. Found 'big'."),
    (["data.rows=0"], "at least 1. Found 0."),
    (["data=symmetric", "data.path=x.csv"], "seed, source. data=file and data=ratings have data.path."),
    (["vectors=20"], "Unknown key vectors. Did you mean method.vectors?"),
    (["data.scale=0", *SMALL, "rank=2"], "data.scale must be finite and not 0. Found 0."),
    (["~method"], "There must be a choice method=NAME. Found none."),
    (["schedule=cosine", *SMALL, "rank=2"], "optimizer=riemannian_cg has no learning rate: schedule=constant. Found"),
    (["method.hidden=5", *SMALL, "rank=2"], "method.hidden must be paper, powers_of_two or a list of widths. Found 5."),
    (["data.scale=inf", *SMALL, "rank=2"], "data.scale must be "),
    (["data.seed=x", *SMALL, "rank=2"], "data.seed must be an integer. Found 'x'."),
    (["data=file"], "data=file needs a path: data.path=PATH."),
    (["data=file", "data.path=3"], "3"),
    (
        ["trainer=mps", *SMALL, "rank=2"],
        "trainer=mps has no float64: add trainer.precision=32-true. Found trainer.precision=64-true.",
    ),
    (["trainer.precision=16-mixed", *SMALL, "rank=2"], "trainer.precision=64-true or 32-true. Found 16-mixed."),
    (["logger.wandb.project=x"], "Unknown key logger.wandb.project."),
    (["trainer._target_=torch.nn.Linear"], "trainer._target_ must be Lightning's Trainer, or a name that"),
    (["optimizer._target_=torch.load"], "optimizer._target_ must be an optimizer of torch.optim or eckart.optim, or"),
    (["data.source._target_=numpy.load"], "data.source._target_ must be a function or class of eckart.data, or a name"),
    (["data.source._target_=joblib.load"], "Found 'joblib.load'."),
    (["+method.x._target_=builtins.open"], "Found 'builtins.open'."),
    (["+hydra.callbacks.x={_target_:pathlib.Path.touch,_args_:[touched]}"], "Found 'pathlib.Path.touch'."),
    (["-m", "optimizer._target_=torch.load,numpy.load"], "Found 'torch.load'."),
    (["--experimental-rerun", "a.pickle"], "Hydra's flag --experimental-rerun loads a pickle"),
    (["figures=text"], "figures must be true, false, null, png or svg. Found 'text'."),
    (["figures=2"], "figures must be true, false, null, png or svg. Found 2."),
    (["data=uniform", "data.rows=9223372036854775808"], "data.rows must be between -2^63 and 2^63. Found 92233720"),
    (["method.vectors=9223372036854775808"], "method.vectors must be between -2^63 and 2^63. Found 92233720"),
    (
        ["trainer.strategy=ddp_notebook", "trainer.devices=2"],
        "strategy must be one of: auto, ddp. Found 'ddp_notebook'.",
    ),
    (["trainer.devices=99999999999"], "trainer.devices must be from 1 to "),
    (["optimizer=adam", "optimizer.lr=nan"], "optimizer.lr must be finite. Found nan."),
    (["-m", "hydra.launcher.memory=0"], "hydra.launcher.memory must be a positive number of GiB. Found 0.0."),
    (["-m", "hydra.launcher.memory=nan"], "hydra.launcher.memory must be a positive number of GiB. Found nan."),
    (["ckpt=nowhere.ckpt", *SMALL, "rank=2"], "There is no checkpoint at ckpt=nowhere.ckpt."),
]

FILES = [
    ("empty.npy", write(b""), "must not be empty. Found 0 bytes."),
    ("words.csv", write(b"1,2\n3,x\n"), "line 2, value 2 must be a number. Found 'x'."),
    ("ragged.csv", write(b"1,2\n3,4\n5\n"), "as many values as line 1: 2. Found 1 on line 3."),
    (
        "nan.npy",
        save(with_nan()),
        "Found 2 NaN, the first in row 2, column 3 (counted from 1); method=completion takes them as missing.",
    ),
    ("complex.npy", save(ARRAY * 1j), "must hold real numbers. Found dtype complex128."),
    ("cube.npy", save(np.ones((3, 3, 3))), "must have shape (m, n) with m >= 1 and n >= 1. Found shape (3, 3, 3)."),
    ("objects.npy", save(np.array([[1, None]], dtype=object)), "must hold real numbers. Found dtype object."),
    ("short.npy", cut_off(save(ARRAY), 0.9), "need 160 bytes of data. Found "),
    ("damaged.png", cut_off(draw, 0.5), "must be a sound .png file. Found OSError: image file is truncated"),
    ("zeros.npy", save(np.zeros((4, 4))), "relative errors are undefined for it. Found norm 0."),
    ("matrix.docx", write(b"PK"), "docx"),
]


@pytest.mark.parametrize(("arguments", "law"), ARGUMENTS, ids=[" ".join(given) for given, _ in ARGUMENTS])
def test_one_line_says_what_is_wrong(arguments: list[str], law: str, train: Train) -> None:
    # What is quiet stands first: the arguments can have the last word on it.
    flags = [argument for argument in arguments if argument == "-m"]
    ended = train(*flags, *QUIET, *(argument for argument in arguments if argument != "-m"))
    assert ended.code == 1 and ended.stdout == ""
    assert law in ended.line
    for folder in ended.folders:
        assert (result(folder)["status"], result(folder)["error"]) == ("failed", ended.line)


def test_a_sweep_over_an_unknown_option_is_not_to_be_resumed(train: Train) -> None:
    ended = train("-m", "method=svd,bottlenek", *SMALL, "rank=2", *QUIET)
    assert ended.code == 1
    assert ended.line == "Unknown choice method=bottlenek. Did you mean bottleneck?"


@pytest.mark.parametrize(("name", "make", "law"), FILES, ids=[name for name, _, _ in FILES])
def test_unusable_file(name: str, make: Callable[[Path], object], law: str, train: Train, tmp_path: Path) -> None:
    make(tmp_path / name)
    ended = train(*FILE, f"data.path={name}", *QUIET)
    assert ended.code == 1 and ended.stdout == ""
    assert law in ended.line
    assert (ended.result["status"], ended.result["error"]) == ("failed", ended.line)


def test_missing_file(train: Train) -> None:
    ended = train(*FILE, "data.path=nowhere/a.npy", *QUIET)
    assert (ended.code, ended.line) == (1, "Cannot read 'nowhere/a.npy': the file must exist. Found none.")


def test_foreign_checkpoint(train: Train, tmp_path: Path) -> None:
    torch.save({"weights": torch.ones(3)}, tmp_path / "other.ckpt")
    for name in ("other.ckpt", "broken.ckpt"):
        (tmp_path / "broken.ckpt").write_bytes(b"broken")
        ended = train("method=factorization", *SMALL, "rank=2", f"ckpt={name}", *QUIET)
        assert ended.code == 1 and name in ended.line and len(ended.line) < 200
    os.mkfifo(tmp_path / "pipe.ckpt")
    (tmp_path / "folder.ckpt").mkdir()
    for name in ("pipe.ckpt", "folder.ckpt"):
        ended = train("method=factorization", *SMALL, "rank=2", f"ckpt={name}", *QUIET)
        assert ended.line == f"ckpt={name}: it must be a regular file. Found a folder, a pipe or a device."


@pytest.mark.parametrize("argument", ["name=${nope}", "seed=${hydra:nope}", "name=${oc.env:NOPE}", "trainer=${nope}"])
def test_what_cannot_be_resolved(argument: str, train: Train) -> None:
    ended = train("method=svd", *SMALL, argument, *QUIET)
    assert (ended.code, ended.stdout) == (1, "") and ended.line


def test_a_job_of_a_sweep_that_names_what_is_not_allowed(train: Train) -> None:
    names = "eckart.optim.solver.ALS,torch.load"
    ended = train(
        "-m", "method=factorization", "optimizer=als", f"optimizer._target_={names}", *SMALL, "rank=2", *QUIET
    )
    assert ended.code == 1 and "Found 'torch.load'." in ended.stderr and "1 of 2 jobs failed" in ended.stderr


def test_nothing_that_a_config_names_is_called(train: Train, tmp_path: Path) -> None:
    (tmp_path / "spy.py").write_text("from pathlib import Path\nPath('imported').touch()\ndef source(): ...\n")
    touch = "{_target_:pathlib.Path.touch,_args_:[{_target_:pathlib.Path,_args_:[touched]}]}"
    for argument in (f"+method.x={touch}", f"+hydra.callbacks.x={touch}", f"hydra.launcher.jobs={touch}"):
        assert train(argument, *QUIET).code == 1
    assert train("data.source._target_=spy.source", *QUIET).code == 1
    assert not (tmp_path / "touched").exists() and not (tmp_path / "imported").exists()


def test_what_the_user_opens_is_called(train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wheels.py").write_text("import torch\ndef make(**_):\n    return torch.eye(7, dtype=torch.float64)\n")
    monkeypatch.syspath_prepend(tmp_path)
    wanted = ("method=svd", *SMALL, "rank=2", "data.source._target_=wheels.make", *QUIET)
    assert train(*wanted).line.endswith("Found 'wheels.make'.")
    monkeypatch.setenv("ECKART_ALLOW", "wheels")
    assert train(*wanted).result["shape"] == [7, 7]


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"a":' * 100_000, b"\xff", b"NaN", b'{"status": 1}'])
def test_a_damaged_result_is_made_again(content: bytes, train: Train, tmp_path: Path) -> None:
    wanted = ("method=svd", *SMALL, "rank=2", *QUIET, "hydra.run.dir=a")
    assert train(*wanted).code == 0
    (tmp_path / "a" / "result.json").write_bytes(content)
    ended = train(*wanted, "resume=a")
    assert (ended.code, ended.stderr) == (0, "") and result(tmp_path / "a")["status"] == "completed"


def test_a_folder_in_place_of_the_result(train: Train, tmp_path: Path) -> None:
    wanted = ("method=svd", *SMALL, "rank=2", *QUIET, "hydra.run.dir=a")
    (tmp_path / "a" / "result.json").mkdir(parents=True)
    ended = train(*wanted, "resume=a")
    assert ended.code == 1 and ended.line.startswith("Is a directory: ") and "a/result.json" in ended.line


def test_a_small_change_of_another_result_is_printed_without_control_characters(train: Train, tmp_path: Path) -> None:
    wanted = ("method=svd", *SMALL, "rank=2", *QUIET, "hydra.run.dir=a")
    assert train(*wanted).code == 0
    foreign = result(tmp_path / "a")
    foreign["fingerprint"], foreign["config"]["data"]["scale"] = "0", "\x1b[2J\n" + "x" * 10_000
    (tmp_path / "a" / "result.json").write_text(json.dumps(foreign))
    ended = train(*wanted, "resume=a")
    assert ended.code == 1 and ended.line.isprintable() and len(ended.line) < 1000


def test_checkpoint_of_another_shape(train: Train) -> None:
    short = ("method=factorization", "method.max_steps=2", *SMALL, *QUIET)
    made = train(*short, "rank=2")
    ended = train(*short, "rank=3", f"ckpt={made.folder / 'last.ckpt'}")
    assert ended.code == 1 and "ckpt" in ended.line and len(ended.line) < 300


def test_folder_below_a_file(train: Train, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ended = train("method=svd", *SMALL, "hydra.run.dir=file/run", *QUIET)
    assert ended.code == 1 and "Not a directory" in ended.line and "file/run" in ended.line


@pytest.mark.skipif(torch.cuda.is_available(), reason="This machine has the GPU that the test asks for in vain.")
def test_no_gpu(train: Train) -> None:
    ended = train("trainer=gpu", *SMALL, "rank=2", *QUIET)
    assert ended.code == 1 and "trainer.accelerator=gpu" in ended.line


def test_no_data_set(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz")

    monkeypatch.setattr("torchvision.datasets.MNIST", offline)
    ended = train("method=classifier", "data.root=nowhere", *QUIET)
    assert ended.code == 1
    assert ended.line.startswith("MNIST is not in root=nowhere") and "data=digits" in ended.line


@pytest.mark.parametrize("argument", ["rank=ten", "rank=0", "rank=30", "method=botleneck"])
def test_traceback_on_request(argument: str, train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(Exception, match=r"ten|rank|botleneck"):
        train(*SMALL, argument, *QUIET)
