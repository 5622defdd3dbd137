"""The source of corrupted images that a configuration asks for."""

from __future__ import annotations

from pathlib import Path

from p2be_exp.config.checks import check_folder
from p2be_exp.config.schema import SomeCorruptionConfig, TrainConfig
from p2be_exp.corruptions.names import select_names, select_severities
from p2be_exp.corruptions.official import OFFICIAL_FOLDERS, resolved
from p2be_exp.errors import BadInput
from p2be_exp.evaluation.corrupted.cifar_c import OfficialCifarC
from p2be_exp.evaluation.corrupted.generated import GeneratedImages
from p2be_exp.evaluation.corrupted.images import CorruptedImages
from p2be_exp.system.paths import user_path


def corrupted_images(config: TrainConfig) -> CorruptedImages | None:
    """The corrupted images that a configuration's ``corruption`` group asks for; None for ``none``.

    Folders are looked into, headers and manifests read; no images.

    Raises:
        BadInput: a folder that is missing or is not what it should be, a source that does not go with the data set, or
            one that has images of none of the corruptions.
    """
    images = _source(config)
    if images is not None and not images.plan.cells:
        plan = images.plan
        reasons = "; ".join(f"{name}: {reason}" for name, reason in plan.left_out.items())
        raise BadInput(f"corruption.names=[{','.join(plan.names)}]: none of it can be measured ({reasons})")
    return images


def _source(config: TrainConfig) -> CorruptedImages | None:
    wanted, dataset = config.corruption, config.dataset.name
    data_dir = user_path("data_dir", config.data_dir)
    if not isinstance(wanted, SomeCorruptionConfig):
        return None
    wanted = resolved(wanted, dataset, data_dir)
    names, severities = select_names(wanted.names), select_severities(wanted.severities)
    if wanted.name == "generated":
        folder, frost_dir = _path("dir", wanted.dir), _path("frost_dir", wanted.frost_dir)
        return GeneratedImages(dataset, names, severities, wanted.seed, folder, frost_dir, wanted.workers)
    check_folder(wanted)
    folder = _path("dir", wanted.dir) or data_dir / OFFICIAL_FOLDERS.get(dataset, "")
    if wanted.name == "cifar_c":
        return OfficialCifarC(folder, dataset, names, severities, key="corruption.dir")
    if wanted.name == "own":
        from p2be_exp.evaluation.corrupted.own_files import OwnFiles

        return OwnFiles(folder, dataset, names, severities, key="corruption.dir")
    from p2be_exp.evaluation.corrupted.imagenet_c import OfficialImageNetC

    return OfficialImageNetC(folder, names, severities, wanted.crop, wanted.workers, key="corruption.dir")


def _path(key: str, value: str | None) -> Path | None:
    return None if value is None else user_path(f"corruption.{key}", value)
