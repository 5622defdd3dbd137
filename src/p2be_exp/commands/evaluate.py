"""``evaluate.py``: measure a trained run, from its own configuration, or anybody's network (``model=``)."""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2be_exp.commands.early_checks import check_early
from p2be_exp.commands.evaluate_model import evaluate_model
from p2be_exp.commands.exit_codes import exit_code_of
from p2be_exp.commands.group_help import asked_for, group_help, wants_help
from p2be_exp.commands.help import EVALUATE_GROUPS, evaluate_help, version
from p2be_exp.commands.job import check_writable, existing_part
from p2be_exp.commands.refusals import with_rank_in_refusals
from p2be_exp.config import check_config, compose_config, parse_overrides, to_plain
from p2be_exp.config.checks import check_source
from p2be_exp.config.plugin_trust import allow_requested
from p2be_exp.config.plugin_warnings import hold_warnings, warn_as
from p2be_exp.config.plugins import load_requested
from p2be_exp.config.quoting import read_arguments
from p2be_exp.config.schema import (
    AttackChoice,
    AutoAttackConfig,
    EvaluateConfig,
    FolderDatasetConfig,
    FoolboxConfig,
    PicturesDatasetConfig,
    SomeCorruptionConfig,
    SuiteConfig,
    TorchattacksConfig,
    TrainConfig,
)
from p2be_exp.config.typed import typed as typed_config
from p2be_exp.corruptions.names import GROUPS, SEVERITIES, TEST, select_names, select_severities
from p2be_exp.corruptions.official import resolved, tell_generated
from p2be_exp.errors import BadInput, Interrupted
from p2be_exp.evaluation.out_folder import check_out_folder
from p2be_exp.runs.load import load_checkpoint, model_of
from p2be_exp.runs.locations import locate
from p2be_exp.runs.run import Run
from p2be_exp.system.atomic import refuse_links
from p2be_exp.system.command_line import typed
from p2be_exp.system.paths import check_path, user_path
from p2be_exp.system.peers import Ending
from p2be_exp.system.program import name_of, words_of
from p2be_exp.system.ranks import check_launcher, rank

if TYPE_CHECKING:
    from p2be_exp.system.watch import Watch


def main() -> int:
    """Run the command with ``sys.argv``; return its exit code."""
    return exit_code_of(with_rank_in_refusals(_command))


def _command() -> None:
    if "--version" in sys.argv[1:]:
        print(version())
        return
    models = [each.removeprefix("model=") for each in sys.argv[1:] if each.startswith("model=")]
    given = [each for each in sys.argv[1:] if not each.startswith("model=")]
    if not models:  # the run chooses its data set; where its pictures are may be chosen again
        given = [re.sub(r"^dataset\.(dir|workers|timeout)=", r"dataset_\1=", each) for each in given]
    arguments = read_arguments(given)
    if wants_help(arguments):
        load_requested(arguments)
        asked = asked_for(arguments, EVALUATE_GROUPS)
        print("\n\n".join(map(group_help, asked)) if asked else evaluate_help())
        return
    flags = [argument for argument in arguments if argument.startswith("-")]
    if flags:
        raise BadInput(f"{flags[0]}: not a flag of {name_of('evaluate')}, which takes KEY=VALUE (see --help)")
    overrides = parse_overrides(arguments)
    allow_requested(arguments)
    if models:
        _check_no_run(models, overrides)
        evaluate_model(models[0], arguments, default_name, _printing_how_to_continue)
        return
    if "run" not in overrides:
        raise BadInput("run: required; the run to evaluate, run=FOLDER")
    if overrides["run"] == "null":
        raise BadInput("run=null: a value is required")
    with hold_warnings():
        # First, since an option may come from one of its plug-ins.
        run = Run.open(overrides["run"], or_shared=True)
        settings = typed_config(to_plain(compose_config("evaluate", arguments)), EvaluateConfig)
        check_config("evaluate", settings)
        check_launcher(settings.trainer)
        warn_as(rank(settings.trainer))
    if settings.name in (".", "..") or "/" in (settings.name or ""):
        raise BadInput(f"name={settings.name}: must be the name of a folder, which will be in RUN/evaluations/")
    config = evaluation_config(run, settings)
    folder = results_folder(run, config, settings)
    source = check_early(config, training=False)
    _evaluate(run, load_checkpoint(run, settings.checkpoint), config, settings, folder, source)


def _check_no_run(models: Sequence[str], overrides: Mapping[str, str]) -> None:
    """Check that a command line that gives a network of one's own gives one, and no run."""
    if len(models) > 1:
        raise BadInput(f"model={models[1]}: given twice; only one network is evaluated")
    for key in ("run", "checkpoint"):
        if key in overrides:
            raise BadInput(f"{key}={overrides[key]}: not with model={models[0]}, a network without a run")


def results_folder(run: Run, config: TrainConfig, settings: EvaluateConfig) -> Path:
    """The folder of the results: ``out``, or a folder in the run.

    Raises:
        BadInput: it cannot be written, or holds other files.
    """
    if settings.out is None and run.shared is not None:
        raise BadInput(f"run={run.place}: a shared network stays as it is; use out=FOLDER for the results")
    if settings.out is None:
        name = settings.name or _default_name(run, config, settings.checkpoint)
        check_path("name", name)
        refuse_links(run.path, f"evaluations/{name}", key="run")
        if not os.access(existing_part(run.path / "evaluations" / name), os.W_OK):
            raise BadInput(f"run={run.path}: cannot be written; use out=FOLDER to put the results elsewhere")
        return run.path / "evaluations" / name
    if settings.name is not None:
        raise BadInput(f"out={settings.out}: replaces name={settings.name}; give only one of them")
    folder = user_path("out", settings.out)
    check_writable(folder, "out")
    check_out_folder(folder)
    return folder


