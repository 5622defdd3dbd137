"""Feature Pyramid Decoder: a network that restores what it has read, and classifies what it has restored.

Source: Li, Ding, Luo, Liu, "Enhancing Intrinsic Adversarial Robustness via Feature Pyramid Decoder", CVPR 2020,
arXiv 2005.02552, with structure and constants of the authors' code.
"""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn

from p2be_exp.backbones import Backbone
from p2be_exp.backbones.dropped_linear import drop_before_the_last_layer
from p2be_exp.backbones.stage_shapes import probed_shapes
from p2be_exp.config.schema import FPDModelConfig, TrainConfig
from p2be_exp.encodings import TableEncoding
from p2be_exp.errors import BadInput
from p2be_exp.models.around import around
from p2be_exp.models.classifier import Classifier, build_trunk
from p2be_exp.models.denoise import denoise, non_local_mean
from p2be_exp.models.pass_statistics import in_use, norms_that_run, second_statistics
from p2be_exp.models.precision import at_least_float32
from p2be_exp.models.readers import CodeReader
from p2be_exp.models.restoration import Restoration
from p2be_exp.models.stem import EncodedConv2d

DENOISED = 2
"""The first stages, whose inputs are denoised."""


class Passes(NamedTuple):
    """What the two passes give.

    Attributes:
        restored: codes ``(B, 3M, H, W)`` without bounds; None of a network that restores nothing.
        climbed: scores before the tanh, ``(B, classes)``.
        scores: behind it, which are the model's logits; float32 or more.
        maps: the outputs of the stages in the pass that classifies, finest first.
    """

    restored: Tensor | None
    climbed: Tensor
    scores: Tensor
    maps: list[Tensor]


