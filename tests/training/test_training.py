"""Training steps of the whole recipe, through Lightning, against a plain transcription of the reference's steps.

Everything is in float64. The transcription shares the data augmentation and a copy of the trunk with the project;
encoding, first convolution, losses, optimizers and schedules are written out from spec/p2be.md.
"""

import copy
import math
from dataclasses import dataclass

import pytest
import pytorch_lightning as pl
import torch
from torch.nn import functional as F

from p2be_exp.augment import AugMix, random_flip_crop
from p2be_exp.config import training_config
from p2be_exp.config.schema import TrainConfig
from p2be_exp.config.typed import plain
from p2be_exp.data import Batch, ImageDataModule
from p2be_exp.randomness.draws import ImageRandom, Purpose
from p2be_exp.system.trainer import build_trainer
from p2be_exp.training.module import TrainingModule

ATOL = 1e-10


# -- the transcription ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recipe:
    """Where the reference code and the paper differ (spec/p2be.md)."""

    smoothness: str
    slope_at_zero: float
    nesterov: bool
    lr_end: float
    table_is_scheduled: bool


RECIPES = {
    "official": Recipe("mean", 4.0, nesterov=True, lr_end=1e-6, table_is_scheduled=True),
    "paper": Recipe("sum", 2.0, nesterov=False, lr_end=1e-5, table_is_scheduled=False),
}


def bits_of(latent, recipe):
    """(sign(w) + 1) / 2 whose gradient is half of d(w)."""
    w = latent.detach()
    slope = torch.zeros_like(w)
    slope[(w > -1) & (w < 0)] = 2 + 2 * w[(w > -1) & (w < 0)]
    slope[(w > 0) & (w < 1)] = 2 - 2 * w[(w > 0) & (w < 1)]
    slope[w == 0] = recipe.slope_at_zero
    return (w >= 0).double() + 0.5 * slope * (latent - w)


def codes_of(images, table):
    """NCHW codes, channel c * M + m."""
    return torch.cat([table[images[:, c].long()].permute(0, 3, 1, 2) for c in range(3)], dim=1).contiguous()


def divergence_of(logits):
    """Three views of B images: the mean of KL(p || mixture) over views and images."""
    p = logits.softmax(-1)
    mixture = p.mean(0).clamp(1e-7, 1)
    return (p * (p.log() - mixture.log())).sum() / (logits.shape[0] * logits.shape[1])


def roughness_of(latent, recipe):
    a, b = latent[:-1], latent[1:]
    cosine = (a * b).sum(1) / ((a * a).sum(1).sqrt() * (b * b).sum(1).sqrt() + 1e-8)
    return -cosine.mean() if recipe.smoothness == "mean" else (1 - cosine).sum()


class Reference:
    """The same weights, stepped by two optimizers by hand."""

    def __init__(self, module: TrainingModule, recipe: Recipe, total_steps: int, lambda_smooth: float = 1.0) -> None:
        self.recipe, self.lambda_smooth = recipe, lambda_smooth
        self.latent = module.model.encoding.weight.detach().clone().requires_grad_()
        self.stem = module.model.stem.weight.detach().clone().contiguous().requires_grad_()
        self.trunk = copy.deepcopy(module.model.trunk)
        network = [self.stem, *self.trunk.parameters()]
        self.sgd = torch.optim.SGD(network, lr=0.1, momentum=0.9, nesterov=recipe.nesterov, weight_decay=5e-4)
        self.adamw = torch.optim.AdamW([self.latent], lr=1e-4, betas=(0.999, 0.999), weight_decay=1e-4)

        def cosine(first):
            m = recipe.lr_end / first
            return lambda t: m + (1 - m) * 0.5 * (1 + math.cos(math.pi * t / total_steps))

        table_factor = cosine(1e-4) if recipe.table_is_scheduled else lambda t: 1.0
        self.schedules = [
            torch.optim.lr_scheduler.LambdaLR(self.sgd, cosine(0.1)),
            torch.optim.lr_scheduler.LambdaLR(self.adamw, table_factor),
        ]

    def terms(self, views, labels):
        """One forward of the three views of B images; cross-entropy on the first."""
        codes = codes_of(views.flatten(0, 1), bits_of(self.latent, self.recipe))
        logits = self.trunk(F.conv2d(codes, self.stem, padding=1)).view(3, len(labels), -1)
        ce = -logits[0].log_softmax(-1)[torch.arange(len(labels)), labels].mean()
        jsd, smoothness = divergence_of(logits), roughness_of(self.latent, self.recipe)
        loss = ce + 12 * jsd + self.lambda_smooth * smoothness
        error = 100 * (logits[0].argmax(-1) != labels).double().mean()
        return {"loss": loss, "ce": ce, "jsd": jsd, "smoothness": smoothness, "error": error}

    def step(self, batches, clip=None, accumulate=1):
        """One step on the losses of a few batches over their nominal number; gives the terms of the last."""
        self.sgd.zero_grad()
        self.adamw.zero_grad()
        for views, labels in batches:
            terms = self.terms(views, labels)
            (terms["loss"] / accumulate).backward()
        if clip is not None:
            for part in ([self.stem, *self.trunk.parameters()], [self.latent]):
                norm = sum(p.grad.square().sum() for p in part).sqrt()
                for p in part:
                    p.grad *= min(1.0, clip / (norm.item() + 1e-6))
        for optimizer, schedule in zip((self.sgd, self.adamw), self.schedules, strict=True):
            optimizer.step()
            schedule.step()
        return {name: term.item() for name, term in terms.items()}

    def state(self):
        """Weights and running statistics under the names of the module's model."""
        trunk = {f"trunk.{name}": value for name, value in self.trunk.state_dict().items()}
        return {"encoding.weight": self.latent, "stem.weight": self.stem, **trunk}


