"""The generator as a Triton kernel and as an operator: equal to the tensor arithmetic, one launch."""

from pathlib import Path

import pytest
import torch

from benchmarks.launches import Launches
from p2be_exp.attacks.random import AttackRandom
from p2be_exp.backbones.dropout import DropoutRandom
from p2be_exp.randomness import draws
from p2be_exp.randomness.draws import ImageRandom, Purpose


@pytest.mark.slow
def test_the_kernel_draws_the_same():
    pytest.importorskip("triton")
    from triton_interpreter import run_interpreted

    run_interpreted(Path(__file__).with_name("interpreted_uniform.py"))


def test_a_batch_is_drawn_in_one_launch(monkeypatch):
    random = ImageRandom(2**40, 3, torch.arange(7), Purpose.AUGMIX)
    expected = random.uniform(68, 1)
    monkeypatch.setattr(draws, "kernels_serve", lambda device: True)
    with Launches() as launches:
        drawn = random.uniform(68, 1)
    assert dict(launches.by_name) == {"p2be_exp.uniform_of_images": 1}
    assert torch.equal(drawn, expected)


@pytest.mark.parametrize("way", ["plain", "operator"])
@pytest.mark.parametrize("epoch", [0, 3, 4_000_000])
def test_a_tensor_may_hold_the_epoch(way, epoch, monkeypatch):
    """What a captured step reads anew draws the numbers of that epoch."""
    images, held = torch.tensor([5, 0, 49_999]), torch.tensor(epoch)
    expected = [
        ImageRandom(7, epoch, images, Purpose.AUGMIX).uniform(5, 1),
        AttackRandom(7, images, Purpose.TRAINING_ATTACK, epoch).normal(2, 5),
        DropoutRandom(7, epoch, images).uniform(5, 1 << 28),
    ]
    monkeypatch.setattr(draws, "kernels_serve", lambda device: way == "operator")
    found = [
        ImageRandom(7, held, images, Purpose.AUGMIX).uniform(5, 1),
        AttackRandom(7, images, Purpose.TRAINING_ATTACK, held).normal(2, 5),
        DropoutRandom(7, held, images).uniform(5, 1 << 28),
    ]
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)
