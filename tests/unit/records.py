"""Runs for tests of pages, without files."""

from collections.abc import Mapping
from typing import Any

from jobs import job

from eckart.reports.record import Curves, Record
from eckart.results.settings import settings


def ours(
    *,
    excess: float = 0.0,
    optimum: float = 0.25,
    status: str = "completed",
    error: str | None = None,
    history: Curves | None = None,
    fields: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Record:
    """A run of eckart whose errors are ``excess`` above ``optimum``; ``changes`` as for :func:`jobs.job`."""
    result = job(status=status, **changes)
    for norm in ("2norm", "frobenius"):
        result |= {f"optimum_{norm}": optimum, f"excess_{norm}": excess, f"relative_{norm}": optimum + excess}
    result |= {"error": error, "parameters": 40, "fit_seconds": 0.5, "accuracy": None, **(fields or {})}
    name = f"{result['method']}-{result['rank']}-{result['seed']}"
    return Record(
        name=name,
        folder=f"sweep/{name}",
        program="eckart",
        status=status,
        error=error,
        fields=result,
        settings=settings(result),
        history=history or {},
        link=None,
    )


def foreign(name: str = "theirs", **fields: Any) -> Record:
    """A run of another program; ``fields`` replace its own."""
    given: dict[str, Any] = {
        "folder": f"wandb/{name}",
        "program": "wandb",
        "status": "completed",
        "error": None,
        "fields": {"loss": 0.5},
        "settings": {"lr": 0.1},
        "history": {"loss": ([0, 1, 2], [1.0, 0.7, 0.5])},
        "link": None,
    }
    return Record(name=name, **(given | fields))
