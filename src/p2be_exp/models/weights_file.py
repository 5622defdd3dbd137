"""The file of published weights that a configuration names. Nothing here imports torch."""

from __future__ import annotations

from pathlib import Path

from p2be_exp.errors import BadInput
from p2be_exp.system.paths import user_path


def weights_file(name: str, weights: str) -> Path:
    """The file of published weights that a configuration names.

    Args:
        name: of the backbone.
        weights: the path.

    Raises:
        BadInput: there is none.
    """
    path = user_path("backbone.weights", weights)
    if not path.is_file():
        raise BadInput(
            f"backbone.weights={weights}: no such file; expected one that torchvision publishes, such as {name}-*.pth"
        )
    return path
