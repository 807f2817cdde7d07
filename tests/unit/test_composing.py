"""Configs of a sweep's jobs, held against those that Hydra's own loader composes."""

import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.basecontainer import BaseContainer

from eckart import config
from eckart.sweeps.composing import SweepComposer

ADAM = "optimizer=adam"


class Remembering:
    """Hydra's loader, which composes the same job but once and counts what it is asked for."""

    def __init__(self, loader: ConfigLoader) -> None:
        self._loader, self.asked = loader, 0
        self._composed: dict[tuple[str, ...], DictConfig | Exception] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def load_sweep_config(self, sweep: DictConfig, overrides: list[str]) -> DictConfig:
        self.asked += 1
        if tuple(overrides) not in self._composed:
            try:
                self._composed[tuple(overrides)] = self._loader.load_sweep_config(sweep, overrides)
            except Exception as error:
                self._composed[tuple(overrides)] = error
        found = self._composed[tuple(overrides)]
        if isinstance(found, Exception):
            raise found
        return copy.deepcopy(found)


class Loaders(NamedTuple):
    hydra: Any
    sweep: DictConfig

    def composer(self) -> SweepComposer:
        return SweepComposer(self.hydra)


@pytest.fixture(scope="module")
def loaders() -> Iterator[Loaders]:
    config.register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config.config_dir()), version_base="1.3", job_name="train"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        fixed = ["method=svd", "rank=1,2", "hydra.job.config.override_dirname.exclude_keys=[method]"]
        sweep = hydra.compose_config("train", fixed, run_mode=RunMode.MULTIRUN)
        yield Loaders(Remembering(hydra.config_loader), sweep)


def outcome(loader: Any, sweep: DictConfig, job: list[str]) -> Any:
    try:
        return loader.load_sweep_config(sweep, list(job))
    except Exception as error:
        return type(error), str(error)


def nodes(node: Any) -> Any:
    """Everything that a config is made of: values, their declared types, flags, and the order of the keys."""
    declared = (type(node), node._metadata.ref_type, node._metadata.optional, node._metadata.flags or {})
    value = node._content if isinstance(node, BaseContainer) else node._value()
    if isinstance(value, dict):
        return *declared, [(key, nodes(child)) for key, child in value.items()]
    return *declared, [nodes(child) for child in value] if isinstance(value, list) else value


def check_the_same(found: Any, expected: Any) -> None:
    if isinstance(expected, DictConfig):
        assert found == expected and OmegaConf.to_yaml(found) == OmegaConf.to_yaml(expected)
        assert nodes(found) == nodes(expected)
        assert OmegaConf.get_cache(found) == OmegaConf.get_cache(expected)
    else:
        assert found == expected


@pytest.mark.parametrize(
    "jobs",
    [
        pytest.param(
            [
                ["rank=1", "method.tolerance=0", "figures=true", "name=a", "data.seed=1"],
                ["rank=007", "method.tolerance=-1e-3", "figures=no", "name='x, y'", "data.seed=${rank}"],
                ["rank=${seed}", "method.tolerance=inf", "figures=null", "name=", "data.seed=???"],
                ["rank=-1", "method.tolerance=text", "figures=0", "name='null'", "data.seed='${no}'"],
            ],
            id="plain values",
        ),
        pytest.param([["rank=1"], ["rank=ten"], ["rank=null"], ["rank=2"]], id="wrong integers"),
        pytest.param([["figures=yes"], ["figures=perhaps"]], id="wrong truth value"),
        pytest.param([["rank=1"], ["rank.no=1"], ["no=1"], ["method.no=1"], ["claim.no=1"]], id="unknown keys"),
        pytest.param([["rank=1"], ["rank=[1"], ["rank=2]"]], id="not read"),
        pytest.param([["logger.wandb=5"], ["logger.wandb=null"], ["logger.wandb={project: x}"]], id="whole nodes"),
        pytest.param(
            [["method.hidden=paper"], ["method.hidden=[4,3]"], ["method.hidden={a: 2}"]], id="lists and dicts"
        ),
        pytest.param([["method=svd", "rank=1"], ["method=completion", "rank=1"], ["method=no", "rank=1"]], id="groups"),
        pytest.param([["experiment=lab_svd", f"rank={n}"] for n in (1, 2)], id="experiment"),
        pytest.param([[f"method.max_steps={n}", "method=completion"] for n in (1, 2)], id="before its choice"),
        pytest.param([["+new=1", "rank=1"], ["+new=1", "rank=2"], ["+rank=3"], ["++rank=3"]], id="added"),
        pytest.param([["+new={a: 1}", f"new.a={n}"] for n in (1, 2)], id="in what is added"),
        pytest.param([["~method.tolerance", "~schedule", f"rank={n}"] for n in (1, 2)], id="deleted"),
        pytest.param([["~method.tolerance", f"method.tolerance={n}"] for n in (1, 2)], id="deleted before"),
        pytest.param([[ADAM, f"optimizer.betas.{n}=1"] for n in ("0", "9", "no")], id="no such item"),
        pytest.param(
            [[ADAM, f"optimizer.betas.0={n}", "optimizer.betas=[5,5]"] for n in (1, 2)], id="whole after part"
        ),
        pytest.param(
            [[ADAM, "optimizer.betas=[5,5]", f"optimizer.betas.0={n}"] for n in (1, 2)], id="part after whole"
        ),
        pytest.param([[f"data.source._partial_={n}", "data.source=null"] for n in (1, 2)], id="lost part"),
        pytest.param([[f"method.tolerance={n}", "++method={tolerance: 5}"] for n in (1, 2)], id="merged into a group"),
        pytest.param([["rank=1", "rank=2"], ["rank=3", "rank=2"], ["rank=3", "rank=3"]], id="twice the same key"),
        pytest.param([["rank=1", "seed=2"], ["seed=3", "rank=4"]], id="in another order"),
        pytest.param([["rank=1", "hydra.job.name=a"], ["rank=2", "hydra.job.name=b"]], id="of Hydra"),
    ],
)
def test_a_job_is_what_hydra_composes(jobs: list[list[str]], loaders: Loaders) -> None:
    composer = loaders.composer()
    for job in jobs:
        expected = outcome(loaders.hydra, loaders.sweep, job)
        # As the sweeper sees it, and as the launcher does.
        check_the_same(outcome(composer, loaders.sweep, job), expected)
        check_the_same(outcome(composer, loaders.sweep, job), expected)


