"""The published -C sets: where they are looked for, whether they are what was published, what ``auto`` comes to."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from p2be_exp.corruptions.digests import file_digests
from p2be_exp.corruptions.names import select_names
from p2be_exp.corruptions.published import published_md5
from p2be_exp.system.output import for_terminal
from p2be_exp.system.paths import user_path

if TYPE_CHECKING:
    from p2be_exp.config.schema import CorruptionConfig, SomeCorruptionConfig, TrainConfig

OFFICIAL_FOLDERS = {"cifar10": "CIFAR-10-C", "cifar100": "CIFAR-100-C", "imagenet": "ImageNet-C"}
"""Names of the published folders, under ``data_dir``."""

FOREIGN = ("manifest.json", "indices.npy")
"""Files of sets made here, which change how a folder is read and are in no published one."""


Source = TypeVar("Source", bound="CorruptionConfig")


def resolved(wanted: Source, dataset: str, data_dir: Path) -> Source:
    """A ``corruption`` group with ``auto`` decided: the published set where it is found and verified, else generated.

    Args:
        wanted: the group.
        dataset: name of the data set.
        data_dir: where its published -C set would be.
    """
    if wanted.name != "auto":
        return wanted
    official = dataset in OFFICIAL_FOLDERS and why_generated(wanted, dataset, data_dir) is None
    name = ("imagenet_c" if dataset == "imagenet" else "cifar_c") if official else "generated"
    return dataclasses.replace(wanted, name=name)


def why_generated(wanted: CorruptionConfig, dataset: str, data_dir: Path) -> str | None:
    """Why ``auto`` makes images of a data set that was published as a -C set, too; None where it does not.

    All files that would be used have to be the published ones; those of corruptions that the folder lacks are left out
    of the results, as ``cifar_c`` does it. Of ImageNet-C no digests are known: it is taken as it is.

    Args:
        wanted, dataset, data_dir: see :func:`resolved`.
    """
    if wanted.name != "auto" or dataset not in OFFICIAL_FOLDERS:
        return None
    wanted = cast("SomeCorruptionConfig", wanted)
    folder = data_dir / OFFICIAL_FOLDERS[dataset]
    if not folder.is_dir():
        return f"no {folder}"
    if dataset == "imagenet":
        return None
    names = [name for name in select_names(wanted.names) if (folder / f"{name}.npy").is_file()]
    if not names:
        return f"none of the corruptions in {folder}"
    fault = not_published(folder, dataset, names)
    return None if fault is None else f"{folder}: {fault}"


def tell_generated(wanted: CorruptionConfig, config: TrainConfig) -> None:
    """Print why ``auto`` generates images, in a line; nothing where it does not, or has no choice.

    Args:
        wanted: the group ``corruption``, not yet decided.
        config: of the job.
    """
    why = why_generated(wanted, config.dataset.name, user_path("data_dir", config.data_dir))
    if why is not None:
        print(for_terminal(f"corruption=auto: generated, not the published files ({why})"), flush=True)


def not_published(folder: Path, dataset: str, names: Sequence[str]) -> str | None:
    """What in a folder is not as published, in words that begin with the file; None where nothing is.

    Args:
        folder: with the labels and the files of these corruptions.
        dataset: name of the data set.
        names: the corruptions whose files are used.
    """
    for file in FOREIGN:
        if (folder / file).exists():
            return f"{file} is in no published set"
    files = ["labels", *names]
    for file in files:
        if not (folder / f"{file}.npy").is_file():  # nor is a pipe, from which nothing may ever come
            return f"{file}.npy is missing"
    try:
        digests = file_digests([folder / f"{file}.npy" for file in files], "md5")
    except OSError as error:
        return f"{Path(error.filename).name} cannot be read ({error.strerror})"
    for file, digest in zip(files, digests, strict=True):
        published = published_md5(dataset, file)
        if digest != published:
            known = f"that one's is {published}" if published else "of that one no digest is known"
            return f"{file}.npy is not the published file (its md5 is {digest}, {known})"
    return None
