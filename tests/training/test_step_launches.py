"""A training step of the paper's recipe, the way a GPU takes: few launches, and none that the host waits for."""

import pytest
import torch

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


@pytest.mark.parametrize("form", ["lookup", "fused"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_few_launches_besides_views_trunk_and_optimizers(monkeypatch, form, dtype):
    """Stem, losses, meters, the table's smoothness, zeroing; twice, since meters and gradients begin with the first."""
    monkeypatch.setattr(stem, "chosen_form", lambda device, M: form)
    monkeypatch.setattr(table, "products_serve", lambda device: True)
    module = TrainingModule(training_config(["encoding=p2be", "regime=augmix", "backbone=wrn16_1"]), CLASSES, 10)
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
    assert launches.by_name["p2be_exp.level_sums"] == 1
    assert launches.by_name["p2be_exp.fused_convolution"] == (form == "fused")
    assert launches.total + GATHERS <= MOST_LAUNCHES, launches.by_name
    assert launches.waits == 0
