"""Steps that are taken whole: the eager twin of a captured step gives the bits of the ordinary way."""

import contextlib
import copy
from unittest import mock

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from p2be_exp.augment import random_flip_crop
from p2be_exp.backbones.dropout import ImageDropout
from p2be_exp.config.schema import TrainConfig
from p2be_exp.optim import build, build_optimizer
from p2be_exp.regimes import Regime, RegimeLoss
from p2be_exp.system.trainer import build_trainer
from p2be_exp.training import captured_step
from p2be_exp.training.callbacks import CapturedSteps
from p2be_exp.training.captured_step import CapturedStep, EagerTwin, warm_up
from p2be_exp.training.module import TrainingModule
from p2be_exp.training.set_back import unchanged
from p2be_exp.training.whole_step import WholeStep
from small_training import small_config, small_data, small_step

BATCH = 4  # of which the training has five an epoch, and an odd last one of a single image


class Twin(pl.Callback):
    """Lets a training take its batches whole, and notes what it has seen."""

    def __init__(self, taken: bool, warmed: bool = False) -> None:
        self.taken, self.warmed = taken, warmed
        self.seen: list[dict[str, float]] = []
        self.whole = 0

    def on_train_start(self, trainer, module):
        if not self.taken:
            return
        (optimizer,) = trainer.optimizers
        module.whole_steps = twin = EagerTwin(module, optimizer, trainer.precision_plugin.train_step_context, BATCH)
        take = twin.take

        def counted(batch, epoch):
            if self.warmed and not self.whole:
                step = WholeStep(module, optimizer, trainer.precision_plugin.train_step_context, batch)
                step.fill(batch, epoch)
                warm_up(step)
            taken = take(batch, epoch)
            self.whole += taken
            return taken

        twin.take = counted

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        terms = {name: term.item() for name, term in module.last_terms.items()}
        self.seen.append({**terms, **module.last_counts, "output": outputs["loss"].item(), "step": trainer.global_step})

    def on_train_epoch_end(self, trainer, module):
        self.seen.append(module.train_meter.means())
        module.train_meter.reset()


def trained(config: TrainConfig, folder, taken: bool, dropout: float = 0.0, warmed: bool = False):
    torch.manual_seed(3)
    module = TrainingModule(config, 10, 6)
    if dropout:
        module.model.trunk = nn.Sequential(
            *(nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), ImageDropout(dropout)),
            *(nn.Dropout(dropout), nn.Linear(64, 10)),  # the second draws from PyTorch's own state
        )
    twin = Twin(taken, warmed)
    trainer = build_trainer(
        config.trainer,
        max_epochs=config.epochs,
        callbacks=[twin],
        enable_checkpointing=False,
        enable_progress_bar=False,
        default_root_dir=folder,
    )
    trainer.fit(module, small_data(config))
    return module, trainer.optimizers[0], twin


def assert_same(one, other) -> None:
    (module, optimizer, twin), (other_module, other_optimizer, other_twin) = one, other
    assert twin.seen == other_twin.seen
    for (name, mine), theirs in zip(module.state_dict().items(), other_module.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs), name
    for mine, theirs in zip(optimizer.state.values(), other_optimizer.state.values(), strict=True):
        assert mine.keys() == theirs.keys()
        for key in mine:
            assert torch.equal(torch.as_tensor(mine[key]), torch.as_tensor(theirs[key])), key
    groups = [[group["lr"] for group in each.param_groups] for each in (optimizer, other_optimizer)]
    assert groups[0] == groups[1]
    assert all(type(rate) is float for rate in groups[0])


