"""The W&B run of a job: where it goes, whether it continues an earlier one, and what the run folder keeps of it."""

from __future__ import annotations

import glob
from collections.abc import Mapping
from typing import Any, cast

from pytorch_lightning.loggers import WandbLogger

from p2be_exp.config.schema import TrainConfig, WandbLoggerConfig
from p2be_exp.config.typed import plain
from p2be_exp.errors import BadInput
from p2be_exp.runs.run import Run
from p2be_exp.tracking.columns import flat_columns, run_name

TAGGED_GROUPS = ("encoding", "backbone", "dataset", "regime", "preset")
"""Configuration groups whose chosen options become tags of a W&B run."""

_STEP = "trainer/global_step"  # Lightning's name for the optimizer step


def wandb_logger(config: TrainConfig, settings: WandbLoggerConfig, run: Run, sweep: str | None) -> WandbLogger:
    """Open the W&B run of a job now, before an hour of training, for Lightning to log to.

    Args:
        config: a run's resolved configuration, which is sent.
        settings: ``logger.wandb``; what is null there, W&B decides (its environment variables and settings files).
        run: the folder. What W&B has made of it all is stored in its ``run.json``: ``wandb_id``, ``wandb_group`` and
            ``wandb_project``, which a resumed run goes on with.
        sweep: name of the sweep that this run is a job of.

    Raises:
        BadInput: W&B cannot be reached, or the user is not logged in.
    """
    import wandb

    try:
        opened = wandb.init(
            name=run_name(config),
            dir=str(run.path),
            mode=cast("Any", settings.mode),
            tags=[*(getattr(config, group).name for group in TAGGED_GROUPS), *settings.tags],
            config={**plain(config), **flat_columns(config), "run_folder": run.path.name},
            **_place(settings, run, sweep),
        )
    except (wandb.errors.Error, OSError, ValueError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        # A value that W&B does not take from the environment is named in the second line, what it takes in the third.
        reason = " ".join(" ".join(lines[:3]).split()) if isinstance(error, ValueError) else lines[0]
        raise BadInput(f"logger=wandb: W&B could not start ({reason}); log in, or logger.wandb.mode=offline") from error
    opened.define_metric(_STEP)
    opened.define_metric("*", step_metric=_STEP, step_sync=True)
    if not opened.disabled:
        run.add_facts(wandb_id=opened.id, wandb_group=opened.group or None, wandb_project=opened.project)
    return WandbLogger(save_dir=str(run.path), project=opened.project, id=opened.id, experiment=opened)


def _place(settings: WandbLoggerConfig, run: Run, sweep: str | None) -> dict[str, Any]:
    """Project, entity, group and, to continue a run, its id; W&B names a new run itself.

    A run that this machine alone has cannot be continued: a second one of the same id would replace it when both are
    sent. The resumed part is then a run of its own, in a group.
    """
    import wandb

    info, asked = run.info(), wandb.setup().settings
    earlier, offline = info.get("wandb_id"), (settings.mode or asked.mode) in ("offline", "dryrun")
    continues = earlier is not None and not offline and not _only_here(run, earlier)
    group = settings.group or sweep or info.get("wandb_group")
    if earlier is not None and not continues:
        group = group or run.path.name
    if asked.sweep_id is not None:  # of W&B's own agent, which has chosen id and project
        return {"group": group}
    place: Mapping[str, Any] = {
        "project": settings.project or info.get("wandb_project"),
        "entity": settings.entity,
        "group": group,
    }
    return {**place, **({"id": earlier, "resume": "allow"} if continues else {})}


def _only_here(run: Run, run_id: str) -> bool:
    """Whether a W&B run was offline and has not been sent: ``wandb sync`` leaves a mark beside its file."""
    name = glob.escape(run_id)
    files = [*(run.path / "wandb").glob(f"offline-run-*-{name}/run-{name}.wandb")]
    return any(not file.with_name(f"{file.name}.synced").exists() for file in files)
