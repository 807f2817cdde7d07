"""Hostile input: a command ends with a result, or with exit status 1 and one line, within a time bound.

``pytest -m hostile`` runs every case as a command in a process of its own, for some minutes. What is not marked is a
short form of it.
"""

import copy
import gzip
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import forked
import numpy as np
import pytest
import torch
from commandline import QUIET, Train
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, ListConfig
from PIL import Image
from safetensors.torch import save_file

from eckart import config
from eckart.data.files.reading import read_matrix
from eckart.results.result import FIELDS, read_result
from eckart.runs.checkpoint import check, read_checkpoint

SECONDS = 90.0
NUMBERS = ("0", "-1", "nan", "inf", "-inf", "1e400", "9223372036854775808", "text", "[1]", "null")
UNIFORM = ("data=uniform", "data.rows=12", "data.cols=9", "rank=2")
STEPS = "method.max_steps=3"
COMMANDS = {
    "cg": ("method=factorization", *UNIFORM, STEPS),
    "adam": ("method=bottleneck", *UNIFORM, STEPS, "optimizer=adam", "method.vectors=20", "method.batch_size=4"),
    "sgd": ("method=factorized_linear", *UNIFORM, STEPS, "optimizer=sgd", "schedule=cosine", "schedule.warmup=0.1"),
    "scaled": (
        "method=factorization",
        "data=low_rank",
        "data.rows=9",
        "data.cols=9",
        "rank=2",
        STEPS,
        "optimizer=scaled_gd",
    ),
    "entrywise": ("method=completion", *UNIFORM, STEPS, "optimizer=entrywise_sgd", "schedule=exponential"),
    "lbfgs": ("method=factorization", "data=diagonal", "data.rows=9", "rank=2", STEPS, "optimizer=lbfgs"),
    "svd": ("method=svd", "method.solver=randomized", *UNIFORM),
    "classifier": ("method=classifier", "data=digits", "rank=4", "method.epochs=1", "method.hidden=[8]"),
}
# Settings that are null by default and take a number.
OPTIONAL = ("method.vectors", "method.batch_size", "method.record_every", "data.observed")
WRONG: tuple[Any, ...] = (
    -1,
    -(10**9),
    2**62,
    2**70,
    float("nan"),
    float("inf"),
    1e200,
    "\x1b[2Jtext\n",
    None,
    True,
    [],
    ["x"],
)
WRONG += (
    {},
    {"x": 1},
    torch.full((2, 2), 1e200, dtype=torch.float64),
    torch.eye(2).to_sparse(),
    torch.tensor(float("nan")),
)


def numeric_keys(cfg: DictConfig | ListConfig, path: str = "") -> Iterator[str]:
    for key in cfg if isinstance(cfg, DictConfig) else []:
        name, value = f"{path}.{key}".lstrip("."), cfg[key]
        if isinstance(value, DictConfig) and key not in ("source", "claim", "callbacks"):
            yield from numeric_keys(value, name)
        elif (isinstance(value, int | float) and not isinstance(value, bool)) or name in OPTIONAL:
            yield name


def composed(*overrides: str) -> DictConfig:
    config.register()
    with initialize_config_dir(str(config.config_dir()), version_base="1.3"):
        return compose("train", overrides=[*overrides, *QUIET])


def cases(name: str) -> list[tuple[str, ...]]:
    """Every numeric key of a command that no command before it has, with each hostile number."""
    names = list(COMMANDS)
    before = {key for other in names[: names.index(name)] for key in numeric_keys(composed(*COMMANDS[other]))}
    keys = [key for key in numeric_keys(composed(*COMMANDS[name])) if key not in before]
    found: list[tuple[str, ...]] = [(f"{key}={number}",) for key in keys for number in NUMBERS]
    if name == "cg":
        launcher = ("hydra.launcher.jobs", "hydra.launcher.memory")
        found += [("-m", f"{key}={number}") for key in launcher for number in NUMBERS]
    return found


def sound(code: int | None, stdout: str, stderr: str) -> bool:
    """Whether a command ended as it must."""
    lines = stderr.splitlines()
    if code == 0:
        return all(line.startswith("warning: ") for line in lines) and bool(stdout)
    # A sweep says which job failed and then how many did.
    one = len(lines) == 1 or (len(lines) == 3 and lines[1].startswith("1 of 1 jobs failed"))
    return code == 1 and one and all(line.isprintable() and len(line) < 1200 for line in lines)


