"""What W&B has written of an offline run, read back."""

import json
import struct
from pathlib import Path

from wandb.proto import wandb_internal_pb2


def records(folder: Path) -> list:
    """What W&B has written of the only run in a folder."""
    (file,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    return records_of(file)


def records_of(file: Path) -> list:
    """What W&B has written of one run: a log of 32 KiB blocks of records, each with checksum, length and part."""
    content, at, found, parts = file.read_bytes(), 7, [], b""
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            found.append(wandb_internal_pb2.Record.FromString(parts))
            parts = b""
    return found


def of_kind(found: list, kind: str) -> list:
    return [getattr(record, kind) for record in found if record.WhichOneof("record_type") == kind]


def keys_of(found: list, kind: str) -> set[str]:
    """Names that are logged in the history or set in the summary."""
    items = [
        item for row in of_kind(found, kind) for item in getattr(row, {"history": "item", "summary": "update"}[kind])
    ]
    return {item.key or item.nested_key[0] for item in items}  # of an image or a table the name comes first


def config_of(found: list) -> dict:
    """The configuration that the run was opened with."""
    items = of_kind(found, "run")[0].config.update
    return {item.key: json.loads(item.value_json) for item in items}
