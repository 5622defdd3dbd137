"""Training by TRADES, MART and at perturbed weights: as stepped by hand, over ranks, after a resume, end to end."""

import copy
import json
import signal
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
import yaml
from torch import nn
from torch.nn import functional as F

from commandline import (
    QUICKSTART,
    TINY,
    assert_equal,
    at_batch,
    checkpoint_of,
    copy_of,
    evaluate,
    export,
    refusal,
    rows_of,
    train,
    trained,
    untimed,
)
from grids import in_turn
from p2be_exp.attacks.divergence import kl_divergence
from p2be_exp.config.schema import TrainConfig
from p2be_exp.system.trainer import build_trainer
from p2be_exp.training.module import TrainingModule
from small_training import small_config, small_data
from two_ranks import on_two_ranks

SEED, LAMBDA, CLIP, GAMMA = 5, 0.1, 0.5, 0.02
AWP = (f"regime.awp_gamma={GAMMA}", "regime.awp_warmup=0")
REGIMES = {
    "trades": ("regime=trades",),
    "mart": ("regime=mart",),
    "advtrain": ("regime=advtrain", "attack@regime.attack=pgd_fixed"),
}
SHORT = ("regime.attack.steps=2",)


def config_of(*overrides: str) -> TrainConfig:
    return small_config(f"seed={SEED}", f"encoding.lambda_smooth={LAMBDA}", *SHORT, *overrides)


def module_of(config: TrainConfig, norm: bool) -> TrainingModule:
    """A network of one hidden layer, with batch norm or without, in float64 unless the run is in bf16."""
    torch.manual_seed(3)
    module = TrainingModule(config, 10, 6)
    norms = [nn.BatchNorm2d(16)] if norm else []
    module.model.trunk = nn.Sequential(*norms, nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 10))
    return module if config.trainer.precision == "bf16" else module.double()


class Watch(pl.Callback):
    """The batches; and that gradients are taken at moved weights, but clipped and applied where the batch met them."""

    def __init__(self) -> None:
        self.batches: list = []
        self.moved: list[list[str]] = []

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.batches.append((trainer.current_epoch, batch))
        self.before = {name: value.detach().clone() for name, value in module.named_parameters()}

    def on_before_backward(self, trainer, module, loss):
        self.moved.append(self._moved(module))

    def on_before_optimizer_step(self, trainer, module, optimizer):
        assert self._moved(module) == []

    def _moved(self, module) -> list[str]:
        return [name for name, value in module.named_parameters() if not torch.equal(self.before[name], value)]


def fit(module: TrainingModule, folder: Path) -> Watch:
    watch, config = Watch(), module.config
    build_trainer(
        config.trainer,
        max_epochs=config.epochs,
        accumulate_grad_batches=config.optim.accumulate,
        gradient_clip_val=config.optim.clip_norm,
        callbacks=[watch],
        enable_checkpointing=False,
        enable_progress_bar=False,
        default_root_dir=folder,
    ).fit(module, small_data(config))
    return watch


# -- by hand ----------------------------------------------------------------------------------------------------------


