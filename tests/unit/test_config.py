import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from hypothesis import example, given
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from eckart import config
from eckart.commands import COMMANDS
from eckart.config import ConfigError, describe_choices, folder_name, nearest, type_law
from eckart.laws import check, check_targets
from eckart.selection import RULES


def composed(*overrides: str) -> tuple[DictConfig, dict[str, str]]:
    config.register()
    with initialize_config_dir(str(config.config_dir()), version_base="1.3"):
        cfg = compose("train", overrides=list(overrides), return_hydra_config=True)
    choices = {key: value for key, value in cfg.hydra.runtime.choices.items() if not key.startswith("hydra/")}
    own = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    return own, {key.partition("@")[0]: value for key, value in choices.items()}


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (config.config_dir() / group).glob("[!_]*.yaml"))


@given(st.text(), st.integers(0, 999))
@example("..", 0)
@example(".", 0)
@example("../../etc/passwd", 1)
@example("data.path=/a/../b", 2)
@example("a\x00b", 3)
@example("....//....//", 4)
@example("é" * 150, 5)
@example("=" * 300, 6)
@example(" .. ", 7)
@example("\\..\\", 8)
def test_folder_name_stays_inside_its_sweep(swept: str, number: int) -> None:
    name = folder_name(swept, number)
    assert name not in ("", ".", "..")
    assert not set(name) & set("/\\\0\n")
    assert not name.startswith(".")
    assert len(name.encode()) <= 255
    assert Path("sweep", name).parent == Path("sweep")


@pytest.mark.parametrize("swept", ["rank=5,seed=3", "method.hidden=[64,32]", "optimizer.lr=1e-3", "data=color_wheel"])
def test_folder_name_is_what_was_swept(swept: str) -> None:
    assert folder_name(swept, 3) == swept


def test_folder_name_falls_back_to_the_number() -> None:
    assert folder_name("", 3) == folder_name("...", 3) == folder_name("a" * 1000, 3) == "3"


@pytest.mark.parametrize("method", options("method"))
def test_method_of_the_configs_passes_with_what_it_asks_for(method: str) -> None:
    check(*composed(f"method={method}"))


@pytest.mark.parametrize("group", [group for group in config.GROUPS if group not in ("method", "experiment")])
def test_choices_of_every_group_compose(group: str) -> None:
    for option in options(group):
        cfg, choices = composed(f"{group}={option}")
        assert choices[group] == option
        assert isinstance(cfg[group], DictConfig)


def test_command_line_wins_over_what_a_method_asks_for() -> None:
    asked = composed("method=classifier")[1]
    assert (asked["data"], asked["optimizer"]) == ("mnist", "sgd")
    wanted = composed("method=classifier", "data=digits", "optimizer=adam")[1]
    assert (wanted["data"], wanted["optimizer"]) == ("digits", "adam")


LAWS = [
    (["rank=0"], "The rank must be at least 1. Found rank=0."),
    (["rank=-3"], "The rank must be at least 1. Found rank=-3."),
    (["rank=ten"], "rank must be an integer or auto. Found 'ten'."),
    (["rank=1.5"], "rank must be an integer or auto. Found 1.5."),
    (["rank=true"], "rank must be an integer or auto. Found True."),
    (["rank=auto", "~selection"], "rank=auto needs a rule that chooses it: selection=NAME. Found none."),
    (["rank=auto", "selection=energy", "selection.share=x"], "selection.share must be a number. Found 'x'."),
    (
        ["rank=auto", "selection.rule=magic"],
        "selection.rule must be one of: best, cross_validation, energy, gavish_donoho, information, parallel_analysis, "
        "screenot. Found 'magic'.",
    ),
    (
        ["rank=5", "selection=energy"],
        "selection= is for rank=auto, where a rule chooses the rank. Found selection=energy with rank=5.",
    ),
    (
        ["rank=auto", "trainer=ddp"],
        "rank=auto is for one process: trainer.devices=1; several need a rank that is given. Found trainer.devices=2.",
    ),
    (["data=file"], "data=file needs a path: data.path=PATH."),
    (
        ["method=classifier", "data=photo"],
        "method=classifier needs labeled samples: data=mnist, data=fashion_mnist or data=digits. Found data=photo.",
    ),
    (
        ["method=svd", "data=ratings", "data.path=a.csv"],
        "data=ratings has some entries only: method=completion. Found method=svd.",
    ),
    (
        ["method=factorization", "optimizer=gibbs"],
        "optimizer=gibbs trains a model of ratings: method=completion. Found method=factorization.",
    ),
    (
        ["data=gaussian", "data.observed=0.5"],
        "data.observed is for methods that train on observed entries, such as method=completion. "
        "Found data.observed=0.5 with method=bottleneck.",
    ),
    (["method.max_steps=many"], "method.max_steps must be an integer. Found 'many'."),
    (["method.max_steps=1.5"], "method.max_steps must be an integer. Found 1.5."),
    (["method.max_steps=true"], "method.max_steps must be an integer. Found True."),
    (["method.tolerance=small"], "method.tolerance must be a number. Found 'small'."),
    (["method.tolerance=null"], "method.tolerance must be a number. Found null."),
    (["data=gaussian", "data.rows=[1]"], "data.rows must be an integer. Found [1]."),
    (
        ["method=classifier", "data=digits", "method.hidden=500"],
        "method.hidden must be a list, as in [1,2]. Found 500.",
    ),
    (["trainer.enable_progress_bar=1"], "trainer.enable_progress_bar must be true or false. Found 1."),
    (["logger.history=perhaps"], "logger.history must be true or false. Found 'perhaps'."),
    (
        ["data=gaussian", "data.rows=9223372036854775808"],
        "data.rows must be between -2^63 and 2^63. Found 9223372036854775808.",
    ),
    (["seed=-9223372036854775808"], "seed must be between -2^63 and 2^63. Found -9223372036854775808."),
    (["data.scale=nan"], "data.scale must be finite. Found nan."),
    (["method.tolerance=1e400"], "method.tolerance must be finite. Found inf."),
    (["optimizer=adam", "optimizer.lr=-inf"], "optimizer.lr must be finite. Found -inf."),
    (["optimizer=adam", "optimizer.lr=-1"], "optimizer.lr must not be negative. Found -1."),
    (["optimizer=adam", "optimizer.betas=[-0.5,0.9]"], "optimizer.betas[0] must not be negative. Found -0.5."),
    (["optimizer=sgd", "optimizer.momentum=-0.1"], "optimizer.momentum must not be negative. Found -0.1."),
    (["optimizer=sgd", "optimizer.weight_decay=nan"], "optimizer.weight_decay must be finite. Found nan."),
    (["optimizer=sgd", "schedule=cosine", "schedule.final=-1"], "schedule.final must not be negative. Found -1."),
    (["trainer.strategy=ddp_notebook"], "trainer.strategy must be one of: auto, ddp. Found 'ddp_notebook'."),
]


