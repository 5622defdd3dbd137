"""NoisyMix against a plain rewriting of its formulas, against AugMix where it mixes nothing, and end to end."""

import contextlib
import copy
import os
import signal

import pytest
import torch
from torch.nn import functional as F

from commandline import (
    QUICKSTART,
    TINY,
    assert_equal,
    at_batch,
    checkpoint_of,
    evaluate,
    export,
    refusal,
    rows_of,
    train,
    trained,
    untimed,
)
from models_of_readers import two_nets
from p2be_exp.augment import AugMix, random_flip_crop
from p2be_exp.backbones import build_backbone
from p2be_exp.config import check_config, training_config
from p2be_exp.data import Batch
from p2be_exp.encodings import RGB
from p2be_exp.errors import BadInput
from p2be_exp.models.model import EncodedClassifier
from p2be_exp.randomness.draws import ImageRandom, Purpose
from p2be_exp.regimes import AugMixRegime, NoisyMix, When, build_regime, noisymix
from p2be_exp.regimes.feature_mixing import ElementRandom, MixedBatch, draw_batch, draw_partners
from p2be_exp.registry import OPTIONS
from usual import P2BE

SEED, WHEN, B = 11, When(3, 40), 6
SETTINGS = {"alpha_jsd": 12.0, "magnitude": 3.0, "view_rounding": "floor", "augment": random_flip_crop}


def regime(**settings) -> NoisyMix:
    usual = {"alpha": 1.0, "stages": 3, "multiplicative": 0.5, "additive": 0.5, "noise_off": 0.65}
    return NoisyMix(SEED, **{**SETTINGS, **usual, **settings})


def loss(regime, model, batch, when=WHEN):
    (result,) = regime.steps(model, batch, when)
    return result


@pytest.fixture
def model():
    torch.manual_seed(0)
    return EncodedClassifier(P2BE(4), build_backbone("wrn16_1", 10)).double().train()


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (B, 3, 16, 16), generator=generator).to(torch.uint8)
    return Batch(images, torch.tensor([0, 3, 1, 2, 2, 9]), torch.tensor([70, 5, 1, 900, 33, 4]), B, B, 1.0)


def some_of(batch, chosen):
    n = len(chosen)
    return Batch(*(values[chosen] for values in batch[:3]), n, n, n / B)


# -- the formulas -----------------------------------------------------------------------------------------------------


def rewritten(model, batch, layer, share, multiplicative, additive):
    """The loss of a batch from given draws, image by image; partners and numbers of elements as the project draws."""
    clean = random_flip_crop(batch.images, ImageRandom(SEED, WHEN.epoch, batch.indices, Purpose.FLIP_CROP))
    augmented = AugMix(magnitude=3.0)(clean, ImageRandom(SEED, WHEN.epoch, batch.indices, Purpose.AUGMIX))
    partners = draw_partners(SEED, WHEN.epoch, batch.indices).tolist()
    random = ElementRandom(SEED, WHEN.epoch, batch.indices)

    def noisy_mixture(features):
        changed = []
        u, n = random.elements(features.shape[1:], 0.65)
        for view in range(3):
            of_view = features[view * B : (view + 1) * B]
            for image, partner in enumerate(partners):
                mixture = share * of_view[image] + (1 - share) * of_view[partner]
                factor = 1 + 0.5 * multiplicative[view] * u[view, image]
                changed.append(mixture * factor + 0.5 * (view + 1) * additive[view] * n[view, image])
        return torch.stack(changed)

    trunk = model.trunk
    features = model.stem(torch.cat([clean, *augmented]), model.encoding.table())
    features = noisy_mixture(features) if layer == 0 else features
    for number, group in enumerate(trunk.groups, start=1):
        features = group(features)
        features = noisy_mixture(features) if layer == number else features
    logits = trunk.classifier(F.relu(trunk.norm(features)).mean(dim=(2, 3)))

    one_hot = F.one_hot(batch.labels, 10).double()
    labels = share * one_hot + (1 - share) * one_hot[partners]
    ce = -(labels * logits[:B].log_softmax(1)).sum(1).mean()
    p = logits.softmax(1).view(3, B, 10)
    middle = p.mean(0)
    assert middle.min() > 1e-7  # the clamp does nothing
    jsd = sum((q * (q / middle).log()).sum(1).mean() for q in p) / 3
    return ce, jsd