def views_of(batch: Batch, seed: int, epoch: int):
    """The clean view and two of AugMix; all three share one flip and crop."""
    clean = random_flip_crop(batch.images, ImageRandom(seed, epoch, batch.indices, Purpose.FLIP_CROP))
    random = ImageRandom(seed, epoch, batch.indices, Purpose.AUGMIX)
    return torch.cat([clean[None], AugMix(views=2, magnitude=3, rounding="floor")(clean, random)])


# -- the project ---------------------------------------------------------------------------------------------------


class Recorder(pl.Callback):
    """What every step trained on, what it reported, and what the model was after it."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, Batch]] = []
        self.terms: list[dict[str, float]] = []
        self.states: list[dict[str, torch.Tensor]] = []
        self.steps: list[int] = []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.batches.append((trainer.current_epoch, batch))
        self.terms.append({name: term.item() for name, term in module.last_terms.items()})
        self.states.append({name: value.clone() for name, value in module.model.state_dict().items()})
        self.steps.append(trainer.global_step)


def config_of(*overrides: str, **values: object) -> TrainConfig:
    given = {"dataset": "digits", "trainer": "cpu", "backbone": "wrn40_2", "seed": 5, **values}
    return training_config([f"{key}={value}" for key, value in given.items()] + list(overrides))


def data_of(config: TrainConfig, folder) -> ImageDataModule:
    keys = ("batch_size", "eval_batch_size", "seed", "limit_train", "limit_test")
    held_out = {key: getattr(config.dataset, key) for key in ("val_size", "split_seed")}
    data = ImageDataModule("digits", folder, **{key: getattr(config, key) for key in keys}, **held_out, download=False)
    data.setup()
    return data


def module_of(config: TrainConfig, batches: int) -> TrainingModule:
    """In float64, with some zeros in the latent table: there the two presets' slopes differ."""
    torch.manual_seed(3)
    module = TrainingModule(config, 10, batches).double()
    if config.encoding.name == "p2be":
        module.model.encoding.weight.data[::50, ::7] = 0.0
        module.model.encoding.weight.data[1::50, ::7] = -0.0
    return module


def fit(module: TrainingModule, data: ImageDataModule, config: TrainConfig, folder) -> Recorder:
    recorder = Recorder()
    build_trainer(
        config.trainer,
        max_epochs=config.epochs,
        accumulate_grad_batches=config.optim.accumulate,
        gradient_clip_val=config.optim.clip_norm,
        callbacks=[recorder],
        enable_checkpointing=False,
        enable_progress_bar=False,
        default_root_dir=folder,
    ).fit(module, data)
    return recorder


def assert_same_model(state, reference: Reference) -> None:
    expected = reference.state()
    assert set(state) == set(expected)
    for name, value in state.items():
        torch.testing.assert_close(value, expected[name].detach(), rtol=0, atol=ATOL, msg=lambda m, n=name: f"{n}: {m}")


