"""ONNX: the exported graph for other runtimes."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from p2be_exp.errors import BadInput
from p2be_exp.system.atomic import write_bytes

if TYPE_CHECKING:
    from onnx import ModelProto

METADATA = "p2be_exp"
"""The key of the description, a JSON text, in the file's ``metadata_props``."""

_NEEDED = ("onnx", "onnxscript", "onnxruntime")


def check_onnx() -> None:
    """Check that the packages that write and check ONNX are installed.

    Raises:
        BadInput: they are not.
    """
    if missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        raise BadInput(f"format=onnx: {', '.join(missing)} not installed; pip install 'p2be-exp[export]'")


def to_onnx(program: ExportedProgram) -> ModelProto:
    """An ONNX model with input ``images`` and output ``logits``, whose first dimension is ``batch`` where it is open.

    Args:
        program: see :func:`p2be_exp.export.program.exported`, with the look-up form of the stem.
    """
    exported = torch.onnx.export(program, input_names=["images"], output_names=["logits"], dynamo=True, verbose=False)
    assert exported is not None  # with dynamo=True
    proto = exported.model_proto
    graph = proto.graph
    open_batch = graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for value in (*graph.input, *graph.output, *graph.value_info):
        for size in value.type.tensor_type.shape.dim:
            if open_batch and size.dim_param == open_batch:
                size.dim_param = "batch"
        del value.metadata_props[:]
    for node in graph.node:
        del node.metadata_props[:]  # source locations on this machine
    return proto


def onnx_runner(proto: ModelProto) -> Callable[[Tensor], Tensor]:
    """The model in ONNX Runtime on the CPU: uint8 images to logits."""
    import onnxruntime

    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])


def save_onnx(proto: ModelProto, file: Path, metadata: dict[str, Any]) -> None:
    """Write an ONNX file with weights and description inside, atomically."""
    proto.metadata_props.add(key=METADATA, value=json.dumps(metadata))
    write_bytes(file, proto.SerializeToString())