class ByHand:
    """The loop of the reference code of AWP: perturb, gradient, step, take the perturbation off the new weights."""

    def __init__(self, module: TrainingModule) -> None:
        self.model, self.regime = copy.deepcopy(module.model), module.regime
        self.parts = self.model.learned()
        self.sgd = torch.optim.SGD(self.parts[0], lr=0.1, momentum=0.9, nesterov=True, weight_decay=0)
        self.adamw = torch.optim.AdamW(self.parts[1], lr=1e-4, betas=(0.999, 0.999), weight_decay=1e-4)

    def loss(self, model, clean, adversarial, labels):
        """TRADES with beta 6."""
        logits, other = model(torch.cat([clean, adversarial])).split(len(labels))
        return F.cross_entropy(logits, labels) + 6 * kl_divergence(logits, other).mean()

    def batch(self, epoch, batch, accumulate, step):
        clean, adversarial = self.regime.views(self.model, batch, epoch)
        moves = self.moves(clean, adversarial, batch.labels)
        for name, move in moves.items():
            self.model.get_parameter(name).data.add_(move)
        loss = self.loss(self.model, clean, adversarial, batch.labels) + LAMBDA * self.model.encoding.smoothness()
        (loss / accumulate).backward()
        if step:
            for part in self.parts:
                nn.utils.clip_grad_norm_(part, CLIP)
            self.sgd.step()
            self.adamw.step()
            self.sgd.zero_grad()
            self.adamw.zero_grad()
        for name, move in moves.items():
            self.model.get_parameter(name).data.sub_(move)

    def moves(self, clean, adversarial, labels):
        proxy = copy.deepcopy(self.model)
        proxy.zero_grad()
        (-self.loss(proxy, clean, adversarial, labels)).backward()
        torch.optim.SGD(proxy.parameters(), lr=0.01).step()
        found = {}
        for name, old in self.model.named_parameters():
            if old.dim() > 1 and "weight" in name and not name.startswith("encoding"):
                difference = proxy.get_parameter(name).data - old.data
                found[name] = GAMMA * old.data.norm() / (difference.norm() + 1e-20) * difference
        return found


