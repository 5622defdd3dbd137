"""ConTrain and AdvTrain against plain transcriptions with an inner attack of the test's own; real ones end to end."""

import copy
import json
import os
import signal

import pytest
import torch
from torch.nn import functional as F

from commandline import QUICKSTART, assert_equal, at_batch, checkpoint_of, refusal, rows_of, train, untimed
from grids import in_turn
from models_of_readers import two_nets
from p2be_exp.attacks import Attack, Search, build_attack
from p2be_exp.augment import random_flip_crop
from p2be_exp.backbones import build_backbone
from p2be_exp.config import training_config
from p2be_exp.config.schema import PGDConfig
from p2be_exp.data import Batch
from p2be_exp.models.model import EncodedClassifier
from p2be_exp.randomness.draws import ImageRandom, Purpose
from p2be_exp.regimes import AdvTrain, ConTrain, build_regime
from usual import P2BE, PGD

SEED, EPOCH, B = 11, 3, 6


class Brighter(Attack):
    """Adds the radius to every level; notes what it was given."""

    id = "brighter"

    def search(self, model, images, labels, random, restart=0):
        self.seen = (images, labels, random, model.training, torch.is_grad_enabled())
        self.needs = [parameter.requires_grad for parameter in model.parameters()]
        model(images)  # batch norms are in eval mode: this must not move their statistics
        return Search((images.short() + self.eps_levels).clamp(max=255).to(torch.uint8))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return EncodedClassifier(P2BE(4), build_backbone("wrn16_1", 10)).train()


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (B, 3, 32, 32), generator=generator).to(torch.uint8)
    return Batch(images, torch.tensor([0, 3, 1, 2, 2, 9]), torch.tensor([70, 5, 1, 900, 33, 4]), B, B, 1.0)


def views(batch):
    clean = random_flip_crop(batch.images, ImageRandom(SEED, EPOCH, batch.indices, Purpose.FLIP_CROP))
    return clean, (clean.short() + 5).clamp(max=255).to(torch.uint8)


def divergence(p, q):
    return (p * (p / q).log()).sum(1).mean()


def statistics(model):
    return {name: value.clone() for name, value in model.named_buffers()}


def test_contrain_is_cross_entropy_on_clean_and_two_way_jensen_shannon(model, batch):
    model.double()  # the stem sees the views one after the other, here together: alike but for the last bits
    clean, adversarial = views(batch)
    before = statistics(model)
    result = ConTrain(SEED, Brighter(5), True, 12.0, random_flip_crop).loss(model, batch, EPOCH)
    after = statistics(model)
    for name, value in before.items():
        model.get_buffer(name).copy_(value)
    logits = model(torch.cat([clean, adversarial]))  # one pass: batch norms see 2B images, once
    for name, value in statistics(model).items():
        torch.testing.assert_close(value, after[name], rtol=1e-12, atol=1e-12)
    p, q = logits.softmax(1).split(B)
    middle = (p + q) / 2
    assert result.weights == {"jsd": 12.0}
    torch.testing.assert_close(result.terms["ce"], F.cross_entropy(logits[:B], batch.labels))
    torch.testing.assert_close(result.terms["jsd"], (divergence(p, middle) + divergence(q, middle)) / 2)
    torch.testing.assert_close(result.logits, logits[:B])
    assert result.terms["jsd"].item() > 1e-5


def test_advtrain_is_cross_entropy_on_adversarial_alone(model, batch):
    _, adversarial = views(batch)
    result = AdvTrain(SEED, Brighter(5), True, random_flip_crop).loss(model, batch, EPOCH)
    logits = model(adversarial)
    assert (set(result.terms), result.weights) == ({"ce"}, {})
    torch.testing.assert_close(result.terms["ce"], F.cross_entropy(logits, batch.labels))
    torch.testing.assert_close(result.logits, logits)


@pytest.mark.parametrize(
    "make",
    [lambda a: ConTrain(SEED, a, True, 1.0, random_flip_crop), lambda a: AdvTrain(SEED, a, True, random_flip_crop)],
)
def test_the_attack_sees_a_still_model_and_leaves_it_as_it_was(model, batch, make):
    attack = Brighter(5)
    make(attack).loss(model, batch, EPOCH)
    images, labels, random, training, gradients = attack.seen
    assert torch.equal(images, views(batch)[0])
    assert torch.equal(labels, batch.labels)
    assert (random.seed, random.purpose, random.epoch) == (SEED, Purpose.TRAINING_ATTACK, EPOCH)
    assert torch.equal(random.images, batch.indices)
    assert (training, gradients, any(attack.needs)) == (False, True, False)
    assert model.training
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("learns", [True, False])
def test_the_table_learns_from_the_adversarial_view_or_not(model, batch, learns):
    clean, adversarial = views(batch)
    result = AdvTrain(SEED, Brighter(5), learns, random_flip_crop).loss(model, batch, EPOCH)
    result.terms["ce"].backward()
    gradient = model.encoding.weight.grad
    assert (gradient is not None and bool(gradient.abs().sum() > 0)) == learns
    model.zero_grad()
    result = ConTrain(SEED, Brighter(5), learns, 3.0, random_flip_crop).loss(model, batch, EPOCH)
    (result.terms["ce"] + 3 * result.terms["jsd"]).backward()
    mine = model.encoding.weight.grad.clone()
    model.zero_grad()
    table = model.encoding.table()
    features = [model.stem(clean, table), model.stem(adversarial, table if learns else table.detach())]
    p, q = model.trunk(torch.cat(features)).split(B)
    middle = (p.softmax(1) + q.softmax(1)) / 2
    jsd = (divergence(p.softmax(1), middle) + divergence(q.softmax(1), middle)) / 2
    (F.cross_entropy(p, batch.labels) + 3 * jsd).backward()
    torch.testing.assert_close(mine, model.encoding.weight.grad, rtol=1e-3, atol=1e-7)
    assert model.stem.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("learns", [True, False])
