"""The published method, written down plainly: the same loss as ours on the same views, views as Pillow makes them."""

import os

import pytest
import torch

from benchmarks.step.parts import FRAMEWORK, PARTS
from benchmarks.step.published import VIEWS_OF, PublishedTraining, processor_seconds
from benchmarks.step.published_net import ENCODINGS, PublishedNet, published_loss
from benchmarks.step.published_views import PillowViews, pillow_loader
from benchmarks.step.training import Setting
from p2be_exp.data import Batch
from p2be_exp.training.module import TrainingModule

CPU = torch.device("cpu")
BATCH, CLASSES = 4, 100
IMAGES = torch.randint(0, 256, (BATCH, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(BATCH)
BATCH_OF_OURS = Batch(IMAGES, LABELS, torch.arange(BATCH), BATCH, BATCH, 1.0)


def ours(encoding: str, regime: str) -> TrainingModule:
    torch.manual_seed(0)
    config = Setting(encoding, regime, "wrn16_1", "32", BATCH, CPU).config()
    return TrainingModule(config, CLASSES, batches_per_epoch=10).train()


def plain_of(module: TrainingModule, encoding: str) -> PublishedNet:
    plain = PublishedNet(encoding, "wrn16_1", CLASSES).train()
    plain.take_weights(module.model)
    return plain


def views_of(module: TrainingModule, regime: str) -> torch.Tensor:
    """Ours, one view after the other, as the published network reads them."""
    if regime == "standard":
        return module.regime.clean_view(BATCH_OF_OURS, epoch=0) / 255
    return module.regime.views(module.model, BATCH_OF_OURS, epoch=0).flatten(0, 1) / 255


@pytest.mark.parametrize("regime", VIEWS_OF)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_loss_and_gradients_are_ours_on_the_same_views(encoding, regime):
    """In float64, so that no ReLU is decided by rounding; the levels are looked up as float32 has them."""
    module = ours(encoding, regime).double()
    plain = plain_of(module, encoding).double()
    views = views_of(module, regime)
    views = views.double() if encoding == "rgb" else views
    _, loss, _ = module.loss_terms(BATCH_OF_OURS, epoch=0)
    theirs = published_loss(plain, plain(views), LABELS, VIEWS_OF[regime])
    loss.backward()
    theirs.backward()
    torch.testing.assert_close(theirs, loss, rtol=1e-6, atol=0)  # RGB's table is float32's k / 255
    pairs = [(plain.conv.weight.grad, module.model.stem.weight.grad)]
    if encoding == "p2be":
        pairs += [(plain.embedding.grad, module.model.encoding.weight.grad)]
    for mine, other in pairs:
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-5 * float(other.abs().max()))


@pytest.mark.parametrize("encoding", ["rgb", "p2be"])
def test_the_loss_is_ours_in_float32_too(encoding):
    module = ours(encoding, "augmix")
    plain = plain_of(module, encoding)
    _, loss, _ = module.loss_terms(BATCH_OF_OURS, epoch=0)
    theirs = published_loss(plain, plain(views_of(module, "augmix")), LABELS, 3)
    torch.testing.assert_close(theirs, loss, rtol=1e-4, atol=0)


def test_the_code_tensor_is_channel_major():
    plain = PublishedNet("thermometer", "wrn16_1", CLASSES, M=4)
    images = torch.tensor([0.0, 0.5, 1.0]).view(1, 3, 1, 1)
    assert plain.encode(images).flatten().tolist() == [1, 1, 1, 1, 0, 0, 1, 1, 0, 0, 0, 1]


def test_a_latent_value_of_zero_has_both_slopes():
    plain = PublishedNet("p2be", "wrn16_1", CLASSES, M=4)
    plain.embedding.data[0] = torch.tensor([0.0, 0.5, -0.5, -1.5])
    codes = plain.encode(torch.zeros(1, 3, 1, 1))
    codes.sum().backward()
    assert codes.flatten().tolist() == [1, 1, 0, 0] * 3
    assert plain.embedding.grad[0].tolist() == [6.0, 1.5, 1.5, 0.0]  # of three pixels, halved


@pytest.mark.parametrize(("mixtures", "views"), [(0, 1), (2, 3)])
def test_the_loader_gives_views_between_the_levels(mixtures, views):
    loader = pillow_loader(PillowViews(IMAGES, LABELS, mixtures), 2, CPU, workers=0)
    batches = list(loader)
    assert sorted(torch.cat([labels for _, labels in batches]).tolist()) == LABELS.tolist()
    for found, _ in batches:
        assert [(each.shape, each.dtype) for each in found] == [((2, 3, 32, 32), torch.float32)] * views
        levels = [each * 255 for each in found]
        whole = [bool((each - each.round()).abs().max() < 1e-3) for each in levels]
        assert whole == [True] + [False] * mixtures
        assert all(each.min() >= 0 and each.max() <= 1 + 1e-6 for each in found)


def test_a_view_is_flipped_and_cropped_within_its_border():
    """Where each pixel of one colour is another level, its place in the image can be read off."""
    places = torch.arange(8 * 8, dtype=torch.uint8).view(8, 8) + 1
    data = PillowViews(places.expand(1, 3, 8, 8), torch.zeros(1, dtype=torch.int64), 0)
    seen = set()
    for _ in range(200):
        (view,), _ = data[0]
        view = (view[0] * 255).round().to(torch.uint8)
        for flipped in (False, True):
            padded = torch.nn.functional.pad(places.flip(1) if flipped else places, (4, 4, 4, 4))
            seen |= {(flipped, y, x) for y in range(9) for x in range(9)
                     if torch.equal(view, padded[y : y + 8, x : x + 8])}  # fmt: skip
    assert {flipped for flipped, _, _ in seen} == {False, True}
    assert {y for _, y, _ in seen} == {x for _, _, x in seen} == set(range(9))


def test_a_round_of_steps_learns_and_is_split_into_parts():
    training = PublishedTraining("p2be", "wrn16_1", "augmix", IMAGES, LABELS, 2, CLASSES, CPU, workers=0)
    before = [each.detach().clone() for each in (training.net.embedding, training.net.conv.weight)]
    ticks = iter(range(10_000))
    found = training.round(1, lambda: float(next(ticks)))
    assert list(found) == [part for part in PARTS if part in found]
    assert set(found) == {"waiting", "views", "stem", "trunk forward", "loss", "backward", "optimizers", FRAMEWORK}
    assert sum(found.values()) == 2 * 8 + 1  # the meter was asked at each of eight edges in and out, and at the end
    after = (training.net.embedding, training.net.conv.weight)
    assert all(not torch.equal(mine, other) for mine, other in zip(before, after, strict=True))


def test_the_loader_s_processes_are_in_the_views_where_they_are_asked_for():
    """The meter of this process stands still: what is left is theirs."""
    training = PublishedTraining("rgb", "wrn16_1", "augmix", IMAGES, LABELS, 2, CLASSES, CPU, workers=1)
    alone = training.round(1, lambda: 0.0)
    together = training.round(1, lambda: 0.0, with_workers=True)
    assert set(alone.values()) == {0.0}
    assert together["views"] > 0
    assert {seconds for part, seconds in together.items() if part != "views"} == {0.0}


def test_the_processor_s_time_of_a_process():
    before = processor_seconds(os.getpid())
    sum(range(100_000))
    assert processor_seconds(os.getpid()) > before
    with pytest.raises(OSError, match="Invalid argument"):
        processor_seconds(2**22 + 1)
