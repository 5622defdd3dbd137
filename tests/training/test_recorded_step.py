"""A captured step by a graph's twin on the CPU: operators recorded once and carried out again for every batch.

The operators are a GPU's, where they are the project's own, and so are the fused optimizers.
"""

import contextlib
from unittest import mock

import pytest
import torch

from gpu_way import BATCH, GpuWay, Recording
from p2be_exp.data import Batch
from p2be_exp.training import captured_step, whole_step
from p2be_exp.training.captured_step import CapturedStep, EagerTwin, warm_up
from p2be_exp.training.set_back import unchanged
from p2be_exp.training.whole_step import WholeStep

CASES = {
    "standard, P2BE": ["regime=standard"],
    "standard, RGB": ["regime=standard", "encoding=rgb"],
    "augmix, P2BE": ["regime=augmix"],
    "augmix, one-hot": ["regime=augmix", "encoding=onehot"],
    "contrain, P2BE": ["regime=contrain", "regime.attack.steps=2"],
    "contrain, thermometer": ["regime=contrain", "regime.attack.steps=2", "encoding=thermometer"],
    "advtrain, PGD": ["regime=advtrain", "attack@regime.attack=pgd", "regime.attack.steps=2"],
    "trades": ["regime=trades", "regime.attack.steps=2"],
    "mart": ["regime=mart", "regime.attack.steps=2"],
    "dropout": ["regime=standard", "backbone=allconv"],
}


class OnGpu(WholeStep):
    """With the buffers of learning rates that a GPU has."""

    def __init__(self, *arguments) -> None:
        super().__init__(*arguments)
        self.rates = {group["name"]: torch.zeros(()) for group in self.optimizer.param_groups}


def recorded(step: WholeStep):
    """What takes a graph's place; a capture carries nothing out."""
    warm_up(step)
    with unchanged(step.module, step.optimizer), Recording() as recording:
        step.run(capturing=True)
    return recording


def batch(number: int) -> Batch:
    """Others each time."""
    generator = torch.Generator().manual_seed(number)
    images = torch.randint(256, (BATCH, 3, 32, 32), generator=generator).to(torch.uint8)
    indices, labels = (torch.randint(most, (BATCH,), generator=generator) for most in (50_000, 100))
    return Batch(images, labels, indices, BATCH, BATCH, scale=1.0 if number % 2 else 0.5)


def trained(name: str, kind: type[EagerTwin], *more) -> list:
    """Losses, sums and weights of four batches in three epochs at four learning rates, by batch."""
    torch.manual_seed(0)
    training = GpuWay(False, *CASES[name])
    found = []
    with training.taken(), mock.patch("p2be_exp.training.captured_step.WholeStep", OnGpu):
        twin = kind(training.module, training.optimizer, contextlib.nullcontext, BATCH, *more)
        for number, epoch in enumerate((0, 1, 1, 7)):
            for group in training.optimizer.param_groups:
                group["lr"] = 0.1 / (1 + number)
            assert twin.take(batch(number), epoch)
            values = [twin.step.loss, *twin.step.terms.values(), *twin.step.sums.values()]
            found.append([each.detach().clone() for each in (*values, *training.module.state_dict().values())])
    return found


def same(one: list, other: list) -> bool:
    return all(torch.equal(mine, theirs) for mine, theirs in zip(one, other, strict=True))


@pytest.mark.parametrize("name", CASES)
def test_a_recorded_step_gives_the_bits_of_the_eager_one_for_every_batch(name, monkeypatch):
    eager = trained(name, EagerTwin)
    monkeypatch.setattr(CapturedStep, "_captured", lambda self, step: recorded(step))
    replayed = trained(name, CapturedStep, pytest.fail)
    assert [same(*each) for each in zip(replayed, eager, strict=True)] == [True] * 4


def bake(what: str, monkeypatch) -> None:
    """A number that was there at the first batch stays for all others."""
    if what == "epoch":
        when = whole_step.When
        monkeypatch.setattr(whole_step, "When", lambda epoch, step: when(int(epoch), step))
    else:
        monkeypatch.setattr(OnGpu, "_rates_in_place", lambda self, capturing: contextlib.nullcontext())


@pytest.mark.parametrize("baked", ["epoch", "rates"])
def test_a_number_that_a_recording_holds_would_be_seen(baked, monkeypatch):
    """The first batch, with whose numbers it was recorded, is right."""
    eager = trained("augmix, P2BE", EagerTwin)
    monkeypatch.setattr(CapturedStep, "_captured", lambda self, step: recorded(step))
    monkeypatch.setattr(captured_step, "check_outcomes", lambda *_: None)
    bake(baked, monkeypatch)
    replayed = trained("augmix, P2BE", CapturedStep, pytest.fail)
    assert [same(*each) for each in zip(replayed, eager, strict=True)] == [True, False, False, False]


class Baking(CapturedStep):
    """Captures a step that holds a number, and is checked by steps that do not."""

    baked: str

    def _captured(self, step):
        with pytest.MonkeyPatch.context() as patch:
            bake(self.baked, patch)
            return recorded(step)


@pytest.mark.parametrize("baked", ["epoch", "rates"])
def test_a_recording_that_holds_a_number_is_told_and_not_used(baked):
    torch.manual_seed(0)
    training, said = GpuWay(False, *CASES["augmix, P2BE"]), []
    with training.taken(), mock.patch("p2be_exp.training.captured_step.WholeStep", OnGpu):
        captured = Baking(training.module, training.optimizer, contextlib.nullcontext, BATCH, said.append)
        captured.baked = baked
        before = [each.detach().clone() for each in training.module.state_dict().values()]
        for group in training.optimizer.param_groups:
            group["lr"] = 0.1
        assert [captured.take(batch(number), 0) for number in range(2)] == [False, False]
    (line,) = said
    assert "so trainer.compile=off it is (a replay is another step than the ordinary one: loss " in line
    assert same([*training.module.state_dict().values()], before)