class PyramidClassifier(Classifier):
    """A backbone, run twice with the same weights: its maps restore the image, then it classifies.

    With codes x of an image, and G the Gram matrix of channels:

        encoder(x): stem, denoise, stage 1, denoise, stage 2, the other stages
        r = restoration(all maps of encoder(x))        codes again
        y = G_x x / (H W) + r                          G_x of x; r in the place of the residual
        scores = tanh(linear(dropout(mean(encoder(y)))))

    ``denoise(f) = G_f f / (H W) + f``. In a network whose blocks begin with their batch norms f is a sum of any size,
    and two such gains, each its square, can leave float32 behind: there G is relative
    (:func:`~p2be_exp.models.denoise.denoise`).

    In train mode batch norms see two batches a forward pass. As published, both update one set of running statistics,
    which normalises both in eval mode; with ``by_pass`` each has its own, and the weights are shared as before. RGB is
    the published network on images in [0, 1]; any other encoding has codes in the place of colours.

    Args:
        encoding: gives the table of codes.
        backbone: with stages.
        width: channels of the pyramid.
        dropout: before the linear layer.
        tanh: whether there is one. Float32 has no number between tanh(9.02) and 1: classes tie, and no gradient passes.
        denoise: before the first two stages, in both passes.
        image_denoise: False leaves ``G_x x / (H W)`` out of y.
        restoration: without it there is one pass, of ``G_x x / (H W) + x``, or of x.
        statistics: ``shared`` by both passes, or ``by_pass``, which takes two.

    Attributes:
        stem, trunk: as of the plain model.
        restoration: the pyramid and the decoder, or None.
        second_statistics: the running statistics of the second pass, or None where there is one set.

    Raises:
        BadInput: the backbone halves images by no power of 2, has no one linear layer to put a dropout before, or no
            statistics to keep by pass.
    """

    def __init__(
        self,
        encoding: TableEncoding,
        backbone: Backbone,
        width: int,
        dropout: float,
        tanh: bool,
        denoise: bool,
        image_denoise: bool,
        restoration: bool,
        statistics: str,
    ) -> None:
        super().__init__()
        self.encoding = encoding
        self.stem = EncodedConv2d(encoding, **dataclasses.asdict(backbone.stem))
        self.trunk = backbone
        self.tanh, self.denoise, self.image_denoise = tanh, denoise, image_denoise
        if dropout:
            drop_before_the_last_layer(backbone, dropout)
        self.restoration: Restoration | None = None
        if restoration:
            shapes, halvings = probed_shapes(backbone)
            self.restoration = Restoration([each.channels for each in shapes], 3 * encoding.M, width, halvings)
        self.second_statistics = _second_statistics(backbone) if statistics == "by_pass" else None

    @property
    def readers(self) -> tuple[CodeReader]:
        """The codes alone; the body has the stem, through which restored codes go as well."""
        return (CodeReader(self.encoding),)

    def body(self, *features: Tensor) -> Tensor:
        """Codes ``(B, 3M, H, W)`` to scores."""
        return self.passes(*features).scores

    def answers(self, *features: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`Classifier`: the scores, and what is before the tanh."""
        found = self.passes(*features)
        return found.scores, found.climbed

    def twin_body(self, *features: Tensor) -> Tensor:
        """See :class:`Classifier`: the scores, with the gradient of what is before the tanh."""
        found = self.passes(*features)
        return around(found.scores, found.climbed) if self.tanh else found.scores

    def passes(self, codes: Tensor) -> Passes:
        """Restore codes, which need be no image's, and classify what has become of them.

        Args:
            codes: ``(B, 3M, H, W)``.

        Raises:
            ValueError: height or width cannot be restored.
        """
        restored = None
        if self.restoration is not None:
            restored = self.restoration(self._maps(codes))
            if restored.shape != codes.shape:
                sides, restored_as = (" x ".join(map(str, each.shape[2:])) for each in (codes, restored))
                raise ValueError(f"images of {sides} are restored as {restored_as}")
        read = codes if restored is None else restored
        if self.image_denoise:
            read = non_local_mean(codes, read)
        with nullcontext() if self.second_statistics is None else in_use(self.trunk, self.second_statistics):
            maps = self._maps(read)
        climbed = self.trunk.end(maps[-1])
        # In bf16 a tanh is 1 much earlier.
        return Passes(restored, climbed, torch.tanh(at_least_float32(climbed)) if self.tanh else climbed, maps)

    def _maps(self, codes: Tensor) -> list[Tensor]:
        """The outputs of all stages, finest first, from codes ``(B, 3M, H, W)``."""
        features, maps = self.trunk.begin(self.stem.convolve(codes)), []
        for number, stage in enumerate(self.trunk.stage_modules()):
            if self.denoise and number < DENOISED:
                features = denoise(features, relative=not self.trunk.activated)
            features = stage(features)
            maps.append(features)
        return maps

    def extra_repr(self) -> str:
        return f"tanh={self.tanh}, denoise={self.denoise}, image_denoise={self.image_denoise}"


def _second_statistics(backbone: Backbone) -> nn.Module:
    """Of the norms that run twice: one behind the stages is in the second pass alone."""
    if names := norms_that_run(backbone, lambda: probed_shapes(backbone)):
        return second_statistics(backbone, names)
    raise BadInput(f"model.statistics=by_pass: must be shared with {type(backbone).__name__}, which has no batch norms")


def check_restored_size(config: TrainConfig, size: int) -> None:
    """Check that ``model=fpd`` can restore square images of a size; other models pass.

    Args:
        config: checked otherwise; its backbone is built without weights to see, and thrown away.
        size: height and width of the images in pixels.

    Raises:
        BadInput: the side cannot be halved as often as the network halves it.
    """
    if not isinstance(config.model, FPDModelConfig) or not config.model.restoration:
        return
    with torch.device("meta"):
        _, halvings = probed_shapes(build_trunk(config.backbone, num_classes=2))
    if size % (step := 2**halvings):
        below, above = size // step * step, -(-size // step) * step
        raise BadInput(
            f"backbone={config.backbone.name}: with model=fpd it takes images whose height and width are divided by "
            f"{step}, such as {below} x {below} and {above} x {above}, not {size} x {size}"
        )
