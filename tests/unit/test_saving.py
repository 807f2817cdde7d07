"""The files that Hydra leaves of a job, made from the text of the job before."""

from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from eckart import config
from eckart.config import without_hydra
from eckart.sweeps.saving import ConfigFiles

TEXTS = st.one_of(
    st.text(max_size=6),
    st.sampled_from(["no", "Yes", "1", "1e3", "nan", "~", "=", "a=1", "a: b", "a #b", "-", "x y " * 60, "/b=c,d", "é"]),
)
VALUES: Any = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None)
@given(wholes=st.lists(st.dictionaries(TEXTS, VALUES, max_size=3), min_size=1, max_size=3))
def test_the_text_is_that_of_omegaconf_whatever_was_written_before(wholes: list[dict[str, Any]]) -> None:
    files = ConfigFiles()
    for whole in wholes:
        part = OmegaConf.create({"a": _plain(whole)})
        assert files.text(part) == OmegaConf.to_yaml(part)


def _plain(value: Any) -> Any:
    """Without the signs by which OmegaConf refers to other values."""
    if isinstance(value, dict):
        return {_plain(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value.replace("$", "").replace("?", "") if isinstance(value, str) else value


def test_a_job_is_written_as_hydra_writes_it_and_only_what_is_new_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.register()
    files, make = ConfigFiles(), OmegaConf.to_yaml
    asked: list[Any] = []

    def counted(part: Any) -> str:
        asked.append(part)
        return make(part)

    monkeypatch.setattr(OmegaConf, "to_yaml", counted)
    with initialize_config_dir(str(config.config_dir()), version_base="1.3"):
        for seed in (1, 2):
            asked.clear()
            whole = compose("train", [f"seed={seed}"], return_hydra_config=True)
            parts = {"config": without_hydra(whole), "hydra": OmegaConf.masked_copy(whole, ["hydra"])}
            files.write(tmp_path, {**parts, "overrides": whole.hydra.overrides.task})
            for name, part in parts.items():
                assert (tmp_path / f"{name}.yaml").read_text(encoding="utf-8") == make(part)
            assert (tmp_path / "overrides.yaml").read_text(encoding="utf-8") == f"- seed={seed}\n"
    assert not asked