@pytest.mark.parametrize(("overrides", "message"), LAWS)
def test_laws(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        check(*composed(*overrides))


@pytest.mark.parametrize("devices", [0, -1, 99999999999])
def test_devices_that_the_machine_does_not_have(devices: int) -> None:
    with pytest.raises(ConfigError, match=rf"^trainer\.devices must be from 1 to \d+, .*\. Found {devices}\.$"):
        check(*composed(f"trainer.devices={devices}"))


TARGETS = [
    (["trainer._target_=torch.nn.Linear"], "trainer._target_ must be Lightning's Trainer"),
    (["optimizer._target_=torch.load"], "optimizer._target_ must be an optimizer of torch.optim or eckart.optim"),
    (["data.source._target_=joblib.load"], "data.source._target_ must be a function or class of eckart.data"),
    (["+method.x.y=[{_target_:builtins.open}]"], "method.x.y[0]._target_ must be a method of eckart.methods"),
    (["data.seed={_target_:pathlib.Path.touch}"], "data.seed._target_ must be"),
    (["optimizer._target_=${nope}"], "optimizer._target_ must be"),
    (["optimizer._target_=${name}", "name=torch.load"], "optimizer._target_ must be"),
    (["+hydra.callbacks.x._target_=builtins.open"], "hydra.callbacks.x._target_ must be a callback of Hydra"),
    (["+hydra.launcher.x._target_=builtins.open"], "hydra.launcher.x._target_ must be a launcher of Hydra"),
    (["+hydra.sweeper.custom_search_space=os.system"], "hydra.sweeper.custom_search_space must be a sweeper of Hydra"),
    (
        ["+hydra.job_logging.handlers.x={class:torch.load}"],
        "hydra.job_logging.handlers.x.class must be a class of logging",
    ),
    (["+hydra.hydra_logging.filters.x.factory=torch.load"], "hydra.hydra_logging.filters.x.factory must be"),
    (
        ["hydra.job_logging.handlers.console.stream='ext://os.environ'"],
        "hydra.job_logging.handlers.console.stream must",
    ),
    (
        ["+hydra.job.env_set.ECKART_ALLOW=os"],
        "hydra.job.env_set must not set PATH, LD_*, DYLD_*, PYTHON* or ECKART_ALLOW",
    ),
    (["+hydra.job.env_set.LD_PRELOAD=a.so"], "hydra.job.env_set must not set"),
]


@pytest.mark.parametrize(("overrides", "law"), TARGETS, ids=[" ".join(given) for given, _ in TARGETS])
def test_names_that_are_not_allowed(overrides: list[str], law: str) -> None:
    config.register()
    with initialize_config_dir(str(config.config_dir()), version_base="1.3"):
        cfg = compose("train", overrides=overrides, return_hydra_config=True)
    with pytest.raises(ConfigError, match=f"^{re.escape(law)}"):
        check_targets(cfg)


def test_names_behind_interpolations() -> None:
    for trainer in ("${name}", {"strategy": "${name}"}, {"devices": ["${name}"]}):
        cfg = OmegaConf.create({"trainer": trainer, "name": {"_target_": "torch.load"}})
        with pytest.raises(ConfigError, match=r"^trainer.*\._target_ must be .*Found 'torch\.load'"):
            check_targets(cfg)


@pytest.mark.parametrize("option", [f"experiment={name}" for name in options("experiment") if name != "optuna_adam"])
def test_names_in_our_own_configs_are_allowed(option: str) -> None:
    config.register()
    with initialize_config_dir(str(config.config_dir()), version_base="1.3"):
        check_targets(compose("train", overrides=[option], return_hydra_config=True))


@pytest.mark.parametrize(
    "overrides",
    [
        ["method.tolerance=0"],
        ["method.vectors=100"],
        ["method.hidden=[400]"],
        ["data=gaussian", "data.scale=3"],
        ["method=completion", "data=lab", "data.observed=0.5"],
        ["method=completion", "data=lab", "data.observed=mask.npy"],
        ["method=svd", "data=file", "data.path=a.npy", "data.crop=[0,0,4,4]"],
        ["optimizer=adam", "optimizer.lr=1", "optimizer.betas=[0.5,0.9]"],
        ["data.seed=3"],
        ["logger=none", "trainer.precision=32-true"],
        ["rank=auto"],
        ["rank=auto", "selection=energy", "selection.share=1"],
    ],
)
def test_what_can_be_run_is_let_through(overrides: list[str]) -> None:
    check(*composed(*overrides))


@pytest.mark.parametrize("override", ["ranks=2", "method.max_step=3", "seed=0.5", "name=[1]", "method=sdv"])
def test_schema_refuses_wrong_keys_and_types(override: str) -> None:
    with pytest.raises(HydraException):
        composed(override)


def test_a_rule_is_no_error_in_a_sweep_over_given_ranks_and_auto() -> None:
    cfg, choices = composed("rank=5", "selection=energy")
    check(cfg, choices, alone=False)
    assert "selection" not in config.deciding(cfg)
    automatic, _ = composed("rank=auto", "selection=energy")
    assert config.deciding(automatic)["selection"] == {"rule": "energy", "share": 0.99}


def test_each_rule_of_the_config_is_one_of_the_package() -> None:
    rules = {name: config.settings_of("selection", name).rule for name in options("selection")}
    assert rules == {name: name for name in RULES}


def test_seed_reaches_the_data() -> None:
    cfg, _ = composed("data=gaussian", "seed=7")
    assert cfg.data.seed == 7


def test_every_choice_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    narrow = describe_choices()
    assert max(map(len, narrow.splitlines())) <= 80
    monkeypatch.setenv("COLUMNS", "300")
    text = describe_choices()
    assert narrow.split() == text.split()
    group, found = "", {}
    for row in text.splitlines():
        if heading := re.fullmatch(r"\s*(\w+)=", row):
            group = heading[1]
        # A long description goes on below its beginning.
        elif row.strip() and not row.startswith(" " * 27):
            mark, name, line = re.fullmatch(r"  ([* ]) (\S+) +(.*)", row).groups()  # type: ignore[union-attr]
            assert line.strip(), name
            found[group, name] = mark
    assert found.keys() == {(group, name) for group in config.GROUPS for name in options(group)}
    cfg, choices = composed()
    assert cfg.rank == 10
    starred = {key for key, mark in found.items() if mark == "*"}
    assert starred == {(group, choices[group]) for group in config.GROUPS if choices.get(group) is not None}


def test_the_help_names_every_command() -> None:
    text = (config.config_dir() / "hydra" / "help" / "eckart.yaml").read_text(encoding="utf-8")
    assert all(f"\n    eckart {name} " in text for name in COMMANDS)


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (int, "ten", "x must be an integer. Found 'ten'."),
        (float, [1], "x must be a number. Found [1]."),
        (bool, 3, "x must be true or false. Found 3."),
        (list, None, "x must be a list, as in [1,2]. Found null."),
        (str, 3, "x must be text. Found 3."),
        (str | None, 3, "x must be text or null. Found 3."),
        (bool | None, "yes", "x must be true, false or null. Found 'yes'."),
    ],
)
def test_type_law(kind: Any, value: Any, message: str) -> None:
    assert type_law("x", kind, value) == message


@given(st.text(), st.lists(st.text(min_size=1), max_size=5))
def test_nearest_names_known_words_only(word: str, known: list[str]) -> None:
    clause = nearest(word, [*known, "_base"])
    assert "_base" not in clause.replace(word, "") or "_base" in "".join(known)
    if word in known and not word.startswith("_"):
        assert clause.startswith(f"Did you mean {word}")


def test_composing_and_checking_imports_nothing_heavy() -> None:
    program = """
import sys
from hydra import compose, initialize_config_dir
from eckart import cli, config, laws
from eckart.runs import job
config.register()
with initialize_config_dir(str(config.config_dir()), version_base="1.3"):
    cfg = compose("train", overrides=["method=classifier", "data=digits"], return_hydra_config=True)
laws.check(cfg, {"method": "classifier", "data": "digits", "optimizer": "sgd"})
config.describe_choices()
job.Job(cfg, {"method": "classifier", "data": "digits"}, __import__("pathlib").Path("."))
heavy = {"torch", "pytorch_lightning", "wandb", "matplotlib", "numba", "scipy", "sklearn", "torchvision"}
print(sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
