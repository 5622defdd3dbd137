"""The published weights that a run of ``model=published`` starts with, and what ``run.json`` keeps of them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from p2be_exp.config.schema import PublishedModelConfig, TrainConfig
from p2be_exp.errors import BadInput
from p2be_exp.system.paths import user_path

if TYPE_CHECKING:
    from torch import Tensor

    from p2be_exp.models.classifier import Classifier

_KEY = "model.weights"


def check_published_file(config: TrainConfig) -> None:
    """Check that the file that ``model.weights`` names exists. This imports no torch.

    Raises:
        BadInput: it does not.
    """
    model = config.model
    if isinstance(model, PublishedModelConfig) and not user_path(_KEY, str(model.weights)).is_file():
        raise BadInput(f"{_KEY}={model.weights}: no such file; expected the weights of {model.network}")


def published_weights(config: TrainConfig, classes: int) -> dict[str, Tensor] | None:
    """The weights of the file that a configuration names, by the network's names; None for another model.

    Args:
        config: of the run.
        classes: of the data set.

    Raises:
        BadInput: see :func:`p2be_exp.models.published.weights.read_published`.
    """
    if not isinstance(config.model, PublishedModelConfig):
        return None
    from p2be_exp.models.published.weights import read_published

    return read_published(str(config.model.network), str(config.model.weights), classes, key=_KEY)


def take_published(model: Classifier, weights: dict[str, Tensor] | None) -> None:
    """Copy published weights into a :class:`~p2be_exp.models.published.classifier.PublishedClassifier`."""
    if weights is not None:
        model.network.load_state_dict(weights)  # type: ignore[operator, union-attr]


def published_facts(config: TrainConfig) -> dict[str, Any]:
    """What ``run.json`` keeps of the file; nothing for another model."""
    model = config.model
    if not isinstance(model, PublishedModelConfig):
        return {}
    path = user_path(_KEY, str(model.weights))
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"published": {"network": model.network, "path": str(path.absolute()), "sha256": digest}}
