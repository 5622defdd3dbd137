"""Reading files written by ``torch.save``: once, with the checksum of every record, and without executing code.

Such a file is a zip file with a checksum for each record. PyTorch itself ignores the checksums: a flipped bit gives
another weight. The format before PyTorch 1.6 has no checksums.
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


class Damaged(ValueError):  # noqa: N818  # named after the state of the file
    """A file that differs from what was written.

    Attributes:
        record: the damaged part, as text; empty if the file is truncated or not a zip file.
    """

    def __init__(self, record: str = "") -> None:
        super().__init__(record or "not a PyTorch file, or truncated")
        self.record = record


def read_saved(file: Path, zipped: bool = True) -> Any:
    """Load a saved object on the CPU; only tensors, numbers, strings and containers are accepted.

    The bytes are read once, so that the checked content is the loaded content.

    Args:
        file: written by ``torch.save``.
        zipped: refuse the format before PyTorch 1.6, which has no checksums.

    Raises:
        Damaged: a record does not match its checksum, or it is not such a file.
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
    """Compare every record of a zip file with its checksum, and its name with that in its local header.

    Raises:
        Damaged: a record differs, is compressed, or shares its bytes with others; PyTorch writes no such records, and a
            small file could expand without bound.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(record.file_size for record in archive.infolist()) > len(content):
                raise Damaged("its records are longer than the file")  # or they overlap, which would take very long
            for record in archive.infolist():
                _check_record(archive, record)
    except Damaged:
        raise
    except Exception as error:  # zipfile raises many kinds, too
        raise Damaged from error


def _check_record(archive: zipfile.ZipFile, record: zipfile.ZipInfo) -> None:
    name = ascii(record.filename)[1:-1]  # the damage may be in the name
    if record.compress_type != zipfile.ZIP_STORED:
        raise Damaged(f"record {name} is compressed")
    if record.external_attr:  # a record marked as a folder would be left uninitialised
        raise Damaged(f"record {name} is marked as something else")
    try:
        with archive.open(record) as stream:
            while stream.read(_PIECE):
                pass
    except Exception as error:
        raise Damaged(f"record {name} does not match its checksum") from error


def check_tensors(saved: Any) -> None:
    """Check that the tensors of a saved object are plain, and together not much larger than the file.

    A tensor of 10^12 values may be one number with strides of 0, and counting its NaN would take very long.

    Args:
        saved: containers of any depth, which may contain themselves.

    Raises:
        Damaged: a tensor is sparse, quantised or on the meta device; or all together are larger than :data:`_SMALL` and
            than :data:`_SHARED` times their storage in the file.
    """
    seen: dict[int, Any] = {}  # by id; kept alive, so that no other object gets the same id
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
"""Total size of a file's tensors, in bytes, that is always accepted."""
_SHARED = 16
"""Average number of tensors that may share their storage: some networks use a layer's weights several times."""


def not_a_number(weights: Mapping[str, Any]) -> str | None:
    """The first invalid tensor of a checkpoint, and its problem; None if all are valid.

    Invalid is a tensor that contains NaN, or only infinities. (A mask may have some infinities, and a single value may
    stand for something that was never measured.)
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
