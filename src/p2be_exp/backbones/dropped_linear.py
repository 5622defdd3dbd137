"""Dropout before the last layer of a backbone, whose weights keep their names."""

from __future__ import annotations

from torch import Tensor, nn

from p2be_exp.backbones.backbone import Backbone
from p2be_exp.backbones.dropout import ImageDropout
from p2be_exp.errors import BadInput


class DroppedLinear(nn.Linear):
    """A linear layer behind dropout, with the parameters of another one.

    Args:
        linear: gives weight and bias.
        p: probability that a value becomes 0.
    """

    def __init__(self, linear: nn.Linear, p: float) -> None:
        super().__init__(linear.in_features, linear.out_features, bias=linear.bias is not None, device="meta")
        self.weight, self.bias = linear.weight, linear.bias
        self.dropout = ImageDropout(p)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, in_features)`` to ``(B, out_features)``."""
        return super().forward(self.dropout(features))


def drop_before_the_last_layer(backbone: Backbone, p: float) -> None:
    """Put dropout before the linear layer that is a backbone's last, in place.

    Args:
        backbone: a network with stages.
        p: see :class:`DroppedLinear`.

    Raises:
        BadInput: behind the stages there is no linear layer, or there are several.
    """
    inside = {id(module) for stage in backbone.stage_modules() for module in stage.modules()}
    places = [
        (module, name, layer)
        for module in backbone.modules()
        for name, layer in module.named_children()
        if isinstance(layer, nn.Linear) and id(layer) not in inside
    ]
    if len(places) != 1:
        raise BadInput(
            f"model.dropout={p}: must be 0 with {type(backbone).__name__}, which has {len(places)} linear layers "
            "behind its stages and not one"
        )
    ((module, name, layer),) = places
    setattr(module, name, DroppedLinear(layer, p))
