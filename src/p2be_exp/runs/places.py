"""Where a shared network is: a folder, ``zoo:NAME`` of this package, or ``hf://OWNER/NAME`` of the Hugging Face hub."""

from __future__ import annotations

import os
import re
from pathlib import Path

from p2be_exp.errors import BadInput, one_line
from p2be_exp.runs.shared import CONFIG, WEIGHTS
from p2be_exp.system.installation import data_folder
from p2be_exp.system.paths import check_path, user_path
from p2be_exp.system.suggestions import did_you_mean

HUB, ZOO = "hf://", "zoo:"
"""What the places begin with that are no paths."""

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_ON_THE_HUB = re.compile(rf"{HUB}({_NAME}/{_NAME})(?:@([A-Za-z0-9][A-Za-z0-9._/-]{{0,199}}))?")


def list_models() -> list[str]:
    """Names of the trained networks that come with this package: ``load_run("zoo:NAME")``.

    What each is, how it was trained and what it reaches is in its card, ``docs/zoo/NAME/README.md``.
    """
    folder = data_folder("zoo")
    return sorted(each.parent.name for each in folder.glob(f"*/{CONFIG}"))


def folder_of(key: str, place: str | os.PathLike[str]) -> Path:
    """The folder of a place; a network on the hub is downloaded into the hub's own cache, unless it is there.

    Args:
        key: the option that gives it, for messages.
        place: a path, ``zoo:NAME``, ``hf://OWNER/NAME`` or ``hf://OWNER/NAME@REVISION`` (a branch, a tag or a commit).

    Raises:
        BadInput: there is no such network, or it cannot be downloaded.
    """
    text = os.fspath(place)
    if text.startswith(ZOO):
        return _in_the_zoo(key, text)
    return _downloaded(key, text) if text.startswith(HUB) else user_path(key, place)


def _in_the_zoo(key: str, text: str) -> Path:
    name, names = text.removeprefix(ZOO), list_models()
    if name not in names:
        hint = did_you_mean(name, names)
        raise BadInput(f"{key}={text}: no such network; available: {', '.join(names)}{hint}")
    return data_folder("zoo") / name


def _downloaded(key: str, text: str) -> Path:
    check_path(key, text)
    found = _ON_THE_HUB.fullmatch(text)
    if found is None or ".." in text:
        raise BadInput(f"{key}={text}: must be {HUB}OWNER/NAME or {HUB}OWNER/NAME@REVISION")
    try:
        from huggingface_hub import errors, hf_hub_download
    except ImportError as error:
        raise BadInput(f"{key}={text}: huggingface_hub is not installed; pip install 'p2be-exp[hub]'") from error
    repository, revision = found.groups()
    try:
        folder = Path(hf_hub_download(repository, CONFIG, revision=revision)).parent
        # The rest at the commit that was found, although the branch may have moved since.
        hf_hub_download(repository, WEIGHTS, revision=folder.name)
    except errors.RepositoryNotFoundError as error:
        raise BadInput(f"{key}={text}: no such repository, or a private one (hf auth login)") from error
    except errors.RevisionNotFoundError as error:
        raise BadInput(f"{key}={text}: the repository has no revision {revision}") from error
    except errors.LocalEntryNotFoundError as error:
        why = "is not in the cache (HF_HUB_CACHE), and the hub was not reached"
        raise BadInput(f"{key}={text}: {why}") from error
    except errors.EntryNotFoundError as error:
        raise BadInput(f"{key}={text}: has no {CONFIG} or no {WEIGHTS}; export one with format=hub") from error
    except Exception as error:  # those of the network have no common base
        raise BadInput(f"{key}={text}: cannot be downloaded ({one_line(error)[:200]})") from error
    return folder
