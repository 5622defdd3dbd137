"""Several optimizer steps on one batch: as stepped by hand, over ranks, after a resume, and what is refused."""

import copy
import signal
import sys
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F

from commandline import TINY, assert_equal, at_batch, checkpoint_of, refusal, rows_of, train, untimed
from extension_pages import write_files
from p2be_exp.augment import random_flip_crop
from p2be_exp.backbones.dropout import DropoutRandom, ImageDropout, dropout_from, dropout_images
from p2be_exp.config import plugins
from p2be_exp.config.schema import TrainConfig
from p2be_exp.data import Batch
from p2be_exp.errors import Diverged
from p2be_exp.optim import Cosine, Steps
from p2be_exp.randomness.draws import ImageRandom, Purpose
from p2be_exp.regimes import Regime, RegimeLoss, When, sum_over_ranks
from p2be_exp.runs.run import Run
from p2be_exp.system.trainer import build_trainer
from p2be_exp.training.callbacks import EpochRows
from p2be_exp.training.module import TrainingModule
from small_training import small_config, small_data
from two_ranks import on_two_ranks

SEED, LAMBDA, CLIP = 5, 0.1, 0.05


class LowLabels(Regime):
    """In every third batch a second step on the images of the first classes: no float decides about it."""

    several_steps = True

    def __init__(self, classes: int = 3, weight: float = 0.5) -> None:
        super().__init__(SEED, random_flip_crop)
        self.classes, self.weight = classes, weight
        self.whens: list[When] = []
        self.counts: list[int] = []

    def steps(self, model, batch, when):
        self.whens.append(when)
        images = self.clean_view(batch, when.epoch)
        logits = model(images)
        chosen = (batch.labels[: batch.count] < self.classes).nonzero().flatten()
        more = when.step % 3 == 2 and sum_over_ranks(torch.tensor(len(chosen))).item() > 0
        yield RegimeLoss({"ce": F.cross_entropy(logits, batch.labels)}, {}, logits, more=more)
        self.counts.append(len(chosen))
        shown = chosen if len(chosen) else torch.tensor([0])
        with dropout_images(model, batch.indices[shown]):
            again = model(images[shown])
        terms = {"second_ce": F.cross_entropy(again, batch.labels[shown])}
        yield RegimeLoss(terms, {"second_ce": self.weight}, again, count=len(chosen))


