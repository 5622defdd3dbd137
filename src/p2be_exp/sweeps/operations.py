"""Operations of a network's prediction."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from p2be_exp.config.schema import TrainConfig
from p2be_exp.data.source import Size
from p2be_exp.models.model import build_model


def operations(config: TrainConfig, size: Size) -> int:
    """Floating-point operations of a prediction of one image: those of its convolutions and products of matrices.

    A multiplication and the addition behind it are two. The stem is counted as a convolution of the codes, whatever
    form computes it. Counted while a fresh network predicts on a CPU; the random state stays as it is.

    Args:
        config: resolved and checked; of a model that is no mixture.
        size: of the data set.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        model = build_model(config, size.classes).eval()
        with FlopCounterMode(display=False) as counter:
            codes = [torch.zeros(1, 3 * each.encoding.M, size.side, size.side) for each in model.readers]
            model.body(*[reader.of_codes(each) for reader, each in zip(model.readers, codes, strict=True)])
    return counter.get_total_flops()