CASES = {
    "standard, P2BE": ["regime=standard"],
    "standard, RGB": ["regime=standard", "encoding=rgb"],
    "standard, one-hot": ["regime=standard", "encoding=onehot"],
    "augmix, P2BE": ["regime=augmix"],
    "augmix, RGB": ["regime=augmix", "encoding=rgb"],
    "augmix, one-hot": ["regime=augmix", "encoding=onehot"],
    "augmix, thermometer": ["regime=augmix", "encoding=thermometer"],
    "contrain, P2BE": ["regime=contrain", "regime.attack.steps=2"],
    "contrain, thermometer": ["regime=contrain", "regime.attack.steps=2", "encoding=thermometer"],
    "contrain, RGB": ["regime=contrain", "regime.attack.steps=2", "encoding=rgb"],
    "advtrain, PGD": ["regime=advtrain", "attack@regime.attack=pgd", "regime.attack.steps=2"],
    "the paper's preset": ["regime=augmix", "preset=paper"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_batches_taken_whole_give_the_bits_of_the_ordinary_way(name, tmp_path):
    config = small_config(*CASES[name])
    usual = trained(config, tmp_path, taken=False)
    whole = trained(config, tmp_path, taken=True)
    assert whole[2].whole == 10  # but for the odd last batch of each epoch
    assert_same(whole, usual)


def test_batches_taken_whole_are_in_the_average_of_the_weights(tmp_path):
    """Once each, with the values after their steps; the trials of a warm-up are not."""
    config = small_config("regime=standard", "optim.ema=0.9")
    usual, whole = (trained(config, tmp_path, taken=taken, warmed=taken) for taken in (False, True))
    states = [module.average.state_dict() for module, _, _ in (usual, whole)]
    assert whole[2].whole == 10
    assert [state["count"] for state in states] == [12, 12]
    assert all(torch.equal(one, states[1]["weights"][name]) for name, one in states[0]["weights"].items())


def test_warm_up_leaves_nothing_behind(tmp_path):
    """Weights, running statistics and states; with dropout, of which a warm-up must not use up draws."""
    config = small_config("regime=standard")
    usual = trained(config, tmp_path, taken=True, dropout=0.3)
    warmed = trained(config, tmp_path, taken=True, dropout=0.3, warmed=True)
    assert_same(warmed, usual)


def test_without_a_warm_up_that_cleans_up_it_would_be_seen(tmp_path, monkeypatch):
    config = small_config("regime=standard", "epochs=1")
    usual = trained(config, tmp_path, taken=True)
    monkeypatch.setattr(captured_step, "unchanged", lambda module, optimizer: contextlib.nullcontext())
    warmed = trained(config, tmp_path, taken=True, warmed=True)
    assert usual[2].seen != warmed[2].seen


def test_what_a_block_changes_is_set_back_in_place():
    module, optimizer, batch = small_step()
    step = WholeStep(module, optimizer, contextlib.nullcontext, batch)
    step.fill(batch, 0)
    step.run()
    parts = [*module.parameters(), *module.buffers(), *optimizer.state[next(module.parameters())].values()]
    before = [(each.data_ptr(), each.detach().clone()) for each in parts]
    with unchanged(module, optimizer):
        step.run()
        assert not all(torch.equal(each, value) for each, (_, value) in zip(parts, before, strict=True))
    for each, (place, value) in zip(parts, before, strict=True):
        assert each.data_ptr() == place
        assert torch.equal(each, value)


def test_other_batches_are_left_to_the_ordinary_way():
    module, optimizer, batch = small_step()
    twin = EagerTwin(module, optimizer, contextlib.nullcontext, BATCH)
    odd = batch._replace(images=batch.images[:2], labels=batch.labels[:2], indices=batch.indices[:2], count=2)
    lent = batch._replace(count=0, scale=0.0)  # of a rank without an image of its own
    assert not twin.take(odd, 0)
    assert not twin.take(lent, 0)
    assert twin.take(batch, 0)
    before = copy.deepcopy(module.state_dict())
    assert not twin.take(odd, 0)
    assert not twin.take(lent, 0)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_a_batch_keeps_its_scale():
    """Where images could not be read a batch is smaller; where it has as many again, its scale is its own."""
    seen = []
    for scale in (1.0, 0.5):
        module, optimizer, batch = small_step()
        EagerTwin(module, optimizer, contextlib.nullcontext, BATCH).take(batch._replace(scale=scale), 0)
        seen.append([each.grad for each in module.parameters()])
    for whole, half in zip(*seen, strict=True):
        torch.testing.assert_close(half, whole / 2)


def test_a_regime_of_several_losses_is_refused():
    class Two(Regime):
        name, several_steps = "two", True

        def steps(self, model, batch, when):
            logits = model(batch.images)
            yield RegimeLoss({"ce": logits.mean()}, {}, logits, more=True)

    module, optimizer, batch = small_step()
    module.regime = Two(0, random_flip_crop)
    with pytest.raises(RuntimeError, match="regime=two: its steps are not of one loss"):
        EagerTwin(module, optimizer, contextlib.nullcontext, BATCH).take(batch, 0)


def test_a_capture_that_fails_is_told_once_and_the_training_goes_on():
    """As on a device without CUDA."""
    module, optimizer, batch = small_step()
    said = []
    captured = CapturedStep(module, optimizer, contextlib.nullcontext, BATCH, said.append)
    captured._captured = mock.Mock(side_effect=RuntimeError("operation not permitted when stream is capturing\nmore"))
    assert not captured.take(batch, 0)
    assert not captured.take(batch, 0)
    assert said == [
        "compile: steps cannot be captured as a CUDA graph, so trainer.compile=off it is "
        "(operation not permitted when stream is capturing)"
    ]
    assert captured._captured.call_count == 1


class Graph:
    """A captured graph on the CPU: what is replayed is the step on its buffers."""

    def __init__(self, step: WholeStep) -> None:
        self.replay = step.run


def test_a_graph_is_captured_once_and_replayed_for_every_batch():
    module, optimizer, batch = small_step()
    other, other_optimizer, _ = small_step()
    captured = CapturedStep(module, optimizer, contextlib.nullcontext, BATCH, print)
    captured._captured = mock.Mock(side_effect=Graph)
    twin = EagerTwin(other, other_optimizer, contextlib.nullcontext, BATCH)
    for epoch in range(3):
        assert captured.take(batch, epoch)
        assert twin.take(batch, epoch)
    assert captured._captured.call_count == 1
    for mine, theirs in zip(module.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, theirs)


class GpuWithBuffers(WholeStep):
    """With learning rates in buffers, as on a GPU."""

    def __init__(self, *arguments) -> None:
        super().__init__(*arguments)
        self.rates = {group["name"]: torch.zeros(()) for group in self.optimizer.param_groups}


def test_learning_rates_are_read_from_buffers_and_stay_numbers(monkeypatch):
    """By the fused optimizers that GPUs have."""
    monkeypatch.setattr(build, "_fused", lambda parameters: True)
    seen = []
    for kind in (WholeStep, GpuWithBuffers):
        module, optimizer, batch = small_step()
        step = kind(module, optimizer, contextlib.nullcontext, batch)
        for rate in (0.1, 0.05):
            for group in optimizer.param_groups:
                group["lr"] = rate
            step.fill(batch, 0)
            step.run()
        assert [group["lr"] for group in optimizer.param_groups] == [0.05, 0.05]
        assert not optimizer.param_groups[1]["capturable"]
        seen.append([each.detach() for each in module.parameters()])
    for one, other in zip(*seen, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.gpu
@pytest.mark.parametrize("name", CASES)
def test_a_gpu_trains_the_same_by_a_graph(name, tmp_path, capsys):
    """Within what the order of sums leaves open, over two epochs with odd last batches."""
    runs = []
    for word in ("off", "on"):
        config = small_config(*CASES[name], "trainer=gpu", "trainer.precision=32", f"trainer.compile={word}")
        torch.manual_seed(3)
        module, seen = TrainingModule(config, 10, 6), Twin(taken=False)
        build_trainer(
            config.trainer,
            max_epochs=config.epochs,
            callbacks=[CapturedSteps(config), seen],
            enable_checkpointing=False,
            enable_progress_bar=False,
            default_root_dir=tmp_path,
        ).fit(module, small_data(config))
        runs.append(seen.seen)
    assert capsys.readouterr().out.startswith("compile: steps of 4 images are one CUDA graph from now on; to start")
    eager, captured = runs
    assert [each.keys() for each in captured] == [each.keys() for each in eager]
    for one, other in zip(captured[:2], eager[:2], strict=True):  # later ones drift apart, as two eager runs do
        assert one == pytest.approx(other, rel=0.05)


@pytest.mark.gpu
def test_a_graph_on_a_gpu_reads_what_the_buffers_hold(tmp_path):
    """Another epoch, other images and another learning rate make another step."""
    module, optimizer, batch = small_step()
    module = module.cuda()
    optimizer = build_optimizer(*module.model.learned(), module.config.optim)
    batch = batch._replace(**{name: getattr(batch, name).cuda() for name in ("images", "labels", "indices")})
    captured = CapturedStep(module, optimizer, contextlib.nullcontext, BATCH, print)
    weight = optimizer.param_groups[0]["params"][0]
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    before = weight.detach().clone()
    assert captured.take(batch, 0)
    assert torch.equal(weight, before)  # neither the warm-up nor a rate of 0 moved it
    losses = []
    for epoch, images in ((0, batch.images), (1, batch.images), (1, 255 - batch.images)):
        assert captured.take(batch._replace(images=images), epoch)
        losses.append(captured.step.loss.item())
    assert len(set(losses)) == 3
    optimizer.param_groups[0]["lr"] = 0.1
    assert captured.take(batch, 0)
    assert not torch.equal(weight, before)
