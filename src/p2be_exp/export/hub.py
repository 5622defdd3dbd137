"""Writing a shared network: its files, made in memory and checked, then put into a folder."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from p2be_exp.errors import BadInput
from p2be_exp.export.check import largest_difference
from p2be_exp.export.model_card import Card
from p2be_exp.export.shared_config import shared_config
from p2be_exp.models.classifier import Classifier
from p2be_exp.runs.load import model_of
from p2be_exp.runs.run import Run
from p2be_exp.runs.shared import ATTACKED, CARD, CONFIG, RESULTS, WEIGHTS
from p2be_exp.runs.shared_weights import as_bytes, tensors_of
from p2be_exp.system.atomic import refuse_links, write_bytes

FILES = (WEIGHTS, RESULTS, ATTACKED, CARD, CONFIG)
"""In the order in which they are written: a folder is a network once ``config.json`` is there.

``results_attacks.json`` is there where attacks were measured apart, on fewer images (``limit_attack``).
"""


def shared_files(run: Run, checkpoint: Mapping[str, Any], model: Classifier, card: Card) -> dict[str, bytes]:
    """The content of the files, whose network has been built from it again and compared.

    Args:
        run: an opened run.
        checkpoint: of the run.
        model: of the checkpoint.
        card: of the network.

    Raises:
        WrongLogits: its logits are not finite, or those of the weights as they were read back differ.
    """
    weights = as_bytes(model.state_dict())
    again = model_of(run, _as_checkpoint(tensors_of(weights, WEIGHTS), checkpoint), card.which)
    largest_difference(again, model, (card.size, card.size), (1, 3))
    config = shared_config(run, checkpoint, card.which, len(weights), hashlib.sha256(weights).hexdigest())
    return {
        WEIGHTS: weights,
        RESULTS: _json(card.results.content),
        **({ATTACKED: _json(card.attacked.content)} if card.attacked is not None else {}),
        CARD: card.text().encode(errors="backslashreplace"),
        CONFIG: _json(config),
    }


def write_shared(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the files, each atomically, ``config.json`` last; what is there of an older network is replaced.

    A stop in between leaves a folder that is no network.
    """
    (folder / CONFIG).unlink(missing_ok=True)
    if ATTACKED not in files:
        (folder / ATTACKED).unlink(missing_ok=True)
    for name in (each for each in FILES if each in files):
        write_bytes(folder / name, files[name])


def check_folder(folder: Path, overwrite: bool) -> None:
    """Check that a folder can become a shared network's, before anything is computed.

    Hidden files are left alone: the folder may be a clone of a repository.

    Raises:
        BadInput: it holds other files, or a network that is not to be replaced; it cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"out={folder}: is a file; format=hub writes a folder")
    if folder.is_dir():
        names = sorted(each.name for each in folder.iterdir() if not each.name.startswith("."))
        if foreign := [name for name in names if name not in FILES]:
            raise BadInput(f"out={folder}: holds {foreign[0]}, which is no file of format=hub; choose another folder")
        if CONFIG in names and not overwrite:
            raise BadInput(f"out={folder}: already exists; overwrite=true replaces a network")
    refuse_links(folder, *FILES, key="out")
    above = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise BadInput(f"out={folder}: cannot be written ({above})")


def _as_checkpoint(weights: Mapping[str, Tensor], checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    return {**checkpoint, "state_dict": {f"model.{name}": value for name, value in weights.items()}}


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
