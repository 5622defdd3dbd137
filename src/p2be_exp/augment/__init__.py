"""Augmentations of uint8 batches, drawn independently per image: flip and crop, the AugMix operations, AugMix."""

from p2be_exp.augment.augmix import AugMix, AugMixParameters
from p2be_exp.augment.flip_crop import flip_crop, random_flip_crop
from p2be_exp.augment.geometry import Augmentation, augmentation_of
from p2be_exp.augment.operations import NO_OPERATION, Operation, apply_operation, operation_argument

__all__ = [
    "NO_OPERATION",
    "AugMix",
    "AugMixParameters",
    "Augmentation",
    "Operation",
    "apply_operation",
    "augmentation_of",
    "flip_crop",
    "operation_argument",
    "random_flip_crop",
]
