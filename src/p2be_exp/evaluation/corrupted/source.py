"""The source of corrupted images that a configuration selects."""

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
    """The corrupted images that a configuration's ``corruption`` group selects; None for ``none``.

    Folders are inspected, headers and manifests read; no images.

    Raises:
        BadInput: a folder that is missing or not of the expected kind, a source that does not match the data set, or
            one that has images of none of the corruptions.
    """
    images = _source(config)
    if images is not None and not images.plan.cells:
        plan = images.plan
        reasons = "; ".join(f"{name}: {reason}" for name, reason in plan.left_out.items())
        raise BadInput(f"corruption.names=[{','.join(plan.names)}]: none of them can be measured ({reasons})")
    return images


def _source(config: TrainConfig) -> CorruptedImages | None:
    requested, dataset = config.corruption, config.dataset.name
    data_dir = user_path("data_dir", config.data_dir)
    if not isinstance(requested, SomeCorruptionConfig):
        return None
    requested = resolved(requested, dataset, data_dir)
    names, severities = select_names(requested.names), select_severities(requested.severities)
    if requested.name == "generated":
        folder, frost_dir = _path("dir", requested.dir), _path("frost_dir", requested.frost_dir)
        return GeneratedImages(dataset, names, severities, requested.seed, folder, frost_dir, requested.workers)
    check_folder(requested)
    folder = _path("dir", requested.dir) or data_dir / OFFICIAL_FOLDERS.get(dataset, "")
    if requested.name == "cifar_c":
        return OfficialCifarC(folder, dataset, names, severities, key="corruption.dir")
    if requested.name == "own":
        from p2be_exp.evaluation.corrupted.own_files import OwnFiles

        return OwnFiles(folder, dataset, names, severities, key="corruption.dir")
    from p2be_exp.evaluation.corrupted.imagenet_c import OfficialImageNetC

    return OfficialImageNetC(folder, names, severities, requested.crop, requested.workers, key="corruption.dir")


def _path(key: str, value: str | None) -> Path | None:
    return None if value is None else user_path(f"corruption.{key}", value)