def evaluation_config(run: Run, settings: EvaluateConfig) -> TrainConfig:
    """The run's configuration with the settings of the evaluation."""
    config = run.config()
    own = ("trainer", "corruption", "attack", "seed", "eval_batch_size", "limit_test", "figures")
    config = dataclasses.replace(config, **{key: getattr(settings, key) for key in own})
    if settings.data_dir is not None:
        config.data_dir = settings.data_dir
    if settings.dataset_dir is not None:
        if not isinstance(config.dataset, FolderDatasetConfig):
            name = config.dataset.name
            raise BadInput(f"dataset_dir={settings.dataset_dir}: {name} is in data_dir; use data_dir=FOLDER")
        config.dataset.dir = settings.dataset_dir
    for key in ("workers", "timeout"):
        if (value := getattr(settings, f"dataset_{key}")) is None:
            continue
        if not isinstance(config.dataset, PicturesDatasetConfig):
            raise BadInput(f"dataset_{key}={value}: {config.dataset.name} has no picture files to decode")
        setattr(config.dataset, key, value)
    words = {"data_dir": "data_dir", "dataset_dir": "dataset.dir"}
    locate(config, run.info(), given=[words[key] for key in words if getattr(settings, key) is not None])
    config.corruption = resolved(config.corruption, config.dataset.name, user_path("data_dir", config.data_dir))
    check_source(config.corruption.name, config.dataset.name)
    return config


def _default_name(run: Run, config: TrainConfig, checkpoint: str) -> str:
    """The default name, or the one that earlier versions gave to an evaluation that is there."""
    name = default_name(config, checkpoint)
    older = name.replace(f"_random{config.limit_test}", f"_first{config.limit_test}")
    return older if (run.path / "evaluations" / older / "results.json").exists() else name


def default_name(config: TrainConfig, checkpoint: str) -> str:
    """A folder name from the settings: checkpoint, conditions, and values other than the defaults."""
    parts = [checkpoint, "clean"]
    corruption, attack = config.corruption, config.attack
    if isinstance(corruption, SomeCorruptionConfig):
        parts.append(corruption.name)
        names = select_names(corruption.names)
        if names != TEST:
            words = [word for word, group in GROUPS.items() if group == names]
            parts.append(words[0] if words else "-".join(names))
        if (severities := select_severities(corruption.severities)) != SEVERITIES:
            parts.append("severity" + "".join(map(str, severities)))
        if corruption.seed != 0:
            parts.append(f"images{corruption.seed}")
    if attack.name != "none":
        parts.append(_attack_name(attack) + "-".join(map(str, attack.radii)))
        parts += attack.also if isinstance(attack, SuiteConfig) else []
    if config.limit_test is not None:
        parts.append(f"random{config.limit_test}")
    if config.seed != 0:
        parts.append(f"seed{config.seed}")
    return "_".join(parts)


def _attack_name(attack: AttackChoice) -> str:
    if isinstance(attack, FoolboxConfig | TorchattacksConfig):
        return f"{attack.name}_{attack.method}_"
    return f"{attack.name}_{attack.version}_" if isinstance(attack, AutoAttackConfig) else attack.name


def _evaluate(
    run: Run,
    saved: dict[str, Any],
    config: TrainConfig,
    settings: EvaluateConfig,
    folder: Path,
    source: Run | None,
) -> None:
    from p2be_exp.evaluation.agreement import check_classes
    from p2be_exp.evaluation.code_memory import check_code_memory
    from p2be_exp.evaluation.data import build_data
    from p2be_exp.evaluation.job import Output, evaluate
    from p2be_exp.evaluation.plan import EvaluationPlan
    from p2be_exp.system.job_process import job_process
    from p2be_exp.system.trainer import evaluation_precision
    from p2be_exp.training.header import device_line

    which = settings.checkpoint if run.shared is None else run.shared.weights.checkpoint
    key = "name" if settings.out is None else "out"
    with job_process(config.trainer, folder, key, partial(_printing_how_to_continue, config)):
        plan = EvaluationPlan.of(config, source)
        main = rank(config.trainer) == 0
        if main:
            tell_generated(settings.corruption, config)
        data = build_data(config)
        check_code_memory(plan, data)
        data.prepare_data()
        data.setup()
        check_classes(data, run)
        plan.check(data)
        weights = {"checkpoint": which, "step": saved["global_step"]}
        if main:
            where = device_line(config.trainer, evaluation_precision(config.trainer))
            print(f"evaluating {run.place} ({which} checkpoint, step {weights['step']:,}) on {where}", flush=True)
        model = model_of(run, saved, which)
        del saved  # weights and optimizer states, which would stay in memory for the whole evaluation
        evaluate(plan, model, data, weights, Output(folder, key, run if key == "out" else None))


@contextmanager
def _printing_how_to_continue(config: TrainConfig, watch: Watch) -> Iterator[None]:
    message = f"\nstopped; to continue: {typed(*words_of('evaluate'), *sys.argv[1:])}\n"
    main = rank(config.trainer) == 0

    def last_words(ending: Ending) -> None:
        if ending.signal is not None:
            os.write(2, os.fsencode(message))

    if main:
        watch.last_words = last_words
    try:
        yield
    except Interrupted:
        if main:
            print(message, end="", file=sys.stderr, flush=True)
        raise
