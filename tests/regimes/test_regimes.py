"""How a regime turns a batch into loss terms: which views the model sees, and what is made of its logits."""

import pytest
import torch
from torch import nn

from p2be_exp.augment import AugMix, augmentation_of, random_flip_crop
from p2be_exp.config import training_config
from p2be_exp.config.schema import AugMixConfig
from p2be_exp.data import Batch
from p2be_exp.encodings import RGB, OneHot, TableEncoding, Thermometer
from p2be_exp.encodings.buckets import bucket_of_level
from p2be_exp.errors import BadInput
from p2be_exp.randomness.draws import ImageRandom, Purpose
from p2be_exp.regimes import AugMixRegime, Standard, build_regime, list_regimes
from usual import P2BE

SEED, EPOCH, B = 11, 3, 5


class Noting(nn.Module):
    """A model that keeps what it was shown; its logits are a fixed function of the levels."""

    def __init__(self, encoding=None) -> None:
        super().__init__()
        self.shown: list[torch.Tensor] = []
        self.encodings = (encoding or P2BE(4),)
        self.weight = torch.randn(4, 3 * 32 * 32, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    def forward(self, images):
        self.shown.append(images)
        return images.flatten(1).double() @ self.weight.T / 3000


def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (B, 3, 32, 32), generator=generator).to(torch.uint8)
    return Batch(images, torch.tensor([0, 3, 1, 2, 2]), torch.tensor([70, 5, 1, 900, 33]), B, B, 1.0)


def flipped_and_cropped(given: Batch) -> torch.Tensor:
    return random_flip_crop(given.images, ImageRandom(SEED, EPOCH, given.indices, Purpose.FLIP_CROP))


def cross_entropy(logits, labels):
    powers = logits.exp()
    return -(powers[torch.arange(len(labels)), labels] / powers.sum(1)).log().mean()


def augmix(**settings) -> AugMixRegime:
    return AugMixRegime(
        SEED, **{"alpha_jsd": 12.0, "magnitude": 3.0, "view_rounding": "floor", "augment": random_flip_crop, **settings}
    )


def test_standard():
    model, given = Noting(), batch()
    result = Standard(SEED, random_flip_crop).loss(model, given, EPOCH)
    (shown,) = model.shown
    assert torch.equal(shown, flipped_and_cropped(given))
    assert not torch.equal(shown, given.images)
    assert set(result.terms) == {"ce"}
    assert result.weights.get("ce", 1.0) == 1.0
    assert result.terms["ce"].item() == pytest.approx(cross_entropy(model(shown), given.labels).item(), abs=1e-12)
    assert torch.equal(result.logits, model(shown))


@pytest.mark.parametrize("rounding", ["floor", "nearest"])
def test_augmix_shows_three_views_in_one_forward(rounding):
    model, given = Noting(), batch()
    augmix(view_rounding=rounding).loss(model, given, EPOCH)
    (shown,) = model.shown
    clean = flipped_and_cropped(given)
    random = ImageRandom(SEED, EPOCH, given.indices, Purpose.AUGMIX)
    first, second = AugMix(views=2, magnitude=3.0, rounding=rounding)(clean, random)
    assert torch.equal(shown, torch.cat([clean, first, second]))
    assert len({clean.sum().item(), first.sum().item(), second.sum().item()}) == 3


class Plugin(TableEncoding):
    """An encoding of the user's own, with or without buckets."""

    name = "own"

    def __init__(self, binary, buckets=None):
        super().__init__(3)
        self.binary, self._buckets = binary, buckets

    def table(self):
        return torch.zeros(256, 3)

    def buckets(self):
        return self._buckets


UNEVEN = (torch.arange(256) >= 100).long() + (torch.arange(256) >= 110)
ROUNDINGS = {
    "onehot": (OneHot(16), ("floor", 16)),
    "thermometer": (Thermometer(64), ("floor", 64)),
    "as many buckets as levels": (Thermometer(256), ("floor", 256)),
    "p2be": (P2BE(8), ("floor", None)),
    "rgb": (RGB(), ("nearest", None)),
    "own, binary": (Plugin(True), ("floor", None)),
    "own, real": (Plugin(False), ("nearest", None)),
    "own, the same buckets": (Plugin(True, bucket_of_level(7)), ("floor", 7)),
    "own, the same buckets of real codes": (Plugin(False, bucket_of_level(7)), ("floor", 7)),
    "own, other buckets": (Plugin(True, UNEVEN), ("floor", None)),
    "own, other buckets of real codes": (Plugin(False, UNEVEN), ("nearest", None)),
}


