"""A network that was made to be shared: a folder with ``config.json``, weights, results and a card, and no code.

``python -m p2be_exp.export format=hub`` writes one from a run; the Hugging Face hub holds others, and some come with
this package. It can come from anybody, so each value that is read is checked. Nothing here imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2be_exp.config.stored import interpolations
from p2be_exp.errors import BadInput
from p2be_exp.runs.forms import INFO
from p2be_exp.system.forms import Form, misfit, read_json

CONFIG, WEIGHTS, RESULTS, CARD = "config.json", "model.safetensors", "results.json", "README.md"
ATTACKED = "results_attacks.json"
"""The files of such a folder; the last two are for people, and are not read here."""

LIBRARY = "p2be_exp"
"""What ``config.json`` says made it: other libraries write files of that name, too."""

FORMAT_VERSION = 1
"""Version of ``config.json``; the keys of the configuration in it are those of a run's ``config.yaml``."""

_LARGEST = 2**20
"""Maximum size of ``config.json`` in bytes; one with a thousand names of classes has about 30,000."""

_FORM: Form = {
    "library_name": str,
    "format_version": int,
    "configuration": dict,
    "run": dict,
    **{f"run.{key}": kinds for key, kinds in INFO.items()},
    "weights": dict,
    "weights.checkpoint": str,
    "weights.step": int,
    "weights.classes": int,
    "weights.bytes": int,
    "weights.sha256": str,
}


@dataclass(frozen=True)
class SharedWeights:
    """What ``config.json`` says of the weights.

    Attributes:
        checkpoint: of the run, ``last`` or ``best``.
        step: optimizer steps of the training until then.
        classes: of the network.
        bytes: size of the file.
        sha256: of the file, which has no checksums of its own.
    """

    checkpoint: str
    step: int
    classes: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Shared:
    """The content of a ``config.json``.

    Attributes:
        configuration: of the run, as in its ``config.yaml``; it is not checked.
        info: facts about the run, as in its ``run.json``.
        weights: which they are.
    """

    configuration: dict[str, Any]
    info: dict[str, Any]
    weights: SharedWeights


def is_shared(folder: Path) -> bool:
    """Whether a folder has a ``config.json`` and is no run; the file may be another library's.

    Raises:
        OSError: the folder cannot be read.
    """
    return (folder / CONFIG).is_file() and not (folder / "run.json").exists()


def read_shared(folder: Path, where: str) -> Shared:
    """The content of a folder's ``config.json``.

    Args:
        folder: of the network.
        where: the option and its value, for messages.

    Raises:
        BadInput: it cannot be read, is damaged, or was made by another library or version.
    """
    file = folder / CONFIG
    try:
        if file.stat().st_size > _LARGEST:
            raise ValueError(f"more than {_LARGEST:,} bytes")
        content = read_json(file)
        if not isinstance(content, dict) or content.get("library_name") != LIBRARY:
            raise BadInput(f"{where}: {CONFIG} is not of a network of {LIBRARY}; export one with format=hub")
        if content.get("format_version") != FORMAT_VERSION:
            version = str(content.get("format_version"))[:20]
            raise BadInput(f"{where}: {CONFIG} has format {version}; this version reads format {FORMAT_VERSION}")
        return _shared(content)
    except BadInput:
        raise
    except OSError as error:
        raise BadInput(f"{where}: {CONFIG} cannot be read ({error.strerror})") from error
    except (KeyError, RecursionError, TypeError, ValueError) as error:
        why = f" ({error})" if type(error) is ValueError else ""
        raise BadInput(f"{where}: {CONFIG} is damaged{why}") from error


def _shared(content: dict[str, Any]) -> Shared:
    """Raises: KeyError, TypeError, ValueError: a key is missing, unknown, or has the wrong type."""
    if found := misfit(_FORM, content):
        raise ValueError(found)
    if (text := next(interpolations(content), None)) is not None:
        raise ValueError(f"an interpolation, {text!r:.60}; the file is plain")
    weights = SharedWeights(**content["weights"])
    if weights.step < 0 or weights.classes < 1 or weights.bytes < 1:
        raise ValueError("weights: a number that is not possible")
    return Shared(content["configuration"], content["run"], weights)
