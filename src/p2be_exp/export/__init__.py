"""Trained classifiers as one file that runs without this package, or as a folder to share."""

from p2be_exp.export.check import WrongLogits, largest_difference
from p2be_exp.export.deployment import DeployedClassifier, StemForm
from p2be_exp.export.onnx_file import check_onnx, onnx_runner, save_onnx, to_onnx
from p2be_exp.export.program import exported, save_program

__all__ = [
    "DeployedClassifier",
    "StemForm",
    "WrongLogits",
    "check_onnx",
    "exported",
    "largest_difference",
    "onnx_runner",
    "save_onnx",
    "save_program",
    "to_onnx",
]
