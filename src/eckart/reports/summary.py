"""What stands above and below the plots: counts, failures, and how to make the runs again."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from eckart.printable import printable
from eckart.reports.axes import FLOOR
from eckart.reports.markup import Markup, element
from eckart.reports.reading import Found
from eckart.reports.record import Record
from eckart.results.numbers import scientific
from eckart.results.settings import LEADING

_FAILURES = 100
_PARAMETERS = (
    "entries of all factors: k (m + n) for one pair of rank k of an m × n matrix; a classifier's are those of its "
    "reduced inputs; a net's are all of its weights and biases"
)


def line(records: Sequence[Record]) -> Markup:
    """Counts of what the page is about."""
    ours = [record for record in records if record.ours]
    told = [_count(len(records), "run")]
    if ours:
        for name in ("method", "data", "rank", "seed"):
            values = sorted({value for record in ours if (value := record.fields.get(name)) is not None}, key=str)
            if len(values) == 1:
                told.append(f"{values[0]}" if name in LEADING[:2] else f"{name} {values[0]}")
            elif values:
                told.append(f"{len(values)} {'data' if name == 'data' else name + 's'}")
    excesses = [value for record in ours if (value := record.number("excess_frobenius")) is not None]
    if excesses:
        told.append(_excess(min(excesses)))
    accuracies = [value for record in ours if (value := record.number("accuracy")) is not None]
    if accuracies:
        told.append(f"best accuracy {max(accuracies):.3f}")
    counts = Counter(record.status for record in records)
    told += [f"{counts[status]} {status}" for status in ("failed", "diverged", "unfinished") if counts[status]]
    return element("ul", *(element("li", printable(text, 80)) for text in told), class_="counts", id="summary")


def problems(found: Found) -> Markup | None:
    """Lines on files that could not be read; None if there are none."""
    if not found.problems:
        return None
    shown = found.problems[:_FAILURES]
    more = len(found.problems) - len(shown)
    return element(
        "section",
        element("h2", "Not shown"),
        element("ul", *(element("li", problem) for problem in shown)),
        element("p", f"And {more} more.") if more else None,
        id="problems",
    )


def failures(records: Sequence[Record]) -> Markup | None:
    """The runs that did not complete, each with its error; None if all did."""
    failed = [record for record in records if record.status != "completed"]
    if not failed:
        return None
    reasons: dict[tuple[str, str], list[str]] = {}
    for record in failed:
        reasons.setdefault((record.status, record.error or "no error is known"), []).append(record.name)
    rows = []
    for (status, error), names in sorted(reasons.items(), key=lambda item: -len(item[1]))[:_FAILURES]:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        cells = (status, str(len(names)), error, ", ".join(names[:3]) + more)
        rows.append(element("tr", *(element("td", cell) for cell in cells)))
    head = element("tr", *(element("th", name, scope="col") for name in ("status", "runs", "error", "of")))
    table = element("table", element("thead", head), element("tbody", *rows))
    scroll = element("div", table, class_="scroll", tabindex="0", role="region", aria_label="Failures")
    return element("section", element("h2", "Failures"), scroll, id="failures")


def reproduce(found: Found) -> Markup | None:
    """How to make the runs again: commands, versions, fingerprints, parameters, data; None if no run is of eckart."""
    ours = [record for record in found.records if record.ours]
    if not ours:
        return None
    facts: list[tuple[str, str | Markup]] = []
    versions = Counter(_versions(record) for record in ours)
    facts += [("versions", text) for text, _ in versions.most_common(5) if text]
    prints = {str(record.fields["fingerprint"]) for record in ours if record.fields.get("fingerprint")}
    if len(prints) == 1:
        facts.append(("fingerprint", next(iter(prints))))
    elif prints:
        facts.append(
            ("fingerprints", f"{len(prints)} different ones, in the table of runs; equal ones mean equal results")
        )
    facts.append(("parameters", _PARAMETERS))
    facts += [("data", text) for text in sorted({_split(record) for record in ours}) if text]
    said = [element(tag, value) for name, value in facts for tag, value in (("dt", name), ("dd", value))]
    shown = found.commands[:20]
    return element(
        "section",
        element("h2", "How to reproduce"),
        *(element("pre", element("code", command), tabindex="0") for command in shown),
        element("dl", *said),
        id="reproduce",
    )


def _versions(record: Record) -> str:
    versions = record.fields.get("versions")
    if not isinstance(versions, dict):
        return ""
    return printable(", ".join(f"{name} {version}" for name, version in versions.items()), 200)


def _split(record: Record) -> str:
    data, settings = record.fields.get("data"), record.settings
    if data is None:
        return ""
    name = printable(data, 60)
    if record.number("accuracy") is not None:
        return f"{name}: trained on the training set, accuracy on the test set"
    observed: Any = settings.get("data.observed")
    if record.fields.get("relative_held_out") is not None:
        share = f"a share {observed} of the" if isinstance(observed, float) else "some"
        return f"{name}: trained on {share} entries, measured on the others too"
    if record.number("relative_frobenius") is None and record.number("relative_observed") is not None:
        return f"{name}: errors are {printable(record.fields.get('measured'), 200)}"
    return f"{name}: errors are of the whole matrix"


def _excess(least: float) -> str:
    return f"least excess ≤ {FLOOR:.0e}" if least <= FLOOR else f"least excess {scientific(least)}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"