@pytest.mark.parametrize("layer", [0, 1, 2, 3])
def test_the_loss_is_a_plain_rewriting_of_the_formulas(model, batch, monkeypatch, layer):
    drawn = MixedBatch(layer, 0.3, (0.1, 0.4, 0.7), (0.6, 0.2, 0.3))
    monkeypatch.setattr(noisymix, "draw_batch", lambda *_: drawn)
    twin = copy.deepcopy(model)
    result = loss(regime(), model, batch)
    ce, jsd = rewritten(twin, batch, layer, 0.3, drawn.multiplicative, drawn.additive)
    assert (set(result.terms), result.weights, result.more) == ({"ce", "jsd"}, {"jsd": 12.0}, False)
    torch.testing.assert_close(result.terms["ce"], ce, rtol=1e-10, atol=0)
    torch.testing.assert_close(result.terms["jsd"], jsd, rtol=1e-8, atol=0)
    assert jsd > 1e-5
    result.total().backward()
    (ce + 12 * jsd).backward()
    for (name, mine), expected in zip(model.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, expected.grad, rtol=1e-7, atol=1e-12, msg=name)


def test_without_mixing_and_noise_it_is_augmix_to_the_bit(model, batch):
    model.float()
    twin = copy.deepcopy(model)
    mine = loss(regime(alpha=0.0, multiplicative=0.0, additive=0.0), model, batch)
    augmix = AugMixRegime(SEED, **SETTINGS).loss(twin, batch, WHEN.epoch)
    assert torch.equal(mine.logits, augmix.logits)
    assert torch.equal(mine.total(), augmix.total())
    assert_equal(dict(model.named_buffers()), dict(twin.named_buffers()))


@pytest.mark.parametrize("part", [{"alpha": 1.0}, {"multiplicative": 0.5}, {"additive": 0.5}])
def test_each_part_changes_the_loss(model, batch, part):
    nothing = {"alpha": 0.0, "multiplicative": 0.0, "additive": 0.0}
    twin = copy.deepcopy(model)
    assert loss(regime(**nothing), model, batch).total() != loss(regime(**nothing | part), twin, batch).total()


@pytest.mark.parametrize(("stages", "places"), [(0, 1), (2, 3), (3, 4), (7, 4)])
def test_it_mixes_behind_the_first_stages_alone(model, batch, monkeypatch, stages, places):
    asked = []
    monkeypatch.setattr(noisymix, "draw_batch", lambda *given: asked.append(given) or draw_batch(*given))
    loss(regime(stages=stages, alpha=0.5), model, batch)
    assert asked == [(SEED, WHEN, places, 0.5)]


# -- what hangs on what -----------------------------------------------------------------------------------------------


def test_the_order_of_the_images_changes_nothing(model, batch):
    twin, order = copy.deepcopy(model), torch.tensor([3, 0, 5, 1, 2, 4])
    one, other = loss(regime(), model, batch), loss(regime(), twin, some_of(batch, order))
    torch.testing.assert_close(one.logits[order], other.logits, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(one.total(), other.total(), rtol=1e-10, atol=0)


def test_one_image_is_a_batch(model, batch):
    result = loss(regime(), model, some_of(batch, torch.tensor([2])))
    assert result.logits.shape == (1, 10)
    assert all(term.isfinite() for term in result.terms.values())


def test_another_batch_of_an_epoch_draws_anew(model, batch):
    twin = copy.deepcopy(model)
    assert loss(regime(), model, batch).total() != loss(regime(), twin, batch, When(3, 41)).total()


def test_each_readers_features_are_mixed_alike_and_have_noise_of_their_own(batch, monkeypatch):
    both = two_nets(P2BE(4), RGB()).train()
    drawn = MixedBatch(0, 0.3, (0.1, 0.4, 0.7), (0.6, 0.2, 0.3))
    monkeypatch.setattr(noisymix, "draw_batch", lambda *_: drawn)
    given = []
    body = type(both).body
    monkeypatch.setattr(type(both), "body", lambda self, *features: given.append(features) or body(self, *features))
    batch = batch._replace(labels=batch.labels % 4)
    loss(regime(stages=0), both, batch)
    augmix = AugMixRegime(SEED, **SETTINGS)
    read = both.read(augmix.views(both, batch, WHEN.epoch).flatten(0, 1))
    partners = draw_partners(SEED, WHEN.epoch, batch.indices)
    random = ElementRandom(SEED, WHEN.epoch, batch.indices)
    for reader, (mine, clean) in enumerate(zip(given[0], read, strict=True)):
        u, n = random.elements(clean.shape[1:], 0.65, reader)
        for view in range(3):
            of_view = clean[view * B : (view + 1) * B]
            mixture = 0.3 * of_view + 0.7 * of_view[partners]
            expected = mixture * (1 + 0.5 * drawn.multiplicative[view] * u[view])
            expected += 0.5 * (view + 1) * drawn.additive[view] * n[view]
            torch.testing.assert_close(mine[view * B : (view + 1) * B], expected, rtol=1e-10, atol=1e-12)


# -- the configuration ------------------------------------------------------------------------------------------------


def test_the_published_settings_are_the_default():
    config = training_config(["regime=noisymix"]).regime
    assert (config.alpha, config.stages, config.alpha_jsd, config.magnitude) == (1.0, 3, 12.0, 3.0)
    assert (config.multiplicative, config.additive, config.noise_off) == (0.5, 0.5, 0.65)
    built = build_regime(config, SEED, "flip_crop")
    assert (type(built), built.noise.multiplicative, built.noise.off) == (NoisyMix, 0.5, 0.65)


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
def test_the_experiments_are_the_published_recipe(dataset):
    config = training_config([f"experiment=noisymix_{dataset}", "encoding=rgb"])
    assert (config.dataset.name, config.regime.name, config.backbone.name) == (dataset, "noisymix", "wrn40_2")
    assert (config.epochs, config.batch_size) == (200, 128)
    optim = config.optim
    assert (optim.lr, optim.momentum, optim.nesterov, optim.weight_decay) == (0.1, 0.9, True, 5e-4)
    assert (optim.schedule, optim.lr_end) == ("cosine", 1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["backbone=allconv"],
            "backbone=allconv: has no stages, which regime=noisymix with regime.stages=3 needs; those that have are "
            "densenet40_12, ",
        ),
        (["regime.alpha=-0.5"], "regime.alpha=-0.5: must be 0 or more"),
        (["regime.stages=-1"], "regime.stages=-1: must be 0 or more"),
        (["regime.multiplicative=-1"], "regime.multiplicative=-1.0: must be 0 or more"),
        (["regime.additive=-1"], "regime.additive=-1.0: must be 0 or more"),
        (["regime.noise_off=1.5"], "regime.noise_off=1.5: must be between 0 and 1"),
        (["regime.magnitude=0"], "regime.magnitude=0.0: must be between 0.1 and 10"),
        (["regime.aplha=1"], "regime.aplha=1: unknown key; did you mean regime.alpha?"),
    ],
)
def test_bad_settings(workdir, arguments, message):
    assert refusal(train(*TINY, "regime=noisymix", *arguments, "hydra.run.dir=run")).startswith(message)
    assert list(workdir.iterdir()) == []


