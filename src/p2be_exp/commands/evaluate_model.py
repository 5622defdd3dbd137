"""``evaluate.py model=FILE.py:NAME``: measure anybody's network, by the function of a file that builds it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from p2be_exp.commands.early_checks import check_early
from p2be_exp.commands.job import check_writable
from p2be_exp.config import check_config, compose_config, to_plain
from p2be_exp.config.model_file import ModelFile
from p2be_exp.config.module_evaluation import module_evaluation_config
from p2be_exp.config.plugin_warnings import hold_warnings, warn_as
from p2be_exp.config.schema import EvaluateModelConfig, TrainConfig
from p2be_exp.config.typed import typed as typed_config
from p2be_exp.corruptions.official import tell_generated
from p2be_exp.errors import BadInput
from p2be_exp.evaluation.out_folder import check_out_folder
from p2be_exp.runs.run import Run
from p2be_exp.system.paths import check_path, user_path
from p2be_exp.system.ranks import check_launcher, rank

if TYPE_CHECKING:
    from p2be_exp.system.watch import Watch

FOLDER = Path("logs", "evaluate")
"""Where the results are: in a folder for each network, one for each evaluation of it."""

Naming = Callable[[TrainConfig, str], str]
Stopped = Callable[[TrainConfig, "Watch"], AbstractContextManager[None]]


def evaluate_model(text: str, arguments: Sequence[str], naming: Naming, stopped: Stopped) -> None:
    """Run the command.

    Args:
        text: the value of ``model``.
        arguments: the others, as the command line gives them.
        naming: the default name of an evaluation, from its configuration and a first word.
        stopped: says how to continue where the evaluation is stopped.

    Raises:
        BadInput: see :func:`p2be_exp.benchmark`.
    """
    file = ModelFile.find(text)
    with hold_warnings():
        settings = typed_config(to_plain(compose_config("evaluate_model", arguments)), EvaluateModelConfig)
        check_config("evaluate_model", settings)
        check_launcher(settings.trainer)
        warn_as(rank(settings.trainer))
    config = module_evaluation_config(settings)
    folder, key = _folder(file, settings, naming(config, config.dataset.name))
    source = check_early(config, training=False)
    _evaluate(file, config, settings, folder, key, source, stopped)


def _folder(file: ModelFile, settings: EvaluateModelConfig, default: str) -> tuple[Path, str]:
    """The folder of the results, and the key that names it.

    Raises:
        BadInput: it cannot be written, or holds other files.
    """
    if settings.out is not None and settings.name is not None:
        raise BadInput(f"out={settings.out}: replaces name={settings.name}; give only one of them")
    if settings.name in (".", "..") or "/" in (settings.name or ""):
        raise BadInput(f"name={settings.name}: must be the name of a folder, which will be in {FOLDER / file.name}/")
    if settings.out is None:
        name = settings.name or default
        check_path("name", name)
        folder, key = FOLDER / file.name / name, "name"
    else:
        folder, key = user_path("out", settings.out), "out"
    check_writable(folder, key)
    check_out_folder(folder, key)
    return folder, key


def _evaluate(
    file: ModelFile,
    config: TrainConfig,
    settings: EvaluateModelConfig,
    folder: Path,
    key: str,
    source: Run | None,
    stopped: Stopped,
) -> None:
    from p2be_exp.evaluation.benchmark import evaluate_module
    from p2be_exp.evaluation.job import Output
    from p2be_exp.models.module_classifier import ModuleClassifier
    from p2be_exp.system.job_process import job_process
    from p2be_exp.system.trainer import evaluation_precision
    from p2be_exp.training.header import device_line

    with job_process(config.trainer, folder, key, partial(stopped, config)):
        built = file.build()
        model = ModuleClassifier(built.pop("model"), **built)
        if rank(config.trainer) == 0:
            tell_generated(settings.corruption, config)
            where = device_line(config.trainer, evaluation_precision(config.trainer))
            print(f"evaluating {file.text} on {config.dataset.name}, on {where}", flush=True)
        output = Output(folder, key, title=file.name)
        evaluate_module(config, model, file.settings(), output, f"model={file.text}", source)