@pytest.mark.parametrize("accumulate", [1, 2])
def test_perturbed_steps_are_those_of_the_references_loop(tmp_path, accumulate):
    """Without weight decay of the network, where the order of step and subtraction makes no difference."""
    rates = ("optim.schedule=steps", "optim.milestones=[9]", "optim.table_schedule=constant", "optim.weight_decay=0")
    steps = (f"optim.clip_norm={CLIP}", f"optim.accumulate={accumulate}")
    module = module_of(config_of(*REGIMES["trades"], *AWP, *rates, *steps), norm=True)
    hand = ByHand(module)
    watch = fit(module, tmp_path)
    for number, (epoch, batch) in enumerate(watch.batches):
        hand.batch(epoch, batch, accumulate, step=(number + 1) % accumulate == 0)
    assert watch.moved == [["model.stem.weight", "model.trunk.4.weight"]] * 12
    for name, value in hand.model.state_dict().items():
        found = module.model.state_dict()[name]
        torch.testing.assert_close(found, value, rtol=1e-7, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("regime", REGIMES)
def test_in_bf16_too_weights_move_and_come_back_after_the_warm_up(tmp_path, regime):
    awp = (AWP[0], "regime.awp_warmup=1")
    module = module_of(config_of(*REGIMES[regime], *awp, "trainer.precision=bf16"), norm=True)
    watch = fit(module, tmp_path)
    assert watch.moved == [[]] * 6 + [["model.stem.weight", "model.trunk.4.weight"]] * 6
    assert all(value.isfinite().all() for value in module.state_dict().values())
    assert {value.dtype for value in module.model.parameters()} == {torch.float32}


# -- two processes ----------------------------------------------------------------------------------------------------


def trained_weights(folder: Path, norm: bool, *overrides: str) -> tuple[dict, dict]:
    """Weights after two epochs, and the means of the last."""
    module = module_of(config_of(*overrides), norm)
    fit(module, folder)
    return dict(module.model.state_dict()), module.train_meter.means()


@pytest.mark.parametrize(
    ("regime", "awp", "norm"),
    [("trades", (), False), ("trades", AWP, False), ("mart", AWP, False), ("trades", AWP, True)],
)
def test_two_processes_train_as_one(tmp_path, regime, awp, norm):
    """With batch norm they cannot, as each has statistics of its own; the weights are one set all the same."""
    arguments = (*REGIMES[regime], *awp)

    def train(rank: int) -> tuple[dict, dict]:
        return trained_weights(tmp_path, norm, *arguments, "trainer=ddp", "trainer.accelerator=cpu")

    first, second = (each.value for each in on_two_ranks(tmp_path, train))
    statistics = ("running_mean", "running_var")
    for name, value in first[0].items():
        assert name.endswith(statistics) or torch.equal(value, second[0][name]), name
    assert first[1] == second[1]
    if norm:
        return
    alone = trained_weights(tmp_path, norm, *arguments)
    for name, value in alone[0].items():
        torch.testing.assert_close(first[0][name], value, rtol=1e-6, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")
    assert first[1] == pytest.approx(alone[1], rel=1e-6)


# -- end to end -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "regime"), in_turn(["rgb", "onehot", "thermometer", "p2be", "p2be", "rgb"], list(REGIMES))
)
def test_every_encoding_trains(workdir, encoding, regime):
    sizes = [] if encoding == "rgb" else ["encoding.M=16"]
    awp = AWP if regime == "advtrain" else ()
    arguments = [*QUICKSTART, *SHORT, *REGIMES[regime], *awp, f"encoding={encoding}", *sizes, "epochs=1"]
    outcome = train(*arguments, "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    (row,) = rows_of(workdir / "run" / "metrics.csv")
    names = {"trades": {"ce", "kl"}, "mart": {"bce", "kl"}, "advtrain": {"ce"}}[regime]
    found = {key.removeprefix("train/") for key in row if key.startswith("train/")} - {"loss", "error", "smoothness"}
    assert found == names
    assert all(float(row[f"train/{name}"]) > 0 for name in names)
    assert json.loads((workdir / "run" / "status.json").read_text())["state"] == "finished"


@pytest.mark.slow
@pytest.mark.parametrize("regime", REGIMES)
def test_stopped_in_an_epoch_and_resumed_to_the_same_bits(workdir, monkeypatch, regime):
    """Weights are perturbed from the second epoch on, in which the training is stopped."""
    arguments = (*TINY, *SHORT, *REGIMES[regime], AWP[0], "regime.awp_warmup=1", "optim.clip_norm=1.0")
    assert train(*arguments, "hydra.run.dir=whole").code == 0
    at_batch(monkeypatch, 1, 1, lambda: signal.raise_signal(signal.SIGTERM))
    assert train(*arguments, "hydra.run.dir=parts").code == 143
    assert checkpoint_of(workdir / "parts")["global_step"] == 6
    assert train("resume=parts").code == 0
    one, other = checkpoint_of(workdir / "whole"), checkpoint_of(workdir / "parts")
    for part in ("global_step", "state_dict", "optimizer_states", "lr_schedulers", "train_meter"):
        assert_equal(one[part], other[part], part)
    assert untimed(workdir / "whole" / "metrics.csv") == untimed(workdir / "parts" / "metrics.csv")


@pytest.fixture(scope="module")
def trades_run(tmp_path_factory):
    """A run with perturbed weights."""
    arguments = (*REGIMES["trades"], *AWP, *SHORT, "epochs=1", "encoding=thermometer", "encoding.M=8")
    return trained(tmp_path_factory.mktemp("trades") / "run", *arguments)


def test_the_attacks_and_the_export_take_such_a_run(trades_run, workdir):
    run = copy_of(trades_run, workdir / "run")
    suite = ("attack=suite_short", "attack.steps=2", "attack.queries=5", "attack.eps_levels=[8]")
    given = (f"run={run}", "corruption=none", "limit_test=10")
    outcome = evaluate(*given, *suite, "name=suite")
    assert outcome.code == 0, outcome.err
    assert json.loads((run / "evaluations/suite/results.json").read_text())["worst_case_error"]["8"] is not None
    outcome = evaluate(*given, "attack=pgd_kl", "attack.steps=2", "attack.restarts=2", "name=kl")
    assert outcome.code == 0, outcome.err
    conditions = [row["condition"] for row in rows_of(run / "evaluations/kl/results.csv")]
    assert "attack/pgd_kl_secant_near_fixed/8" in conditions
    outcome = export(f"run={run}")
    assert outcome.code == 0, outcome.err


def without(mapping: dict, *keys: str) -> dict:
    return {key: value for key, value in mapping.items() if key not in keys}


@pytest.mark.slow
def test_a_run_of_before_these_keys_is_resumed_and_evaluated(workdir, monkeypatch):
    """Its files say nothing of them: its steps adapted, from the image on, and no weights were perturbed."""
    inner = ("regime=advtrain", "attack@regime.attack=pgd", "regime.attack.loss=ce", *SHORT)
    arguments = (*TINY, *inner, "attack=pgd", "attack.steps=2", "attack.eps_levels=8", "limit_test=10")
    assert train(*arguments, "hydra.run.dir=whole").code == 0
    at_batch(monkeypatch, 1, 1, lambda: signal.raise_signal(signal.SIGTERM))
    assert train(*arguments, "hydra.run.dir=parts").code == 143
    new = ("start", "adaptive", "step_size")
    for run in (Path("parts"), Path("whole")):
        config = yaml.safe_load((run / "config.yaml").read_text())
        config["attack"] = without(config["attack"], *new)
        config["regime"] = without(config["regime"], "awp_gamma", "awp_warmup")
        config["regime"]["attack"] = without(config["regime"]["attack"], *new)
        config["backbone"] = without(config["backbone"], "activation")
        (run / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    outcome = train("resume=parts")
    assert outcome.code == 0, outcome.err
    assert_equal(checkpoint_of(Path("whole"))["state_dict"], checkpoint_of(Path("parts"))["state_dict"])
    assert untimed(Path("whole/results.csv")) == untimed(Path("parts/results.csv"))
    given = ("run=whole", "attack=pgd", "attack.steps=2", "corruption=none", "limit_test=10", "name=mine")
    assert evaluate(*given).code == 0
    for file in (Path("whole/results.json"), Path("whole/evaluations/mine/results.json")):
        results = json.loads(file.read_text())
        results["settings"]["attack"] = without(results["settings"]["attack"], *new)
        file.write_text(json.dumps(results))
    for outcome in (train("resume=whole"), evaluate(*given)):
        assert outcome.code == 0, outcome.err


# -- bad input --------------------------------------------------------------------------------------------------------

KL_AT_THE_IMAGE = (
    "regime.attack.start=image: must be near or uniform with regime.attack.loss=kl, "
    "whose gradient is zero at the image itself"
)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["regime=trades", "regime.beta=-1"], "regime.beta=-1.0: must be 0 or more"),
        (["regime=mart", "regime.beta=-0.5"], "regime.beta=-0.5: must be 0 or more"),
        (["regime=trades", "regime.awp_gamma=-0.005"], "regime.awp_gamma=-0.005: must be 0 or more"),
        (["regime=advtrain", "regime.awp_warmup=-1"], "regime.awp_warmup=-1: must be 0 or more"),
        (["regime=trades", "regime.attack.start=image"], KL_AT_THE_IMAGE),
        (["regime=trades", "regime.attack.step_size=0"], "regime.attack.step_size=0.0: must be above 0"),
        (["attack=pgd", "attack.loss=kl"], KL_AT_THE_IMAGE.replace("regime.", "")),
        (["attack=pgd_kl", "attack.start=image"], KL_AT_THE_IMAGE.replace("regime.", "")),
        (["attack=pgd", "attack.start=far"], "attack.start=far: must be one of image, near, uniform"),
        (["regime=trades", "attack@regime.attack=transfer"], "regime=trades attack@regime.attack=transfer: it trains"),
    ],
)
def test_bad_settings_are_refused_before_data_is_read(workdir, arguments, message):
    told = refusal(train(*arguments, "dataset=cifar10", "data_dir=nowhere", "dataset.download=false"))
    assert told.startswith(message)
    assert list(workdir.iterdir()) == []


def test_such_an_attack_on_a_run_is_refused(trades_run, workdir):
    assert refusal(evaluate(f"run={trades_run}", "attack=pgd", "attack.loss=kl")).startswith("attack.start=image: must")
