"""The commands of docs/figures.md, as they stand there but on fewer jobs, make its pictures."""

import importlib
import re
import shlex
import sys
from pathlib import Path

import pytest
from commandline import Train, page
from PIL import Image

pytestmark = pytest.mark.processes
ROOT = Path(__file__).parents[2]
PAGE = page("figures.md")
FENCED = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
BLOCKS = [block.splitlines() for language, block in FENCED if not language]
# Fewer jobs and steps; what is left out has other tests.
FEWER = {'"rank=range(1,10)"': "rank=1,2", '"seed=range(10)"': "seed=0,1", '"seed=range(3)"': "seed=0"}
SHORTER = {"method=bottleneck": ["rank=1,2"], "experiment=": ["rank=1,2", "method.max_steps=3"]}
SHORTER["method=classifier"] = ["rank=2,4", "method.epochs=1"]


@pytest.mark.parametrize("block", BLOCKS, ids=["errors", "accuracy"])
def test_the_commands_of_the_page_make_its_pictures(
    block: list[str], train: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for line in block:
        for text, fewer in FEWER.items():
            line = line.replace(text, fewer)
        _, program, *arguments = shlex.split(line)
        if program == "train.py":
            (short,) = [added for start, added in SHORTER.items() if any(word.startswith(start) for word in arguments)]
            ended = train(*arguments, *short, "logger=none", "report=false", "trainer.enable_progress_bar=false")
            assert ended.code == 0, ended.stderr
            continue
        monkeypatch.syspath_prepend(str((ROOT / program).parent))
        monkeypatch.setattr(sys, "argv", [program, *arguments])
        importlib.import_module(Path(program).stem).main()
        with Image.open(tmp_path / arguments[-1]) as image:
            assert image.width > 900 and len(image.convert("RGB").getcolors(1 << 24) or []) > 20


def test_the_pictures_of_the_page_are_there() -> None:
    for picture in re.findall(r"!\[[^]]+\]\(([^)]+)\)", PAGE):
        with Image.open(ROOT / "docs" / picture) as image:
            image.load()
