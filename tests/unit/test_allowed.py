import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hydra.utils
import pytest
from omegaconf import OmegaConf

import eckart
from eckart import config
from eckart.allowed import check_target, whitelist
from eckart.whitelist import whitelisted

RUNS_CODE = [
    "torch.load",
    "numpy.load",
    "joblib.load",
    "builtins.open",
    "builtins.eval",
    "os.system",
    "subprocess.Popen",
]
RUNS_CODE += [
    "pathlib.Path.touch",
    "hydra.utils.call",
    "importlib.import_module",
    "torch.hub.load",
    "functools.partial",
]
GROUPS = [
    "method",
    "data",
    "data.source",
    "optimizer",
    "schedule",
    "trainer",
    "trainer.strategy",
    "logger",
    "callbacks.x",
]
GROUPS += ["hydra.launcher", "hydra.sweeper.sampler", "hydra.callbacks.x", "claim"]

ALLOWED = [
    ("eckart.methods.svd.SVD", "method._target_"),
    ("eckart.data.targets.photo", "data.source._target_"),
    ("eckart.data.targets.photo", "data.source"),
    ("torch.optim.SGD", "optimizer._target_"),
    ("torch.optim.adam.Adam", "optimizer._target_"),
    ("eckart.optim.solver.ALS", "optimizer._target_"),
    ("eckart.optim.schedules.cosine", "schedule._target_"),
    ("pytorch_lightning.Trainer", "trainer._target_"),
    ("pytorch_lightning.strategies.DDPStrategy", "trainer.strategy._target_"),
    ("pytorch_lightning.callbacks.EarlyStopping", "callbacks.stop._target_"),
    ("pytorch_lightning.loggers.CSVLogger", "logger.csv._target_"),
    ("hydra_plugins.eckart_stacked_launcher.StackedLauncher", "hydra.launcher._target_"),
    ("hydra._internal.core_plugins.basic_sweeper.BasicSweeper", "hydra.sweeper._target_"),
    ("eckart.cli.Folders", "hydra.callbacks.folders._target_"),
    ("logging.StreamHandler", "hydra.job_logging.handlers.console.class"),
]

# Names that begin with an allowed module, but lead out of it, or to what is no part of its interface.
DETOURS = [
    ("eckart.methods.base.os.system", "method._target_"),
    ("eckart.data.files.reading.torch.load", "data.source._target_"),
    ("eckart.data.targets._secret", "data.source._target_"),
    ("eckart.data", "data.source._target_"),
    ("eckart.database.x", "data.source._target_"),
    ("eckart.cli.main", "data.source._target_"),
    ("torch.optim.torch.load", "optimizer._target_"),
    ("torch.optim.sgd.torch.load", "optimizer._target_"),
    ("torch.optim.sgd.cast", "optimizer._target_"),
    ("torch.optimizers.SGD", "optimizer._target_"),
    ("pytorch_lightning.LightningModule.load_from_checkpoint", "trainer._target_"),
    ("pytorch_lightning.callbacks.EarlyStopping", "trainer._target_"),
    ("pytorch_lightning.core.saving.pl_load", "trainer.strategy._target_"),
    ("pytorch_lightning.callbacks.callback.os.system", "callbacks.x._target_"),
    ("logging.config.fileConfig", "hydra.job_logging.handlers.x.class"),
    ("logging.os.system", "hydra.job_logging.handlers.x.()"),
    ("eckart..data.targets.photo", "data._target_"),
    ("eckart/data.x", "data._target_"),
    ("", "method._target_"),
]


@pytest.mark.parametrize(("path", "what"), ALLOWED)
def test_what_the_configs_name_is_allowed(path: str, what: str) -> None:
    check_target(path, what)


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("path", [*RUNS_CODE, "torch.nn.Linear"])
def test_everything_else_is_refused(path: str, group: str) -> None:
    with pytest.raises(ValueError, match=r"must be .*ECKART_ALLOW") as refused:
        check_target(path, f"{group}._target_")
    assert str(refused.value).startswith(f"{group}._target_ must be ")
    assert str(refused.value).endswith(f"Found {path!r}.")