@pytest.mark.parametrize("name", ROUNDINGS)
def test_the_references_rounding_goes_by_the_encoding(name):
    encoding, (rounding, buckets) = ROUNDINGS[name]
    model, given = Noting(encoding), batch()
    regime = augmix(view_rounding="reference")
    regime.loss(model, given, EPOCH)
    random = ImageRandom(SEED, EPOCH, given.indices, Purpose.AUGMIX)
    expected = AugMix(magnitude=3.0, rounding=rounding, buckets=buckets)(flipped_and_cropped(given), random)
    assert torch.equal(model.shown[0][B:], expected.flatten(0, 1))
    floored = Noting(encoding)
    augmix(view_rounding="floor").loss(floored, given, EPOCH)
    assert torch.equal(floored.shown[0], model.shown[0]) == ((rounding, buckets) == ("floor", None))


def test_the_references_rounding_of_two_encodings_is_one_or_none():
    model, given = Noting(), batch()
    model.encodings = (Thermometer(16), OneHot(16))
    augmix(view_rounding="reference").loss(model, given, EPOCH)
    model.encodings = (Thermometer(16), RGB())
    told = (
        r"^regime.view_rounding=reference: the model's encodings \(thermometer, rgb\) have different ones; allowed are"
    )
    with pytest.raises(BadInput, match=told):
        augmix(view_rounding="reference").loss(model, given, EPOCH)


def test_augmix_terms():
    model, given = Noting(), batch()
    result = augmix().loss(model, given, EPOCH)
    logits = model(model.shown[0]).view(3, B, 4)
    p = logits.exp() / logits.exp().sum(-1, keepdim=True)
    mixture = p.mean(0)  # nowhere below the clamp
    assert mixture.min() > 1e-7
    jsd = sum((q * (q / mixture).log()).sum(1).mean() for q in p) / 3
    assert result.terms["ce"].item() == pytest.approx(cross_entropy(logits[0], given.labels).item(), abs=1e-12)
    assert result.terms["jsd"].item() == pytest.approx(jsd.item(), abs=1e-12)
    assert jsd > 1e-3
    assert set(result.terms) == {"ce", "jsd"}
    assert torch.equal(result.logits, logits[0])


def test_augmix_weights():
    weights = augmix(alpha_jsd=7.5).loss(Noting(), batch(), EPOCH).weights
    assert weights["jsd"] == 7.5
    assert weights.get("ce", 1.0) == 1.0


@pytest.mark.parametrize("regime", [Standard(SEED, random_flip_crop), augmix()], ids=["standard", "augmix"])
def test_views_change_with_epoch_and_seed_but_not_with_the_rest_of_the_batch(regime):
    given, model = batch(), Noting()
    regime.loss(model, given, EPOCH)
    regime.loss(model, given, EPOCH + 1)
    regime.seed += 1
    regime.loss(model, given, EPOCH)
    regime.seed -= 1
    regime.loss(model, Batch(*(values[2:] for values in given[:3]), 3, 3, 1.0), EPOCH)
    here, later, other_seed, part = (
        shown.unflatten(0, (-1, n)) for shown, n in zip(model.shown, (B, B, B, 3), strict=True)
    )
    assert not torch.equal(here, later)
    assert not torch.equal(here, other_seed)
    assert torch.equal(here[:, 2:], part)


def test_registry():
    assert list_regimes() == [
        "advtrain", "augmix", "contrain", "fpd", "mart", "mixing", "noisymix", "none", "standard", "tenet", "trades",
    ]  # fmt: skip
    config = training_config(["regime=standard"]).regime
    assert type(build_regime(config, seed=4, augmentation="flip_crop")) is Standard
    config = training_config(["regime=augmix", "regime.alpha_jsd=3", "regime.view_rounding=nearest"])
    regime = build_regime(config.regime, seed=4, augmentation="flip_crop")
    assert type(regime) is AugMixRegime
    assert (regime.seed, regime.alpha_jsd) == (4, 3)


def test_the_published_settings_are_the_default():
    # spec/p2be.md 1.5: weight 12, severity 3; the codes of mixtures are the reference's.
    config = training_config([]).regime
    assert config == AugMixConfig(alpha_jsd=12.0, magnitude=3.0, view_rounding="reference")
    config = training_config(["preset=paper"]).regime
    assert config.view_rounding == "floor"


@pytest.mark.parametrize("regime", ["standard", "augmix"])
def test_the_data_sets_augmentation_comes_first(regime):
    config = training_config([f"regime={regime}"]).regime
    seen = {}
    for name in ("flip_crop", "crop", "resized_crop", "none"):
        model, given = Noting(), batch()
        build_regime(config, SEED, name).loss(model, given, EPOCH)
        seen[name] = model.shown[0][:B]
    random = ImageRandom(SEED, EPOCH, batch().indices, Purpose.FLIP_CROP)
    assert torch.equal(seen["flip_crop"], flipped_and_cropped(batch()))
    assert torch.equal(seen["crop"], augmentation_of("crop")(batch().images, random))
    assert torch.equal(seen["none"], batch().images)
    assert torch.equal(seen["resized_crop"], batch().images)  # it is made where the pictures are decoded
