"""The panels as a view of a W&B project, built with W&B's own workspaces package."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from p2be_exp.errors import BadInput
from p2be_exp.tracking.columns import COLUMNS
from p2be_exp.tracking.panels import PANELS, RADII, Panel

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Workspace

PINNED = (*(f"config:{name}" for name in (*COLUMNS, "seed", "scale", "departs_from_paper")),
          "summary:clean_error", "summary:mean_corruption_error", f"summary:worst_case_error/{RADII[2]}")  # fmt: skip
"""Columns of the table of runs."""


def check_installed() -> None:
    """Check that W&B's workspaces package is installed.

    Raises:
        BadInput: it is not.
    """
    if importlib.util.find_spec("wandb_workspaces") is None:
        raise BadInput("workspace: wandb-workspaces is not installed; pip install 'p2be-exp[dashboards]'")


def build_workspace(project: str, entity: str, name: str) -> Workspace:
    """The view with all panels; nothing is sent.

    Args:
        project, entity: where the runs are.
        name: name of the view.
    """
    import wandb_workspaces.workspaces as ws

    sections: dict[str, list[Any]] = {}
    for panel in PANELS:
        sections.setdefault(panel.section, []).append(_drawn(panel))
    return ws.Workspace(
        entity=entity,
        project=project,
        name=name,
        sections=[ws.Section(name=title, panels=panels, is_open=True) for title, panels in sections.items()],
        runset_settings=ws.RunsetSettings(pinned_columns=list(PINNED)),
    )


def save_workspace(project: str | None, entity: str | None, name: str) -> str:
    """Create the view in W&B; a new one each time.

    Args:
        project: null: that of WANDB_PROJECT, or of W&B's settings files.
        entity: null: the user who is logged in.
        name: of the view.

    Returns:
        Its URL.

    Raises:
        BadInput: W&B is offline, the user is not logged in, no project is named, or W&B rejects the view.
    """
    check_installed()
    import wandb

    try:
        if wandb.setup().settings.mode not in (None, "online", "shared"):
            raise BadInput(f"workspace: W&B is {wandb.setup().settings.mode} here; dry_run=true prints the panels")
        if not wandb.login(prompt=False):
            raise BadInput("workspace: not logged in to W&B; wandb login, or dry_run=true prints the panels")
        project = project or wandb.setup().settings.project
        if project is None:  # W&B would name it after the folder of the program, which need not be that of the runs
            raise BadInput("project=null: name the project of the runs, project=NAME or WANDB_PROJECT=NAME")
        owner: Any = entity or wandb.Api().default_entity
        return build_workspace(project, owner, name).save().url
    except BadInput:
        raise
    except Exception as error:  # from W&B, its transport or its server
        reason = str(error).strip().splitlines()
        raise BadInput(
            f"workspace: the request to W&B failed ({reason[0] if reason else type(error).__name__})"
        ) from error


def _drawn(panel: Panel) -> Any:
    import wandb_workspaces.reports.v2 as wr

    title, metrics = panel.title, list(panel.metrics)
    if panel.kind == "bars":
        return wr.BarPlot(
            title=title,
            metrics=[*metrics],
            groupby=wr.Config(panel.group),
            groupby_aggfunc="mean",
            groupby_rangefunc="stderr",
        )
    if panel.kind == "scatter":
        return wr.ScatterPlot(title=title, x=_axis(panel.x), y=_axis(metrics[0]))
    if panel.kind == "parallel":
        columns = [wr.ParallelCoordinatesPlotColumn(metric=_axis(name)) for name in metrics]
        return wr.ParallelCoordinatesPlot(title=title, columns=columns)
    if panel.kind == "lines":
        return wr.LinePlot(title=title, x=panel.x or "Step", y=[*metrics])
    if panel.kind == "images":
        return wr.MediaBrowser(title=title, media_keys=metrics)
    return wr.WeavePanelSummaryTable(table_name=metrics[0])


def _axis(name: str) -> Any:
    import wandb_workspaces.reports.v2 as wr

    return wr.Config(name) if name in COLUMNS else wr.SummaryMetric(name)
