"""No point of a training step waits for the device."""

import contextlib

import pytest
import torch

from benchmarks.launches import Launches
from gpu_way import GpuWay, Waits
from p2be_exp.attacks.margin import margins
from p2be_exp.training.meter import EpochMeter
from p2be_exp.training.whole_step import WholeStep

pytest.importorskip("triton")  # without it other operators serve on a GPU

STEPS = {
    "standard, P2BE": ["regime=standard"],
    "standard, RGB": ["regime=standard", "encoding=rgb"],
    "augmix, P2BE": ["regime=augmix"],
    "augmix, one-hot": ["regime=augmix", "encoding=onehot"],
    "contrain, P2BE": ["regime=contrain"],
    "contrain, thermometer": ["regime=contrain", "encoding=thermometer"],
    "advtrain, PGD": ["regime=advtrain", "attack@regime.attack=pgd", "regime.attack.steps=3"],
    "trades": ["regime=trades", "regime.attack.steps=3"],
    "mart": ["regime=mart", "regime.attack.steps=3"],
    "perturbed weights": ["regime=trades", "regime.awp_gamma=0.005", "regime.awp_warmup=0"],
    "noisymix": ["regime=noisymix"],
    "dropout": ["regime=standard", "backbone=allconv"],
    "gradients clipped": ["regime=standard", "optim.clip_norm=1.0"],
}


@pytest.mark.parametrize("name", [name for name in STEPS if name != "perturbed weights"])  # which take a gradient
def test_a_gpu_computes_views_and_loss_without_being_asked(name):
    training = GpuWay(True, *STEPS[name])
    with training.taken():
        list(training.losses())  # constants go to the device once
        with Waits() as waits:
            list(training.losses())
    assert waits.found == []


@pytest.mark.parametrize("name", STEPS)
def test_a_whole_step_reads_nothing_back(name):
    training = GpuWay(False, *STEPS[name])
    with training.taken():
        training.step()  # states begin
        with Waits() as waits:
            training.step()
    assert waits.found == []


CAPTURABLE = [name for name in STEPS if name not in ("perturbed weights", "noisymix")]


@pytest.mark.parametrize("name", STEPS)
def test_regimes_say_which_steps_can_be_captured(name):
    assert GpuWay(False, *STEPS[name]).module.regime.capturable == (name in CAPTURABLE)


@pytest.mark.parametrize("name", CAPTURABLE)
def test_a_step_to_be_captured_reads_nothing_back(name):
    """The epoch, the scale and the learning rates by tensors."""
    training = GpuWay(False, *STEPS[name])
    with training.taken():
        step = WholeStep(training.module, training.optimizer, contextlib.nullcontext, training.batch)
        step._rates = {group["name"]: torch.zeros(()) for group in training.optimizer.param_groups}  # as on a GPU
        step.fill(training.batch, 3)
        step.run()
        with Waits() as waits:
            step.fill(training.batch, 4)
            step.run()
    assert waits.found == []


def test_what_waits_is_found():
    training = GpuWay(True, "regime=standard")
    with training.taken():
        (loss,) = training.losses()
        with pytest.raises(Exception, match="_local_scalar_dense"):
            loss.item()
        with Waits() as waits:
            torch.zeros(3).to("cuda")
    assert len(waits.found) == 1
    with Waits() as waits:
        torch.ones(3)[torch.tensor([True, False, True])].sum().item()
    assert len(waits.found) == 2


def test_margins_are_those_of_a_mask():
    logits = torch.randn(6, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels = torch.tensor([0, 4, 2, 2, 1, 3])
    right = torch.nn.functional.one_hot(labels, 5).bool()
    expected = logits.masked_fill(right, -torch.inf).amax(1) - logits[right]
    found = margins(logits, labels)
    assert torch.equal(found, expected)
    weights = torch.arange(1.0, 7.0)
    (one,), (other,) = (torch.autograd.grad((weights * each).sum(), logits) for each in (found, expected))
    assert torch.equal(one, other)


def test_sums_stay_in_their_place():
    meter = EpochMeter()
    meter.add({"loss": torch.tensor(2.0)}, 3)
    place = meter._sums["loss"]
    meter.add({"loss": torch.tensor(5.0)}, 1)
    assert meter._sums["loss"] is place
    assert meter.means() == {"loss": 11 / 4}


def test_the_numbers_of_a_progress_line_are_one_wait():
    meter = EpochMeter()
    meter.add({"loss": torch.tensor(2.0), "ce": torch.tensor(1.0), "error": torch.tensor(50.0)}, 4)
    with Launches() as launches:
        means = meter.local_means()
    assert means == {"loss": 2.0, "ce": 1.0, "error": 50.0}
    assert launches.by_name == {"aten.stack": 1}
    assert launches.waits == 0  # but for that of tolist(), a copy
