"""README: what its first command prints, and the options that its tables name."""

import re
from pathlib import Path

import pytest
from commandline import Train, choices

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def settled(text: str) -> str:
    """The text without what differs between machines and days: excess below 1e-9, gradients, times, steps, paths."""
    text = re.sub(r"-?\b\d\.\d+e-(\d\d)\b", lambda found: "tiny" if int(found[1]) > 9 else found[0], text)
    text = re.sub(r"\b\d+(\.\d+)? (s|steps)\b", r"N \2", text)
    text = re.sub(r" +(0|tiny)$", " tiny", text, flags=re.MULTILINE)
    return re.sub(r"outputs/\S+", "FOLDER", text)


def test_the_first_command_prints_what_the_page_shows(train: Train) -> None:
    shown = re.search(r"```\n(bottleneck on photo.*?)```", README, re.DOTALL)
    assert shown is not None
    ended = train("method=bottleneck", "rank=10")
    assert (ended.code, ended.stderr) == (0, "")
    assert settled(ended.stdout) == settled(shown[1])


@pytest.mark.parametrize("group", ["method", "data", "optimizer", "schedule", "trainer", "logger"])
def test_every_option_that_the_page_names_exists(group: str) -> None:
    table = re.search(rf"^\| `{group}=`.*?\n\n", README, re.DOTALL | re.MULTILINE)
    if table is not None:
        named = [
            name for row in table[0].strip().splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])
        ]
    else:
        listed = re.search(rf"`{group}=` (.*?)[;.]\s", README, re.DOTALL)
        assert listed is not None
        named = re.findall(r"`(\w+)`", listed[1].replace("no learning rate;", ""))
    assert named and set(named) <= set(choices(group))
