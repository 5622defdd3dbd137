"""Checks of anybody's network on a few images: that its outputs are logits, and that attacks get a gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from p2be_exp.errors import BadInput, one_line
from p2be_exp.models.module_classifier import ModuleClassifier

_SUMS_TO_ONE = 1e-3


def check_module(model: ModuleClassifier, images: Tensor, classes: int, climbs: bool, key: str = "model") -> None:
    """Check a network before anything long; it is in eval mode meanwhile, and its input's order in memory is settled.

    Args:
        model: of a module.
        images: a few, uint8 ``(B, 3, H, W)``, where the model is.
        classes: of the data set.
        climbs: whether an attack will follow its gradient.
        key: names the model in messages.

    Raises:
        BadInput: the module fails on the images, or its outputs are not logits of the classes; no gradient reaches the
            images although an attack climbs. The same of its surrogate.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        features = _settled(model, images, classes, key)
        if climbs:
            _check_gradient(model, features, classes, key)
    finally:
        for module, mode in modes:
            module.training = mode


def _settled(model: ModuleClassifier, images: Tensor, classes: int, key: str) -> Tensor:
    """The features of the images, once their order in memory is one that the module takes."""
    with torch.no_grad():
        (features,) = model.read(images)
        try:
            logits = model.body(features)
        except Exception:
            model.contiguous = True  # it may flatten by view
            try:
                logits = model.body(features)
            except Exception as error:
                raise _fails(key, features, error) from error
    check_logits(logits, len(images), classes, key)
    return features


def _check_gradient(model: ModuleClassifier, features: Tensor, classes: int, key: str) -> None:
    own = model.own_surrogate is not None
    key = "surrogate" if own else key
    features = features.detach().requires_grad_()
    with torch.enable_grad():
        try:
            climbed = model.climbed(features)
        except Exception as error:
            raise _fails(key, features, error) from error
        check_logits(climbed, len(features), classes, key)
        # Weights that rise from class to class: a sum of probabilities, or of their logarithms, leaves something.
        gradient = _gradient(climbed.double() @ torch.linspace(-1, 1, classes).to(climbed.device).double(), features)
    if gradient is None or not gradient.nan_to_num(0.0, 0.0, 0.0).any():
        remedy = (
            "it must be differentiable"
            if own
            else "give its pre-processing as encoding=TABLE, or a differentiable surrogate=CALLABLE, or choose attacks "
            "without a gradient (square)"
        )
        raise BadInput(f"{key}: no gradient reaches the image; {remedy}")


def _gradient(values: Tensor, features: Tensor) -> Tensor | None:
    if not values.requires_grad:
        return None
    return torch.autograd.grad(values.sum(), features, allow_unused=True)[0]


def check_logits(logits: object, images: int, classes: int, key: str = "model") -> None:
    """Check that outputs are logits: finite floats, a row for each image, a column for each class.

    Raises:
        BadInput: they are not; or they are probabilities, whose gradients vanish where a network is sure.

    >>> check_logits(torch.zeros(2, 10), 2, 10)
    >>> check_logits(torch.zeros(2, 1000), 2, 10)
    Traceback (most recent call last):
    ...
    p2be_exp.errors.BadInput: model: outputs of shape (2, 1000); must be logits, (2, 10) for 2 images and 10 classes
    """
    expected = f"must be logits, ({images}, {classes}) for {images} images and {classes} classes"
    if not isinstance(logits, Tensor):
        raise BadInput(f"{key}: outputs are {type(logits).__name__}; {expected}")
    if logits.shape != (images, classes):
        raise BadInput(f"{key}: outputs of shape {tuple(logits.shape)}; {expected}")
    if not logits.is_floating_point():
        raise BadInput(f"{key}: outputs of {logits.dtype}; must be logits, floats")
    if not logits.isfinite().all():
        raise BadInput(f"{key}: outputs that are not finite; must be logits")
    sums = logits.detach().float().sum(1)
    if classes > 1 and (logits >= 0).all() and ((sums - 1).abs() < _SUMS_TO_ONE).all():
        raise BadInput(f"{key}: outputs that sum to 1 are probabilities; must be logits, such as their logarithms")


def _fails(key: str, features: Tensor, error: Exception) -> BadInput:
    first = one_line(next(iter(str(error).strip().splitlines()), ""))
    said = f"{type(error).__name__}: {first}" if first else type(error).__name__
    return BadInput(f"{key}: fails on input {features.dtype} {tuple(features.shape)} ({said})")
