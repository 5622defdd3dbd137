"""How a network of torchvision becomes a trunk: it is imported only when it is asked for, and loses its first layer."""

from __future__ import annotations

from types import ModuleType

from p2be_exp.errors import BadInput


def torchvision_models(backbone: str) -> ModuleType:
    """torchvision's networks.

    Args:
        backbone: the name that needs them, for the message.

    Raises:
        BadInput: torchvision is missing, or does not fit torch.
    """
    try:
        # Imported here so that beside a broken torchvision other backbones work and this one explains itself.
        from torchvision import models
    except (ImportError, RuntimeError) as error:
        raise BadInput(
            f"backbone={backbone} needs torchvision, which cannot be imported ({' '.join(str(error).split())}): "
            "install torch and torchvision together, in one command, or use backbone=resnet18"
        ) from error
    return models
