"""The evaluation of a trained model, from the plan to the results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger

from p2be_exp.attacks import Attack
from p2be_exp.attacks.nearest import NearestAttack
from p2be_exp.data import ImageDataModule
from p2be_exp.evaluation.condition import Condition
from p2be_exp.evaluation.corrupted.condition_loader import Ahead
from p2be_exp.evaluation.effort import decisive, with_other_efforts
from p2be_exp.evaluation.figures.draw import draw_results
from p2be_exp.evaluation.module import EvaluationModule, condition_loader
from p2be_exp.evaluation.plan import EvaluationPlan
from p2be_exp.evaluation.progress import EvaluationProgress
from p2be_exp.evaluation.results import Results
from p2be_exp.evaluation.sanity.panel import check_sanity
from p2be_exp.evaluation.table import results_table
from p2be_exp.models.classifier import Classifier
from p2be_exp.runs.run import Run
from p2be_exp.system.atomic import refuse_links, remove_leftovers
from p2be_exp.system.collectives import from_first_rank
from p2be_exp.system.ownership import owned
from p2be_exp.system.ranks import rank
from p2be_exp.system.trainer import build_trainer, evaluation_precision, set_arithmetic
from p2be_exp.tracking import log_results, run_name


@dataclass(frozen=True)
class Output:
    """Where the results of an evaluation go.

    Attributes:
        folder: for ``results.csv``, ``results.json``, ``per_image/`` and ``figures/``.
        key: the option that named the folder, for messages.
        run: the run that was evaluated, where the folder is outside its own.
        loggers: to send results and figures to.
        figures: drawn earlier, to be sent as well.
        title: names the network in figures; empty: by the run's configuration and checkpoint.
        prints: whether the table is printed.
        draws: whether figures are drawn.
    """

    folder: Path
    key: str = "name"
    run: Run | None = None
    loggers: Sequence[Logger] = ()
    figures: Sequence[Path] = ()
    title: str = ""
    prints: bool = True
    draws: bool = True


def evaluate(
    plan: EvaluationPlan, model: Classifier, data: ImageDataModule, weights: dict[str, Any], output: Output
) -> dict[str, Any]:
    """Measure a model under the conditions that have no row in a folder yet; print the table, draw the figures.

    The folder stays locked meanwhile (see :mod:`p2be_exp.system.ownership`).

    Args:
        plan: what is measured.
        model: images in, logits out.
        data: gives the test images; set up, and checked by the plan.
        weights: ``checkpoint`` and ``step`` of the model, which belong to the results' settings.
        output: where the results go.

    Returns:
        The content of ``results.json``.

    Raises:
        BadInput: images that cannot be used; another process owns the folder.
    """
    main = rank(plan.config.trainer) == 0
    set_arithmetic(plan.config.trainer, tf32=False)  # for the sanity panel, too, where no condition is missing
    with owned(output.folder, output.key) if main else nullcontext():
        if main:
            refuse_links(output.folder, "per_image", "figures", key=output.key)
            remove_leftovers(output.folder, output.folder / "per_image", output.folder / "figures")
        results = _results(plan, data, weights, output)
        first: dict[Condition, Attack | NearestAttack] = {**plan.attack_of, **plan.nearest_of}
        _measure(plan, model, data, results, results.missing(plan.conditions), first, main)
        again = _other_efforts(plan, results)
        attack_of = plan.attack_of | again
        results.planned = list(attack_of)
        missing = from_first_rank([each.id for each in results.missing(list(again))])
        _measure(plan, model, data, results, [each for each in again if each.id in missing], again, main)
        if main and plan.attacks:
            results.add_sanity(check_sanity(model, data, attack_of, results, plan.config.seed))
        summary = results.summary()
        if main:
            _show(plan, data, results, summary, output)
        return summary


def _results(plan: EvaluationPlan, data: ImageDataModule, weights: dict[str, Any], output: Output) -> Results:
    settings = {**plan.settings(), **weights}
    if (digest := data.files_digest()) is not None:
        settings["test_files"] = digest
    cells = plan.corrupted.plan if plan.corrupted else None
    remarks = {attack.id: remark for attack in plan.attacks if (remark := attack.remark(len(data.classes)))}
    return Results(
        output.folder,
        settings,
        key=output.key,
        plan=cells,
        attacks=list(plan.attack_of),
        suite=plan.suite,
        run=output.run,
        remarks=remarks,
        nearest=list(plan.nearest_of),
        writes=rank(plan.config.trainer) == 0,  # which clears the folder of half-written files meanwhile
    )


def _other_efforts(plan: EvaluationPlan, results: Results) -> dict[Condition, Attack]:
    """Of a suite, the attack that decides at each radius with half and with twice its effort."""
    if plan.suite is None:
        return {}
    # Only the first rank knows the rows that were just measured.
    chosen = from_first_rank([each.id for each in decisive(plan.attack_of, results.wrong())])
    return with_other_efforts(plan.attack_of, chosen)


def _measure(
    plan: EvaluationPlan,
    model: Classifier,
    data: ImageDataModule,
    results: Results,
    conditions: list[Condition],
    attack_of: Mapping[Condition, Attack] | Mapping[Condition, Attack | NearestAttack],
    main: bool,
) -> None:
    """Some conditions, the same on every rank."""
    if not conditions:
        return
    config = plan.config
    progress = config.trainer.progress and len(conditions) > 1
    trainer = build_trainer(
        config.trainer,
        precision=evaluation_precision(config.trainer),
        tf32=False,  # the settings of a result say 32 or bf16, and nothing else is computed in
        enable_checkpointing=False,
        enable_progress_bar=progress,
        callbacks=[EvaluationProgress()] if progress else [],
    )
    module = EvaluationModule(
        model,
        conditions,
        results if main else None,
        {condition.id: attack for condition, attack in attack_of.items()},
        config.seed,
        config.attack.save_images,
    )
    data.trainer = trainer
    loaders = [condition_loader(condition, data, plan.corrupted) for condition in conditions]
    with Ahead(loaders):
        trainer.test(module, loaders, verbose=False)


def _show(
    plan: EvaluationPlan, data: ImageDataModule, results: Results, summary: dict[str, Any], output: Output
) -> None:
    figures = [*output.figures]
    if output.draws:
        title = output.title or f"{run_name(plan.config)}, {results.settings['checkpoint']} checkpoint"
        figures += draw_results(results, data, plan.corrupted, title, plan.config.figures)
    if output.prints:
        print(f"\n{results_table(summary)}\n\nresults in {output.folder}", flush=True)
    rows = [{"condition": name, **row} for name, row in summary["conditions"].items()]
    log_results(output.loggers, plan.config, summary, rows, figures)