def attack(folder: Path, commands: list[tuple[str, ...]]) -> list[str]:
    """Run commands, several at once; those that did not end as they must, with what they printed."""

    def run(number: int) -> str | None:
        place = folder / str(number)
        place.mkdir()
        # Hydra reads no override that follows a flag between overrides.
        arguments = sorted(commands[number], key=lambda argument: argument != "-m")
        command = forked.fork(place, *arguments, *QUIET)
        code = command.end(SECONDS)
        if sound(code, command.stdout, command.stderr):
            return None
        return f"{' '.join(commands[number])}: {code} {command.stderr[-600:]!r}"

    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        return [failed for failed in pool.map(run, range(len(commands))) if failed is not None]


@pytest.mark.hostile
@pytest.mark.parametrize("name", COMMANDS)
def test_every_number_of_a_config(name: str, tmp_path: Path) -> None:
    assert attack(tmp_path, [(*COMMANDS[name], *case) for case in cases(name)]) == []


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.processes
def test_some_numbers_of_a_config(name: str, train: Train) -> None:
    chosen = [case for case in cases(name) if "-m" not in case]
    for case in chosen[list(COMMANDS).index(name) :: 1 + len(chosen) // 3]:
        ended = train(*COMMANDS[name], *case, *QUIET)
        assert sound(ended.code, ended.stdout, ended.stderr), (case, ended)


def matrix_files(folder: Path) -> Iterator[Path]:
    """A sound file of every format."""
    matrix = np.random.default_rng(0).random((6, 5))
    tensor = torch.from_numpy(matrix)
    market = "%%MatrixMarket matrix array real general\n6 5\n" + "\n".join(map(str, matrix.T.ravel()))
    sparse = "%%MatrixMarket matrix coordinate real general\n6 5 3\n1 1 0.5\n2 5 1\n6 1 -3e-2\n"
    makers: dict[str, Callable[[Path], Any]] = {
        "a.npy": lambda path: np.save(path, matrix),
        "a.npz": lambda path: np.savez_compressed(path, matrix=matrix, other=np.arange(3)),
        "a.safetensors": lambda path: save_file({"matrix": tensor}, path),
        "a.pt": lambda path: torch.save({"matrix": tensor, "epoch": 3}, path),
        "old.pt": lambda path: torch.save(tensor, path, _use_new_zipfile_serialization=False),
        "sparse.pt": lambda path: torch.save(tensor.to_sparse(), path),
        "a.csv": lambda path: np.savetxt(path, matrix, delimiter=","),
        "a.tsv": lambda path: np.savetxt(path, matrix, delimiter="\t"),
        "a.mtx": lambda path: path.write_text(market),
        "sparse.mtx": lambda path: path.write_text(sparse),
        "a.mtx.gz": lambda path: path.write_bytes(gzip.compress(market.encode())),
    }
    image = Image.fromarray((matrix * 255).astype(np.uint8))
    makers |= {f"a{suffix}": image.save for suffix in (".png", ".jpg", ".tif")}
    makers["packed.tif"] = lambda path: image.save(path, compression="tiff_lzw")
    for name, make in makers.items():
        make(folder / name)
        yield folder / name


def damaged(whole: bytes, flips: int) -> Iterator[bytes]:
    """The content of a file, cut at each tenth, and with single bytes changed."""
    for tenth in range(1, 10):
        yield whole[: len(whole) * tenth // 10]
    for place in range(0, len(whole), max(1, len(whole) // flips)):
        for mask in (0xFF, 0x80, 0x01):
            changed = bytearray(whole)
            changed[place] ^= mask
            yield bytes(changed)


def read_damaged(folder: Path, flips: int) -> None:
    for path in list(matrix_files(folder)):
        assert not torch.isinf(read_matrix(path)).any()
        for content in damaged(path.read_bytes(), flips):
            path.write_bytes(content)
            try:
                matrix = read_matrix(path)
            except ValueError as error:
                assert str(error).isprintable() and len(str(error)) < 1200, path
            else:
                assert matrix.ndim == 2 and not torch.isinf(matrix).any(), path


@pytest.mark.parametrize("flips", [5, pytest.param(200, marks=pytest.mark.hostile)])
def test_damaged_files(
    flips: int, tmp_path: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    read_damaged(tmp_path, flips)
    assert capfd.readouterr() == ("", "")
    assert not [str(warned.message) for warned in recwarn if "beta" not in str(warned.message)]


@pytest.mark.hostile
def test_damaged_files_on_the_command_line(tmp_path: Path) -> None:
    commands: list[tuple[str, ...]] = []
    for path in list(matrix_files(tmp_path)):
        for number, content in enumerate(damaged(path.read_bytes(), 3)):
            changed = path.with_name(f"{number}-{path.name}")
            changed.write_bytes(content)
            commands.append(("method=svd", "rank=1", "data=file", f"data.path={changed}"))
    (tmp_path / "runs").mkdir()
    assert attack(tmp_path / "runs", commands) == []


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all that a checkpoint holds, containers too."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from leaves(value[key], (*path, key))


def changed(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    """The content with another value at a path, or without it for an ellipsis; the rest is shared."""
    key, *rest = path
    content = copy.copy(content)
    if rest:
        content[key] = changed(content[key], tuple(rest), value)
    elif value is ...:
        del content[key]
    else:
        content[key] = value
    return content


def trained(folder: Path, name: str) -> Path:
    ended = forked.run(folder, *COMMANDS[name], "hydra.run.dir=made", *QUIET)
    assert ended.status == 0, ended.stderr
    return folder / "made"


def longer(name: str) -> tuple[str, ...]:
    return (*COMMANDS[name], "method.epochs=2" if name == "classifier" else "method.max_steps=6")


@pytest.mark.parametrize("name", ["cg", "classifier"])
def test_every_field_of_a_checkpoint(name: str, train: Train, tmp_path: Path) -> None:
    assert train(*COMMANDS[name], "hydra.run.dir=made", *QUIET).code == 0
    form = read_checkpoint(tmp_path / "made" / "last.ckpt")
    checked = {key: form[key] for key in ("epoch", "global_step", "state_dict", "eckart", "loops")}
    check(form, checked)
    kept = 0
    for path in leaves(checked):
        if path[:1] == ("loops",) and path[1:2] != ("fit_loop",):
            continue
        # The counters of Lightning's loops are many and alike.
        for value in (*WRONG[:: 4 if path[0] == "loops" else 1], ...):
            try:
                check(changed(form, path, value), checked)
            except ValueError as error:
                assert str(error).isprintable() and len(str(error)) < 700, (path, value)
            else:
                kept += 1
                number = isinstance(value, int | float) and value >= 0
                assert value is ... or value is None or isinstance(value, list | dict) or number, (path, value)
    assert kept < 100


@pytest.mark.hostile
@pytest.mark.parametrize("name", ["cg", "adam", "lbfgs", "classifier"])
def test_every_field_of_a_checkpoint_on_the_command_line(name: str, tmp_path: Path) -> None:
    content = torch.load(trained(tmp_path, name) / "last.ckpt", weights_only=True)
    commands: list[tuple[str, ...]] = []
    for number, path in enumerate(leaves(content)):
        if path[0] == "loops" and path[1:2] != ("fit_loop",):
            continue
        # All values for what the method itself keeps, and one after the other for what Lightning keeps.
        values = (*WRONG, ...) if path[0] == "eckart" else (WRONG[number % len(WRONG)],)
        for value in values:
            changed_path = tmp_path / f"{len(commands)}.ckpt"
            torch.save(changed(content, path, value), changed_path)
            commands.append((*longer(name), f"ckpt={changed_path}"))
    (tmp_path / "runs").mkdir()
    assert attack(tmp_path / "runs", commands) == []


def hostile_results(whole: dict[str, Any]) -> Iterator[str]:
    wrong = [value for value in WRONG if not isinstance(value, torch.Tensor)]
    for name in FIELDS:
        for value in wrong:
            yield json.dumps(whole | {name: value})
    text = json.dumps(whole)
    yield from (
        "[" * 100_000,
        '{"a":' * 100_000,
        json.dumps(whole | {"config": json.loads('{"a":' * 90 + "1" + "}" * 90)}),
    )
    yield from (text[: len(text) * tenth // 10] for tenth in range(10))


def test_every_field_of_a_result(train: Train, tmp_path: Path) -> None:
    assert train(*COMMANDS["cg"], "hydra.run.dir=made", *QUIET).code == 0
    whole = read_result(tmp_path / "made")
    refused = 0
    for content in hostile_results(whole):
        (tmp_path / "result.json").write_text(content, encoding="utf-8")
        try:
            read_result(tmp_path)
        except ValueError as error:
            refused += 1
            assert len(str(error)) < 300 and "\n" not in str(error)
    assert refused > 250


@pytest.mark.hostile
def test_every_field_of_a_result_on_the_command_line(tmp_path: Path) -> None:
    made = trained(tmp_path, "cg")
    commands: list[tuple[str, ...]] = []
    # The reader itself is given all of them in the short form.
    for number, content in enumerate(list(hostile_results(read_result(made)))[::4]):
        folder = tmp_path / "results" / str(number)
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(content, encoding="utf-8")
        (folder / "last.ckpt").write_bytes((made / "last.ckpt").read_bytes())
        commands.append((*COMMANDS["cg"], f"resume={folder}"))
    (tmp_path / "runs").mkdir()
    assert attack(tmp_path / "runs", commands) == []
