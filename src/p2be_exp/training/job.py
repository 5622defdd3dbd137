"""One training from its configuration to its results, and the evaluation of a trained run."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger

from p2be_exp.backbones import check_image_size
from p2be_exp.config.plugins import load_plugins
from p2be_exp.config.schema import TrainConfig, TrainerConfig
from p2be_exp.config.typed import plain
from p2be_exp.corruptions.official import tell_generated
from p2be_exp.data import ImageDataModule
from p2be_exp.encodings import P2BE
from p2be_exp.evaluation.agreement import check_classes, check_files
from p2be_exp.evaluation.code_memory import check_code_memory
from p2be_exp.evaluation.data import build_data
from p2be_exp.evaluation.figures.similarity import draw_similarity
from p2be_exp.evaluation.plan import EvaluationPlan
from p2be_exp.evaluation.results import check_results
from p2be_exp.models.classifier import Classifier
from p2be_exp.models.pretrained import PretrainedWeights, load_weights, read_weights
from p2be_exp.models.pyramid import check_restored_size
from p2be_exp.regimes.fpd import FPD
from p2be_exp.regimes.mixing import check_targets
from p2be_exp.regimes.tenet import check_groups
from p2be_exp.runs.evaluations import AVERAGE
from p2be_exp.runs.locations import locations
from p2be_exp.runs.run import Run
from p2be_exp.system.atomic import refuse_links
from p2be_exp.system.command_line import typed
from p2be_exp.system.console_log import console_log
from p2be_exp.system.job_process import job_process
from p2be_exp.system.output import for_terminal
from p2be_exp.system.program import program
from p2be_exp.system.ranks import rank, tell_workers
from p2be_exp.system.stop_signals import StopSignals
from p2be_exp.system.trainer import (
    build_trainer,
    cpu_computes_bf16,
    on_gpu,
    precision_of,
)
from p2be_exp.tracking import step_intervals
from p2be_exp.training.calibrated import with_calibration
from p2be_exp.training.callbacks import (
    AtomicCheckpointIO,
    CapturedSteps,
    EarlyStop,
    EpochCheckpoints,
    EpochRows,
    EpochsDone,
    PhaseRows,
    Profile,
    Progress,
    Resumed,
    StepLog,
    StopOnSignal,
    ThreadAdvice,
    checkpoint_callbacks,
)
from p2be_exp.training.callbacks.epoch_rows import read_rows
from p2be_exp.training.callbacks.phase_rows import read_phases
from p2be_exp.training.evaluations import Evaluations
from p2be_exp.training.fixed_table import fixed_table
from p2be_exp.training.header import run_header
from p2be_exp.training.module import TrainingModule
from p2be_exp.training.part_runs import check_same_parts, filled_in, part_facts, part_runs, roles_swapped
from p2be_exp.training.probes import IMAGES, bf16_factor
from p2be_exp.training.published_weights import published_facts, published_weights, take_published
from p2be_exp.training.recording import recorded
from p2be_exp.training.restoration_figures import restoration_figures
from p2be_exp.training.untrained import keep_untrained, load_untrained, part_models, take_weights


def train(
    config: TrainConfig, run: Run, resume: bool = False, sweep: str | None = None, source: Run | None = None
) -> dict[str, Any]:
    """Train a configuration in a run folder, evaluate the last weights on the test set, print the table.

    Args:
        config: resolved and checked.
        run: a new folder, or with ``resume`` the folder of a run.
        resume: continue from ``checkpoints/last.ckpt``, or from the start if there is none.
        sweep: name of the sweep that the job belongs to.
        source: the run that the attacks of the evaluation transfer from, if it is already open.

    Returns:
        The content of ``results.json``.

    Raises:
        BadInput: the data, the devices or a run in the configuration cannot be used; another process owns the folder.
        Interrupted: SIGINT or SIGTERM; everything is saved.
    """
    key = "resume" if resume else "hydra.run.dir"
    with job_process(config.trainer, run.path, key) as signals:
        if not resume:  # a configuration of one's own; those of a run that is read are Run.open's to load
            load_plugins(config.plugins)  # a process that a launcher started has composed nothing
        checkpoint = run.checkpoint("last") if resume and run.checkpoint("last").exists() else None
        parts: dict[str, Run] = part_runs(config) if checkpoint is None else {}  # a checkpoint has them
        config, models = filled_in(config, parts), part_models(parts)
        plan = EvaluationPlan.of(config, source)
        main = rank(config.trainer) == 0
        if main:
            tell_generated(config.corruption, config)
        data = build_data(config, training=True)
        data.stop = lambda: signals.received or signals.watch.stop_elsewhere()
        check_image_size(config.backbone.name, data.image_size)
        check_groups(config, data.image_size)
        check_restored_size(config, data.image_size)
        check_code_memory(plan, data)
        table = fixed_table(config) if checkpoint is None else None  # likewise
        weights = read_weights(config.backbone) if checkpoint is None else None
        data.prepare_data()
        data.setup()
        if resume:
            check_same_parts(run, parts)
            _check_resumed(run, data, Evaluations.of(plan))
        plan.check(data)
        check_targets(config.regime, data.num_classes)
        config = with_calibration(config, parts, models)
        evaluations = Evaluations.of(replace(plan, config=config))
        evaluations.check(data)
        if main and resume:
            apart = [str(each) for each in evaluations.folders(config.optim.averages) if each != Path()]
            written = [*run.FOLDERS, *apart]
            refuse_links(run.path, *written, "tensorboard/hparams.yaml", "wandb", CONSOLE, key="resume")
            run.remove_leftovers()
        published = published_weights(config, len(data.classes)) if checkpoint is None else None
        if main and not resume:
            _create(run, config, data, parts)
        told: list[pl.Callback] = [Resumed()] if resume and config.regime.trains else []
        with _kept_output(run, main), recorded(run, config, sweep, signals.watch) as loggers:
            trainer, module = prepare(config, run, data, signals, loggers, told, weights)
            if table is not None:
                cast("torch.Tensor", module.model.encodings[0].weight).data.copy_(table)
            take_weights(module.model, models)
            take_published(module.model, published)
            tell_workers(config.trainer, {"run": str(run.path), "config": plain(config), "resume": resume})
            try:
                if not config.regime.trains:
                    keep_untrained(module, run) if checkpoint is None else load_untrained(module, run)
                else:
                    trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
            finally:
                data.close()
            figures = _draw_figures(config, run, module.model, data) if main else []
            trained = {"checkpoint": "last", "step": trainer.global_step}
            summary = evaluations.run(module.model, data, trained, run, key, loggers=loggers, figures=figures)
            _evaluate_average(evaluations, module, data, trained, run, key)
            return summary


def _evaluate_average(
    evaluations: Evaluations, module: TrainingModule, data: ImageDataModule, trained: dict[str, Any], run: Run, key: str
) -> None:
    """Measure the average of the weights as the last weights were measured; nothing where none was kept.

    The module's weights are the average afterwards: no checkpoint is written any more.
    """
    if module.average is None or module.average.count == 0:
        return
    module.average.copy_to_parameters()
    if rank(evaluations.own.config.trainer) == 0:
        print("\nthe average of the weights (optim.ema):", flush=True)
    evaluations.run(module.model, data, {**trained, "checkpoint": "ema"}, run, key, AVERAGE)


CONSOLE = "console.log"
"""What the job printed, one attempt behind the other."""


def _kept_output(run: Run, main: bool) -> AbstractContextManager[None]:
    return console_log(run.path / CONSOLE, typed(program(), *sys.argv[1:])) if main else nullcontext()


def _check_resumed(run: Run, data: ImageDataModule, evaluations: Evaluations) -> None:
    """Refuse a run that cannot be resumed before it is trained, not afterwards."""
    check_classes(data, run)
    check_files(data, run)
    read_rows(run)
    read_phases(run)
    for folder, plan in evaluations.folders(evaluations.own.config.optim.averages).items():
        check_results(run.path / folder, "resume", plan.settings())


def _create(run: Run, config: TrainConfig, data: ImageDataModule, parts: Mapping[str, Run]) -> None:
    """Create the run folder with its facts."""
    sizes = {"train": len(data.train_dataloader().data), "test": len(data.test_dataloader().data)}
    named = {"sweep": {"name": config.sweeps, "scale": config.scale}} if config.sweeps else {}
    files = {"files": digests} if (digests := data.digests()) else {}
    made_of: dict[str, Any] = {"parts": part_facts(parts)} if parts else {}
    paths = {"locations": locations(config)}
    made_of |= published_facts(config)
    run.create(config, dataset=sizes, classes=list(data.classes), **paths, **files, **named, **made_of)


def prepare(
    config: TrainConfig,
    run: Run,
    data: ImageDataModule,
    signals: StopSignals,
    loggers: list[Logger],
    more_callbacks: Sequence[pl.Callback] = (),
    weights: PretrainedWeights | None = None,
) -> tuple[pl.Trainer, TrainingModule]:
    """The trainer with all its callbacks, and the initialised module; prints the header.

    Args:
        config: resolved and checked.
        run: the folder, which must exist.
        data: after its ``setup``.
        signals: noted between steps.
        loggers: opened by :func:`~p2be_exp.training.recording.recorded`.
        more_callbacks: called after those of every run.
        weights: to start from; None for a fresh network.
    """
    pl.seed_everything(config.seed, verbose=False)
    module = TrainingModule(config, data.num_classes, len(data.train_dataloader()))
    loaded = load_weights(module.model, weights) if weights is not None else None
    rows = EpochRows(run, config.watch_every)
    callbacks: list[pl.Callback] = [
        rows,
        EpochsDone(run),
        StopOnSignal(run, signals),
        CapturedSteps(config),
        *checkpoint_callbacks(run, has_validation=config.dataset.val_size > 0),
        *more_callbacks,
    ]
    if config.early_stop:
        callbacks.insert(1, EarlyStop(run, config.early_stop))  # before what saves or asks for its state
    if config.checkpoint_every:
        callbacks.append(EpochCheckpoints(run, config.checkpoint_every))
    if config.trainer.profile:
        callbacks.append(Profile(run))
    if config.trainer.progress:
        callbacks.append(ThreadAdvice())
        callbacks.insert(1, Progress(rows))
    if isinstance(module.regime, FPD):
        callbacks.insert(0, PhaseRows(run))  # has a batch's row before that batch may be the last
    if intervals := step_intervals(config.logger):  # on every rank, though rank 0 alone has loggers
        callbacks.append(StepLog(intervals))
    trainer = build_trainer(
        config.trainer,
        max_epochs=config.epochs,
        accumulate_grad_batches=config.optim.accumulate,
        gradient_clip_val=config.optim.clip_norm,
        callbacks=callbacks,
        logger=loggers or False,
        plugins=[AtomicCheckpointIO()],
        enable_progress_bar=config.trainer.progress,
        default_root_dir=run.path,
    )
    if rank(config.trainer) == 0:
        parameters = count_parameters(module.model)
        device = trained_on(config.trainer, run.info().get("trained_on"))
        run.add_facts(parameters=parameters, trained_on=device, **({"weights": loaded} if loaded else {}))
        bf16 = _bf16_factor(config, module, data)
        roles = roles_swapped(run.info().get("parts", {}))
        print(for_terminal(run_header(config, run.path, data, parameters, loaded, bf16, roles)), flush=True)
    return trainer, module


def _bf16_factor(config: TrainConfig, module: TrainingModule, data: ImageDataModule) -> float | None:
    """The speed-up of bf16; None if it is not available or the precision was set explicitly."""
    trainer = config.trainer
    if not config.regime.trains or not trainer.progress or trainer.precision != "auto":
        return None
    if on_gpu(trainer) or not cpu_computes_bf16():
        return None
    images = torch.zeros(IMAGES, 3, data.image_size, data.image_size, dtype=torch.uint8)
    return bf16_factor(module.model, images, torch.zeros(IMAGES, dtype=torch.int64))


def trained_on(trainer: TrainerConfig, before: dict[str, Any] | None = None) -> dict[str, Any]:
    """The device, the precision and the number of processes of a training; after a resume on a different device, both.

    ``deterministic`` is there where a GPU computed so.

    Args:
        trainer: the group.
        before: the same facts of the run up to the resume.
    """
    now = {
        "accelerator": "gpu" if on_gpu(trainer) else "cpu",
        "precision": precision_of(trainer),
        "processes": trainer.devices * trainer.num_nodes,
    }
    fixed = on_gpu(trainer) and trainer.deterministic
    if fixed or (before is not None and "deterministic" in before):
        now["deterministic"] = fixed
    if before is None:
        return now
    then = {"deterministic": False, **before}
    return {key: value if then[key] == value else f"{then[key]}, then {value}" for key, value in now.items()}


def count_parameters(model: Classifier) -> dict[str, int]:
    """Numbers of parameters: all, and those of the tables."""
    table = sum(p.numel() for encoding in model.encodings for p in encoding.parameters())
    return {"total": sum(p.numel() for p in model.parameters()), "table": table}


def _draw_figures(config: TrainConfig, run: Run, model: Classifier, data: ImageDataModule) -> list[Path]:
    return [*_draw_tables(config, run, model), *restoration_figures(config, run, model, data)]


def _draw_tables(config: TrainConfig, run: Run, model: Classifier) -> list[Path]:
    """A figure of each encoding's table; those after the first have a number."""
    paths: list[Path] = []
    for number, encoding in enumerate(model.encodings, start=1):
        path = run.path / "figures" / f"table_similarity{'' if number == 1 else f'_{number}'}.png"
        kind = "learned codes" if isinstance(encoding, P2BE) else "codes"
        title = f"{encoding.name}, M = {encoding.M}: {kind}"
        paths += draw_similarity(encoding.table(), title, path, config.figures)
    return paths
