"""A project's W&B workspace, and its report, as code: what each panel shows.

The extra ``wandb`` is imported by the functions here, so that all else works without it.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eckart.tracking.metrics import CHOICES, EPOCH, METRICS, PICTURES, RANK, STEP

if TYPE_CHECKING:
    from wandb_workspaces.reports.v2 import Report
    from wandb_workspaces.workspaces import Workspace

VIEW = "eckart"
"""Name of the workspace among the saved views of a project."""

TITLE = "How far from the optimum"
"""Title of the report."""

NORMS = ("2norm", "frobenius")
METHOD, OPTIMIZER, DATA = (f"{CHOICES}.{group}" for group in ("method", "optimizer", "data"))
SEED, PARAMETERS, SECONDS, STATUS = "seed", "parameters", "fit_seconds", "status"
DRAWN = ("preview", "approximation", "components", "singular_values", "convergence", "accuracy", "confusion")


@dataclass(frozen=True)
class Part:
    """A section of the workspace, which is a chapter of the report as well.

    Attributes:
        name: Its heading.
        says: What to see in it.
        panels: Its panels.
        groups: What the report groups runs by, so that a line is a mean over seeds; empty for single runs.
        columns: Panels side by side.
    """

    name: str
    says: str
    panels: list[Any]
    groups: tuple[str, ...] = ()
    columns: int = 2

    @property
    def rows(self) -> int:
        """Rows of panels."""
        return -(-len(self.panels) // self.columns)


def parts() -> list[Part]:
    """The sections in their order; each call makes new panels, since a panel has a place in one document."""
    made = [
        Part(
            "Errors",
            "Relative errors of the last step in both norms, a line for each method: its mean over all runs of a rank, "
            "with their range. The optimum is the error of the truncated SVD, which no approximation of that rank is "
            "below.",
            [*map(_against_rank, NORMS), *map(_against_optimum, NORMS), _accuracy_against_rank()],
        ),
        Part(
            "Training",
            "What each step brought. The excess is the error minus the optimum; on a logarithmic scale an excess that "
            "rounding makes zero or negative is not drawn.",
            list(_training()),
            groups=(METHOD, RANK),
        ),
        Part(
            "Compare",
            "One line is one run. Then what an error costs: in parameters, and in seconds of training.",
            list(_comparing()),
        ),
        Part(
            "Pictures",
            "What runs drew at their end. Jobs of a sweep have a preview (target, trained, truncated SVD, difference); "
            "with figures=true they have all figures.",
            list(_pictures()),
        ),
        Part("Runs", "Settings and results side by side, those that differ first.", [_comparer()], columns=1),
    ]
    for part in made:
        for place, panel in enumerate(part.panels):
            # The same panel has the same name each time: what somebody changed of it in the app stays with it.
            panel._id = re.sub(r"\W+", "-", f"{VIEW}-{part.name}-{place}".lower())
    return made


def workspace(project: str, entity: str) -> "Workspace":
    """The workspace of a project.

    Args:
        project: The project.
        entity: The user or team that owns it; may be empty while it is not sent.

    Example:
        >>> [section.name for section in workspace("eckart", "").sections]
        ['Errors', 'Training', 'Compare', 'Pictures', 'Runs']
    """
    import wandb_workspaces.workspaces as ws

    errors = [f"summary:{kind}_{norm}" for kind in ("relative", "excess") for norm in NORMS]
    made = ws.Workspace(
        entity=entity,
        project=project,
        name=VIEW,
        sections=[
            ws.Section(
                name=part.name,
                panels=part.panels,
                is_open=True,
                layout_settings=ws.SectionLayoutSettings(columns=part.columns, rows=min(part.rows, 3)),
            )
            for part in parts()
        ],
        settings=ws.WorkspaceSettings(max_runs=100),
        runset_settings=ws.RunsetSettings(
            pinned_columns=[*(f"config:{_kept(name)}" for name in (METHOD, RANK, SEED)), *errors, f"summary:{STATUS}"]
        ),
    )
    made._internal_name = view_name(project, entity)
    return made


def report(project: str, entity: str) -> "Report":
    """A W&B report that shows the same.

    Args:
        project: The project.
        entity: The user or team that owns it; may be empty while it is not sent.

    Example:
        >>> report("eckart", "").title
        'How far from the optimum'
    """
    import wandb_workspaces.reports.v2 as wr

    blocks: list[Any] = []
    for part in parts():
        width = 24 // part.columns
        for place, panel in enumerate(part.panels):
            panel.layout = wr.Layout(x=place % part.columns * width, y=place // part.columns * 8, w=width, h=8)
        # A set of runs that names no project is that of the report's own.
        runs = wr.Runset(name=part.name, groupby=[f"config.{name}" for name in part.groups])
        runs._id = f"{VIEW}-{part.name.lower()}"
        blocks += [wr.H2(part.name), wr.P(part.says), wr.PanelGrid(runsets=[runs], panels=part.panels)]
    return wr.Report(project=project, entity=entity, title=TITLE, blocks=blocks, width="fluid")


def view_name(project: str, entity: str) -> str:
    """Name that W&B keeps the workspace under, always the same one for a project, so that it is found again.

    Example:
        >>> view_name("eckart", "somebody") == view_name("eckart", "somebody") != view_name("eckart", "a-team")
        True
    """
    digest = hashlib.sha256(f"{entity}/{project}/{VIEW}".encode()).hexdigest()
    # As the app names its views: nw-, eleven characters, -v.
    return f"nw-{digest[:11]}-v"


def _against_rank(norm: str) -> Any:
    import wandb_workspaces.reports.v2 as wr

    error, optimum = METRICS[f"relative_{norm}"], METRICS[f"optimum_{norm}"]
    # Each run logs its rank once, at its end: a line over ranks goes through the last errors of many runs.
    return wr.LinePlot(
        title=f"{error.title} against rank",
        x=RANK,
        y=[error.name, optimum.name],
        title_x="rank",
        title_y="relative error, and its optimum",
        log_y=True,
        groupby=wr.Config(METHOD),
        groupby_aggfunc="mean",
        groupby_rangefunc="minmax",
        max_runs_to_show=100,
    )


def _against_optimum(norm: str) -> Any:
    import wandb_workspaces.reports.v2 as wr

    error, optimum = METRICS[f"relative_{norm}"], METRICS[f"optimum_{norm}"]
    return wr.ScatterPlot(
        title=f"{error.title} of each run (y) against its optimum (x): none is below the diagonal",
        x=wr.SummaryMetric(optimum.name),
        y=wr.SummaryMetric(error.name),
        z=wr.Config(RANK),
        log_x=True,
        log_y=True,
    )


def _accuracy_against_rank() -> Any:
    import wandb_workspaces.reports.v2 as wr

    accuracy = METRICS["accuracy"]
    return wr.ScatterPlot(
        title=f"{accuracy.title} against rank, of classifiers", x=wr.Config(RANK), y=wr.SummaryMetric(accuracy.name)
    )


def _training() -> Iterator[Any]:
    yield _curve("Training loss", "train/loss")
    yield _curve("Excess over the optimum", *(f"excess_{norm}" for norm in NORMS))
    for norm in NORMS:
        title = METRICS[f"relative_{norm}"].title
        yield _curve(f"{title}, and its optimum", f"relative_{norm}", f"optimum_{norm}")
    checks = ("relative_observed", "relative_withheld", "relative_held_out")
    yield _curve("Completion: observed, withheld and held-out entries", *checks)
    yield _curve("Classifiers: training loss by epoch", "train/loss", axis=EPOCH)
    yield _curve("Classifiers: test accuracy by epoch", "accuracy", axis=EPOCH)


def _curve(title: str, *names: str, axis: str = STEP) -> Any:
    import wandb_workspaces.reports.v2 as wr

    return wr.LinePlot(
        title=title,
        x=axis,
        y=list(names),
        title_x={STEP: "steps of the optimizer", EPOCH: "epochs"}[axis],
        title_y=", ".join({METRICS[name].unit for name in names} - {""}) or None,
        log_y=all(METRICS[name].log for name in names),
        max_runs_to_show=100,
    )


def _comparing() -> Iterator[Any]:
    import wandb_workspaces.reports.v2 as wr

    axes = [(DATA, "data"), (METHOD, "method"), (RANK, "rank"), (OPTIMIZER, "optimizer"), (SEED, "seed")]
    yield wr.ParallelCoordinatesPlot(
        title="Settings, and the excess they lead to",
        columns=[
            *(wr.ParallelCoordinatesPlotColumn(wr.Config(name), display_name=shown) for name, shown in axes),
            *(
                # No logarithm: an excess of zero is the best there is.
                wr.ParallelCoordinatesPlotColumn(wr.SummaryMetric(name), display_name=METRICS[name].title)
                for name in (f"excess_{norm}" for norm in NORMS)
            ),
        ],
    )
    error = METRICS["relative_frobenius"]
    yield wr.ScatterPlot(
        title=f"{error.title} (y) against parameters (x)",
        x=wr.SummaryMetric(PARAMETERS),
        y=wr.SummaryMetric(error.name),
        log_x=True,
        log_y=True,
    )
    excess = METRICS["excess_frobenius"]
    yield wr.ScatterPlot(
        title=f"{excess.title} (y) against seconds of training (x)",
        x=wr.SummaryMetric(SECONDS),
        y=wr.SummaryMetric(excess.name),
        log_x=True,
        log_y=True,
    )


def _pictures() -> Iterator[Any]:
    import wandb_workspaces.reports.v2 as wr

    for name in DRAWN:
        yield wr.MediaBrowser(
            title=name.replace("_", " ").capitalize(), media_keys=[f"{PICTURES}{name}"], num_columns=2
        )


def _comparer() -> Any:
    import wandb_workspaces.reports.v2 as wr

    return wr.RunComparer(diff_only="split")


def _kept(name: str) -> str:
    """A setting as W&B keeps it: the first part of its name holds its value."""
    first, _, rest = name.partition(".")
    return f"{first}.value.{rest}" if rest else f"{first}.value"
