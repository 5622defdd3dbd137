"""MixedNUTS as a model: transformed robust logits and nearly one-hot accurate ones, mixed by a fixed weight."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from p2be_exp.config.schema import NUTS_CONSTANTS, NutsMixModelConfig, TrainConfig
from p2be_exp.models.classifier import Classifier
from p2be_exp.models.mixed import MixtureClassifier
from p2be_exp.models.nuts import ACCURATE_SCALE, RobustTransform, nuts_answers


class NutsMixedClassifier(MixtureClassifier):
    """Two classifiers by MixedNUTS; see :mod:`p2be_exp.models.nuts` for the formulas.

    Gradient attacks climb its surrogate output, since the output itself has no gradient to speak of; whether an image
    is wrong is judged on the output.

    Args:
        accurate, robust: the parts.
        scale, shift, power: s, c and p of the robust part's transform.
        alpha: weight of the robust part.
        surrogate_alpha: weight of the robust part in what an attack climbs.
        accurate_scale: of the accurate part's standardised logits.

    Source: Bai et al., "MixedNUTS: Training-Free Accuracy-Robustness Balance via Nonlinearly Mixed Classifiers", TMLR
    2024.
    """

    def __init__(
        self,
        accurate: Classifier,
        robust: Classifier,
        scale: float,
        shift: float,
        power: float,
        alpha: float,
        surrogate_alpha: float,
        accurate_scale: float = ACCURATE_SCALE,
    ) -> None:
        super().__init__(accurate, robust)
        self.transform = RobustTransform(scale, shift, power)
        self.alpha, self.surrogate_alpha, self.accurate_scale = alpha, surrogate_alpha, accurate_scale

    @classmethod
    def settings_of(cls, config: TrainConfig) -> dict[str, Any]:
        """The constants that are given, or those that the search has found."""
        model = config.model
        assert isinstance(model, NutsMixModelConfig)  # the registry's
        found = model.constants if model.calibration is None else model.calibration
        return {key: found[key] for key in NUTS_CONSTANTS} | {"accurate_scale": model.accurate_scale}

    def body(self, *features: Tensor) -> Tensor:
        """What the parts' readers read to log-probabilities ``(B, classes)``."""
        return self.answers(*features)[0]

    def answers(self, *features: Tensor) -> tuple[Tensor, Tensor]:
        """The output, and the surrogate output."""
        accurate, robust = self.logits_of_parts(*features)
        weights = self.alpha, self.surrogate_alpha
        return nuts_answers(accurate, robust, self.transform, *weights, self.accurate_scale)

    def extra_repr(self) -> str:
        transform = self.transform
        return f"s={transform.s}, c={transform.c}, p={transform.p}, alpha={self.alpha}"
