"""The evaluation of a trained model, from what is planned to its results."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger

from p2be_exp.attacks import Attack
from p2be_exp.data import ImageDataModule
from p2be_exp.evaluation.agreement import check_source_classes
from p2be_exp.evaluation.corrupted.images import CorruptedImages
from p2be_exp.evaluation.figures.draw import draw_results
from p2be_exp.evaluation.module import EvaluationModule, attack_condition, condition_loader, list_conditions
from p2be_exp.evaluation.progress import EvaluationProgress
from p2be_exp.evaluation.results import Results
from p2be_exp.evaluation.sanity.panel import check_sanity
from p2be_exp.evaluation.table import results_table
from p2be_exp.models.model import EncodedClassifier
from p2be_exp.runs.run import Run
from p2be_exp.system.atomic import refuse_links, remove_leftovers
from p2be_exp.system.ownership import owned
from p2be_exp.system.ranks import rank
from p2be_exp.system.trainer import (
    build_trainer,
    evaluation_precision,
)
from p2be_exp.tracking import log_results, run_name


def evaluate(
    model: EncodedClassifier,
    data: ImageDataModule,
    config: dict[str, Any],
    folder: Path,
    settings: dict[str, Any],
    *,
    corrupted: CorruptedImages | None = None,
    attacks: Sequence[Attack] = (),
    loggers: Sequence[Logger] = (),
    figures: Sequence[Path] = (),
    key: str = "name",
    run: Run | None = None,
) -> dict[str, Any]:
    """Measure a model under the conditions that have no row in a folder yet; print the table, draw the figures.

    The folder's lock is held meanwhile (see :mod:`p2be_exp.system.ownership`).

    Args:
        model: images in, logits out.
        data: gives the test images.
        config: of the run, with the groups ``trainer`` and ``attack`` and the seed of the attacks' random numbers.
        folder: where the results go.
        settings: see :class:`~p2be_exp.evaluation.results.Results`.
        corrupted: the corrupted test images; None for none.
        attacks: in the order in which they are run.
        loggers: to send results and figures to.
        figures: drawn before, to send as well.
        key: the option that named the folder.
        run: whose results these are, where the folder is not in the run's.

    Returns:
        The content of ``results.json``.

    Raises:
        BadInput: the run that an attack transfers from has other classes; images that cannot be used; another process
            owns the folder.
    """
    with owned(folder, key) if rank(config["trainer"]) == 0 else nullcontext():
        return _evaluate(model, data, config, folder, settings, corrupted, attacks, loggers, figures, key, run)


def _evaluate(
    model: EncodedClassifier,
    data: ImageDataModule,
    config: dict[str, Any],
    folder: Path,
    settings: dict[str, Any],
    corrupted: CorruptedImages | None,
    attacks: Sequence[Attack],
    loggers: Sequence[Logger],
    figures: Sequence[Path],
    key: str,
    run: Run | None,
) -> dict[str, Any]:
    main = rank(config["trainer"]) == 0
    check_source_classes(data, config)
    if (digest := data.files_digest()) is not None:
        settings = {**settings, "test_files": digest}
    if main:
        refuse_links(folder, "per_image", "figures", key=key)
        remove_leftovers(folder, folder / "per_image", folder / "figures")
    planned = {attack_condition(attack): attack for attack in attacks}
    plan = corrupted.plan if corrupted else None
    results = Results(folder, settings, key=key, plan=plan, attacks=list(planned), run=run)
    conditions = results.missing(list_conditions(corrupted, attacks))
    if conditions:
        trainer = build_trainer(
            config["trainer"],
            precision=evaluation_precision(config["trainer"]),
            enable_checkpointing=False,
            enable_progress_bar=config["trainer"]["progress"] and len(conditions) > 1,
            callbacks=[EvaluationProgress()] if config["trainer"]["progress"] and len(conditions) > 1 else [],
        )
        module = EvaluationModule(
            model,
            conditions,
            results if main else None,
            {condition.id: attack for condition, attack in planned.items()},
            config["seed"],
            config["attack"].get("save_images", False),
        )
        data.trainer = trainer
        loaders = [condition_loader(condition, data, corrupted) for condition in conditions]
        trainer.test(module, loaders, verbose=False)
    if main and attacks:
        results.add_sanity(check_sanity(model, data, planned, results, config["seed"]))
    summary = results.summary()
    if main:
        title = f"{run_name(config)}, {settings['checkpoint']} checkpoint"
        figures = [*figures, *draw_results(results, data, corrupted, title)]
        print(f"\n{results_table(summary)}\n\nresults in {folder}", flush=True)
        rows = [{"condition": name, **row} for name, row in summary["conditions"].items()]
        log_results(loggers, summary, rows, figures)
    return summary
