"""``torch.export``: a classifier as a graph of PyTorch's own operators, and its ``.pt2`` file."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.export import Dim, ExportedProgram

from p2be_exp.export.deployment import DeployedClassifier, StemForm
from p2be_exp.models.classifier import Classifier
from p2be_exp.system.atomic import write_bytes

METADATA = "metadata.json"
"""Name of the description inside a ``.pt2`` file: ``torch.export.load(FILE, extra_files={METADATA: ""})``."""


def exported(
    model: Classifier, forms: StemForm | Sequence[StemForm], size: tuple[int, int], batch: int | None = None
) -> ExportedProgram:
    """The graph of a classifier: input ``images``, uint8 ``(B, 3, H, W)``; output logits, float ``(B, classes)``.

    Args:
        model: on the CPU.
        forms: of its readers, see :class:`DeployedClassifier`.
        size: height and width of the images; they are fixed.
        batch: number of images; None for any from 1 on.
    """
    deployed = DeployedClassifier(model, forms)
    # An example of one image would make 1 the only batch size.
    example = torch.zeros(batch or 2, 3, *size, dtype=torch.uint8)
    shapes = None if batch is not None else ({0: Dim("batch")},)
    program = torch.export.export(deployed, (example,), dynamic_shapes=shapes, strict=False)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    return program


def save_program(program: ExportedProgram, file: Path, metadata: dict[str, Any]) -> None:
    """Write a ``.pt2`` file with its description, atomically."""
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={METADATA: json.dumps(metadata, indent=2)})
    write_bytes(file, buffer.getbuffer())