class Recorder(pl.Callback):
    """The batches, and the trainer's count of steps after each of them."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, Batch]] = []
        self.steps: list[int] = []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.batches.append((trainer.current_epoch, batch))
        self.steps.append(trainer.global_step)


def config_of(*overrides: str) -> TrainConfig:
    return small_config("regime=standard", f"seed={SEED}", f"encoding.lambda_smooth={LAMBDA}", *overrides)


def module_of(config: TrainConfig, regime: Regime) -> TrainingModule:
    torch.manual_seed(3)
    module = TrainingModule(config, 10, 6)
    module.regime = regime
    return module


def small_trunk() -> nn.Module:
    """Without batch norms, with dropout."""
    return nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), ImageDropout(0.3), nn.Linear(16 * 4, 10))


def fit(module: TrainingModule, folder: Path, *callbacks: pl.Callback) -> Recorder:
    recorder, config = Recorder(), module.config
    build_trainer(
        config.trainer,
        max_epochs=config.epochs,
        gradient_clip_val=config.optim.clip_norm,
        callbacks=[recorder, *callbacks],
        enable_checkpointing=False,
        enable_progress_bar=False,
        default_root_dir=folder,
    ).fit(module, small_data(config))
    return recorder


# -- by hand ----------------------------------------------------------------------------------------------------------


class ByHand:
    """Two optimizers stepped by hand, with rates that are set once per batch."""

    def __init__(self, module: TrainingModule) -> None:
        self.model = copy.deepcopy(module.model)
        self.parts = [[*self.model.stem.parameters(), *self.model.trunk.parameters()], [self.model.encoding.weight]]
        self.sgd = torch.optim.SGD(self.parts[0], lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
        self.adamw = torch.optim.AdamW(self.parts[1], lr=1e-4, betas=(0.999, 0.999), weight_decay=1e-4)
        self.factors = Steps([1], 0.1, 6), Cosine(12, 1e-6 / 1e-4)
        self.norms: list[float] = []

    def step(self, loss: torch.Tensor) -> None:
        self.sgd.zero_grad()
        self.adamw.zero_grad()
        loss.backward()
        self.norms += [torch.nn.utils.clip_grad_norm_(part, CLIP).item() for part in self.parts[:1]]
        torch.nn.utils.clip_grad_norm_(self.parts[1], CLIP)
        self.sgd.step()
        self.adamw.step()

    def batch(self, number: int, epoch: int, batch: Batch) -> list[float]:
        """Train on a batch; its cross-entropies."""
        self.sgd.param_groups[0]["lr"] = 0.1 * self.factors[0](number)
        self.adamw.param_groups[0]["lr"] = 1e-4 * self.factors[1](number)
        images = random_flip_crop(batch.images, ImageRandom(SEED, epoch, batch.indices, Purpose.FLIP_CROP))
        first = F.cross_entropy(self.model(images), batch.labels)
        self.step(first + LAMBDA * self.model.encoding.smoothness())
        if number % 3 != 2 or not (batch.labels < 3).any():
            return [first.item()]
        chosen = batch.labels < 3
        second = F.cross_entropy(self.model(images[chosen]), batch.labels[chosen])
        self.step(0.5 * second)
        return [first.item(), second.item()]


def test_two_steps_are_those_made_by_hand(tmp_path):
    schedule = ("optim.schedule=steps", "optim.milestones=[1]", "optim.gamma=0.1", "optim.nesterov=true")
    config = config_of(*schedule, f"optim.clip_norm={CLIP}", "optim.table_schedule=cosine")
    module = module_of(config, regime := LowLabels())
    hand = ByHand(module)
    recorder = fit(module, tmp_path)
    found = [hand.batch(number, *given) for number, given in enumerate(recorder.batches)]
    assert_equal(module.model.state_dict(), hand.model.state_dict())
    seconds = [number for number, values in enumerate(found) if len(values) == 2]
    assert len(seconds) == len(regime.counts) >= 2
    assert len(hand.norms) == 12 + len(seconds)
    assert min(hand.norms) > CLIP  # so that each step was clipped
    assert recorder.steps == list(range(1, 13))  # batches
    assert module.trainer.lr_scheduler_configs[0].scheduler.last_epoch == 12
    assert regime.whens == [When(number // 6, number) for number in range(12)]
    labels = [[batch.labels < 3 for _, batch in recorder.batches][number].sum().item() for number in seconds]
    assert regime.counts == labels
    means = module.train_meter.means()
    expected = sum(found[number][1] * count for number, count in zip(seconds, labels, strict=True)) / sum(labels)
    assert means["second_ce"] == pytest.approx(expected, rel=1e-6)
    sizes = [len(batch.labels) for _, batch in recorder.batches]
    assert means["ce"] == pytest.approx(sum(v[0] * n for v, n in zip(found, sizes, strict=True)) / 42, rel=1e-6)
    assert set(means) == {"loss", "ce", "smoothness", "error", "second_ce"}


def test_the_last_batch_keeps_the_terms_of_all_its_steps(tmp_path):
    module = module_of(config_of("epochs=1", "limit_train=12"), LowLabels(classes=10))  # three batches
    fit(module, tmp_path)
    assert list(module.last_terms) == ["loss", "ce", "smoothness", "second_ce"]
    assert module.last_counts == dict.fromkeys(module.last_terms, 4)


def test_a_step_in_bf16_sees_the_new_weights(tmp_path):
    """Autocast keeps casts of the weights while it is entered; each step enters it anew."""

    class Twice(Regime):
        several_steps = True

        def steps(self, model, batch, when):
            for name, more in (("ce", True), ("again", False)):
                logits = model(batch.images)
                seen.append((logits.dtype, logits.detach().float()))
                yield RegimeLoss({name: F.cross_entropy(logits, batch.labels)}, {}, logits, more=more)

    seen: list = []
    module = module_of(config_of("epochs=1", "limit_train=4"), Twice(SEED, random_flip_crop))
    pl.Trainer(
        accelerator="cpu", max_epochs=1, precision="bf16-mixed", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
    ).fit(module, small_data(module.config))  # fmt: skip
    (first, one), (second, two) = seen
    assert first == second == torch.bfloat16
    assert not torch.equal(one, two)


def test_lightning_s_closure_may_be_called_more_than_once(tmp_path):
    """What several steps rest on: each call is a training step with its gradients, hooks and one optimizer step."""
    calls: list[str] = []

    class Bare(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([1.0, -2.0]))

        def training_step(self, batch, batch_idx):
            calls.append("training_step")
            return (self.weight * batch).square().sum()

        def on_before_optimizer_step(self, optimizer):
            calls.append("on_before_optimizer_step")

        def optimizer_step(self, epoch, batch_idx, optimizer, closure=None):
            for _ in range(3):
                super().optimizer_step(epoch, batch_idx, optimizer, closure)

        def configure_optimizers(self):
            optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)
            schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    module, batches = Bare(), [torch.tensor([0.5, 2.0]), torch.tensor([1.0, 0.25])]
    by_hand = nn.Parameter(module.weight.detach().clone())
    sgd = torch.optim.SGD([by_hand], lr=0.1, momentum=0.9)
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=1, gradient_clip_val=0.7, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(module, torch.utils.data.DataLoader(batches, batch_size=None))
    for number, batch in enumerate(batches):
        sgd.param_groups[0]["lr"] = 0.1 * 0.5**number
        for _ in range(3):
            sgd.zero_grad()
            (by_hand * batch).square().sum().backward()
            assert nn.utils.clip_grad_norm_([by_hand], 0.7) > 0
            sgd.step()
    assert torch.equal(module.weight, by_hand)
    assert calls == ["training_step", "on_before_optimizer_step"] * 6
    assert trainer.global_step == 2


# -- dropout ----------------------------------------------------------------------------------------------------------


def test_the_dropout_of_a_second_step_goes_by_image_and_draws_on():
    dropout, images = ImageDropout(0.5).train(), torch.tensor([7, 2, 9])
    random, ones = DropoutRandom(SEED, 1, images), torch.ones(3, 200)
    with dropout_from(dropout, random):
        views = dropout(ones.repeat(3, 1)).unflatten(0, (3, 3))
    with dropout_from(dropout, random):
        first = dropout(ones.repeat(2, 1)).unflatten(0, (2, 3))
    with dropout_from(dropout, random, continued=True), dropout_images(dropout, images[[2, 0]]):
        second = dropout(ones[:2])
    assert torch.equal(first, views[:2])
    assert torch.equal(second, views[2, [2, 0]])
    with dropout_from(dropout, random, continued=True):
        with dropout_images(dropout, images[:1]):
            dropout(ones[:1])
        assert dropout(ones).shape == (3, 200)  # the whole batch again


def test_each_step_of_a_batch_has_dropout_of_its_own_and_each_batch_the_same():
    """The weights stay, so that nothing but the dropout can differ."""

    class Twice(Regime):
        several_steps = True

        def steps(self, model, batch, when):
            for name, more in (("first", True), ("second", False)):
                logits = model(batch.images)
                seen.append(logits.detach())
                yield RegimeLoss({name: logits.mean()}, {}, logits, more=more)

    seen: list[torch.Tensor] = []
    module = module_of(config_of(), Twice(SEED, random_flip_crop))
    module.model.trunk = small_trunk()
    batch = next(iter(small_data(module.config).train_dataloader()))
    for _ in range(4):
        module.training_step(batch, 0)
    assert torch.equal(seen[0], seen[2])
    assert torch.equal(seen[1], seen[3])
    assert not torch.equal(seen[0], seen[1])


# -- rows, checkpoints, resume ----------------------------------------------------------------------------------------

SECOND_LOOK = (*TINY, "plugins=[my_second_look]", "regime=second_look", "regime.every=6", "epochs=3")
"""Four batches an epoch: a second step in the second batch of epoch 2 and in the last of epoch 3."""


@pytest.fixture
def second_look(workdir, monkeypatch):
    """The plug-in of docs/extending.md in the working directory."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    write_files(workdir)
    yield
    plugins.forget("my_second_look")


