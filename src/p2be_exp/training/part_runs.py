"""The runs that a mixture is made of: opened and checked. Nothing here imports torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from p2be_exp.config.parts import with_parts
from p2be_exp.config.schema import NutsMixModelConfig, TrainConfig
from p2be_exp.config.stages import check_staged
from p2be_exp.config.typed import plain
from p2be_exp.errors import BadInput
from p2be_exp.runs.run import Run


def part_runs(config: TrainConfig) -> dict[str, Run]:
    """The runs that a new mixture takes its parts from, by role; none for another model.

    Raises:
        BadInput: one is missing, damaged, without a checkpoint, a mixture itself, or the same as the other; their data
            sets, classes or image sizes differ, from each other or from those of the configuration.
    """
    roles = config.model.roles
    runs = {role: Run.open(getattr(config.model, role), key=f"model.{role}") for role in roles}
    for role, run in runs.items():
        if not run.checkpoint("last").is_file():
            raise BadInput(f"model.{role}={run.path}: no checkpoints/last.ckpt (no epoch was finished)")
        if config.model.needs_stages:
            _check_staged(f"model.{role}={run.path}", run.config(), config.model.name)
        if (made := run.config().model).roles:
            raise BadInput(f"model.{role}={run.path}: model={made.name}; a part must not be a mixture itself")
    for (one, first), (other, second) in pairwise(runs.items()):
        if first.path.samefile(second.path):
            raise BadInput(f"model.{one}={first.path} model.{other}={second.path}: the same run; a mixture needs two")
    facts = {f"model.{role}={run.path}": (run.config(), run.info().get("classes")) for role, run in runs.items()}
    for key, (theirs, _) in facts.items():
        _check_data(key, theirs, "this job", config)
    for (key, (theirs, classes)), (other, (others, more)) in pairwise(facts.items()):
        _check_data(key, theirs, other, others)
        if classes is not None and more is not None and classes != more:
            raise BadInput(f"{key}: other classes than {other}; both parts must have the same, in the same order")
    if runs and isinstance(config.model, NutsMixModelConfig) and config.model.scale is None:
        common_split(config, runs)
    return runs


def _check_staged(key: str, part: TrainConfig, name: str) -> None:
    """Check that a part is one network with stages, between which a gate reads."""
    if part.model.name == "fpd":
        raise BadInput(f"{key}: model=fpd, whose network runs twice; model={name} takes plain and published networks")
    try:
        check_staged(part.backbone.name, f"model={name}")
    except BadInput as error:
        raise BadInput(f"{key}: {error}") from error


def common_split(config: TrainConfig, runs: Mapping[str, Run]) -> tuple[int, int]:
    """Size and seed of the validation split that no part of a mixture was trained on; size 0 for the training images.

    Held-out images are the end of one order that the seed decides, so that a smaller split is part of a larger one.

    Raises:
        BadInput: there is no common split, and ``model.calibrate_on`` does not ask for training images.
    """
    model = config.model
    if not isinstance(model, NutsMixModelConfig) or model.calibrate_on == "train":
        return 0, config.dataset.split_seed
    datasets = [run.config().dataset for run in runs.values()]
    size, seeds = min(each.val_size for each in datasets), {each.split_seed for each in datasets}
    if size == 0 or len(seeds) > 1:
        why = "was trained without one (dataset.val_size=0)" if size == 0 else "has another dataset.split_seed"
        raise BadInput(
            f"model={model.name}: calibrates on a validation split that both parts held out, and one of them {why}; "
            "model.calibrate_on=train uses training images instead, and the result says so"
        )
    if size < model.calibration_images:
        raise BadInput(
            f"model.calibration_images={model.calibration_images}: the parts held out {size} images in common"
        )
    return size, seeds.pop()


def _check_data(key: str, one: TrainConfig, other_key: str, other: TrainConfig) -> None:
    if one.dataset.name != other.dataset.name:
        raise BadInput(f"{key}: trained on {one.dataset.name}; {other_key} has dataset={other.dataset.name}")
    sizes = [each.dataset.image_size for each in (one, other)]
    if sizes[0] != sizes[1]:
        raise BadInput(f"{key}: dataset.image_size={sizes[0]}; {other_key} has {sizes[1]}")


def filled_in(config: TrainConfig, runs: Mapping[str, Run]) -> TrainConfig:
    """The configuration with what a mixture takes from its parts; unchanged where there are none."""
    return with_parts(config, {role: run.config() for role, run in runs.items()}) if runs else config


def part_facts(runs: Mapping[str, Run]) -> dict[str, Any]:
    """What ``run.json`` keeps of the parts: where they were, what they are and which weights they had."""
    return {
        role: {
            "path": str(run.path.absolute()),
            "checkpoint_sha256": _digest(run.checkpoint("last")),
            "regime": plain(run.config().regime),
            "epochs": run.config().epochs,
            "seed": run.config().seed,
        }
        for role, run in runs.items()
    }


def check_same_parts(run: Run, parts: Mapping[str, Run]) -> None:
    """Check that the parts of a mixture that was stopped before its first checkpoint have the weights of its start.

    Args:
        run: of the mixture.
        parts: its parts' runs, by role; empty where it has a checkpoint.

    Raises:
        BadInput: one has other weights.
    """
    stored = run.info().get("parts", {})
    for role, part in parts.items():
        if role in stored and _digest(part.checkpoint("last")) != stored[role]["checkpoint_sha256"]:
            raise BadInput(
                f"model.{role}={part.path}: checkpoints/last.ckpt has changed since {run.path} was started; start anew"
            )


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def roles_swapped(facts: Mapping[str, Any]) -> str | None:
    """What to say where the accurate part was trained on adversarial images, or the robust part was not.

    Args:
        facts: of :func:`part_facts`; empty for another model.
    """
    if any(each["regime"]["name"] == "none" for each in facts.values()):
        return None  # of published weights nobody says how they were trained
    attacked = {role: "attack" in each["regime"] for role, each in facts.items()}
    if not attacked or (attacked["robust"] and not attacked["accurate"]):
        return None
    words = {True: "was trained on adversarial images", False: "was not trained on adversarial images"}
    told = " and ".join(f"the {role} part {words[each]}" for role, each in attacked.items())
    return f"{told}: are the roles as you want them?"