def test_only_a_plain_model_has_stages_to_mix_behind(monkeypatch):
    monkeypatch.setitem(OPTIONS["model"], "two_nets", OPTIONS["model"]["plain"])
    for stages, allowed in ((3, False), (0, True)):
        config = training_config(["regime=noisymix", f"regime.stages={stages}"])
        config.model.name = "two_nets"
        with (
            contextlib.nullcontext()
            if allowed
            else pytest.raises(
                BadInput, match=r"^model=two_nets: must be plain with regime=noisymix with regime.stages=3, which needs"
            )
        ):
            check_config("train", config)


# -- end to end -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["rgb", "onehot", "thermometer", "p2be"])
def test_every_encoding_trains(workdir, encoding):
    size = [] if encoding == "rgb" else ["encoding.M=8"]
    arguments = [*QUICKSTART, "regime=noisymix", f"encoding={encoding}", *size, "epochs=1"]
    outcome = train(*arguments, "limit_train=39", "hydra.run.dir=run")  # the last of three batches has 7 images
    assert outcome.code == 0, outcome.err
    (row,) = rows_of(workdir / "run" / "metrics.csv")
    assert float(row["train/ce"]) > 0
    assert float(row["train/jsd"]) > 0


def test_any_network_serves_for_the_readers_features(workdir):
    outcome = train(
        *TINY, "regime=noisymix", "regime.stages=0", "backbone=allconv", "epochs=1", "limit_train=16", "limit_test=4"
    )
    assert outcome.code == 0, outcome.err


def test_it_resumes_in_an_epoch_to_the_bit(workdir, monkeypatch):
    whole = trained("whole", "regime=noisymix")
    with monkeypatch.context() as patch:
        at_batch(patch, 1, 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert train(*TINY, "regime=noisymix", "hydra.run.dir=parts").code == 143
    assert checkpoint_of(workdir / "parts")["global_step"] == 6
    assert train("resume=parts").code == 0
    one, other = checkpoint_of(whole), checkpoint_of(workdir / "parts")
    for part in ("global_step", "state_dict", "optimizer_states", "lr_schedulers"):
        assert_equal(one[part], other[part], part)
    assert untimed(whole / "metrics.csv") == untimed(workdir / "parts" / "metrics.csv")


@pytest.mark.slow
def test_its_networks_are_attacked_and_exported(workdir):
    run = trained("run", "regime=noisymix", "epochs=1")
    short = ["attack.steps=2", "attack.queries=2", "attack.restarts=1"]
    outcome = evaluate(f"run={run}", "attack=suite", *short, "limit_test=4")
    assert outcome.code == 0, outcome.err
    assert "worst case" in outcome.out
    outcome = export(f"run={run}")
    assert outcome.code == 0, outcome.err
