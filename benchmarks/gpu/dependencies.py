"""What has to be installed, and what may be; nothing is imported to find out."""

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The repository."""

SOURCE = ROOT / "src"

NEEDED: Mapping[str, str] = {
    "torch": "torch",
    "torchvision": "torchvision",
    "pytorch_lightning": "pytorch-lightning",
    "torchmetrics": "torchmetrics",
    "hydra": "hydra-core",
    "omegaconf": "omegaconf",
    "numpy": "numpy",
    "scipy": "scipy",
    "numba": "numba",
    "cv2": "opencv-python-headless",
    "PIL": "pillow",
    "matplotlib": "matplotlib",
    "tqdm": "tqdm",
}
"""Modules that the parts import, each with the package that brings it; W&B and TensorBoard are not among them."""


def missing_line(found: Callable[[str], object] = importlib.util.find_spec) -> str | None:
    """One line that names the packages that are missing; None where there are all."""
    packages = [package for module, package in NEEDED.items() if found(module) is None]
    if not packages:
        return None
    advice = "without a network: carry them as wheels, see docs/gpu.md"
    return f"error: not installed: {', '.join(packages)}; pip install {' '.join(packages)} ({advice})"
