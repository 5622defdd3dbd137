"""Files that ``torch.save`` wrote: read once, with the checksum of every record compared, and nothing executed.

Such a file is a zip file with a checksum for each record. PyTorch itself looks at none of them: a flipped bit of a
weight is another weight. A file of PyTorch's format before 1.6 has none to look at.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from p2be_exp.system.foreign_files import open_file

_PIECE = 1 << 20  # bytes


class Damaged(ValueError):  # noqa: N818  # what the file is
    """A file that is not what was written.

    Attributes:
        record: what of it, in words; empty where it is no zip file, or cut off.
    """

    def __init__(self, record: str = "") -> None:
        super().__init__(record or "no file of PyTorch's, or cut off")
        self.record = record


def read_saved(file: Path, zipped: bool = True) -> Any:
    """What was saved, on the CPU: tensors, numbers, strings and containers alone, whatever the file holds.

    The bytes are read once: what was checked is what is loaded.

    Args:
        file: written by ``torch.save``.
        zipped: refuse the format before PyTorch 1.6, which has no checksums.

    Raises:
        Damaged: a record does not match its checksum, or it is no such file.
        OSError: it cannot be read.
    """
    with open_file(file) as stream:
        content = stream.read()
    if zipped or content.startswith(b"PK"):
        check_records(content)
    try:
        saved = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds
        raise Damaged from error
    check_tensors(saved)
    return saved


def check_records(content: bytes) -> None:
    """Compare every record of a zip file with its checksum, and its name with that in front of it.

    Raises:
        Damaged: one that differs, or that is compressed or shares its bytes with others, which PyTorch's do not (so
            that a small file stays small).
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(record.file_size for record in archive.infolist()) > len(content):
                raise Damaged("its records are longer than the file")  # or in each other's place: a long wait
            for record in archive.infolist():
                _check_record(archive, record)
    except Damaged:
        raise
    except Exception as error:  # zipfile raises many kinds, too
        raise Damaged from error


def _check_record(archive: zipfile.ZipFile, record: zipfile.ZipInfo) -> None:
    name = ascii(record.filename)[1:-1]  # the flipped bit may be in it
    if record.compress_type != zipfile.ZIP_STORED:
        raise Damaged(f"record {name} is compressed")
    if record.external_attr:  # called a folder, it would be left as whatever the memory held
        raise Damaged(f"record {name} is marked as something else")
    try:
        with archive.open(record) as stream:
            while stream.read(_PIECE):
                pass
    except Exception as error:
        raise Damaged(f"record {name} does not match its checksum") from error


def check_tensors(saved: Any) -> None:
    """Check that the tensors in what was saved are plain ones, and together not much larger than the file.

    A tensor of 10^12 values can be one number and the word that it is repeated; whoever counts its NaN counts long.

    Args:
        saved: containers of any depth, which may contain themselves.

    Raises:
        Damaged: a tensor is sparse, quantised or without values; or all together are larger than :data:`_SMALL` and
            than :data:`_SHARED` times what the file has of them.
    """
    seen: dict[int, Any] = {}  # by identity; kept, or another object could get the same one
    stored: dict[int, int] = {}
    size, left = 0, [saved]
    while left:
        each = left.pop()
        if id(each) in seen:
            continue
        seen[id(each)] = each
        if isinstance(each, Tensor):
            if each.layout != torch.strided or each.device.type != "cpu" or each.is_quantized:
                raise Damaged("a tensor in it is not a plain one")
            stored[each.untyped_storage().data_ptr()] = each.untyped_storage().nbytes()
            size += each.numel() * each.element_size()
        elif isinstance(each, Mapping):
            left += [*each.keys(), *each.values()]
        elif isinstance(each, list | tuple | set):
            left += each
    if size > max(_SMALL, _SHARED * sum(stored.values())):
        raise Damaged(f"its tensors would be {size:,} bytes")


_SMALL = 2**32
"""Bytes that all tensors of a file may have, however few of them are in the file."""
_SHARED = 16
"""How many tensors may share their values, on average: some networks use a layer's weights several times."""


def not_a_number(weights: Mapping[str, Any]) -> str | None:
    """The first tensor that no sound training leaves behind, and what is wrong with it; None where all are sound.

    That is one with a NaN in it, or one that is infinite throughout. (A mask may have some infinities; a single value
    may stand for something that was never measured.)
    """
    for name, value in weights.items():
        if not isinstance(value, Tensor) or not value.is_floating_point() or value.ndim == 0 or not value.numel():
            continue
        if (nans := int(value.isnan().sum())) == value.numel():
            return f"{name} is NaN throughout"
        if nans:
            return f"{name} has {nans:,} NaN among {value.numel():,} values"
        if not value.isfinite().any():
            return f"{name} is infinite throughout"
    return None
