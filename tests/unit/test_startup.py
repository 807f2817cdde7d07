"""What a command does before its fit: configs composed once, and packages that are imported when they are needed."""

import contextlib
import gc
import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
import wandb
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from eckart import cli, config, deferred, laws
from eckart.sweeps import cluster
from eckart.sweeps.sweep import Group, Sweep
from eckart.tracking import wandb_internals

HEAVY = {"torch", "pytorch_lightning", "wandb", "matplotlib", "numpy", "scipy", "sklearn", "polars", "altair"}
UNUSED = {"wandb", "torchvision", "matplotlib", "sympy", "scipy", "sklearn", "numba", "polars", "altair"}


def compositions(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The overrides of each composition from now on."""
    made: list[list[str]] = []
    compose = ConfigLoaderImpl._load_configuration_impl

    def counted(self: Any, config_name: str, overrides: list[str], *args: Any, **kwargs: Any) -> DictConfig:
        made.append(list(overrides))
        return compose(self, config_name, overrides, *args, **kwargs)

    monkeypatch.setattr(ConfigLoaderImpl, "_load_configuration_impl", counted)
    return made


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        (["rank=ten"], "rank must be an integer"),
        (["ranc=3"], "Did you mean rank?"),
        (["method=botleneck"], "Did you mean bottleneck?"),
        (["rank=1,2"], "Ambiguous value"),
    ],
)
def test_a_command_with_an_error_composes_once(
    typed: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = compositions(monkeypatch)
    with pytest.raises(SystemExit, match=line.replace("?", r"\?")):
        cli.command(["train.py", *typed])
    assert len(made) == 1


@pytest.mark.parametrize("typed", [["rank=3"], ["method=svd", "hydra.job.chdir=false"], ["experiment=svd_notebook"]])
def test_the_config_is_the_one_that_hydra_composes(
    typed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found: list[Any] = []
    monkeypatch.setattr(cli, "_train", lambda _: found.append(HydraConfig.instance().cfg))
    cli.command(["train.py", *typed])
    # As Hydra does it alone, twice.
    monkeypatch.setattr(cli, "composed_once", lambda *_: contextlib.nullcontext())
    cli.command(["train.py", *typed])
    own, hydras = map(OmegaConf.to_container, found)
    for part in (own, hydras):
        assert isinstance(part, dict)
        # The folder of a run is named by the time.
        part["hydra"]["runtime"].pop("output_dir")
    assert own == hydras


def test_a_help_that_shows_no_groups_of_hydra_does_not_look_for_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looked: list[str] = []

    def groups(_: Any, parent: str = "") -> list[str]:
        looked.append(parent)
        return []

    monkeypatch.setattr(Hydra, "list_all_config_groups", groups)
    monkeypatch.setattr(sys, "argv", ["train.py", "--help"])
    with pytest.raises(SystemExit):
        cli.command(["train.py", "--help"])
    assert not looked and "riemannian_cg" in capsys.readouterr().out


def test_laws_see_what_an_interpolation_comes_to() -> None:
    cfg = OmegaConf.create({"data": {"_target_": "${name}"}, "name": "os.system"})
    with pytest.raises(config.ConfigError, match=r"os\.system"):
        laws.check_targets(cfg)


def test_runs_of_wandb_list_the_packages_once_and_all() -> None:
    with wandb_internals.started_fast():
        first, again = wandb.util.working_set(), wandb.util.working_set()
    assert first is again
    assert sorted(map(str, first)) == sorted(map(str, wandb.util.working_set()))


@pytest.mark.parametrize("name", ["_detect_and_apply_job_inputs", "working_set"])
def test_runs_of_another_version_of_wandb_start_as_they_would(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = wandb.Run if name.startswith("_") else wandb.util
    monkeypatch.delattr(owner, name)
    with wandb_internals.started_fast():
        assert not hasattr(owner, name)


@pytest.mark.processes
def test_what_is_imported(tmp_path: Path) -> None:
    code = f"""
import json, sys
from eckart import cli
found = []
for typed in ("--help", "--cfg job", "rank=ten", "method=botleneck", "-m rank=0,-1", "rank=401", "ckpt"):
    sys.argv = ["train.py", *typed.split()]
    try:
        cli.main()
    except SystemExit:
        pass
    found.append(sorted({HEAVY!r} & sys.modules.keys()))
sys.argv = ["train.py", "rank=2", "data.rows=20", "data.cols=20", "logger=csv", "figures=false"]
cli.main()
found.append(sorted({UNUSED!r} & sys.modules.keys()))
import torchmetrics
assert issubclass(torchmetrics.Accuracy, torchmetrics.Metric) and len(torchmetrics.__all__) > 50
print(json.dumps(found))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [[]] * 8


@pytest.mark.processes
def test_what_is_deferred_is_whole_when_it_is_asked_for(tmp_path: Path) -> None:
    code = """
import gc, sys
from eckart import deferred
usual = gc.get_threshold()
deferred.install()
with deferred.kept():
    import torch, pytorch_lightning, torchmetrics
assert gc.isenabled() and gc.get_threshold() == usual and gc.get_freeze_count() > 100_000
from pytorch_lightning.utilities.compile import OptimizedModule, from_compiled
layer = torch.nn.Linear(2, 2)
adam = torch.optim.Adam(layer.parameters())
for _ in range(2):
    adam.zero_grad()
    layer(torch.ones(1, 2)).sum().backward()
    adam.step()
assert not isinstance(layer, OptimizedModule)
assert not {"torch._dynamo.eval_frame", "matplotlib", "triton"} & sys.modules.keys()
from pytorch_lightning.utilities.model_summary.model_summary import FlopCounterMode
with FlopCounterMode(display=False) as counter:
    torch.ones(1, 2) @ torch.ones(2, 3)
assert counter.get_total_flops() == 12 and type(counter) is torch.utils.flop_counter.FlopCounterMode
import torch._dynamo.utils as utils, torch._dynamo.utils
assert utils is sys.modules["torch._dynamo.utils"] is torch._dynamo.convert_frame.torch._dynamo.utils
assert utils.__spec__.loader.name == "torch._dynamo.utils" and utils.counters is torch._dynamo.symbolic_convert.counters
compiled = torch.compile(layer, backend="eager")
assert isinstance(compiled, OptimizedModule) and type(compiled) is torch._dynamo.OptimizedModule
assert issubclass(type(compiled), OptimizedModule) and not isinstance(layer, OptimizedModule)
assert torch.equal(compiled(torch.ones(1, 2)), layer(torch.ones(1, 2)))
def step():
    adam.zero_grad()
    compiled(torch.ones(1, 2)).sum().backward()
    adam.step()
step(), torch.compile(step, backend="eager")()
assert getattr(torch.optim.Optimizer.zero_grad.__wrapped__, "__dynamo_disable")
mean = torchmetrics.MeanMetric()
mean.update(1.0)
figure, axes = mean.plot()
assert type(figure).__module__ == "matplotlib.figure"
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_part_that_is_asked_for_first_is_executed_once_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "slow_compiler"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("from . import inner, other\nfrom .inner import leaf\nwhole = True\n")
    (package / "inner" / "__init__.py").write_text("times = []\n")
    (package / "inner" / "leaf.py").write_text("from slow_compiler import other\nother.times.append('leaf')\n")
    (package / "other.py").write_text("times = ['other']\n")
    (package / "alone.py").write_text("import slow_compiler\nfound = slow_compiler.whole\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(deferred, "_COMPILER", "slow_compiler")
    monkeypatch.setattr(deferred, "_TAKEN", {"slow_compiler": lambda module: {"quick": 1}})
    monkeypatch.setattr(sys, "meta_path", [deferred._Finder(), *sys.meta_path])
    try:
        slow = importlib.import_module("slow_compiler")
        assert slow.quick == 1 and "slow_compiler.other" not in sys.modules
        leaf = importlib.import_module("slow_compiler.inner.leaf")
        assert leaf is slow.inner.leaf is sys.modules["slow_compiler.inner.leaf"]
        assert slow.whole and slow.other.times == ["other", "leaf"]
        assert leaf.__spec__ is not None and leaf.__spec__.origin == str(package / "inner" / "leaf.py")
        # A part that the package does not execute itself.
        assert importlib.import_module("slow_compiler.alone").found
    finally:
        for name in [name for name in sys.modules if name.startswith("slow_compiler")]:
            del sys.modules[name]


def test_a_package_that_fails_stays_deferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_failing.py").write_text("raise RuntimeError('not now')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(deferred, "_TAKEN", {"slow_failing": lambda module: {}})
    monkeypatch.setattr(sys, "meta_path", [deferred._Finder(), *sys.meta_path])
    try:
        slow = importlib.import_module("slow_failing")
        for _ in range(2):
            with pytest.raises(RuntimeError, match="not now"):
                slow.anything  # noqa: B018
    finally:
        del sys.modules["slow_failing"]


def test_a_program_that_is_not_ours_keeps_its_garbage_collection() -> None:
    before = gc.get_threshold(), gc.get_freeze_count()
    with deferred.kept():
        assert gc.isenabled()
    assert (gc.get_threshold(), gc.get_freeze_count()) == before


def test_the_processes_of_launchers_defer_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    installed: list[str] = []
    monkeypatch.setattr(deferred, "install", lambda: installed.append("here"))
    monkeypatch.setattr(cli, "_train", lambda _: None)
    for typed, known in ((["eckart"], 0), ([], 1)):
        monkeypatch.setattr(cli, "_typed", typed)
        cli.task(OmegaConf.create({}))
        assert len(installed) == known
    assert cluster._Remote(cast(Sweep, None))(Group([], None)) == []
    assert len(installed) == 2
