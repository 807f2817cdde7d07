import html as entities
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eckart.reproduction import charts, html, table
from eckart.reproduction.table import Entry
from eckart.reproduction.verdicts import Verdict

DOCS = Path(__file__).parents[2] / "docs"
ENTRY = Entry(
    "paper_random_table", "rank 1", "excess_2norm", 0.5, 3, (0.4, 0.1, 0.4), (1e-17, 0.0, 0.0), 0.2, 0.0,
    Verdict.REPRODUCED, True,
)  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("docs")
    (folder / "images").symlink_to(DOCS / "images")
    (folder / table.TABLE).write_bytes((DOCS / table.TABLE).read_bytes())
    return html.write(folder).read_text(encoding="utf-8")


def data_of(page: str) -> Any:
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_the_page_has_every_value_of_the_table(written: str) -> None:
    entries = table.read(DOCS / table.TABLE)
    rows = re.findall(r"<tr><th scope=\"row\">.*?</tr>", written)
    assert len(rows) == len(entries) > 50
    claims = list(dict.fromkeys(re.findall(r'<h3 id="(\w+)">', written)))
    ordered = sorted(entries, key=lambda entry: claims.index(entry.experiment))
    for row, entry in zip(rows, ordered, strict=True):
        cells = [entities.unescape(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)]
        assert cells[2] == table.spread(*entry.here) and cells[4] == table.spread(*entry.ours)
        assert str(entry.verdict) in cells[-1] or str(entry.verdict)[4:] in cells[-1]
        assert ("beaten" in cells[-1]) == entry.beaten
    given = [entry.verdict for entry in entries if entry.verdict is not Verdict.NOT_GIVEN]
    counted = (
        f"{len(given)} values of the source documents, trained again: {given.count(Verdict.REPRODUCED)} reproduced"
    )
    assert counted in written


def test_the_plots_show_document_and_both_recipes(written: str) -> None:
    plots = data_of(written)["plots"]
    entries = [entry for entry in table.read(DOCS / table.TABLE) if entry.experiment == "paper_random_table"]
    shown = plots["claim-paper_random_table"]["rows"]["values"]
    assert shown["series"] == ["document", "its recipe, here", "our recipe"] * 9
    assert shown["mean"][::3] == [entry.document for entry in entries]
    assert shown["mean"][1::3] == [entry.here[0] for entry in entries]
    assert set(shown["mean"][2::3]) == {0.0}
    ratios = plots["overview"]["rows"]["values"]
    assert ratios["ratio"][ratios["claim"].index("lab_svd")] == pytest.approx(1, abs=1e-3)


def test_the_page_in_the_docs_is_made_of_the_table_beside_it(written: str) -> None:
    kept = (DOCS / html.PAGE).read_text(encoding="utf-8")
    assert data_of(kept)["plots"].keys() == data_of(written)["plots"].keys()
    for name, plot in data_of(written)["plots"].items():
        assert data_of(kept)["plots"][name]["rows"] == plot["rows"], "python scripts/reproduce.py --page docs"


def test_few_values_have_no_plot_and_none_have_no_overview() -> None:
    assert charts.of_claim([ENTRY] * charts.FEW) is None
    assert charts.of_claim([replace(ENTRY, value_of=f"rank {rank}") for rank in range(1, 6)]) is not None
    assert charts.overview([replace(ENTRY, document=None), replace(ENTRY, document="failed outright")]) is None


def test_another_table_is_one_line(tmp_path: Path) -> None:
    (tmp_path / table.TABLE).write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"must have the columns experiment, value_of, .* Found \['a', 'b'\]"):
        html.write(tmp_path)
