"""The TENET regime: an iteration as the method has it written out, which steps have a second one, ranks, resume."""

import copy
import json
import signal
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F

from commandline import (
    QUICKSTART,
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
from p2be_exp import load_run
from p2be_exp.augment import AugMix, random_flip_crop
from p2be_exp.backbones import Backbone, StemShape
from p2be_exp.config import training_config
from p2be_exp.data import Batch, ImageDataModule
from p2be_exp.encodings import RGB, Thermometer
from p2be_exp.models.model import EncodedClassifier
from p2be_exp.randomness.draws import ImageRandom, Purpose
from p2be_exp.regimes import RegimeLoss, Tenet, When, build_regime
from p2be_exp.regimes import tenet as module_of_tenet
from p2be_exp.regimes.tenet import _statistics
from p2be_exp.system.trainer import build_trainer
from p2be_exp.training.module import TrainingModule
from tenet_by_image import slow_groups, slow_mask, slow_overlap
from two_ranks import on_two_ranks
from usual import P2BE

SEED, K, BATCH = 5, 3, 8


class Small(Backbone):
    """Two stages, with batch norms or without; the map before the last one has 10 channels of 4 x 4."""

    stem = StemShape(out_channels=6, stride=2)

    def __init__(self, norms: bool = True) -> None:
        super().__init__()
        norm = nn.BatchNorm2d if norms else lambda channels: nn.Identity()
        self.norm = norm(6)
        self.lower = nn.Sequential(nn.Conv2d(6, 10, 3, stride=4, padding=1, bias=False), norm(10), nn.ReLU())
        self.upper = nn.Sequential(nn.Conv2d(10, 12, 3, stride=2, padding=1, bias=False), norm(12), nn.ReLU())
        self.classifier = nn.Linear(12, 10)

    def begin(self, features):
        return F.relu(self.norm(features))

    def stage_modules(self):
        return [self.lower, self.upper]

    def end(self, features):
        return self.classifier(features.mean((2, 3)))


def tenet(**settings) -> Tenet:
    usual = {"groups": K, "weight": 0.1, "orthogonality": 0.001, "from_step": 2, "every": 3, "augmented": True}
    more = {"magnitude": 3.0, "view_rounding": "floor", "augment": random_flip_crop}
    return Tenet(SEED, **{**usual, **more, **settings})


def config_of(*overrides: str):
    given = ["dataset=digits", "trainer=cpu", "backbone=wrn16_1", "regime=tenet", f"seed={SEED}", "encoding.M=4"]
    sizes = ["epochs=2", f"batch_size={BATCH}", "limit_train=44", "encoding.lambda_smooth=0.1"]
    return training_config([*given, *sizes, *overrides])


def module_of(*overrides: str, norms: bool = True, dtype: torch.dtype = torch.float64, **settings) -> TrainingModule:
    """With the small network."""
    torch.manual_seed(5)
    module = TrainingModule(config_of(*overrides), 10, 6)
    module.regime = tenet(**settings)
    module.model = EncodedClassifier(module.model.encoding, Small(norms))
    return module.to(dtype)


def data_of(module: TrainingModule) -> ImageDataModule:
    """Six batches an epoch, the last one of four images."""
    given = {"seed": SEED, "batch_size": BATCH, "eval_batch_size": 4, "limit_train": 44, "limit_test": 4}
    data = ImageDataModule("digits", "no folder", **given, val_size=0, split_seed=0, download=False)
    data.setup()
    return data


class Recorder(pl.Callback):
    """What the batches were, with their epochs."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, Batch]] = []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.batches.append((trainer.current_epoch, batch))


def fit(module: TrainingModule, folder: Path, epochs: int = 2) -> Recorder:
    recorder = Recorder()
    build_trainer(
        module.config.trainer, max_epochs=epochs, callbacks=[recorder], enable_checkpointing=False,
        enable_progress_bar=False, default_root_dir=folder,
    ).fit(module, data_of(module))  # fmt: skip
    return recorder


def batch_of(n: int = 6, classes: int = 10) -> Batch:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (n, 3, 32, 32), generator=generator).to(torch.uint8)
    labels = torch.randint(classes, (n,), generator=generator)
    return Batch(images, labels, torch.arange(n) * 7, n, n, 1.0)


def model_of(encoding=None, norms: bool = True) -> EncodedClassifier:
    torch.manual_seed(1)
    return EncodedClassifier(encoding or RGB(), Small(norms)).train()


def certain(model: EncodedClassifier, label: int) -> None:
    """All images are of one class to the model."""
    with torch.no_grad():
        model.trunk.classifier.weight.mul_(0.01)
        model.trunk.classifier.bias.copy_(2.0 * F.one_hot(torch.tensor(label), 10))


# -- one iteration, written out ---------------------------------------------------------------------------------------


class WrittenOut:
    """Iterations of the method on batches of a training, with plain optimizers and the image-by-image forms."""

    def __init__(self, module: TrainingModule) -> None:
        self.model = copy.deepcopy(module.model)
        network = [*self.model.stem.parameters(), *self.model.trunk.parameters()]
        self.sgd = torch.optim.SGD(network, lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
        self.adamw = torch.optim.AdamW([self.model.encoding.weight], 1e-4, (0.999, 0.999), weight_decay=1e-4)
        self.second: dict[int, tuple[int, float, float]] = {}
        self.mix = AugMix(3.0, views=1, rounding="floor")

    def step(self, loss: torch.Tensor) -> None:
        for optimizer in (self.sgd, self.adamw):
            optimizer.zero_grad()
        loss.backward()
        for optimizer in (self.sgd, self.adamw):
            optimizer.step()

    def up_to_the_map(self, images: torch.Tensor) -> torch.Tensor:
        model = self.model
        return model.trunk.lower(model.trunk.begin(model.stem(images, model.encoding.table())))

    def from_the_map(self, features: torch.Tensor) -> torch.Tensor:
        return self.model.trunk.end(self.model.trunk.upper(features))

    def iteration(self, number: int, epoch: int, batch: Batch) -> None:
        """Iteration ``number``, counted from 1."""
        cosine = 0.5 * (1 + np.cos(np.pi * (number - 1) / 12))
        self.sgd.param_groups[0]["lr"] = 1e-6 + (0.1 - 1e-6) * cosine
        self.adamw.param_groups[0]["lr"] = 1e-6 + (1e-4 - 1e-6) * cosine
        clean = random_flip_crop(batch.images, ImageRandom(SEED, epoch, batch.indices, Purpose.FLIP_CROP))
        mixed = self.mix(clean, ImageRandom(SEED, epoch, batch.indices, Purpose.AUGMIX))[0]
        images, labels = torch.cat([clean, mixed]), torch.cat([batch.labels, batch.labels])
        logits = self.model(images)
        right = [n for n in range(len(labels)) if logits[n].argmax() == labels[n]]
        self.step(F.cross_entropy(logits, labels) + 0.1 * self.model.encoding.smoothness())
        if number >= 2 and number % 3 == 0 and right:
            indices = torch.cat([batch.indices, batch.indices])[right]
            self.second_step(number, epoch, images[right], labels[right], indices)

    def second_step(self, number, epoch, images, labels, indices) -> None:
        self.model.eval()
        features = self.up_to_the_map(images)
        features.retain_grad()
        self.from_the_map(features)[torch.arange(len(labels)), labels].sigmoid().sum().backward()
        maps, gradient = features.detach(), features.grad
        draws = ImageRandom(SEED, epoch, indices, Purpose.TENET_GROUPS).uniform(10)
        first = [sorted(range(10), key=lambda c, row=row: row[c])[:K] for row in draws.tolist()]
        groups = [slow_groups(m.flatten(1).numpy(), f) for m, f in zip(maps, first, strict=True)]
        masks = [slow_mask(m.numpy(), g.numpy(), k) for m, g, k in zip(maps, gradient, groups, strict=True)]
        self.model.train()
        features = self.up_to_the_map(images)
        overlaps = torch.stack([overlap_of(m, k) for m, k in zip(features, groups, strict=True)])
        assert overlaps.tolist() == pytest.approx(
            [slow_overlap(m.detach().numpy(), k) for m, k in zip(features, groups, strict=True)], rel=1e-9
        )
        ce = F.cross_entropy(self.from_the_map(features * torch.tensor(np.array(masks))), labels)
        self.step(0.1 * ce + 0.001 * overlaps.mean())
        self.second[number] = len(labels), ce.item(), overlaps.mean().item()


def overlap_of(features: torch.Tensor, groups: list[int]) -> torch.Tensor:
    """As ``slow_overlap``, with a gradient."""
    at = torch.tensor(groups)
    rows = torch.stack([features[at == g].mean(0).flatten() for g in sorted(set(groups))])
    k = len(rows)
    pairs = [(rows[i] @ rows[j]).abs() for i in range(k) for j in range(i + 1, k)]
    return torch.stack(pairs).mean() if pairs else features.sum() * 0


def test_weights_and_statistics_are_those_of_the_method_written_out(tmp_path):
    module = module_of("optim.nesterov=true", "optim.table_schedule=cosine")
    slow = WrittenOut(module)
    recorder = fit(module, tmp_path)
    for number, given in enumerate(recorder.batches, start=1):
        slow.iteration(number, *given)
    assert len(slow.second) >= 3  # of the batches 3, 6, 9 and 12, those with an image that was correct
    found, expected = module.model.state_dict(), slow.model.state_dict()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-7, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}")
    passes = 12 + len(slow.second)  # in train mode
    assert found["trunk.norm.num_batches_tracked"] == found["trunk.upper.1.num_batches_tracked"] == passes
    means, each = module.train_meter.means(), list(slow.second.values())  # of both epochs
    for place, name in ((1, "tenet"), (2, "overlap")):
        mean = sum(values[0] * values[place] for values in each) / sum(values[0] for values in each)
        assert means[name] == pytest.approx(mean, rel=1e-7)
    assert list(means) == ["loss", "ce", "smoothness", "error", "tenet", "overlap"]


# -- the views, and which batches have a second step ------------------------------------------------------------------


@pytest.mark.parametrize("encoding", [RGB(), Thermometer(4)], ids=["nearest", "its buckets"])
def test_the_batch_is_the_clean_view_and_the_first_augmix_view(encoding, monkeypatch):
    shown, batch, regime = [], batch_of(), tenet(view_rounding="reference")
    model = model_of(encoding)
    forward = EncodedClassifier.forward
    monkeypatch.setattr(EncodedClassifier, "forward", lambda s, x: (shown.append(x), forward(s, x))[1])
    next(regime.steps(model, batch, When(4, 0)))
    clean = random_flip_crop(batch.images, ImageRandom(SEED, 4, batch.indices, Purpose.FLIP_CROP))
    rounding = ("nearest", None) if encoding.name == "rgb" else ("floor", 4)
    two = AugMix(3.0, 2, *rounding)(clean, ImageRandom(SEED, 4, batch.indices, Purpose.AUGMIX))
    assert torch.equal(shown[0], torch.cat([clean, two[0]]))
    first = next(tenet(augmented=False).steps(model, batch, When(4, 0)))
    assert torch.equal(shown[1], clean)
    assert len(first.logits) == len(batch.labels)


def seconds_of(regime: Tenet, steps: range) -> list[int]:
    """The batches, counted from 1, with a second step, where all images are classified correctly."""
    model, batch = model_of(), batch_of(classes=1)
    certain(model, 0)
    return [step + 1 for step in steps if next(regime.steps(model, batch, When(0, step))).more]


def test_the_published_second_steps_begin_at_501():
    published = build_regime(training_config(["regime=tenet"]).regime, SEED, "flip_crop")
    assert seconds_of(published, range(493, 508)) == [501, 504, 507]
    assert training_config(["regime=tenet"]).regime.first_second_step == 501


@pytest.mark.parametrize(
    ("from_step", "every", "expected"),
    [(0, 1, [1, 2, 3, 4, 5, 6]), (0, 3, [3, 6]), (4, 1, [4, 5, 6]), (4, 2, [4, 6]), (5, 2, [6])],
)
def test_from_step_and_every(from_step, every, expected):
    assert seconds_of(tenet(from_step=from_step, every=every), range(6)) == expected
    given = ["regime=tenet", f"regime.from_step={from_step}", f"regime.every={every}"]
    assert training_config(given).regime.first_second_step == expected[0]


def test_without_a_correct_image_there_is_no_second_step():
    model, batch = model_of(), batch_of(classes=3)
    certain(model, 7)
    (loss,) = losses_of(tenet(from_step=0, every=1), model, batch)
    assert (set(loss.terms), loss.more) == ({"ce"}, False)
    certain(model, 2)
    first, second = losses_of(tenet(from_step=0, every=1), model, batch)
    assert (first.more, first.count, second.more) == (True, None, False)
    assert second.count == 2 * (batch.labels == 2).sum() < 2 * len(batch.labels)
    assert second.weights == {"tenet": 0.1, "overlap": 0.001}
    (loss,) = losses_of(tenet(from_step=0, every=1), model, batch._replace(count=0))  # all of them another rank's
    assert not loss.more


def losses_of(regime: Tenet, model: EncodedClassifier, batch: Batch) -> list[RegimeLoss]:
    """All that a training would ask for; the weights stay."""
    losses = []
    for loss in regime.steps(model, batch, When(0, 0)):
        losses.append(loss)
        if not loss.more:
            break
    return losses


# -- the second pass --------------------------------------------------------------------------------------------------


def test_groups_and_mask_have_no_gradient_and_leave_the_model_as_it_was():
    model, batch = model_of(), batch_of()
    before = copy.deepcopy(model.state_dict())
    random = ImageRandom(SEED, 0, batch.indices, Purpose.TENET_GROUPS)
    groups, mask = tenet().inhibition(model, batch.images, batch.labels, random)
    assert not mask.requires_grad
    assert (groups.shape, mask.shape) == ((6, 10), (6, 10, 4, 4))
    assert (mask < 1).any()
    assert model.training
    assert model.trunk.upper[1].training
    assert all(each.requires_grad for each in model.parameters())
    assert all(each.grad is None for each in model.parameters())
    assert_equal(model.state_dict(), before)


def test_the_overlap_reaches_what_is_below_the_map_alone():
    model, batch = model_of(), batch_of(classes=1)
    certain(model, 0)
    _, second = losses_of(tenet(from_step=0, every=1), model, batch)
    second.terms["overlap"].backward()
    assert model.stem.weight.grad.abs().sum() > 0
    assert model.trunk.upper[0].weight.grad is None


def test_in_bf16_the_masked_pass_trains_the_whole_network():
    """Autocast keeps copies of weights without a gradient if a pass without one made them."""
    model, batch = model_of(P2BE(4)), batch_of(classes=1)
    certain(model, 0)
    losses = tenet(from_step=0, every=1, orthogonality=0.0).steps(model, batch, When(0, 0))
    next(losses)
    with torch.autocast("cpu", torch.bfloat16):
        second = next(losses)
    assert second.logits.dtype == torch.bfloat16
    second.total().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_a_large_logit_has_a_mask_in_bf16():
    """In bfloat16 the sigmoid of 9 is 1, and its gradient 0."""
    model, batch = model_of(), batch_of(classes=1)
    certain(model, 0)
    with torch.no_grad():
        model.trunk.classifier.bias[0] = 9.0
    random = ImageRandom(SEED, 0, batch.indices, Purpose.TENET_GROUPS)
    with torch.autocast("cpu", torch.bfloat16):
        _, mask = tenet().inhibition(model, batch.images, batch.labels, random)
    assert (mask < 1).any()


def test_a_rank_without_a_correct_image_takes_part_with_weight_0(monkeypatch):
    model, batch = model_of(P2BE(4)), batch_of(classes=3)
    certain(model, 7)
    monkeypatch.setattr(module_of_tenet, "sum_over_ranks", lambda value: value + 5)
    losses = tenet(from_step=0, every=1).steps(model, batch, When(0, 0))
    assert next(losses).more
    before = copy.deepcopy(model.state_dict())
    second = next(losses)
    assert_equal(model.state_dict(), before)  # running statistics
    assert (second.count, second.more, model.training) == (0, False, True)
    second.total().backward()  # other ranks wait for every gradient
    assert all(each.grad is not None for each in model.parameters())


def test_synchronised_batch_norms_stay_in_train_mode():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.SyncBatchNorm(4)).train()
    with _statistics(model, learn=False):
        assert model[1].training
    for learn in (True, False):
        plain = nn.Sequential(nn.BatchNorm2d(4).eval(), nn.BatchNorm2d(4)).train()
        with _statistics(plain, learn):
            assert [each.training for each in plain] == [learn] * 2
        assert all(each.training for each in plain)


def test_features_that_are_no_numbers_make_the_loss_none():
    model, batch = model_of(), batch_of(classes=1)
    certain(model, 0)
    losses = tenet(from_step=0, every=1).steps(model, batch, When(0, 0))
    next(losses)
    with torch.no_grad():
        model.trunk.lower[0].weight.fill_(torch.nan)
    assert next(losses).total().isnan()


# -- two processes ----------------------------------------------------------------------------------------------------


def trained_part(folder: Path, norms: bool, *overrides: str) -> tuple[dict, dict, list[tuple[bool, int]]]:
    """Weights, means of the last epoch, and of each second step on a rank how many images it was the mean of."""
    module = module_of(*overrides, norms=norms, every=1, from_step=0)
    steps, seen = module.regime.steps, []

    def noting(*given):
        for loss in steps(*given):
            seen.append((loss.more, loss.count))
            yield loss

    module.regime.steps = noting
    fit(module, folder)
    return dict(module.model.state_dict()), module.train_meter.means(), seen


@pytest.mark.parametrize("norms", [False, True], ids=["without batch norms", "with batch norms"])
def test_two_processes(tmp_path, norms):
    ddp = ("trainer=ddp", "trainer.accelerator=cpu")
    first, second = (e.value for e in on_two_ranks(tmp_path, lambda rank: trained_part(tmp_path, norms, *ddp)))
    parameters = [name for name, _ in Small(norms).named_parameters(prefix="trunk")]
    assert_equal({n: first[0][n] for n in parameters}, {n: second[0][n] for n in parameters})
    assert first[1] == second[1]
    assert [more for more, _ in first[2]] == [more for more, _ in second[2]]
    counts = [(a, b) for (_, a), (_, b) in zip(first[2], second[2], strict=True) if a is not None]
    assert len(counts) > 6
    assert any(0 in pair for pair in counts)  # a rank took part with weight 0
    if not norms:
        alone = trained_part(tmp_path, norms)
        for name, value in alone[0].items():
            torch.testing.assert_close(first[0][name], value, rtol=1e-6, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")
        assert first[1] == pytest.approx(alone[1], rel=1e-6)
        assert [more for more, _ in first[2]] == [more for more, _ in alone[2]]
        assert [sum(pair) for pair in counts] == [count for _, count in alone[2] if count is not None]


# -- commands ---------------------------------------------------------------------------------------------------------

DIGITS = (*QUICKSTART, "regime=tenet", "regime.from_step=4", "regime.every=2")
"""Four batches an epoch: second steps in the last batch of the first epoch, in two of the second."""


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A trained network on P2BE."""
    images = ("limit_train=64", "batch_size=16")
    return trained(tmp_path_factory.mktemp("tenet") / "run", *DIGITS[len(QUICKSTART) :], *images)


def test_rows_of_a_run(run):
    rows = rows_of(run / "metrics.csv")
    assert [row["step"] for row in rows] == ["4", "8"]
    for row in rows:
        assert float(row["train/tenet"]) > 0
        assert float(row["train/overlap"]) > 0


def test_the_attack_suite_on_a_run(run):
    small = ("limit_test=6", "trainer=cpu", "trainer.progress=false", "corruption=none")
    suite = ("attack=suite_short", "attack.steps=2", "attack.queries=2")
    outcome = evaluate(f"run={run}", *suite, *small, "name=suite")
    assert outcome.code == 0, outcome.err
    results = json.loads((run / "evaluations/suite/results.json").read_text())
    assert results["worst_case_error"]["8"] >= results["clean_error"]


def test_export_of_a_run(run, workdir):
    outcome = export(f"run={run}", "out=exported.pt2")
    assert outcome.code == 0, outcome.err
    images = torch.randint(256, (3, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    found = torch.export.load("exported.pt2").module()(images)
    torch.testing.assert_close(found, load_run(run)(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("encoding", ["rgb", "onehot", "thermometer"])
def test_other_encodings_train(encoding, workdir):
    small = ("epochs=1", "limit_train=32", "limit_test=4", "regime.from_step=0", "regime.every=1")
    outcome = train(*DIGITS, f"encoding={encoding}", *small, "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    assert rows_of(Path("run/metrics.csv"))[0]["train/overlap"]


def test_stopped_in_an_epoch_and_resumed_to_the_same_bits(monkeypatch, workdir):
    arguments = [*DIGITS, "encoding.M=8", "hydra.run.dir=whole"]
    assert train(*arguments).code == 0
    at_batch(monkeypatch, 1, 1, lambda: signal.raise_signal(signal.SIGINT))
    assert train(*arguments[:-1], "hydra.run.dir=run").code == 130
    assert checkpoint_of(Path("run"))["global_step"] == 6
    outcome = train("resume=run")
    assert outcome.code == 0, outcome.err
    left, right = checkpoint_of(Path("run")), checkpoint_of(Path("whole"))
    for part in ("epoch", "global_step", "state_dict", "optimizer_states", "lr_schedulers", "train_meter"):
        assert_equal(left[part], right[part], part)
    assert untimed(Path("run/metrics.csv")) == untimed(Path("whole/metrics.csv"))


@pytest.mark.parametrize("classes", [10, 100])
def test_the_experiments_are_the_published_settings(classes):
    config = training_config([f"experiment=tenet_cifar{classes}"])
    assert (config.encoding.name, config.backbone.name, config.dataset.name) == (
        "rgb",
        "resnext29_4x32d",
        f"cifar{classes}",
    )
    assert (config.epochs, config.batch_size) == (200, 128)
    regime, optim = config.regime, config.optim
    assert (regime.groups, regime.weight, regime.orthogonality) == (6, 0.1, 0.001)
    assert (regime.from_step, regime.every, regime.magnitude, regime.augmented) == (500, 3, 3, True)
    assert (optim.lr, optim.momentum, optim.nesterov, optim.weight_decay) == (0.1, 0.9, True, 5e-4)
    assert (optim.schedule, optim.lr_end) == ("cosine", 1e-6)


# -- what is refused --------------------------------------------------------------------------------------------------

REFUSED = {
    "backbone=alexnet": "backbone=alexnet: has no stages, which regime=tenet needs; those that have are densenet40_12",
    "backbone=allconv": "backbone=allconv: has no stages, which regime=tenet needs; those that have are densenet40_12",
    "regime.groups=1": "regime.groups=1: must be 2 or more",
    "regime.every=0": "regime.every=0: must be 1 or more",
    "regime.from_step=-1": "regime.from_step=-1: must be 0 or more",
    "regime.weight=-0.1": "regime.weight=-0.1: must be 0 or more",
    "regime.orthogonality=-1": "regime.orthogonality=-1.0: must be 0 or more",
    "regime.magnitude=11": "regime.magnitude=11.0: must be between 0.1 and 10",
    "optim.accumulate=2": "optim.accumulate=2: must be 1 with regime=tenet, which may take several optimizer steps",
    "backbone=wrn16_1 regime.groups=33": "regime.groups=33: must be between 2 and 32, the number of channels before "
    "the last stage of wrn16_1",
}


@pytest.mark.parametrize("given", REFUSED)
def test_bad_input_is_refused_before_data_is_read(given, workdir):
    arguments = ["regime=tenet", "dataset=cifar10", "data_dir=nowhere", "dataset.download=false", *given.split()]
    assert refusal(train(*arguments)).startswith(REFUSED[given])
    assert not any(workdir.iterdir())
