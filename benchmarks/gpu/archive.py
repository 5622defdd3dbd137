"""What is taken away of a training: rows, figures and the weights in bf16, in one archive."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from p2be_exp.runs.run import Run

WEIGHTS = "checkpoints/weights.ckpt"


def write_archive(run: Run, file: Path, most_bytes: int) -> list[str]:
    """Write the archive of a run: the weights first, then text, then figures, as far as there is room.

    ``weights.ckpt`` takes the place of ``last.ckpt``: renamed to it, it is loaded by ``load_run``; a training cannot
    go on from it.

    Args:
        run: the run folder.
        file: the archive; its members are below a folder of the run's name.
        most_bytes: that the archive may have.

    Returns:
        What there was no room for.
    """
    left_out: list[str] = []
    room = most_bytes - 4096  # the archive's end
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in _members(run):
            compressed = _size(archive)
            archive_name = f"{run.path.name}/{name}"
            if compressed + len(data) + 512 > room and compressed + _deflated(data) + 512 > room:
                left_out.append(name)
                continue
            archive.writestr(archive_name, data)
    return left_out


def weights_in_bf16(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint without optimizers: floating-point weights in bf16, everything else of the state as it is."""
    import torch

    state = {
        name: value.to(torch.bfloat16) if value.is_floating_point() else value
        for name, value in checkpoint["state_dict"].items()
    }
    kept = {key: checkpoint[key] for key in ("epoch", "global_step", "hyper_parameters") if key in checkpoint}
    return {"state_dict": state, **kept, "weights": "bf16"}


def _members(run: Run) -> Iterator[tuple[str, bytes]]:
    import io

    import torch

    if run.checkpoint("last").is_file():
        checkpoint = torch.load(run.checkpoint("last"), map_location="cpu", weights_only=True)
        written = io.BytesIO()
        torch.save(weights_in_bf16(checkpoint), written)
        yield WEIGHTS, written.getvalue()
    for pattern in ("*.yaml", "*.json", "*.csv", "evaluations/*/*.json", "evaluations/*/*.csv", "*.log", "**/*.png"):
        for path in sorted(run.path.glob(pattern)):
            yield str(path.relative_to(run.path)), path.read_bytes()


def _size(archive: zipfile.ZipFile) -> int:
    return sum(info.compress_size + 2 * len(info.filename) + 256 for info in archive.infolist())


def _deflated(data: bytes) -> int:
    import zlib

    return len(zlib.compress(data))
