"""The workspace and the report as W&B's library has them."""

import json
from typing import Any

from wandb_workspaces.reports.v2 import Report
from wandb_workspaces.reports.v2.internal import ReportViewspec, UnknownPanel
from wandb_workspaces.workspaces import Workspace
from wandb_workspaces.workspaces.internal import View

from eckart.tracking.workspace import TITLE, VIEW, parts, report, view_name, workspace


def text(model: Any) -> str:
    return str(model.model_dump_json(by_alias=True, exclude_none=True))


def test_the_workspace_is_valid_by_the_model_of_the_library() -> None:
    made = text(workspace("ours", "team")._to_model())
    view = View.model_validate(json.loads(made))
    assert text(view) == made
    assert (view.project, view.entity, view.display_name) == ("ours", "team", VIEW)
    # What it makes of a saved view is what was saved.
    assert text(Workspace._from_model(view)._to_model()) == made


def test_the_report_is_valid_by_the_model_of_the_library() -> None:
    made = text(report("ours", "team")._to_model())
    viewspec = ReportViewspec.model_validate(json.loads(made))
    assert (viewspec.project.name, viewspec.project.entity_name, viewspec.display_name) == ("ours", "team", TITLE)
    again = Report._from_model(viewspec)
    # The library forgets the width.
    again.width = "fluid"
    assert text(again._to_model()) == made


def test_workspace_and_report_have_the_same_panels_each_of_a_kind_that_the_library_knows() -> None:
    sections = workspace("ours", "")._to_model().spec.section.panel_bank_config.sections
    grids = [block for block in report("ours", "")._to_model().spec.blocks if block.type == "panel-grid"]
    chapters = [grid.metadata.panel_bank_section_config.panels for grid in grids]
    assert len(sections) == len(chapters) == len(parts())
    for section, panels in zip(sections, chapters, strict=True):
        assert section.panels
        assert not any(isinstance(panel, UnknownPanel) for panel in section.panels)
        assert [(panel.id, text(panel.config)) for panel in section.panels] == [
            (panel.id, text(panel.config)) for panel in panels
        ]


def test_each_panel_has_a_place_and_a_name_of_its_own() -> None:
    for block in report("ours", "")._to_model().spec.blocks:
        if block.type == "panel-grid":
            places = [panel.layout for panel in block.metadata.panel_bank_section_config.panels]
            assert all(place.x + place.w <= 24 for place in places)
            cells = [(x, y) for p in places for x in range(p.x, p.x + p.w) for y in range(p.y, p.y + p.h)]
            assert len(cells) == len(set(cells))
    names = [panel._id for part in parts() for panel in part.panels]
    assert len(names) == len(set(names))


def test_it_is_the_same_each_time() -> None:
    for make in (workspace, report):
        assert text(make("ours", "team")._to_model()) == text(make("ours", "team")._to_model())  # type: ignore[operator]


def test_settings_are_not_taken_for_summaries() -> None:
    axes = [column.accessor for column in parts()[2].panels[0]._to_model().config.columns]
    assert [axis.partition(":")[0] for axis in axes] == ["config"] * 5 + ["summary"] * 2
    assert axes[:3] == ["config:choices.value.data", "config:choices.value.method", "config:rank.value"]
    assert "c::" not in text(workspace("ours", "")._to_model()) + text(report("ours", "")._to_model())


def test_projects_of_two_teams_have_views_of_their_own() -> None:
    names = {view_name(project, entity) for project in ("a", "b") for entity in ("", "c")}
    assert len(names) == 4
    assert all(name.startswith("nw-") and name.endswith("-v") and len(name) == 16 for name in names)