plain = st.one_of(
    st.integers(-(10**20), 10**20).map(str),
    st.floats(allow_nan=False).map(str),
    st.sampled_from(["true", "False", "null", "''", "${seed}", "1_0", "0x1", "a/b", "a b", "-", "?", "???", "@x", "é"]),
    st.text(st.characters(codec="utf-8", exclude_characters="'\\"), max_size=8).map(lambda text: f"'{text}'"),
)


# A failing example is not made smaller: each is composed by Hydra, slowly.
@settings(max_examples=8, deadline=None, derandomize=True, phases=[Phase.generate])
@given(jobs=st.lists(st.tuples(plain, plain), min_size=2, max_size=2))
def test_any_plain_value(jobs: list[tuple[str, str]], loaders: Loaders) -> None:
    composer = loaders.composer()
    for name, tolerance in jobs:
        job = [f"name={name}", f"method.tolerance={tolerance}"]
        check_the_same(outcome(composer, loaders.sweep, job), outcome(loaders.hydra, loaders.sweep, job))


def test_jobs_of_a_kind_are_composed_once(loaders: Loaders) -> None:
    composer, before = loaders.composer(), loaders.hydra.asked
    jobs = [[f"method={method}", f"rank={rank}"] for method in ("svd", "factorization") for rank in (1, 2, 3)]
    for job in jobs * 2:
        composer.load_sweep_config(loaders.sweep, job)
    assert loaders.hydra.asked == before + 2


def test_jobs_share_nothing(loaders: Loaders) -> None:
    composer = loaders.composer()
    jobs = [["rank=1"], ["rank=2"], ["rank=1"], ["rank=1"]]
    for job in jobs:
        composer.load_sweep_config(loaders.sweep, job)
    configs = [composer.load_sweep_config(loaders.sweep, job) for job in jobs]
    for number, own in enumerate(configs):
        with open_dict(own):
            own.hydra.job.num, own.data.rows = number, number
    assert [own.hydra.job.num for own in configs] == [own.data.rows for own in configs] == [0, 1, 2, 3]
    check_the_same(
        composer.load_sweep_config(loaders.sweep, ["rank=2"]), outcome(loaders.hydra, loaders.sweep, ["rank=2"])
    )


def test_what_was_resolved_for_the_sweep_holds_for_its_jobs(loaders: Loaders) -> None:
    composer = loaders.composer()
    for job in (["rank=1"], ["rank=2"]):
        composer.load_sweep_config(loaders.sweep, job)
    OmegaConf.register_new_resolver("ticks", lambda: next(ticks), use_cache=True, replace=True)
    ticks = iter(range(10))
    with open_dict(loaders.sweep):
        loaders.sweep.hydra.sweep.dir = "${ticks:}"
    assert loaders.sweep.hydra.sweep.dir == "0"
    for rank in (1, 2, 3):
        own = composer.load_sweep_config(loaders.sweep, [f"rank={rank}"])
        assert OmegaConf.get_cache(own)["ticks"] == OmegaConf.get_cache(loaders.sweep)["ticks"]


def test_hydra_answers_everything_else(loaders: Loaders) -> None:
    assert loaders.composer().get_group_options("method") == loaders.hydra.get_group_options("method")
