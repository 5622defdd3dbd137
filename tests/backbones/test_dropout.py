"""Dropout: which elements become 0, how often, and that batches, processes and a resume do not change it."""

import os
import signal
from pathlib import Path

import pytest
import torch
from torch import nn

from commandline import assert_equal, at_batch, checkpoint_of, train
from p2be_exp.attacks.attack import attacked
from p2be_exp.backbones.dropout import DropoutRandom, ImageDropout, dropout_from
from p2be_exp.randomness.draws import ImageRandom, Purpose
from p2be_exp.training import module as training


def zeros_of(dropout, random, features):
    with dropout_from(dropout, random):
        return dropout(features) == 0


def test_the_draws_are_those_of_the_counter_based_generator():
    images = torch.tensor([5, 0, 123456])
    draws = DropoutRandom(2**32 - 1, 7, images).uniform(5, 3)
    assert torch.equal(draws, ImageRandom(2**32 - 1, 7, images, Purpose.DROPOUT).uniform(5, 3))


def test_by_hand():
    # Element (channel, row, column) reads draw (row, column, channel) of its image and view, channel fastest.
    p, shape, images = 0.3, (2, 3, 4), torch.tensor([11, 3])
    network = nn.Sequential(ImageDropout(p), ImageDropout(p)).train()
    features = torch.rand(6, *shape) + 1
    with dropout_from(network, DropoutRandom(5, 2, images)):
        found = [network[0](features), network[1](features)]
    random = ImageRandom(5, 2, images, Purpose.DROPOUT)
    for place in (0, 1):
        for view in range(3):
            draws = random.uniform(24, place * 2**28 + view * 24).view(2, 3, 4, 2).permute(0, 3, 1, 2)
            expected = torch.where(draws < p, 0, features[2 * view : 2 * view + 2] / (1 - p))
            torch.testing.assert_close(found[place][2 * view : 2 * view + 2], expected)


def test_the_share_of_zeros_and_the_mean():
    dropout = ImageDropout(0.2).train()
    out = torch.ones(64, 3, 32, 32).to(memory_format=torch.channels_last)
    with dropout_from(dropout, DropoutRandom(0, 0, torch.arange(64))):
        out = dropout(out)
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert out.unique().tolist() == pytest.approx([0, 1.25])
    n = out.numel()
    assert abs((out == 0).float().mean().item() - 0.2) < 4 * (0.2 * 0.8 / n) ** 0.5
    of_channel, of_image = (out == 0).float().mean(dim=(0, 2, 3)), (out == 0).float().mean(dim=(1, 2, 3))
    assert (of_channel - 0.2).abs().max() < 5 * (0.16 / (n / 3)) ** 0.5
    assert (of_image - 0.2).abs().max() < 5 * (0.16 / (n / 64)) ** 0.5


def test_an_image_loses_the_same_elements_in_any_batch():
    dropout, features = ImageDropout(0.5).train(), torch.ones(4, 6)
    whole = zeros_of(dropout, DropoutRandom(1, 2, torch.tensor([4, 9, 0, 7])), features)
    part = zeros_of(dropout, DropoutRandom(1, 2, torch.tensor([7, 9])), features[:2])
    assert torch.equal(part, whole[[3, 1]])


def test_seeds_epochs_images_views_and_places_differ():
    network = nn.Sequential(ImageDropout(0.5), ImageDropout(0.5)).train()
    features = torch.ones(2, 200)
    masks = []
    for seed, epoch in ((0, 0), (1, 0), (0, 1)):
        with dropout_from(network, DropoutRandom(seed, epoch, torch.tensor([3]))):
            masks += [*(network[0](features) == 0), *(network[1](features) == 0)]
    assert len({tuple(mask.tolist()) for mask in masks}) == len(masks) == 12


def test_views_are_counted_over_several_calls_of_a_step():
    dropout, random = ImageDropout(0.5).train(), DropoutRandom(0, 0, torch.arange(3))
    features = torch.ones(6, 10)
    with dropout_from(dropout, random):
        together = dropout(features)
    with dropout_from(dropout, random):
        first = dropout(features[:3])
        with attacked(dropout):  # as an inner attack does between them: nothing is drawn or counted
            assert torch.equal(dropout(features), features)
        apart = torch.cat([first, dropout(features[3:])])
    assert torch.equal(apart, together)


def test_in_eval_mode_nothing_happens():
    dropout, features = ImageDropout(0.5).eval(), torch.randn(3, 4)
    assert dropout(features) is features
    with dropout_from(dropout, DropoutRandom(0, 0, torch.arange(3))):
        assert dropout(features) is features


def test_outside_of_a_step_torchs_random_state_decides():
    dropout, features = ImageDropout(0.5).train(), torch.ones(10, 100)
    with dropout_from(dropout, DropoutRandom(0, 0, torch.arange(10))):
        pass
    torch.manual_seed(0)
    found = dropout(features)
    torch.manual_seed(0)
    assert torch.equal(found, nn.Dropout(0.5)(features))


def test_inside_of_a_step_torchs_random_state_is_left_alone():
    state = torch.get_rng_state()
    zeros_of(ImageDropout(0.5).train(), DropoutRandom(0, 0, torch.arange(10)), torch.ones(10, 100))
    assert torch.equal(torch.get_rng_state(), state)


def test_half_precision_and_gradient():
    dropout = ImageDropout(0.5).train()
    features = torch.ones(2, 50, dtype=torch.bfloat16, requires_grad=True)
    with dropout_from(dropout, DropoutRandom(0, 0, torch.arange(2))):
        out = dropout(features)
    assert out.dtype == torch.bfloat16
    out.sum().backward()
    assert torch.equal(features.grad, out.detach())


def test_a_batch_that_is_no_whole_number_of_views_is_refused():
    with (
        dropout_from(dropout := ImageDropout(0.5).train(), DropoutRandom(0, 0, torch.arange(3))),
        pytest.raises(ValueError, match="4 feature maps are no whole number of views of 3 images"),
    ):
        dropout(torch.ones(4, 2))


ALLCONV = (
    *("experiment=quickstart", "corruption=none", "attack=none", "trainer.progress=false", "backbone=allconv"),
    *("encoding.M=2", "limit_train=8", "limit_test=4", "batch_size=4", "epochs=2", "seed=3", "hydra.run.dir=run"),
)


@pytest.mark.usefixtures("workdir")
def test_a_stopped_training_goes_on_to_the_same_bits(monkeypatch):
    drawn = []

    def noting(seed, epoch, images):
        drawn.append((seed, epoch, images.tolist()))
        return DropoutRandom(seed, epoch, images)

    with monkeypatch.context() as patch:
        patch.setattr(training, "DropoutRandom", noting)
        assert train(*ALLCONV[:-1], "hydra.run.dir=whole").code == 0
    assert [(seed, epoch) for seed, epoch, _ in drawn] == [(3, 0), (3, 0), (3, 1), (3, 1)]
    of_epoch = [{*drawn[place][2], *drawn[place + 1][2]} for place in (0, 2)]
    assert of_epoch[0] == of_epoch[1]
    assert len(of_epoch[0]) == 8
    at_batch(monkeypatch, 0, 0, lambda: os.kill(os.getpid(), signal.SIGINT))
    assert train(*ALLCONV).code == 130
    assert train("resume=run").code == 0
    for part in ("state_dict", "optimizer_states", "train_meter"):
        assert_equal(checkpoint_of(Path("run"))[part], checkpoint_of(Path("whole"))[part], part)