# -- the recipe ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("preset", RECIPES)
def test_steps_of_the_recipe_are_those_of_the_reference(preset, tmp_path):
    config = config_of(preset=preset, epochs=2, batch_size=4, limit_train=6)
    data = data_of(config, tmp_path)
    module = module_of(config, batches=2)
    reference = Reference(module, RECIPES[preset], total_steps=4)
    recorder = fit(module, data, config, tmp_path)
    assert [len(batch.labels) for _, batch in recorder.batches] == [4, 2, 4, 2]
    assert [epoch for epoch, _ in recorder.batches] == [0, 0, 1, 1]
    assert recorder.steps == [1, 2, 3, 4]
    totals, before = {}, reference.latent.detach() >= 0
    for number, (epoch, batch) in enumerate(recorder.batches):
        expected = reference.step([(views_of(batch, 5, epoch), batch.labels)])
        assert recorder.terms[number] == pytest.approx(
            {name: value for name, value in expected.items() if name != "error"}, rel=0, abs=ATOL
        )
        assert_same_model(recorder.states[number], reference)
        for name, value in expected.items():
            totals[name] = totals.get(name, 0.0) + value * len(batch.labels) / 12
    assert module.train_meter.means() == pytest.approx(totals, rel=0, abs=ATOL)
    assert ((reference.latent >= 0) != before).any()  # bits flipped: it has learned through them


@pytest.mark.parametrize(
    ("accumulate", "clip"), [(1, 0.5), (2, None), (2, 0.5)], ids=["clipped", "accumulated", "both"]
)
def test_clipping_and_accumulating(accumulate, clip, tmp_path):
    config = config_of(
        f"optim.accumulate={accumulate}",
        f"optim.clip_norm={'null' if clip is None else clip}",
        "encoding.M=8",
        "encoding.lambda_smooth=0.1",
        backbone="wrn16_1",
        epochs=2,
        batch_size=3,
        limit_train=9,
    )
    data = data_of(config, tmp_path)
    module = module_of(config, batches=3)
    groups = [[0], [1], [2], [3], [4], [5]] if accumulate == 1 else [[0, 1], [2], [3, 4], [5]]
    reference = Reference(module, RECIPES["official"], total_steps=len(groups), lambda_smooth=0.1)
    recorder = fit(module, data, config, tmp_path)
    views = [(views_of(batch, 5, epoch), batch.labels) for epoch, batch in recorder.batches]
    for group in groups:
        # A rest at the end of an epoch is divided by the nominal number too: that is Lightning's way.
        expected = reference.step([views[number] for number in group], clip, accumulate)
        assert recorder.terms[group[-1]]["loss"] == pytest.approx(expected["loss"], rel=0, abs=ATOL)
        assert_same_model(recorder.states[group[-1]], reference)
    assert recorder.steps[-1] == len(groups)


