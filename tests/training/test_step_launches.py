"""A training step of the paper's recipe, the way a GPU takes: few launches, and none that the host waits for."""

import pytest
import torch
from torch import nn

from benchmarks.launches import Launches
from p2be_exp.config import training_config
from p2be_exp.data import Batch
from p2be_exp.encodings import table
from p2be_exp.models import stem
from p2be_exp.training.module import TrainingModule

MOST_LAUNCHES = 180
BATCH, CLASSES = 4, 100
GATHERS = 3  # of the loader: images, labels, image numbers


class NoTrunk(torch.autograd.Function):
    """Features to logits and back without a launch."""

    @staticmethod
    def forward(ctx, features):
        ctx.save_for_backward(features)
        return features.new_empty(len(features), CLASSES)

    @staticmethod
    def backward(ctx, grad):
        return torch.empty_like(ctx.saved_tensors[0])


def launches_of_a_step(monkeypatch, form, dtype, trunk=True):
    """Of the second step, since meters and gradients begin with the first; and the module."""
    monkeypatch.setattr(stem, "chosen_form", lambda device, M: form)
    monkeypatch.setattr(table, "products_serve", lambda device: True)
    module = TrainingModule(training_config(["encoding=p2be", "regime=augmix", "backbone=wrn16_1"]), CLASSES, 10)
    if not trunk:
        monkeypatch.setattr(module.model.trunk, "forward", NoTrunk.apply)
    views = torch.randint(256, (3, BATCH, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    monkeypatch.setattr(module.regime, "views", lambda *arguments: views)
    optimizer = module.configure_optimizers()["optimizer"]
    batch = Batch(views[0], torch.arange(BATCH), torch.arange(BATCH), BATCH, BATCH, 1.0)

    def step():
        module.on_train_batch_start(batch, 0)
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            loss = module.training_step(batch, 0)
        optimizer.zero_grad()
        loss.backward()

    step()
    with Launches() as launches:
        step()
    assert launches.waits == 0
    return launches, module


@pytest.mark.parametrize("form", ["lookup", "fused"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_few_launches_besides_views_trunk_and_optimizers(monkeypatch, form, dtype):
    """Stem, losses, meters, the table's smoothness, and setting gradients to nothing."""
    launches, _ = launches_of_a_step(monkeypatch, form, dtype, trunk=False)
    assert launches.by_name["p2be_exp.level_sums"] == 1
    assert launches.by_name["p2be_exp.fused_convolution"] == (form == "fused")
    assert launches.total + GATHERS <= MOST_LAUNCHES, launches.by_name


def test_each_weight_of_the_trunk_is_cast_once_a_step(monkeypatch):
    """For the three views together; and its gradient once on the way back."""
    rest, _ = launches_of_a_step(monkeypatch, "lookup", torch.bfloat16, trunk=False)
    launches, module = launches_of_a_step(monkeypatch, "lookup", torch.bfloat16)
    network = module.model.trunk
    weights = [each.weight for each in network.modules() if isinstance(each, nn.Conv2d)]
    casts = launches.by_name["aten._to_copy"] - rest.by_name["aten._to_copy"]
    assert casts == 2 * (len(weights) + len(list(network.classifier.parameters())))
