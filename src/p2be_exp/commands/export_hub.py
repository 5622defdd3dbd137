"""``python -m p2be_exp.export format=hub``: a run as a folder to share."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from p2be_exp.config.schema import ExportConfig
from p2be_exp.errors import BadInput
from p2be_exp.runs.evaluations import attacked_apart
from p2be_exp.runs.load import load_checkpoint, model_of
from p2be_exp.runs.run import Run
from p2be_exp.runs.shared_weights import check_safetensors
from p2be_exp.system.paths import check_path, user_path


def check_keys(settings: ExportConfig) -> None:
    """Check the keys that belong to one format alone.

    Raises:
        BadInput: one is given that another format has, or is not allowed.
    """
    if settings.format == "hub" and settings.batch != "dynamic":
        raise BadInput(f"batch={settings.batch}: not with format=hub, whose network takes any number of images")
    if settings.format != "hub":
        for key in ("evaluation", "license"):
            if (value := getattr(settings, key)) is not None:
                raise BadInput(f"{key}={value}: only for format=hub")
    if settings.license is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.+-]{0,63}", settings.license):
        raise BadInput(f"license={settings.license}: must be an identifier of the hub, such as mit, cc-by-4.0 or other")
    name = settings.evaluation
    if name is not None and (name in ("", ".", "..") or "/" in name):
        raise BadInput(f"evaluation={name}: must be the name of a folder in RUN/evaluations/")


def export_hub(run: Run, settings: ExportConfig, size: int) -> None:
    """Write the folder and say where it is.

    Args:
        run: an opened run.
        settings: checked.
        size: height and width of its images, in pixels.

    Raises:
        BadInput: the run has no results of this checkpoint; the folder holds something else or cannot be written.
    """
    if run.shared is not None:
        raise BadInput(f"run={run.place}: is a network of format=hub already")
    folder = run.path / "hub" if settings.out is None else user_path("out", settings.out)
    from p2be_exp.export.check import WrongLogits
    from p2be_exp.export.hub import check_folder, shared_files, write_shared
    from p2be_exp.export.model_card import Card
    from p2be_exp.export.shared_results import read_results

    check_safetensors("format=hub")
    with _explained(folder):
        check_folder(folder, settings.overwrite)
    checkpoint = load_checkpoint(run, settings.checkpoint)
    step, classes = checkpoint["global_step"], checkpoint["hyper_parameters"]["num_classes"]
    folder_of_results, where = _measured(run, settings)
    results = read_results(folder_of_results, where, settings.checkpoint, step)
    apart = attacked_apart(run.config(), run.path, folder_of_results)
    attacked = None if apart is None else read_results(apart, f"{where} ({apart.name})", settings.checkpoint, step)
    card = Card(
        run.config(),
        run.info(),
        which=settings.checkpoint,
        step=step,
        classes=classes,
        size=size,
        results=results,
        licence=settings.license or "unknown",
        attacked=attacked,
    )
    try:
        files = shared_files(run, checkpoint, model_of(run, checkpoint, settings.checkpoint), card)
    except WrongLogits as error:
        print(f"error: run={run.path}: {error}", file=sys.stderr)
        sys.exit(1)
    with _explained(folder):
        write_shared(folder, files)
    print(f"{folder}: {sum(map(len, files.values())):,} bytes in {len(files)} files; hf upload OWNER/NAME {folder}")


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Turn the system's errors about the folder into one line."""
    try:
        yield
    except OSError as error:
        raise BadInput(f"out={folder}: cannot be written ({error.strerror})") from error


def _measured(run: Run, settings: ExportConfig) -> tuple[Path, str]:
    """The folder of the results, and the option that says so."""
    if settings.evaluation is None:
        return run.path, f"run={run.path}"
    check_path("evaluation", settings.evaluation)
    return run.path / "evaluations" / settings.evaluation, f"evaluation={settings.evaluation}"
