"""Engines that are not part of eckart. Without its extra, an engine gives one line, and its other tests are skipped."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from commandline import SMALL, Train, result
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from omegaconf import OmegaConf

SLURM = Path(__file__).parents[2] / "scripts" / "slurm_sweep.sh"
LAW = "The rank must satisfy 1 <= rank <= min(m, n) = 9. Found 30."


def needs(plugin: str) -> pytest.MarkDecorator:
    """Skip a test if Hydra's plugin, which an extra installs, is missing."""
    found = importlib.util.find_spec(f"hydra_plugins.{plugin}") is not None
    return pytest.mark.skipif(not found, reason=f"needs {plugin.replace('_', '-')}")


@pytest.mark.parametrize(
    ("group", "choice", "plugin", "extra"),
    [
        ("launcher", "parallel", "joblib", "joblib"),
        ("launcher", "slurm", "submitit_slurm", "slurm"),
        ("sweeper", "search", "optuna", "optuna"),
    ],
)
def test_an_engine_without_its_extra_says_which(
    group: str, choice: str, plugin: str, extra: str, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The plugin may be installed; without a plugin, Hydra does not find its config.
    Plugins.instance()
    known: dict[str, Any] = ConfigStore.instance().repo["hydra"][group]
    monkeypatch.delitem(known, f"{plugin}.yaml", raising=False)
    ended = train("-m", f"hydra/{group}={choice}", "data=lab", "method=svd", "rank=1,2", "logger=none")
    assert (ended.code, ended.stdout, ended.folders) == (1, "", [])
    assert extra in ended.line and f'pip install -e ".[{extra}]"' in ended.line


def test_stacks_for_a_cluster_without_their_extra_say_which(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    ended = train("-m", "hydra/launcher=stacked_slurm", "data=lab", "method=svd", "rank=1,2", "logger=none")
    assert (ended.code, ended.stdout, ended.folders) == (1, "", [])
    assert 'pip install -e ".[slurm]"' in ended.line


@pytest.mark.parametrize(
    "launcher",
    [
        pytest.param(["parallel", "hydra.launcher.n_jobs=2"], marks=needs("hydra_joblib_launcher"), id="joblib"),
        pytest.param(["submitit_local"], marks=needs("hydra_submitit_launcher"), id="submitit"),
        pytest.param(
            ["stacked_slurm", "hydra.launcher.cluster=local"], marks=needs("hydra_submitit_launcher"), id="stacks"
        ),
    ],
)
@pytest.mark.processes
def test_a_job_that_fails_in_another_process_counts(launcher: list[str], train: Train) -> None:
    chosen, *settings = launcher
    ended = train("-m", f"hydra/launcher={chosen}", *settings, *SMALL, "method=svd", "rank=1,30", "logger=none")
    assert ended.code == 1
    assert {folder.name: result(folder)["status"] for folder in ended.folders} == {
        "rank=1": "completed",
        "rank=30": "failed",
    }
    assert len({folder.parent for folder in ended.folders}) == 1
    assert "1 of 2 jobs failed" in ended.stderr and f"rank=30: {LAW}" in ended.stderr
    assert "Traceback" not in ended.stderr


@needs("hydra_submitit_launcher")
def test_slurm_is_asked_for_what_the_config_says(train: Train) -> None:
    ended = train("hydra/launcher=slurm", "hydra.launcher.partition=gpu", "--cfg", "hydra", "-p", "hydra.launcher")
    asked = OmegaConf.create(ended.stdout)
    assert asked._target_.endswith(".SlurmLauncher")
    assert (asked.partition, asked.timeout_min, asked.cpus_per_task) == ("gpu", 60, 1)


@pytest.fixture
def quiet_optuna() -> None:
    """Disable Optuna's log handler, which keeps the standard error of the first test that imports it."""
    pytest.importorskip("optuna").logging.disable_default_handler()


def solutions(sweep: Path) -> list[dict[str, Any]]:
    """The solutions that a search has written."""
    read = OmegaConf.to_container(OmegaConf.load(sweep / "optimization_results.yaml"))
    assert isinstance(read, dict)
    found: list[dict[str, Any]] = read["solutions"]
    return found


def as_good(one: list[float], other: list[float]) -> bool:
    """Whether one point is as good as another in each objective."""
    return all(mine <= theirs for mine, theirs in zip(one, other, strict=True))


@needs("hydra_optuna_sweeper")
@pytest.mark.usefixtures("quiet_optuna")
def test_a_search_finds_the_rank_and_the_learning_rate(train: Train) -> None:
    ended = train("experiment=optuna_adam", "hydra.sweeper.n_trials=12", "logger=none")
    assert ended.code == 0, ended.stderr
    (sweep,) = {folder.parent for folder in ended.folders}
    trials = [result(folder) for folder in ended.folders]
    assert len(trials) == 12 and {trial["rank"] for trial in trials} <= set(range(1, 7))
    rates = [trial["config"]["optimizer"]["lr"] for trial in trials]
    assert min(rates) >= 1e-3 and max(rates) <= 1 and len(set(rates)) == 12
    points = [[trial["relative_frobenius"], float(trial["parameters"])] for trial in trials]
    front = [point for point in points if not any(as_good(other, point) and other != point for other in points)]
    assert 1 < len(front) < 12
    assert sorted(solution["values"] for solution in solutions(sweep)) == sorted(front)


@needs("hydra_optuna_sweeper")
@pytest.mark.usefixtures("quiet_optuna")
def test_a_trial_that_fails_or_diverges_does_not_end_the_search(train: Train) -> None:
    rates = "optimizer.lr=choice(1e-3,1e200,-1.0)"
    few = ("method.max_steps=20", "hydra.sweeper.n_trials=12", "logger=none")
    ended = train("experiment=optuna_adam", "optimizer=sgd", "rank=2", rates, *few)
    assert ended.code == 1 and "Traceback" not in ended.stderr
    assert {folder.name: result(folder)["status"] for folder in ended.folders} == {
        "optimizer.lr=0.001": "completed",
        "optimizer.lr=1e+200": "diverged",
        "optimizer.lr=-1.0": "failed",
    }
    assert "2 of 3 jobs failed" in ended.stderr
    (sweep,) = {folder.parent for folder in ended.folders}
    assert {solution["params"]["optimizer.lr"] for solution in solutions(sweep)} == {1e-3}


@needs("hydra_optuna_sweeper")
@pytest.mark.usefixtures("quiet_optuna")
def test_a_search_goes_on_with_the_trials_it_has_kept(train: Train) -> None:
    kept = ("hydra.sweeper.storage=sqlite:///search.db", "hydra.sweeper.study_name=adam", "hydra.sweeper.n_trials=3")
    arguments = ("experiment=optuna_adam", "method.max_steps=2", "logger=none", *kept)
    assert train(*arguments).code == 0
    again = train(*arguments, "hydra.sweeper.sampler.seed=1")
    assert again.code == 0, again.stderr
    optuna = pytest.importorskip("optuna")
    assert len(optuna.load_study(study_name="adam", storage="sqlite:///search.db").trials) == 6


def test_slurm_is_not_brought_up_where_it_cannot_be(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash")
    ended = subprocess.run(
        [bash, str(SLURM)], env={**os.environ, "PATH": str(tmp_path)}, cwd=tmp_path, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "slurm_sweep.sh: Debian's packages are needed. Found no apt-get.\n"
    assert list(tmp_path.iterdir()) == []
