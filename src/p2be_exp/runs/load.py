"""A run's checkpoint, or the weights of a shared network, and the trained model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2be_exp.config.plugin_arguments import allow
from p2be_exp.errors import BadInput
from p2be_exp.runs.run import Run
from p2be_exp.runs.shared import CONFIG, WEIGHTS, SharedWeights

if TYPE_CHECKING:
    from p2be_exp.models.classifier import Classifier


def load_run(
    path: Path | str,
    checkpoint: str = "last",
    device: str = "cpu",
    plugins: Sequence[str] = (),
    key: str = "run",
    strict_plugins: bool | None = None,
) -> Classifier:
    """The trained model of a run, or a shared network, in eval mode.

    Args:
        path: the run folder; or a folder of ``python -m p2be_exp.export format=hub``, ``zoo:NAME`` with a name of
            :func:`p2be_exp.list_models`, ``hf://OWNER/NAME`` or ``hf://OWNER/NAME@REVISION``.
        checkpoint: ``last``, ``best``, ``epoch_NNN``, or ``ema``, the average of the weights in the last one; a shared
            network has the one that it was made of.
        device: of the model.
        plugins: modules that may be imported because the run needs them, in addition to those already imported and
            those named in P2BE_PLUGINS. A plug-in is code: see docs/runs.md, "Runs from others".
        key: the option that names the folder, for messages.
        strict_plugins: whether to refuse a plug-in whose file has changed since the run was made, instead of only
            warning; None to follow the command line, or False if there is none.

    Returns:
        A classifier that takes uint8 levels or floats in [0, 1], ``(B, 3, H, W)``, and returns logits.

    Raises:
        BadInput: it is neither, the checkpoint is missing or damaged, or a download fails.
    """
    allow(plugins)
    run = Run.open(path, key, strict_plugins, or_shared=True)
    return model_of(run, load_checkpoint(run, checkpoint, key), checkpoint, key).to(device)


def model_of(run: Run, saved: Mapping[str, Any], which: str = "last", key: str = "run") -> Classifier:
    """The model of a checkpoint of a run, on the CPU and in eval mode.

    Args:
        run: an opened run.
        saved: the result of :func:`load_checkpoint`.
        which: its name, ``last``, ``best``, ``epoch_NNN`` or ``ema``, for messages.
        key: the option that names the folder, for messages.

    Raises:
        BadInput: the weights do not match the run's configuration.
    """
    import torch

    from p2be_exp.models.model import build_model

    with torch.random.fork_rng():  # the initial weights are discarded; the caller's random state is kept
        model = build_model(run.config(), saved["hyper_parameters"]["num_classes"])
    # A checkpoint also has the state of the training itself.
    own = {
        name.removeprefix("model."): value for name, value in saved["state_dict"].items() if name.startswith("model.")
    }
    try:
        model.load_state_dict(own)
    except RuntimeError as error:
        weights, config = (WEIGHTS, CONFIG) if run.shared else (f"checkpoints/{_file(run, which).name}", "config.yaml")
        raise BadInput(f"{key}={run.place}: {weights} does not match {config}") from error
    return model.eval()


def load_checkpoint(run: Run, which: str = "last", key: str = "run") -> dict[str, Any]:
    """Load a checkpoint of a run on the CPU; every record is compared with its checksum (see ``system/saved_file.py``).

    With ``ema`` it is the last one, and its weights are the average that it holds; buffers, such as the running
    statistics of batch norms, are those of the last weights.
    Of a shared network it has the weights, the step and the number of classes.

    Raises:
        BadInput: it is missing, cannot be read or is damaged, or its weights are not finite; or it has no average.
    """
    if run.shared is not None:
        return _shared_checkpoint(run, run.shared.weights, which, key)
    file = _file(run, which)
    if not file.is_file():
        hint = "it has no validation split" if which == "best" else "no epoch was finished"
        if which.startswith("epoch_"):
            hint = "kept by checkpoint_every=N after every N-th epoch"
        raise BadInput(f"{key}={run.path}: no checkpoints/{file.name} ({hint})")
    from p2be_exp.system.saved_file import Damaged, not_a_number, read_saved  # imports PyTorch, which takes seconds

    where = f"{key}={run.path}: checkpoints/{file.name}"
    try:
        checkpoint = read_saved(file)
        weights = dict(checkpoint["state_dict"])
        if wrong := _misfit(checkpoint, weights):
            raise Damaged(wrong)
        if which == "ema" and "ema" in checkpoint:
            weights |= _average(checkpoint, weights)
            checkpoint["state_dict"] = weights
    except OSError as error:
        raise BadInput(f"{where} cannot be read ({error.strerror})") from error
    except Exception as error:
        record = error.record if isinstance(error, Damaged) else ""
        raise BadInput(f"{where} is damaged{f' ({record})' if record else ''}") from error
    if which == "ema" and "ema" not in checkpoint:
        raise BadInput(f"{where} has no average of the weights (optim.ema, from optim.ema_from epochs on)")
    # A checkpoint also has the state of the training itself.
    if wrong := not_a_number({name: value for name, value in weights.items() if str(name).startswith("model.")}):
        raise BadInput(f"{where}: {wrong}; the training diverged (lower optim.lr or set optim.clip_norm)")
    return checkpoint


def _file(run: Run, which: str) -> Path:
    return run.checkpoint("last" if which == "ema" else which)


def _average(checkpoint: Mapping[str, Any], weights: Mapping[str, Any]) -> dict[str, Any]:
    """The average of the weights in a checkpoint, by their names.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it is not as a training writes it.
    """
    average = dict(checkpoint["ema"]["weights"])
    if any(weights[name].shape != value.shape or weights[name].dtype != value.dtype for name, value in average.items()):
        raise ValueError("an average of other weights")
    return average


def _shared_checkpoint(run: Run, expected: SharedWeights, which: str, key: str) -> dict[str, Any]:
    where = f"{key}={run.place}"
    if which not in ("last", expected.checkpoint):  # the first is what a user gets who does not ask
        raise BadInput(f"{where}: no {which} checkpoint; a shared network has one, here the {expected.checkpoint}")
    from p2be_exp.runs.shared_weights import read_weights  # imports PyTorch

    weights = read_weights(run.path, expected, where)
    checkpoint = {
        "state_dict": {f"model.{name}": value for name, value in weights.items()},
        "hyper_parameters": {"num_classes": expected.classes},
        "global_step": expected.step,
    }
    if wrong := _misfit(checkpoint, weights):
        raise BadInput(f"{where}: {CONFIG} is damaged ({wrong})")
    return checkpoint


def _misfit(checkpoint: Mapping[str, Any], weights: Mapping[str, Any]) -> str | None:
    """A value of a checkpoint that no training writes; None if there is none."""
    classes, step = checkpoint["hyper_parameters"]["num_classes"], checkpoint["global_step"]
    if type(step) is not int or step < 0:
        return f"global_step: {step!r:.60}"
    # A network for any other number would be built, at any cost in memory, before its weights turn out not to match.
    shapes = (getattr(value, "shape", ()) for value in weights.values())
    if type(classes) is not int or classes < 1 or all(classes not in shape for shape in shapes):
        return f"num_classes: {classes!r:.60}"
    return None
