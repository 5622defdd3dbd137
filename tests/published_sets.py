"""Small sets in the layout of the published CIFAR-10-C, the ways in which one can be broken, and a table for them."""

import hashlib
from pathlib import Path

import numpy as np
import torch

from p2be_exp.corruptions.names import ALL, SEVERITIES
from p2be_exp.data import ImageDataModule, ImageSet

N = 12
LABELS = np.arange(N) * 5 % 10
NAMES = ("gaussian_noise", "fog", "spatter")


def data_module(indices=None, labels=LABELS, size=(32, 32), batch_size=5, total=N) -> ImageDataModule:
    """A data module whose test set is made up: image i has the label `labels[i]`."""
    data = ImageDataModule(
        "cifar10", "nowhere", batch_size=4, eval_batch_size=batch_size, seed=0, limit_train=None, limit_test=None,
        val_size=0, split_seed=0, download=False,
    )  # fmt: skip
    indices = torch.arange(N) if indices is None else torch.tensor(indices)
    data._total_test = total
    data._sets["test"] = ImageSet(
        torch.zeros(len(indices), 3, *size, dtype=torch.uint8),
        torch.from_numpy(labels)[indices],
        tuple("0123456789"),
        indices=indices,
    )
    return data


def value_of(name: str, severity: int, image: int) -> int:
    """The first value of an image of the made-up set: another for every image of every cell."""
    return (ALL.index(name) * 61 + severity * 17 + image) % 256


def write_set(folder: Path, names=NAMES) -> Path:
    """A folder like the published one, of N images: images of noise that begin with a value that tells who they are."""
    folder.mkdir()
    for name in names:
        images = np.random.default_rng(ALL.index(name)).integers(256, size=(5 * N, 32, 32, 3)).astype(np.uint8)
        for severity in SEVERITIES:
            for image in range(N):
                images[(severity - 1) * N + image, 0, 0, 0] = value_of(name, severity, image)
        np.save(folder / f"{name}.npy", images)
    np.save(folder / "labels.npy", np.tile(LABELS, 5).astype(np.uint8))
    return folder


def md5s(folder: Path) -> dict[str, str]:
    """What the table of published digests would say, if the files of a folder were the published ones."""
    return {file.stem: hashlib.md5(file.read_bytes()).hexdigest() for file in folder.glob("*.npy")}


def change_a_byte(file: Path, place: int = -1) -> None:
    """Change one byte of a file, where it lies."""
    with file.open("rb+") as stream:
        stream.seek(place, 2 if place < 0 else 0)
        byte = stream.read(1)[0]
        stream.seek(place, 2 if place < 0 else 0)
        stream.write(bytes([byte ^ 0x29]))  # of a blank it makes a tab


def truncate(folder):
    content = (folder / "fog.npy").read_bytes()
    (folder / "fog.npy").write_bytes(content[: len(content) // 2])


def cut_header(folder):
    (folder / "fog.npy").write_bytes(b"\x93NUMPY\x01")


def not_an_array(folder):
    (folder / "fog.npy").write_bytes(b"an error page")


def objects(folder):
    np.save(folder / "fog.npy", np.array([{}], dtype=object), allow_pickle=True)


def one_severity(folder):
    np.save(folder / "fog.npy", np.zeros((N, 32, 32, 3), np.uint8))


BROKEN = {
    "no labels": (lambda f: (f / "labels.npy").unlink(), r"labels\.npy is missing"),
    "float labels": (lambda f: np.save(f / "labels.npy", np.tile(LABELS, 5) / 2), r"labels\.npy is float64 \(60,\)"),
    "labels 2-d": (lambda f: np.save(f / "labels.npy", np.zeros((60, 2), int)), r"labels\.npy is int64 \(60, 2\)"),
    "labels of no five": (lambda f: np.save(f / "labels.npy", np.zeros(59, int)), r"labels\.npy is int64 \(59,\)"),
    "labels by image": (
        lambda f: np.save(f / "labels.npy", np.repeat(LABELS, 5)), r"labels\.npy differs between severities"
    ),
    "labels of one severity": (
        lambda f: np.save(f / "labels.npy", np.arange(N - 2)),
        r"labels\.npy differs between severities; expected the labels of the test set, 5 times over",
    ),
    "labels cut": (lambda f: (f / "labels.npy").write_bytes(b""), r"labels\.npy: truncated"),
    "truncated": (truncate, r"fog\.npy: truncated, or not an array"),
    "header cut": (cut_header, r"fog\.npy: truncated, or not an array"),
    "no array": (not_an_array, r"fog\.npy: truncated, or not an array"),
    "objects": (objects, r"fog\.npy: truncated, or not an array"),
    "float": (lambda f: np.save(f / "fog.npy", np.zeros((60, 32, 32, 3), np.float32)), r"fog\.npy: float32 \(60, 32"),
    "channels first": (
        lambda f: np.save(f / "fog.npy", np.zeros((60, 3, 32, 32), np.uint8)),
        r"fog\.npy: uint8 \(60, 3, 32, 32\), expected uint8 \(60, H, W, 3\)",
    ),
    "gray": (lambda f: np.save(f / "fog.npy", np.zeros((60, 32, 32), np.uint8)), r"fog\.npy: uint8 \(60, 32, 32\)"),
    "short": (lambda f: np.save(f / "fog.npy", np.zeros((48, 32, 32, 3), np.uint8)), r"fog\.npy: 48 images.*60"),
    "one severity": (one_severity, r"fog\.npy: 12 images, labels\.npy has 60"),
    "other size": (lambda f: np.save(f / "fog.npy", np.zeros((60, 16, 16, 3), np.uint8)), r"fog\.npy: images of 16x16"),
    "empty": (lambda f: [(f / f"{name}.npy").unlink() for name in NAMES], r"no corruption in it"),
}  # fmt: skip
"""How a folder of :func:`write_set` can be broken, and what is said of it."""