def test_a_model_of_two_readers_is_trained_in_one_pass(batch, learns):
    torch.manual_seed(0)
    both = two_nets(P2BE(4), P2BE(20)).float().train()
    regime = ConTrain(SEED, PGD(2, steps=1, stop_when_wrong=False), learns, 3.0, random_flip_crop)
    batch = batch._replace(labels=batch.labels % 4)
    clean, adversarial = regime.views(both, batch, EPOCH)
    twin = copy.deepcopy(both)
    result = regime.loss(both, batch, EPOCH)
    (result.terms["ce"] + 3 * result.terms["jsd"]).backward()
    logits = 0
    for part in (twin.one, twin.other):
        table = part.encoding.table()
        features = [part.stem(clean, table), part.stem(adversarial, table if learns else table.detach())]
        logits = logits + part.trunk(torch.cat(features))
    p, q = logits.split(B)
    torch.testing.assert_close(result.logits, p)
    middle = (p.softmax(1) + q.softmax(1)) / 2
    jsd = (divergence(p.softmax(1), middle) + divergence(q.softmax(1), middle)) / 2
    (F.cross_entropy(p, batch.labels) + 3 * jsd).backward()
    for mine, expected in zip(both.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, expected.grad, rtol=1e-3, atol=1e-6)


def test_the_configuration_builds_them():
    config = training_config(["regime=contrain", "regime.attack.steps=3"]).regime
    regime = build_regime(config, SEED, "flip_crop")
    assert (regime.name, regime.alpha_jsd, regime.table_learns_from_adversarial) == ("contrain", 12.0, True)
    assert (regime.attack.id, regime.attack.eps_levels, regime.attack.steps) == ("lspga", 8, 3)
    overrides = ["regime=advtrain", "attack@regime.attack=pgd", "regime.attack.gradient=smooth", "encoding=rgb"]
    regime = build_regime(training_config(overrides).regime, SEED, "flip_crop")
    assert (regime.name, regime.attack.id, regime.attack.stop_when_wrong) == ("advtrain", "pgd_margin_smooth", False)
    keys = {"gradient": "secant", "loss": "ce", "steps": 2, "start": "image", "adaptive": True, "step_size": 2.0}
    assert build_attack(PGDConfig(name="pgd", restarts=1, climb="logits", **keys), 4).stop_when_wrong


@pytest.mark.parametrize("inner", ["none", "suite", "suite_short", "transfer"])
def test_what_is_no_inner_attack_is_refused(workdir, inner):
    message = refusal(train("regime=contrain", f"attack@regime.attack={inner}", "hydra.run.dir=run"))
    assert message.startswith(f"regime=contrain attack@regime.attack={inner}: it trains on adversarial images; must be")
    assert list(workdir.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["regime.attack.steps=0"], "regime.attack.steps=0: must be 1 or more"),
        (["regime.attack.eps_levels=[4,8]"], "regime.attack.eps_levels=[4, 8]: training uses one radius"),
        (["regime.attack.eps_levels=0.031"], "regime.attack.eps_levels=0.031: must be a whole number of levels"),
        (["regime.alpha_jsd=-1"], "regime.alpha_jsd=-1.0: must be 0 or more"),
    ],
)
def test_bad_settings_of_the_inner_attack(workdir, arguments, message):
    assert refusal(train("regime=contrain", *arguments)).startswith(message)


# -- end to end -------------------------------------------------------------------------------------------------------

SHORT = (*QUICKSTART, "regime.attack.steps=2")


@pytest.mark.parametrize(
    ("encoding", "regime"), in_turn(["rgb", "onehot", "thermometer", "p2be"], ["contrain", "advtrain"])
)
def test_every_encoding_trains(workdir, regime, encoding):
    inner = ["attack@regime.attack=pgd", "regime.attack.loss=ce"] if encoding == "rgb" else []
    sizes = [] if encoding == "rgb" else ["encoding.M=16"]
    outcome = train(*SHORT, f"regime={regime}", f"encoding={encoding}", *inner, *sizes, "epochs=1", "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    (row,) = rows_of(workdir / "run" / "metrics.csv")
    assert float(row["train/ce"]) > 0
    assert ("train/jsd" in row and row["train/jsd"] != "") == (regime == "contrain")
    assert json.loads((workdir / "run" / "status.json").read_text())["state"] == "finished"


@pytest.mark.parametrize("regime", ["contrain", "advtrain"])
def test_training_with_an_inner_attack_resumes_exactly(workdir, monkeypatch, regime):
    arguments = (*SHORT, f"regime={regime}", "encoding.M=8", "epochs=1")
    assert train(*arguments, "hydra.run.dir=whole").code == 0
    with monkeypatch.context() as patch:
        at_batch(patch, 0, 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert train(*arguments, "hydra.run.dir=parts").code == 143
    assert checkpoint_of(workdir / "parts")["global_step"] == 2
    assert train("resume=parts").code == 0
    one, other = checkpoint_of(workdir / "whole"), checkpoint_of(workdir / "parts")
    for part in ("global_step", "state_dict", "optimizer_states", "lr_schedulers"):
        assert_equal(one[part], other[part], part)
    assert untimed(workdir / "whole" / "metrics.csv") == untimed(workdir / "parts" / "metrics.csv")
