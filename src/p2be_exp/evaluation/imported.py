"""Adversarial images that somebody made elsewhere, as a row of an evaluation."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from p2be_exp.attacks.ball import is_inside
from p2be_exp.config.schema import TrainConfig
from p2be_exp.data.images import ImageSet
from p2be_exp.errors import BadInput
from p2be_exp.evaluation import measures
from p2be_exp.evaluation.agreement import check_classes
from p2be_exp.evaluation.attack_plan import Source, plan_attacks, plan_nearest, suite_of
from p2be_exp.evaluation.condition import CLEAN, Condition
from p2be_exp.evaluation.data import build_data
from p2be_exp.evaluation.effort import decisive, with_other_efforts
from p2be_exp.evaluation.module import EXAMPLES, attack_condition
from p2be_exp.evaluation.results import IMPORTED, Results, Row
from p2be_exp.evaluation.sanity.panel import check_sanity
from p2be_exp.models.classifier import Classifier
from p2be_exp.models.model_input import check_model_input, to_levels
from p2be_exp.runs.run import Run
from p2be_exp.system.foreign_files import open_file

_BATCH = 100


@dataclass(frozen=True)
class Given:
    """What is imported.

    Attributes:
        file: an ``.npz`` with ``images``, uint8 levels or floats in [0, 1], ``(N, 3, H, W)``, and, unless they are all
            test images of the evaluation in data set order, ``index`` ``(N,)``, their positions in the data set.
        name: of the row, ``imported_NAME``.
        eps_levels: radius that they are meant to be inside of.
    """

    file: Path
    name: str
    eps_levels: int


def import_images(
    run: Run, model: Classifier, config: TrainConfig, folder: Path, earlier: Mapping[str, Any], given: Given
) -> dict[str, Any]:
    """Judge the images by a model and add the row; summary and panel are made anew, the other rows stay.

    An image that the model gets wrong as it is counts as wrong, whatever stands for it in the file, as under every
    attack.

    Args:
        run: whose evaluation it is.
        model: of the checkpoint that was evaluated.
        config: of the run, with the evaluation's ``attack``, ``limit_test`` and ``seed``.
        folder: of the evaluation.
        earlier: the content of its ``results.json``, with the keys of its attack that are newer.
        given: the images.

    Returns:
        The content of ``results.json``.

    Raises:
        BadInput: images of another number or shape, outside the ball or the test set; a row of this name is there; the
            evaluation is not complete.
    """
    start = time.perf_counter()
    images, index = _read(given.file)
    data = build_data(config)
    data.prepare_data()
    data.setup()
    check_classes(data, run)
    test = data.test_set()
    test = (test if isinstance(test, ImageSet) else test.first(len(test))).to(torch.device("cpu"))
    attacks = plan_attacks(config.attack, config.encoding_names, _source(earlier))
    attack_of = {attack_condition(each, earlier["attacks"][each.id]["gradient"] or ""): each for each in attacks}
    results = Results(
        folder,
        dict(earlier["settings"]),
        key="evaluation",
        attacks=list(attack_of),
        suite=suite_of(config.attack),
        run=Run(earlier["run"]) if "run" in earlier else None,
        remarks={attack.id: remark for attack in attacks if (remark := attack.remark(len(data.classes)))},
        corruptions={key: earlier[key] for key in measures.nothing_measured()},
    )
    results.sanity = earlier["sanity"]
    if results.suite is not None:
        repeated = [each.id for each in decisive(attack_of, results.wrong())]
        attack_of |= with_other_efforts(attack_of, repeated)
        results.planned = list(attack_of)
    condition = Condition("attack", f"{IMPORTED}{given.name}", eps_levels=given.eps_levels)
    nearest = [Condition("distance", each.id) for each in plan_nearest(config.attack)]
    if missing := results.missing([CLEAN, *attack_of, *nearest]):
        raise BadInput(f"evaluation={folder}: {missing[0].id} is not measured yet; continue the evaluation first")
    if condition.id in results.rows:
        raise BadInput(f"name={given.name}: {condition.id} is there already; choose another name")
    test = test.subset(test.indices.argsort())
    found = _agreeing(given, images, index, test)
    arrays = _judged(model, found, test, results.wrong()[CLEAN.id])
    seconds = time.perf_counter() - start
    results.add(Row.of(condition, len(found), int(arrays["wrong"].sum()), seconds), arrays)
    if attack_of:
        results.add_sanity(check_sanity(model, data, attack_of, results, config.seed))
    return results.summary()


def _source(earlier: Mapping[str, Any]) -> Source | None:
    """The network that images were transferred from; only its name is needed now."""
    names = [name.removeprefix("transfer_") for name in earlier["attacks"] if name.startswith("transfer_")]
    return Source(names[0], None) if names else None


def _read(file: Path) -> tuple[np.ndarray, np.ndarray | None]:
    try:
        with open_file(file) as stream, np.load(stream, allow_pickle=False) as arrays:
            images = arrays["images"]
            return images, arrays.get("index")
    except KeyError as error:
        raise BadInput(f"{file}: has no array images, uint8 or floats in [0, 1], (N, 3, H, W)") from error
    except OSError as error:
        raise BadInput(f"{file}: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # NumPy and zipfile raise many kinds
        raise BadInput(f"{file}: is not an .npz file that can be read ({type(error).__name__})") from error


def _agreeing(given: Given, images: np.ndarray, index: np.ndarray | None, test: ImageSet) -> Tensor:
    """The images as levels, in the order of the test set.

    Raises:
        BadInput: they are not one for each test image, or not inside the ball.
    """
    where, wanted = given.file, tuple(test.images.shape)
    if images.shape != wanted:
        raise BadInput(f"{where}: images are {images.shape}; the evaluation's are {wanted}")
    if images.dtype.kind == "f":
        images = images.astype(np.float32)
    found = torch.from_numpy(np.ascontiguousarray(images))
    try:
        check_model_input(found)
    except BadInput as error:
        raise BadInput(f"{where}: {error}") from error
    found = to_levels(found)
    if index is not None:
        if index.shape != (len(found),) or index.dtype.kind not in "iu":
            raise BadInput(f"{where}: index is {index.dtype} {index.shape}; must be whole numbers ({len(found)},)")
        order = index.argsort()
        if not np.array_equal(index[order], test.indices.numpy()):
            raise BadInput(f"{where}: index does not name each of the evaluation's {len(found)} test images once")
        found = found[torch.from_numpy(order)]
    outside = (~is_inside(found, test.images, given.eps_levels)).nonzero().flatten()
    if len(outside):
        first = int(outside[0])
        away = int((found[first].short() - test.images[first].short()).abs().max())
        raise BadInput(
            f"{where}: {len(outside)} of {len(found)} images are outside {given.eps_levels} levels, first that of "
            f"test image {int(test.indices[first])}, {away} levels away"
        )
    return found


def _judged(model: Classifier, found: Tensor, test: ImageSet, wrong_as_it_is: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays behind the row."""
    kept = torch.from_numpy(wrong_as_it_is)
    shown = torch.where(kept[:, None, None, None], test.images, found)
    with torch.no_grad():
        probabilities = torch.cat([model(part).float().softmax(1) for part in shown.split(_BATCH)])
    confidence, prediction = probabilities.max(1)
    arrays = {"index": test.indices, "label": test.labels, "prediction": prediction, "confidence": confidence}
    return {name: value.numpy() for name, value in arrays.items()} | {
        "wrong": (prediction != test.labels).numpy() | wrong_as_it_is,
        "examples": shown[:EXAMPLES].numpy(),
    }
