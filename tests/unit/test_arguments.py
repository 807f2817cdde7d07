import shlex
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hypothesis import example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from eckart.arguments import prepared, resuming
from eckart.config import ConfigError
from eckart.results.terminal import shown

EXCLUDED = "hydra.job.config.override_dirname.exclude_keys"
ODD = [
    "a b",
    "it's",
    "a,b",
    "rank=5,seed=3",
    "a\\b",
    "b\\'",
    "\\",
    "[1]",
    "{a}",
    "(1)",
    "001",
    "null",
    "x#y",
    "é:$",
    "~a",
]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read(arguments: list[str]) -> dict[str, Override]:
    """What Hydra's parser makes of the arguments, by key; the last one counts."""
    plain = [argument for argument in arguments if not argument.startswith("-")]
    return {override.key_or_group: override for override in OverridesParser.create().parse_overrides(plain)}


def folders_of(arguments: list[str]) -> list[str]:
    parsed = read(prepared(arguments))
    return [str(parsed[f"hydra.{mode}.dir"].value()) for mode in ("sweep", "run")]


def sweep(folder: str, *overrides: str, flag: bool = True) -> None:
    asked = {"task": list(overrides), "hydra": ["hydra.mode=MULTIRUN"] if flag else []}
    Path(folder).mkdir(parents=True)
    OmegaConf.save({"hydra": {"overrides": asked}}, Path(folder, "multirun.yaml"))


def run(folder: str, *overrides: str) -> None:
    Path(folder, ".hydra").mkdir(parents=True)
    OmegaConf.save(list(overrides), Path(folder, ".hydra", "overrides.yaml"))


@pytest.mark.parametrize(
    ("typed", "excluded"),
    [
        (["rank=1", "seed=2"], ["rank", "seed"]),
        (["-m", "rank=1,2", "seed=range(3)", "optimizer.lr=interval(0,1)", "method=glob(*)"], None),
        (["-m", "rank=1,2", "data.path='a,b'", "+new=1", "++rest=[1,2]"], ["data.path", "new", "rest"]),
        (["-m", "~schedule", "~method.tolerance=1", "rank=1,2"], ["schedule", "method.tolerance"]),
        (["--config-name=x", "method=svd", "-m", "rank=1,2"], ["method"]),
        (["--cfg", "job"], None),
        (["-m", "rank=[1", "seed=0"], None),
        (["resume=null", "rank=choice(1,2)"], ["resume"]),
        (["-m", "rank=1", "seed=1,2", "rank=1,2", "seed=3"], ["seed"]),
    ],
)
def test_folders_are_named_by_what_is_swept(typed: list[str], excluded: list[str] | None) -> None:
    arguments = prepared(typed)
    if excluded is None:
        assert arguments == typed
    else:
        (added,) = [argument for argument in arguments if argument.startswith(EXCLUDED)]
        assert read([added])[EXCLUDED].value() == excluded
        assert [argument for argument in arguments if argument != added] == typed


@pytest.mark.parametrize("flag", ["--experimental-rerun", "--experimental-rerun=a.pickle", "--exp", "--e=a"])
def test_the_flag_that_loads_a_pickle_is_refused(flag: str) -> None:
    for typed in ([flag, "a.pickle"], ["rank=1", "-m", flag]):
        with pytest.raises(ConfigError, match="loads a pickle"):
            prepared(typed)
    assert prepared(["--cfg", "job", "--"]) == ["--cfg", "job", "--"]


def test_what_is_typed_overrides_what_is_added() -> None:
    Path("a").mkdir()
    arguments = read(prepared(["-m", "rank=1,2", f"{EXCLUDED}=[x]", "hydra.sweep.dir=b", "resume=a"]))
    assert arguments[EXCLUDED].value() == ["x"] and arguments["hydra.sweep.dir"].value() == "b"


@given(st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=12))
@example("\\'")
@example("a\\\\'\\")
def test_any_folder_comes_back_as_it_was(name: str) -> None:
    program, *arguments = shlex.split(resuming(["train.py", "-m", "rank=1,2"], Path("/elsewhere", name)))[1:]
    assert [program, *arguments[:-1]] == ["train.py", "-m", "rank=1,2"]
    assert read(arguments)["resume"].value() == str(Path("/elsewhere", name))


@pytest.mark.parametrize("name", ODD)
def test_a_folder_with_an_odd_name_is_resumed(name: str) -> None:
    Path(name).mkdir()
    typed = shlex.split(resuming(["train.py", "rank=1"], Path(name).absolute()))[2:]
    assert folders_of(typed) == [name, name]


def test_a_folder_is_meant_as_it_is_typed() -> None:
    for name in ("007", "1e3", "None"):
        Path(name).mkdir()
        assert folders_of([f"resume={name}"]) == [name, name]


def test_the_command_that_resumes(tmp_path: Path) -> None:
    typed = ["train.py", "-m", "rank=1,2", "resume=latest", "hydra.sweep.dir='a b'", "name='x y'"]
    command = resuming(typed, tmp_path / "multirun" / "a")
    assert command == """python train.py -m rank=1,2 'name='"'"'x y'"'"'' resume=multirun/a"""
    assert resuming(["/usr/bin/eckart", "hydra.run.dir=a"], Path("/b")) == "eckart resume=/b"
    assert shown(tmp_path / "a") == "a" and shown(Path("/b")) == "/b"