@pytest.mark.usefixtures("second_look")
@pytest.mark.parametrize("where", [(0, 2), (1, 0), (1, 1), (2, 3)], ids=["before", "between", "in it", "at the end"])
def test_stopped_in_an_epoch_and_resumed_to_the_same_bits(monkeypatch, where):
    whens: list[When] = []
    arguments = [*SECOND_LOOK, "optim.clip_norm=0.5", "hydra.run.dir=whole"]
    assert train(*arguments).code == 0
    regime = type(plugin_regime())
    original = regime.steps
    monkeypatch.setattr(regime, "steps", lambda self, *given: (whens.append(given[-1]), original(self, *given))[1])
    at_batch(monkeypatch, *where, lambda: signal.raise_signal(signal.SIGINT))
    assert train(*arguments[:-1], "hydra.run.dir=run").code == 130
    stopped = checkpoint_of(Path("run"))
    assert stopped["global_step"] == where[0] * 4 + where[1] + 1
    assert ("counts" in stopped["train_meter"]) == (where == (1, 1))
    outcome = train("resume=run", "plugins=[my_second_look]")
    assert outcome.code == 0, outcome.err
    left, right = checkpoint_of(Path("run")), checkpoint_of(Path("whole"))
    for part in ("epoch", "global_step", "state_dict", "optimizer_states", "lr_schedulers", "train_meter"):
        assert_equal(left[part], right[part], part)
    assert untimed(Path("run/metrics.csv")) == untimed(Path("whole/metrics.csv"))
    assert Path("run/metrics.csv").read_text().split("\n")[0] == Path("whole/metrics.csv").read_text().split("\n")[0]
    assert whens == [When(number // 4, number) for number in range(12)]
    rows = rows_of(Path("run/metrics.csv"))
    assert [bool(row["train/second_ce"]) for row in rows] == [False, True, True]
    assert [row["step"] for row in rows] == ["4", "8", "12"]


def plugin_regime() -> Regime:
    return sys.modules["my_second_look"].SecondLook(0, random_flip_crop, 6, 0.5)


def test_a_later_loss_that_is_no_number_stops_the_training(tmp_path):
    module = module_of(config_of("epochs=1", "limit_train=12"), LowLabels(classes=10))
    after_the_last = pl.Callback()
    after_the_last.on_train_batch_end = lambda *_: module.train_meter.add({"second_ce": torch.tensor(torch.nan)}, 1)
    with pytest.raises(Diverged, match=r"^the loss term second_ce is nan in epoch 1; lower optim\.lr"):
        fit(module, tmp_path, after_the_last, EpochRows(Run(tmp_path)))


# -- two processes ----------------------------------------------------------------------------------------------------


def trained_without_norms(folder: Path, regime: Regime, *overrides: str) -> tuple[dict, Regime, dict]:
    """Weights, the regime and the means of the last epoch, in float64, with dropout."""
    config = config_of(*overrides)
    module = module_of(config, regime)
    module.model.trunk = small_trunk()
    module = module.double()
    fit(module, folder)
    return dict(module.model.state_dict()), regime, module.train_meter.means()


def test_two_processes_train_as_one(tmp_path):
    def train(rank: int) -> tuple[dict, Regime, dict]:
        return trained_without_norms(tmp_path, LowLabels(), "trainer=ddp", "trainer.accelerator=cpu")

    first, second = (each.value for each in on_two_ranks(tmp_path, train))
    alone = trained_without_norms(tmp_path, LowLabels())
    assert_equal(first[0], second[0])
    for name, value in alone[0].items():
        torch.testing.assert_close(first[0][name], value, rtol=1e-6, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")
    assert first[2] == second[2] == pytest.approx(alone[2], rel=1e-6)
    assert first[1].whens == second[1].whens == alone[1].whens
    assert [sum(pair) for pair in zip(first[1].counts, second[1].counts, strict=True)] == alone[1].counts
    assert any(0 in pair and any(pair) for pair in zip(first[1].counts, second[1].counts, strict=True))


def test_processes_that_disagree_about_another_step_end_with_the_reason(tmp_path):
    class Disagreeing(LowLabels):
        def steps(self, model, batch, when):
            logits = model(batch.images)
            yield RegimeLoss({"ce": logits.mean()}, {}, logits, more=torch.distributed.get_rank() == 0)

    def train(rank: int) -> None:
        module = module_of(config_of(), Disagreeing())
        with pytest.raises(RuntimeError, match=r"^Disagreeing\.steps: more must be equal on all ranks$"):
            module.training_step(next(iter(small_data(module.config).train_dataloader())), 0)

    on_two_ranks(tmp_path, train)


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("second_look")
def test_accumulated_gradients_are_refused_before_data_is_read(workdir):
    arguments = ["plugins=[my_second_look]", "regime=second_look", "dataset=cifar10", "data_dir=nowhere"]
    message = "optim.accumulate=2: must be 1 with regime=second_look, which may take several optimizer steps per batch"
    assert refusal(train(*arguments, "optim.accumulate=2")) == message
    assert "nowhere" in refusal(train(*arguments, "dataset.download=false"))  # the data is what comes next


def losses_of(*losses: RegimeLoss, several: bool = True) -> None:
    """Train on a batch with the losses of a regime."""

    class Given(Regime):
        several_steps = several

        def steps(self, model, batch, when):
            yield from losses

    module = module_of(config_of(), Given(SEED, random_flip_crop))
    batch = next(iter(small_data(module.config).train_dataloader()))
    for _ in range(2):
        module.training_step(batch, 0)


def test_rules_of_the_generator():
    logits = torch.zeros(4, 10)
    first = RegimeLoss({"ce": torch.tensor(1.0)}, {}, logits, more=True)
    with pytest.raises(RuntimeError, match=r"^Given.steps yields a loss with more=True: .* several_steps = True$"):
        losses_of(first, several=False)
    with pytest.raises(RuntimeError, match=r"^Given.steps ended without another loss$"):
        losses_of(first)
    with pytest.raises(RuntimeError, match=r"^Given.steps yields ce twice: "):
        losses_of(first, RegimeLoss({"ce": torch.tensor(1.0)}, {}, logits))
    losses_of(first, RegimeLoss({"again": torch.tensor(1.0)}, {}, logits))


def test_a_regime_without_a_loss_is_refused():
    class Nothing(Regime):
        pass

    with pytest.raises(TypeError, match=r"^Nothing must define loss or steps$"):
        Nothing(SEED, random_flip_crop)


def test_a_regime_of_one_step_has_one():
    class Once(Regime):
        def loss(self, model, batch, epoch):
            return RegimeLoss({"epoch": torch.tensor(float(epoch))}, {}, torch.zeros(1, 10))

    (loss,) = Once(SEED, random_flip_crop).steps(nn.Identity(), None, When(4, 100))
    assert loss.terms["epoch"] == 4
    assert (loss.more, loss.count, Once.several_steps) == (False, None, False)