# -- other encodings and regimes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["rgb", "thermometer"])
def test_a_constant_encoding_under_the_standard_regime(encoding, tmp_path):
    config = config_of(encoding=encoding, regime="standard", backbone="wrn16_1", epochs=1, batch_size=4, limit_train=10)
    data = data_of(config, tmp_path)
    module = module_of(config, batches=3)
    table = module.model.encoding.table()
    stem = module.model.stem.weight.detach().clone().contiguous().requires_grad_()
    trunk = copy.deepcopy(module.model.trunk)
    sgd = torch.optim.SGD([stem, *trunk.parameters()], lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    recorder = fit(module, data, config, tmp_path)
    for number, (epoch, batch) in enumerate(recorder.batches):
        sgd.param_groups[0]["lr"] = 0.1 * (1e-5 + (1 - 1e-5) * 0.5 * (1 + math.cos(math.pi * number / 3)))
        random = ImageRandom(5, epoch, batch.indices, Purpose.FLIP_CROP)
        logits = trunk(F.conv2d(codes_of(random_flip_crop(batch.images, random), table), stem, padding=1))
        loss = -logits.log_softmax(-1)[torch.arange(len(batch.labels)), batch.labels].mean()
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        assert recorder.terms[number] == pytest.approx({"loss": loss.item(), "ce": loss.item()}, rel=0, abs=ATOL)
    expected = {"stem.weight": stem, **{f"trunk.{name}": value for name, value in trunk.state_dict().items()}}
    assert set(recorder.states[-1]) == set(expected)
    for name, value in recorder.states[-1].items():
        torch.testing.assert_close(value, expected[name].detach(), rtol=0, atol=ATOL)


def test_a_table_from_elsewhere_is_not_trained(tmp_path):
    config = config_of("encoding.table_from=some/run", "encoding.M=4", backbone="wrn16_1", epochs=1, batch_size=4)
    config.limit_train = 8
    module = module_of(config, batches=2)
    before = module.model.encoding.weight.detach().clone()
    fit(module, data_of(config, tmp_path), config, tmp_path)
    assert list(module.trainer.optimizers[0].members) == ["backbone"]
    assert torch.equal(module.model.encoding.weight, before)
    assert "smoothness" in module.last_terms  # shown, as in the reference, though it moves nothing


# -- around the steps ----------------------------------------------------------------------------------------------


def test_the_loss_is_scaled_to_the_ranks_share():
    module = module_of(config_of("encoding.M=4", backbone="wrn16_1", regime="standard"), batches=1)
    images = torch.randint(256, (4, 3, 16, 16), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    labels, indices = torch.arange(4), torch.arange(4)
    whole = module.training_step(Batch(images, labels, indices, 4, 4, 1.0), 0)
    share = module.training_step(Batch(images, labels, indices, 4, 10, 0.8), 0)
    assert share.item() == pytest.approx(0.8 * whole.item(), abs=1e-12)
    assert module.last_terms["loss"].item() == pytest.approx(whole.item(), abs=1e-12)


def test_validation_error_counts_the_held_out_images(tmp_path):
    config = config_of("dataset.val_size=11", "encoding.M=4", backbone="wrn16_1", epochs=1, batch_size=4)
    config.limit_train, config.eval_batch_size = 4, 10
    data, module = data_of(config, tmp_path), module_of(config, batches=1)
    labels = data.val_dataloader().data.labels
    module.model.trunk.classifier.bias.data[labels[-1]] = 100.0  # it says of every image what the last one is
    fit(module, data, config, tmp_path)
    wrong = (labels != labels[-1]).sum().item()
    assert 0 < wrong <= 10  # the second batch is the last image alone: the mean of the two batches is another number
    assert module.trainer.callback_metrics["val/error"].item() == pytest.approx(100 * wrong / 11, abs=1e-5)


def test_learning_rates_are_those_of_the_next_step(tmp_path):
    config = config_of("encoding.M=4", backbone="wrn16_1", epochs=2, batch_size=4, regime="standard")
    config.limit_train = 8
    module = module_of(config, batches=2)
    seen = []

    class Watch(pl.Callback):
        def on_train_batch_end(self, trainer, module, *_):
            seen.append(module.learning_rates())

    build_trainer(
        config.trainer,
        max_epochs=2,
        callbacks=[Watch()],
        enable_checkpointing=False,
        enable_progress_bar=False,
        default_root_dir=tmp_path,
    ).fit(module, data_of(config, tmp_path))
    for name, first in (("backbone", 0.1), ("encoding", 1e-4)):
        expected = [1e-6 + (first - 1e-6) * 0.5 * (1 + math.cos(math.pi * t / 4)) for t in (1, 2, 3, 4)]
        assert [rates[name] for rates in seen] == pytest.approx(expected, rel=1e-9)


def test_table_statistics():
    torch.manual_seed(0)
    module = TrainingModule(config_of("encoding.M=8", backbone="wrn16_1"), 10, 1)
    assert module.table_statistics()["bits_changed"] == 0
    latent = module.model.encoding.weight.data
    latent[:16] *= -1
    latent[16:32] *= 2  # no bit changes
    statistics = module.table_statistics()
    assert statistics["bits_changed"] == 100 * 16 / 256
    cosine = F.cosine_similarity(latent[:-1], latent[1:]).mean().item()
    assert statistics["neighbour_cosine"] == pytest.approx(cosine, abs=1e-7)
    constant = TrainingModule(config_of(encoding="rgb", backbone="wrn16_1"), 10, 1)
    assert constant.table_statistics() == {}


def test_the_hyperparameters_are_plain_values(tmp_path):
    config = config_of("encoding.M=4", backbone="wrn16_1", epochs=1, batch_size=4, regime="standard")
    config.limit_train = 4
    module = module_of(config, batches=1)
    fit(module, data_of(config, tmp_path), config, tmp_path)
    module.trainer.save_checkpoint(tmp_path / "last.ckpt")
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert saved["hyper_parameters"]["config"] == plain(config)


def test_the_sums_of_an_unfinished_epoch_survive_a_checkpoint():
    config = config_of("encoding.M=4", backbone="wrn16_1")
    module, other = module_of(config, batches=1), module_of(config, batches=1)
    module.train_meter.add({"loss": torch.tensor(2.0)}, 3)
    checkpoint: dict = {}
    module.on_save_checkpoint(checkpoint)
    other.on_load_checkpoint(checkpoint)
    other.on_train_start()
    other.train_meter.add({"loss": torch.tensor(6.0)}, 1)
    assert other.train_meter.means() == {"loss": (2.0 * 3 + 6.0) / 4}
