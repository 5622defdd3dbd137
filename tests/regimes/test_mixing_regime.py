"""The training of a gate: whole steps written out by hand, frozen parts, two ranks, what is refused."""

import copy
import itertools
import math
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from commandline import assert_equal
from gated_mixtures import gated, maps_of, unconfined
from p2be_exp.attacks.attack import attacked
from p2be_exp.attacks.random import AttackRandom
from p2be_exp.attacks.random_in_ball import RandomInBall
from p2be_exp.augment import random_flip_crop
from p2be_exp.config import training_config
from p2be_exp.config.parts import with_parts
from p2be_exp.config.schema import TrainConfig
from p2be_exp.data import Batch, ImageDataModule
from p2be_exp.encodings import RGB
from p2be_exp.errors import BadInput
from p2be_exp.randomness.draws import ImageRandom, Purpose
from p2be_exp.regimes import build_regime
from p2be_exp.regimes.mixing import Mixing, check_targets
from p2be_exp.system.trainer import build_trainer
from p2be_exp.training.module import TrainingModule
from two_ranks import on_two_ranks
from usual import P2BE

SEED = 5


def config_of(*overrides: str) -> TrainConfig:
    """Of a mixture of two networks; three batches an epoch, of 5, 5 and 1 images."""
    given = ["dataset=digits", "trainer=cpu", "model=adaptive_mix", f"seed={SEED}", "epochs=2", "batch_size=5"]
    attack = ["regime.attack.steps=2", "regime.attack.eps_levels=32"]
    loss = ["regime.bce=1.5", "regime.ce=0.5", "regime.product=0.1", "regime.clean_scale=1.7"]
    asked = training_config([*given, *attack, *loss, "limit_train=11", "optim.lr=0.01", *overrides])
    parts = {role: training_config(["backbone=wrn16_1", "encoding=rgb"]) for role in ("accurate", "robust")}
    return with_parts(asked, parts)


def module_of(*overrides: str) -> TrainingModule:
    """With a small network for the configuration's, in float64."""
    module = TrainingModule(config_of(*overrides), 10, 3)
    torch.manual_seed(0)
    module.model = gated(RGB(), P2BE(4), stride=4).train()
    return module


class Recorder(pl.Callback):
    """What the batches were, with their epochs."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, Batch]] = []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.batches.append((trainer.current_epoch, batch))


def fit(module: TrainingModule, folder: Path) -> Recorder:
    given = {"seed": SEED, "batch_size": 5, "eval_batch_size": 4, "limit_train": 11, "limit_test": 4}
    data = ImageDataModule("digits", "no folder", **given, val_size=0, split_seed=0, download=False)
    data.setup()
    recorder = Recorder()
    build_trainer(
        module.config.trainer, max_epochs=module.config.epochs, gradient_clip_val=module.config.optim.clip_norm,
        callbacks=[recorder], enable_checkpointing=False, enable_progress_bar=False, default_root_dir=folder,
    ).fit(module, data)  # fmt: skip
    return recorder


# -- whole steps, written out -----------------------------------------------------------------------------------------


class WrittenOut:
    """Steps of the method on batches of a training, without the gate's standardisation, losses and optimizer."""

    def __init__(self, module: TrainingModule) -> None:
        self.model, self.attack = copy.deepcopy(module.model), module.regime.attack
        unconfined(self.model)
        self.parameters = list(self.model.gate.parameters())
        self.m, self.v = ([torch.zeros_like(each) for each in self.parameters] for _ in range(2))
        self.mean, self.variance = (each.item() for each in self.model.gate.norm.buffers() if each.is_floating_point())
        self.clipped = self.clamped = 0
        self.terms: list[tuple[int, float, float, float]] = []

    def step(self, number: int, epoch: int, batch: Batch) -> None:
        """Step ``number`` of 6, counted from 1."""
        loss = self.loss(epoch, batch)
        gradients = torch.autograd.grad(loss, self.parameters)
        norm = math.sqrt(sum(each.square().sum().item() for each in gradients))
        self.clipped += norm > 0.5
        cosine, warm = 0.5 * (1 + math.cos(math.pi * (number - 1) / 6)), 1 - math.exp(-number / 3)
        rate = 0.01 * cosine * warm
        with torch.no_grad():
            for p, g, m, v in zip(self.parameters, gradients, self.m, self.v, strict=True):
                g = g * min(1.0, 0.5 / (norm + 1e-6))
                m.copy_(0.9 * m + 0.1 * g)
                v.copy_(0.99 * v + 0.01 * g * g)
                step = (m / (1 - 0.9**number)) / ((v / (1 - 0.99**number)).sqrt() + 1e-8)
                p.copy_(p - rate * 0.02 * p - rate * step)

    def loss(self, epoch: int, batch: Batch) -> torch.Tensor:
        clean = random_flip_crop(batch.images, ImageRandom(SEED, epoch, batch.indices, Purpose.FLIP_CROP))
        random = AttackRandom(SEED, batch.indices, Purpose.TRAINING_ATTACK, epoch)
        norm = self.model.gate.norm
        norm.running_mean.fill_(self.mean)
        norm.running_var.fill_(self.variance)
        with attacked(self.model.train()):
            adversarial = self.attack.search(self.model, clean, batch.labels, random).images
        images, labels = torch.cat([clean, adversarial]), batch.labels.tolist() * 2
        with torch.no_grad():
            first, second = maps_of(self.model, images)
            g, h = (part(images).softmax(1) for part in (self.model.accurate, self.model.robust))
        gamma = self.standardised(self.model.gate.network(first, second).squeeze(1))
        losses = []
        for place, label in enumerate(labels):
            alpha = 1 / (1 + (-gamma[place]).exp())
            adversarial_one = place >= len(clean)
            b = -alpha.log() if adversarial_one else -(1 - alpha).log()
            c = -((1 - alpha) * g[place, label] + alpha * h[place, label]).log()
            losses.append(torch.stack([b, c, b * c]) * (1 if adversarial_one else 1.7))
        terms = torch.stack(losses).mean(0)
        self.terms.append((len(clean), *terms.tolist()))
        return 1.5 * terms[0] + 0.5 * terms[1] + 0.1 * terms[2]

    def standardised(self, raw: torch.Tensor) -> torch.Tensor:
        """Gamma in training, and the running statistics."""
        values = raw.tolist()
        count, centre = len(values), sum(values) / len(values)
        spread = 0.6 * math.sqrt(sum((each - centre) ** 2 for each in values) / (count - 1))
        outside = [abs(value - centre) > spread for value in values]
        self.clamped += sum(outside)
        ends = [centre + math.copysign(spread, value - centre) for value in values]
        each = zip(raw, outside, ends, strict=True)
        clamped = torch.stack([0 * value + end if out else value for value, out, end in each])
        mean = clamped.mean()
        variance = (clamped - mean).square().mean()
        self.mean = 0.99 * self.mean + 0.01 * mean.item()
        self.variance = 0.99 * self.variance + 0.01 * variance.item() * count / (count - 1)
        return 2.0 * (clamped - mean) / (variance + 1e-5).sqrt() + 0.4


