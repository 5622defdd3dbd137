"""What can be refused of a job before PyTorch is imported, which takes seconds: devices, files and runs it names.

The job makes its own checks of all this, with more than names to look at; here it is a matter of the time that an
answer takes.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from p2be_exp.config.image_sizes import GIVEN, TAKEN, check_taken
from p2be_exp.system.paths import user_path
from p2be_exp.corruptions.names import select_names
from p2be_exp.corruptions.official import OFFICIAL_FOLDERS, resolved
from p2be_exp.errors import BadInput
from p2be_exp.system.ranks import check_launcher
from p2be_exp.runs.run import Run, find_run

PUBLISHED = {
    "cifar10": ("cifar-10-batches-py", "cifar-10-python.tar.gz"),
    "cifar100": ("cifar-100-python", "cifar-100-python.tar.gz"),
    "svhn": ("svhn",),
    "mnist": ("MNIST/raw",),
    "caltech101": ("caltech101",),
}
"""Where published files are looked for in ``data_dir``: without any of these none is there."""


def check_early(config: Mapping[str, Any], training: bool = True, fresh: bool = True) -> None:
    """Check what a job's configuration names, unless PyTorch is there already: then the job's own checks are as fast.

    Args:
        config: resolved and checked.
        training: whether the job trains; else it evaluates a run.
        fresh: whether a training starts from its beginning; else a checkpoint has the weights.

    Raises:
        BadInput: a device that this machine has not, a file or folder that is missing, a run that does not serve.
    """
    if "torch" in sys.modules:
        return
    _check_devices(config["trainer"])
    _check_corruption(config)
    attack_source(config)
    if training:
        _check_size(config)
    if training and fresh:
        table_source(config)
        if (weights := config["backbone"].get("weights")) is not None:
            weights_file(config["backbone"]["name"], weights)
    check_data(config, training)


def attack_source(config: Mapping[str, Any]) -> Run | None:
    """The run that attacks transfer from; None where the configuration names none.

    Raises:
        BadInput: no such run, or one on another data set or image size.
    """
    source = config["attack"].get("source")
    if source is None:
        return None
    run = find_run(source, key="attack.source")
    other = run.config()
    if other["dataset"]["name"] != config["dataset"]["name"]:
        raise BadInput(
            f"attack.source={source}: trained on {other['dataset']['name']}; "
            f"a run on {config['dataset']['name']} is needed, with its classes and sizes"
        )
    sizes = [each["dataset"].get("image_size") for each in (other, config)]
    if sizes[0] != sizes[1]:
        raise BadInput(f"attack.source={source}: trained with dataset.image_size={sizes[0]}; {sizes[1]} is needed")
    return run


def table_source(config: Mapping[str, Any]) -> Run | None:
    """The run whose table is to be taken; None where the configuration names none.

    Raises:
        BadInput: no such run, or its table is no P2BE table of the same M.
    """
    source = config["encoding"].get("table_from")
    if source is None:
        return None
    run = find_run(source, key="encoding.table_from")
    encoding = run.config()["encoding"]
    if encoding["name"] != "p2be" or encoding["M"] != config["encoding"]["M"]:
        found = f"{encoding['name']}, M={encoding.get('M', 1)}"
        raise BadInput(
            f"encoding.table_from={source}: a p2be table with M={config['encoding']['M']} is needed, not {found}"
        )
    return run


CPUS = Path("/proc/cpuinfo")
NO_GPU = "no GPU was found; allowed here is trainer=cpu or trainer=auto"
NO_BF16 = "this CPU has no bf16 (AVX512-BF16 or AMX); allowed here are auto and 32"


def _check_devices(trainer: Mapping[str, Any]) -> None:
    check_launcher(trainer)
    if not _surely_no_gpu():
        return
    if trainer["accelerator"] == "gpu":
        raise BadInput(f"trainer={trainer['name']}: {NO_GPU}")
    if trainer["precision"] == "bf16" and _surely_no_bf16():
        raise BadInput(f"trainer.precision=bf16: {NO_BF16}")


def _surely_no_gpu() -> bool:
    """Whether PyTorch is a build for CPUs alone, or neither of the drivers that it can use is installed."""
    try:
        if metadata.version("torch").endswith("+cpu"):
            return True
    except metadata.PackageNotFoundError:
        return False
    if Path("/dev/kfd").exists():  # AMD's
        return False
    try:
        ctypes.CDLL("libcuda.so.1" if sys.platform != "win32" else "nvcuda.dll")
    except OSError:
        return True
    return False


def _surely_no_bf16() -> bool:
    """Whether an x86 CPU lacks the instructions, as Linux tells them."""
    if platform.machine() not in ("x86_64", "AMD64") or not CPUS.is_file():
        return False
    return not {"avx512_bf16", "amx_tile"} & set(CPUS.read_text(encoding="utf-8", errors="replace").split())


def _check_size(config: Mapping[str, Any]) -> None:
    name, dataset = config["backbone"]["name"], config["dataset"]
    size = GIVEN.get(dataset["name"], dataset.get("image_size"))
    if name in TAKEN and size is not None:
        check_taken(name, size, TAKEN)


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
            f"backbone.weights={weights}: no such file; it is one that torchvision publishes, such as {name}-*.pth"
        )
    return path


def _check_corruption(config: Mapping[str, Any]) -> None:
    data_dir, dataset = user_path("data_dir", config["data_dir"]), config["dataset"]["name"]
    wanted = resolved(config["corruption"], dataset, data_dir)
    if wanted["name"] == "none":
        return
    folder = wanted.get("dir")
    if folder is None and wanted["name"] != "generated":
        folder = data_dir / OFFICIAL_FOLDERS.get(dataset, "")
    if folder is not None and not user_path("corruption.dir", folder).is_dir():
        raise BadInput(f"corruption.dir={folder}: no such folder")
    frost_dir = wanted.get("frost_dir")
    if frost_dir is not None and "frost" in select_names(wanted["names"]):
        from p2be_exp.corruptions.textures import find_textures

        find_textures(user_path("corruption.frost_dir", frost_dir), key="corruption.frost_dir")


def check_data(config: Mapping[str, Any], training: bool = True) -> None:
    """Check that the files of a configuration's data set are there at all, if they are not to be downloaded.

    Args:
        config: with ``dataset`` and ``data_dir``.
        training: whether the training images are needed.

    Raises:
        BadInput: they are not.
    """
    dataset = config["dataset"]
    name, data_dir = dataset["name"], user_path("data_dir", config["data_dir"])
    if name in ("image_folder", "imagenet"):
        from p2be_exp.data.image_folder import FolderSettings, fetch

        settings = FolderSettings.of(dataset)
        fetch(name, data_dir, settings if training else replace(settings, test_only=True), download=False)
        return
    homes = [data_dir / part for part in PUBLISHED.get(name, ())]
    if homes and not dataset.get("download", False) and not any(home.exists() for home in homes):
        advice = "set data_dir to where it is, or use dataset=digits"
        raise BadInput(f"dataset={name}: no {homes[0]}; {advice} (nothing was downloaded)")