def test_the_latest_of_the_same_command() -> None:
    asked = ("method=svd", "rank=1,2")
    sweep("multirun/2026-01-01/09-00-00-aa", *asked)
    sweep("multirun/2026-01-02/08-00-00-bb", *asked, "resume=latest")
    sweep("multirun/2026-01-02/08-00-00-cc", *asked, "seed=1")
    sweep("multirun/2026-01-03/08-00-00-dd", "method=svd", "rank=1,3")
    sweep("multirun/2026-01-03/08-00-00-ee", "method=svd")
    run("outputs/2026-01-04/08-00-00-ff", *asked)
    latest = "multirun/2026-01-02/08-00-00-bb"
    assert folders_of(["-m", *asked, "resume=latest"]) == [latest, latest]
    # Neither the order, nor what only Hydra is told, nor where the flag stands makes it another command.
    assert folders_of(["resume=latest", "rank=1,2", "hydra.launcher.jobs=3", "method=svd", "--multirun"])[0] == latest


def test_the_latest_is_in_the_folder_that_the_command_names() -> None:
    asked = ("method=svd", "rank=1,2")
    sweep("elsewhere/mine", *asked)
    sweep("multirun/2026-01-02/08-00-00-bb", *asked)
    typed = ["-m", *asked, "resume=latest", "hydra.sweep.dir=elsewhere/mine"]
    assert folders_of(typed)[0] == "elsewhere/mine"
    run("one", "rank=1")
    assert folders_of(["rank=1", "hydra.run.dir=one", "resume=latest"])[1] == "one"
    with pytest.raises(ConfigError, match=r"Found none in elsewhere/mine: resume=FOLDER names any\.$"):
        prepared([*typed, "seed=1"])
    # One that depends on the time says nothing of an earlier command.
    latest = [*typed[:-1], "hydra.sweep.dir=multirun/${now:%H}"]
    assert folders_of(latest)[0] != "elsewhere/mine"


def test_the_latest_single_run() -> None:
    run("outputs/2026-01-01/08-00-00-aa", "rank=1", "~schedule")
    run("outputs/2026-01-02/08-00-00-bb", "rank=1")
    # In the same words a sweep of one job, and one that an experiment asks for.
    sweep("multirun/2026-01-03/08-00-00-cc", "rank=1")
    sweep("multirun/2026-01-03/09-00-00-dd", "experiment=table", flag=False)
    sweep("multirun/2026-01-03/09-00-00-ee", "experiment=table")
    assert folders_of(["rank=1", "resume=latest"])[1] == "outputs/2026-01-02/08-00-00-bb"
    assert folders_of(["~schedule", "rank=1", "resume=latest"])[1] == "outputs/2026-01-01/08-00-00-aa"
    assert folders_of(["-m", "rank=1", "resume=latest"])[0] == "multirun/2026-01-03/08-00-00-cc"
    assert folders_of(["experiment=table", "resume=latest"])[0] == "multirun/2026-01-03/09-00-00-dd"


def test_what_cannot_be_read_is_passed_over() -> None:
    sweep("multirun/2026-01-01/08-00-00-aa", "rank=1,2")
    for number, text in enumerate(["", "hydra:\n  overrides: {task: [", "hydra: 1", "- 1", "a: ${"]):
        folder = Path(f"multirun/2026-01-02/08-00-0{number}-bb")
        folder.mkdir(parents=True)
        (folder / "multirun.yaml").write_text(text)
    Path("multirun/2026-01-03").write_text("a file")
    Path("multirun/2026-01-04/empty").mkdir(parents=True)
    assert folders_of(["-m", "rank=1,2", "resume=latest"])[0] == "multirun/2026-01-01/08-00-00-aa"


@pytest.mark.parametrize("typed", [["-m", "rank=1,2"], ["rank=1"], []])
def test_nothing_to_resume(typed: list[str]) -> None:
    sweep("multirun/2026-01-01/08-00-00-aa", "rank=5,6")
    where = "multirun" if typed[:1] == ["-m"] else "multirun or outputs"
    law = f"resume=latest resumes the last run of the same command. Found none in {where}: resume=FOLDER names any."
    with pytest.raises(ConfigError) as raised:
        prepared([*typed, "resume=latest"])
    assert str(raised.value) == law


@pytest.mark.parametrize("folder", ["no/such", "a,b", "file.txt", "12"])
def test_no_such_folder(folder: str) -> None:
    Path("file.txt").touch()
    with pytest.raises(ConfigError) as raised:
        prepared(["-m", "rank=1,2", f"resume={folder}"])
    assert str(raised.value) == f"There must be a run or a sweep to resume. Found no folder at resume={folder}."


def test_arguments_of_an_operator_are_added_to_the_config() -> None:
    assert prepared(["data=operator", "data.arguments.rows=7"])[1:] == ["data=operator", "++data.arguments.rows=7"]
    # Any other target has no such key, and says so.
    assert prepared(["data=photo", "data.arguments.rows=7"])[1:] == ["data=photo", "data.arguments.rows=7"]


LIGHTNING = "+logger.lightning={csv: {_target_: a.B}}"


@pytest.mark.parametrize(
    ("arguments", "replaced"),
    [
        (["rank=2", LIGHTNING], True),
        (["-m", "+logger.lightning.csv._target_=a.B", "rank=2,3"], True),
        (["logger=wandb", LIGHTNING], False),
        (["logger=[wandb,tensorboard]", "logger.lightning.tensorboard.name=x"], False),
        ([LIGHTNING, "logger.wandb.project=x"], False),
        (["rank=2"], False),
    ],
)
def test_a_logger_of_lightning_replaces_the_default(arguments: list[str], replaced: bool) -> None:
    found = [argument for argument in prepared(arguments) if not argument.startswith("hydra.")]
    place = next((place for place, argument in enumerate(arguments) if "lightning" in argument), 0)
    assert found == ([*arguments[:place], "logger=csv", *arguments[place:]] if replaced else arguments)