SETTINGS = ("optim.clip_norm=0.5", "optim.betas=[0.9,0.99]", "optim.weight_decay=0.02", "optim.warmup=0.5")


def test_training_steps_are_those_of_the_method_written_out(tmp_path):
    module = module_of(*SETTINGS)
    slow, before = WrittenOut(module), copy.deepcopy(module.model.state_dict())
    recorder = fit(module, tmp_path)
    for number, (epoch, batch) in enumerate(recorder.batches, start=1):
        slow.step(number, epoch, batch)
    assert slow.clamped > 10
    assert 0 < slow.clipped <= 6
    found, expected = module.model.state_dict(), slow.model.state_dict()
    for name, value in found.items():
        if not name.startswith("gate."):
            assert torch.equal(value, before[name]), name
        elif name.startswith("gate.network."):
            torch.testing.assert_close(value, expected[name], rtol=1e-6, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}")
    assert found["gate.norm.running_mean"].item() == pytest.approx(slow.mean, rel=1e-7)
    assert found["gate.norm.running_var"].item() == pytest.approx(slow.variance, rel=1e-7)
    assert not torch.equal(found["gate.network.linear.weight"], before["gate.network.linear.weight"])
    means = module.train_meter.means()
    images = sum(each[0] for each in slow.terms)
    for place, name in enumerate(("bce", "ce", "product"), start=1):
        assert means[name] == pytest.approx(sum(each[0] * each[place] for each in slow.terms) / images, rel=1e-6)
    for name in ("alpha_low", "alpha_high", "gate_std", "gate_mean"):  # as deployed, once the training is over
        assert torch.equal(found[f"gate.{name}"], before[f"gate.{name}"])


def test_training_twice_is_equal_to_the_bit(tmp_path):
    one, other = (module_of("epochs=1") for _ in range(2))
    for module in (one, other):
        fit(module, tmp_path)
    assert_equal(dict(one.model.state_dict()), dict(other.model.state_dict()))
    assert_equal(one.train_meter.means(), other.train_meter.means())


# -- two processes ----------------------------------------------------------------------------------------------------


def trained_part(folder: Path, *overrides: str) -> tuple[dict, dict, list[int]]:
    """Weights and means of a gate without inner batch norms, and how many of each batch were this rank's own."""
    module = module_of(*overrides)
    for block in itertools.chain.from_iterable(module.model.gate.network.layers):
        block.norm1, block.norm2 = nn.Identity(), nn.Identity()
    recorder = fit(module, folder)
    return dict(module.model.state_dict()), module.train_meter.means(), [batch.count for _, batch in recorder.batches]


def test_two_processes_are_one(tmp_path):
    ddp = ("epochs=1", "trainer=ddp", "trainer.accelerator=cpu")
    first, second = (each.value for each in on_two_ranks(tmp_path, lambda rank: trained_part(tmp_path, *ddp)))
    assert [sum(pair) for pair in zip(first[2], second[2], strict=True)] == [5, 5, 1]
    assert any(0 in pair for pair in zip(first[2], second[2], strict=True))  # a rank without an image of its own
    assert_equal(first[0], second[0])
    assert first[0]["gate.norm.num_batches_tracked"] == 3
    assert first[1] == second[1]
    alone = trained_part(tmp_path, "epochs=1")
    for name, value in alone[0].items():
        torch.testing.assert_close(first[0][name], value, rtol=1e-6, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}")
    assert first[1] == pytest.approx(alone[1], rel=1e-6)


# -- what is refused --------------------------------------------------------------------------------------------------


def test_targets_need_four_classes():
    regime = config_of().regime
    with pytest.raises(BadInput, match=r"regime.targets=9: .* needs 4 classes; with 3 it must be 0"):
        check_targets(regime, 3)
    check_targets(regime, 4)
    check_targets(config_of("regime.targets=0").regime, 3)
    check_targets(training_config(["regime=standard"]).regime, 2)


def test_another_attack_cannot_train_a_gate():
    settings = {key: value for key, value in vars(config_of().regime).items() if key not in ("name", "attack")}
    with pytest.raises(BadInput, match=r"regime.attack: must be pgd"):
        Mixing(0, attack=RandomInBall(8, 1), augment=random_flip_crop, **settings)
    assert not build_regime(config_of().regime, 0, "flip_crop").capturable