@pytest.mark.parametrize(("path", "what"), DETOURS)
def test_detours_are_refused(path: str, what: str) -> None:
    with pytest.raises(ValueError, match="ECKART_ALLOW"):
        check_target(path, what)


def test_the_environment_opens_modules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "mine" / "deep").mkdir(parents=True)
    for name in ("__init__.py", "targets.py", "deep/maker.py"):
        (tmp_path / "mine" / name).write_text("raise SystemExit('imported')")
    (tmp_path / "single.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    opened = ["mine.make", "mine.targets.wheel", "mine.deep.maker.Maker", "single.make"]
    for path in opened:
        with pytest.raises(ValueError, match="ECKART_ALLOW"):
            check_target(path, "data.source")
    monkeypatch.setenv("ECKART_ALLOW", " mine, single.make ,, pathlib.Path.cwd")
    for path in [*opened, "pathlib.Path.cwd"]:
        check_target(path, "data.source")
    for path in (
        "mine.os.system",
        "mine.targets.os.system",
        "mine._make",
        "mine2.make",
        "single.other",
        "pathlib.Path",
    ):
        with pytest.raises(ValueError, match="ECKART_ALLOW"):
            check_target(path, "data.source")
    assert not {"mine", "single"} & sys.modules.keys()


def test_nothing_that_is_refused_or_allowed_is_imported() -> None:
    before = set(sys.modules)
    check_target("torch.optim.lr_scheduler.StepLR", "optimizer._target_")
    with pytest.raises(ValueError, match="antigravity"):
        check_target("antigravity.geohash", "method._target_")
    assert set(sys.modules) == before


def test_control_characters_of_a_name_are_not_printed() -> None:
    with pytest.raises(ValueError, match="Found") as refused:
        check_target("a\x1b[2J\n" + "b" * 10_000, "method._target_")
    assert str(refused.value).isprintable() and len(str(refused.value)) < 500


def _by_hydra(path: str) -> bool:
    """Whether Hydra 1.4 would take a name, by what its documentation says of the entries."""
    return any(path.startswith(entry[:-1]) if entry.endswith(".*") else path == entry for entry in whitelist())


def _targets(node: Any) -> Iterator[str]:
    for key, value in node.items() if isinstance(node, dict) else enumerate(node if isinstance(node, list) else ()):
        if key == "_target_" and value not in (None, "???"):
            yield value
        yield from _targets(value)


def test_hydra_is_told_of_every_name_of_the_configs_and_of_no_other() -> None:
    named = {
        name
        for path in config.config_dir().rglob("*.yaml")
        for name in _targets(OmegaConf.to_container(OmegaConf.load(path)))
    }
    assert len(named) > 50 and not [name for name in named | {path for path, _ in ALLOWED} if not _by_hydra(name)]
    assert not [name for name in (*RUNS_CODE, "torch.nn.Linear") if _by_hydra(name)]
    assert all(entry.removesuffix(".*").replace(".", "_").isidentifier() for entry in whitelist())


def test_hydra_is_told_of_what_the_environment_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    before = whitelist()
    monkeypatch.setenv("ECKART_ALLOW", "mine, single.make, *, os.*, bad name")
    assert whitelist() == (*before, "mine", "mine.*", "single.make", "single.make.*")


def test_a_command_and_its_run_enter_the_whitelist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    entered: list[tuple[str, ...]] = []

    @contextlib.contextmanager
    def scope(entries: tuple[str, ...]) -> Iterator[None]:
        entered.append(entries)
        yield

    monkeypatch.setattr(hydra.utils, "execution_whitelist", scope, raising=False)
    eckart.run(["method=svd", "data=lab", "rank=1", "logger=none", "figures=false", f"hydra.run.dir={tmp_path}"])
    assert entered == [whitelist()] * 2


def test_hydra_itself_refuses_what_the_whitelist_does_not_have() -> None:
    if not hasattr(hydra.utils, "execution_whitelist"):
        pytest.skip("Hydra 1.3 has no execution whitelist")
    with whitelisted():
        hydra.utils.instantiate({"_target_": "eckart.data.targets.identity", "rows": 1, "cols": 2})
        with pytest.raises(Exception, match="whitelist"):
            hydra.utils.instantiate({"_target_": "torch.nn.Linear", "in_features": 1, "out_features": 1})
