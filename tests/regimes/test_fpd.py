"""The training of a Feature Pyramid Decoder: phases by the threshold, steps written out, targets, ranks, resume."""

import copy
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
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
from p2be_exp.augment import random_flip_crop
from p2be_exp.augment.level_noise import level_noise
from p2be_exp.config import check_config, training_config
from p2be_exp.config.schema import StandardConfig
from p2be_exp.data import Batch
from p2be_exp.encodings import Thermometer
from p2be_exp.errors import BadInput, Diverged
from p2be_exp.models.pyramid import PyramidClassifier
from p2be_exp.randomness.draws import ImageRandom, Purpose
from p2be_exp.regimes import RegimeLoss, When
from p2be_exp.regimes.fpd import FPD
from p2be_exp.registry import OPTIONS, Option
from p2be_exp.runs.run import Run
from p2be_exp.system.trainer import build_trainer
from p2be_exp.training.callbacks.phase_rows import read_phases
from p2be_exp.training.module import TrainingModule
from small_pyramids import Small, fpd, images
from small_training import small_config, small_data
from two_ranks import on_two_ranks
from usual import P2BE

SEED, CLIP = 5, 0.5


def regime(**settings) -> FPD:
    return FPD(SEED, **{"noise": 3, "threshold": 3.0, "second_weight": 0.5, "augment": random_flip_crop, **settings})


def batch_of(n: int = 4, count: int | None = None) -> Batch:
    labels = torch.randint(4, (n,), generator=torch.Generator().manual_seed(1))
    return Batch(images(n), labels, torch.arange(n) * 7, n if count is None else count, n, 1.0)


def losses_of(regime: FPD, model: PyramidClassifier, batch: Batch, epoch: int = 0) -> list[RegimeLoss]:
    """All that a training would ask for; the weights stay."""
    losses = []
    for loss in regime.steps(model, batch, When(epoch, 0)):
        losses.append(loss)
        if not loss.more:
            break
    return losses


def noisy_and_clean(batch: Batch, epoch: int = 0, noise: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    clean = random_flip_crop(batch.images, ImageRandom(SEED, epoch, batch.indices, Purpose.FLIP_CROP))
    return level_noise(clean, noise, batch.indices, SEED, epoch), clean


# -- phases -----------------------------------------------------------------------------------------------------------


def test_the_threshold_on_the_error_of_restoration_decides_about_the_phase():
    model, batch = fpd(Thermometer(4)).double(), batch_of()
    noisy, clean = noisy_and_clean(batch)
    (codes,), (target,) = model.read(noisy), model.read(clean)
    found = model.passes(codes)
    error = ((found.restored - target) ** 2).mean()
    ce = F.cross_entropy(found.scores, batch.labels)

    (alone,) = losses_of(regime(threshold=0.999 * error.item()), model, batch)
    assert list(alone.terms) == ["restoration", "joint"]
    torch.testing.assert_close(alone.total(), error)
    assert alone.terms["joint"] == 0

    first, second = losses_of(regime(threshold=1.001 * error.item()), model, batch)
    assert list(first.terms) == ["restoration", "joint", "ce"]
    torch.testing.assert_close(first.total(), error + ce)
    assert first.terms["joint"] == 1
    assert torch.equal(first.logits, alone.logits)
    assert torch.equal(first.logits, found.scores)
    again = model.passes(found.restored.detach())
    expected = F.cross_entropy(again.scores, batch.labels) + 0.5 * ((again.restored - target) ** 2).mean()
    torch.testing.assert_close(second.total(), expected)
    assert list(second.terms) == ["second_ce", "second_restoration"]
    assert (first.count, second.count, alone.count, second.more) == (None, None, None, False)


def test_phase_1_leaves_the_linear_layer_without_a_gradient():
    model = fpd()
    (alone,) = losses_of(regime(threshold=1e-9), model, batch_of())
    alone.total().backward()
    without = {name for name, each in model.named_parameters() if each.grad is None}
    assert without == {"trunk.classifier.weight", "trunk.classifier.bias"}


def test_the_second_step_sees_the_new_weights_and_the_restored_image_as_it_was():
    model, batch = fpd().double(), batch_of()
    losses = regime().steps(model, batch, When(0, 0))
    next(losses)
    restored = model.passes(*model.read(noisy_and_clean(batch)[0])).restored
    with torch.no_grad():
        for each in model.parameters():
            each.mul_(0.9)
    second = next(losses)
    expected = model.passes(restored.detach())
    torch.testing.assert_close(second.logits, expected.scores)
    second.total().backward()  # nothing that was changed in place is on the way


def test_in_bf16_the_error_is_that_of_float32_codes():
    check_config("train", training_config(["model=fpd", "trainer.precision=bf16"]))
    model = fpd()
    losses = regime().steps(model, batch_of(), When(0, 0))
    for terms in (("restoration", "ce"), ("second_restoration", "second_ce")):
        with torch.autocast("cpu", torch.bfloat16):
            loss = next(losses)
        assert [loss.terms[name].dtype for name in terms] == [torch.float32] * 2
        model.zero_grad()
        loss.total().backward()
        assert all(each.grad.isfinite().all() for each in model.parameters())


# -- targets ----------------------------------------------------------------------------------------------------------


def test_targets_are_detached():
    """A network that restores the same whatever it reads gives a learned table no gradient; its target would."""
    model = fpd(P2BE(4)).double()
    with torch.no_grad():
        model.restoration.decoder.last.weight.zero_()
    (alone,) = losses_of(regime(threshold=1e-9), model, batch_of())
    alone.total().backward()
    assert not model.encoding.weight.grad.any()
    assert model.restoration.decoder.last.bias.grad.any()


def test_a_learned_table_learns_by_what_is_read_in_the_first_step_alone():
    model, batch = fpd(P2BE(4)).double(), batch_of()
    losses = regime().steps(model, batch, When(0, 0))
    next(losses).total().backward()
    assert model.encoding.weight.grad.any()
    model.zero_grad()
    next(losses).total().backward()
    assert model.encoding.weight.grad is None
    assert model.stem.weight.grad.any()


# -- a training, written out ------------------------------------------------------------------------------------------


def module_of(*overrides: str, norms: bool = True, **settings) -> TrainingModule:
    """Two epochs of six batches of four images, the last of a single one; with the small network."""
    config = small_config(
        "model=fpd", f"seed={SEED}", f"optim.clip_norm={CLIP}", "encoding.lambda_smooth=0.1", *overrides
    )
    torch.manual_seed(5)
    module = TrainingModule(config, 10, 6)
    module.regime = regime(**settings)
    module.model = fpd(module.model.encoding, Small(10, norms), dropout=0.25)
    return module.double()


class Recorder(pl.Callback):
    """What the batches were, with their epochs."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, Batch]] = []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.batches.append((trainer.current_epoch, batch))


def fit(module: TrainingModule, folder: Path) -> Recorder:
    recorder, config = Recorder(), module.config
    build_trainer(
        config.trainer, max_epochs=2, gradient_clip_val=config.optim.clip_norm, callbacks=[recorder],
        enable_checkpointing=False, enable_progress_bar=False, default_root_dir=folder,
    ).fit(module, small_data(config))  # fmt: skip
    return recorder


class WrittenOut:
    """The method on batches of a training, with plain optimizers; without dropout."""

    def __init__(self, module: TrainingModule) -> None:
        self.model = model = copy.deepcopy(module.model)
        table = model.encoding.weight
        self.parts = [[each for each in model.parameters() if each is not table], [table]]
        self.adam = torch.optim.Adam(self.parts[0], lr=1e-3, betas=(0.9, 0.999), weight_decay=0.0)
        self.adamw = torch.optim.AdamW([table], lr=1e-4, betas=(0.999, 0.999), weight_decay=1e-4)
        self.errors: list[float] = []
        self.phases: list[int] = []

    def step(self, loss: torch.Tensor) -> None:
        for optimizer in (self.adam, self.adamw):
            optimizer.zero_grad()
        loss.backward()
        for part in self.parts:
            torch.nn.utils.clip_grad_norm_(part, CLIP)
        for optimizer in (self.adam, self.adamw):
            optimizer.step()

    def batch(self, number: int, epoch: int, batch: Batch, threshold: float) -> None:
        """The batch ``number``, from 0."""
        cosine = 0.5 * (1 + np.cos(np.pi * number / 12))
        self.adam.param_groups[0]["lr"] = 1e-6 + (1e-3 - 1e-6) * cosine
        self.adamw.param_groups[0]["lr"] = 1e-6 + (1e-4 - 1e-6) * cosine
        noisy, clean = noisy_and_clean(batch, epoch)
        model = self.model
        target = model.encoding(clean).detach()
        found = model.passes(model.encoding(noisy))
        restoration, smooth = F.mse_loss(found.restored, target), 0.1 * model.encoding.smoothness()
        self.errors.append(restoration.item())
        if restoration > threshold:
            self.phases.append(1)
            self.step(restoration + smooth)
            return
        self.phases.append(2)
        self.step(F.cross_entropy(found.scores, batch.labels) + restoration + smooth)
        again = model.passes(found.restored.detach())
        self.step(F.cross_entropy(again.scores, batch.labels) + 0.5 * F.mse_loss(again.restored, target))


THRESHOLD = 0.471
"""About which the error of the restoration of this training is: asserted where it is used."""


def test_weights_and_statistics_are_those_of_the_method_written_out(tmp_path):
    module = module_of("optim.table_schedule=cosine", "preset=official", threshold=THRESHOLD)
    module.model.trunk.classifier.dropout.p = 0.0
    slow = WrittenOut(module)
    recorder = fit(module, tmp_path)
    for number, (epoch, batch) in enumerate(recorder.batches):
        slow.batch(number, epoch, batch, THRESHOLD)
    assert set(slow.phases) == {1, 2}, slow.errors
    found, expected = module.model.state_dict(), slow.model.state_dict()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-7, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}")
    steps = sum(slow.phases)  # and two passes through the network in each
    assert found["trunk.norms.0.num_batches_tracked"] == 2 * steps
    means = module.train_meter.means()
    counts = [len(batch.labels) for _, batch in recorder.batches]
    assert means["restoration"] == pytest.approx(np.average(slow.errors, weights=counts), rel=1e-7)
    assert means["joint"] == pytest.approx(np.average([phase - 1 for phase in slow.phases], weights=counts))


# -- what is no number ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("restoration.decoder.last.bias", r"^the restored images are not finite in epoch 3: .*; lower optim\.lr or "),
        ("trunk.classifier.bias", r"^the cross-entropy is not finite in epoch 3: "),
    ],
)
def test_what_is_not_finite_ends_the_training(broken, said):
    model = fpd()
    with torch.no_grad():
        model.get_parameter(broken).fill_(torch.inf if "decoder" in broken else torch.nan)
    with pytest.raises(Diverged, match=said):
        next(regime().steps(model, batch_of(), When(2, 0)))


def test_a_batch_without_an_image_of_ones_own_ends_nothing():
    first, _ = losses_of(regime(threshold=1e-9), fpd(), batch_of(count=0))
    assert first.more


def test_a_rate_that_is_too_high_ends_with_one_line(workdir):
    outcome = train(*DIGITS, "optim.lr=1e20", "optim.clip_norm=null", "hydra.run.dir=run")
    assert outcome.code == 1
    assert outcome.err.count("\n") == 1
    assert "not finite in epoch 1: denoising multiplies" in outcome.err


# -- two processes ----------------------------------------------------------------------------------------------------


def trained_part(folder: Path, norms: bool, *overrides: str) -> tuple[dict, dict, list[bool]]:
    """Weights, means over all epochs, and of each step whether another one followed."""
    module = module_of(*overrides, norms=norms, threshold=THRESHOLD)
    steps, seen = module.regime.steps, []

    def noting(*given):
        for loss in steps(*given):
            seen.append(loss.more)
            yield loss

    module.regime.steps = noting
    fit(module, folder)
    return dict(module.model.state_dict()), module.train_meter.means(), seen


@pytest.mark.parametrize("norms", [False, True], ids=["without batch norms", "with batch norms"])
def test_two_processes(tmp_path, norms):
    """Without batch norms, whose statistics are each process's own, they train as one."""
    ddp = ("trainer=ddp", "trainer.accelerator=cpu")
    first, second = (e.value for e in on_two_ranks(tmp_path, lambda rank: trained_part(tmp_path, norms, *ddp)))
    parameters = [name for name, _ in fpd(P2BE(4), Small(10, norms)).named_parameters()]
    assert_equal({n: first[0][n] for n in parameters}, {n: second[0][n] for n in parameters})
    assert first[1:] == second[1:]
    assert {True, False} <= set(first[2])
    if not norms:
        alone = trained_part(tmp_path, norms)
        assert 12 < len(first[2]) < 24  # both phases have been there
        assert first[2] == alone[2]
        for name, value in alone[0].items():
            torch.testing.assert_close(first[0][name], value, rtol=1e-6, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}")
        assert first[1] == pytest.approx(alone[1], rel=1e-6)


# -- commands ---------------------------------------------------------------------------------------------------------

DIGITS = (*QUICKSTART, "model=fpd", "regime=fpd", "optim=adam", "model.width=8")
"""Four batches an epoch; the experiment chooses a regime, which is above what the model chooses."""


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A trained network on P2BE, of both phases."""
    folder = tmp_path_factory.mktemp("fpd") / "run"
    return trained(folder, *DIGITS[len(QUICKSTART) :], "regime.threshold=3", "model.dropout=0.1")


def test_rows_of_a_run(run):
    rows = rows_of(run / "metrics.csv")
    assert [row["step"] for row in rows] == ["4", "8"]
    assert all(0 <= float(row["train/joint"]) <= 1 for row in rows)
    assert all(float(row["train/restoration"]) > 0 for row in rows)
    assert float(rows[1]["train/second_ce"]) > 0.79  # the least that ten scores within -1 and 1 allow
    assert float(rows[1]["train/second_restoration"]) > 0


def test_figures_of_a_run(run):
    phases = read_phases(Run(run))
    assert [(each.epoch, each.step) for each in phases] == [(1 + step // 4, 1 + step) for step in range(8)]
    means = [float(row["train/restoration"]) for row in rows_of(run / "metrics.csv")]
    # The last batch of an epoch may be smaller; the mean is within the range of its batches anyway.
    for epoch, mean in enumerate(means, start=1):
        errors = [each.error for each in phases if each.epoch == epoch]
        assert min(errors) <= mean <= max(errors)
    assert [each.joint for each in phases] == [int(each.error <= 3) for each in phases]
    for name in ("restoration", "restored_images"):
        assert (run / f"figures/{name}.png").read_bytes().startswith(b"\x89PNG")


def test_the_attack_suite_on_a_run(run):
    small = ("limit_test=4", "trainer=cpu", "trainer.progress=false", "corruption=none")
    suite = ("attack=suite_short", "attack.steps=2", "attack.queries=2", f"attack.source={run}")
    outcome = evaluate(f"run={run}", *suite, *small, "name=suite")
    assert outcome.code == 0, outcome.err
    results = json.loads((run / "evaluations/suite/results.json").read_text())
    assert results["worst_case_error"]["8"] >= results["clean_error"]
    assert "attack/transfer_p2be_wrn16_1/8" in results["conditions"]
    assert {"attack/pgd_margin_secant/8", "attack/pgd_margin_secant_outputs/8"} <= set(results["conditions"])
    assert any(check["name"].startswith("climbing the outputs") for check in results["sanity"])


@pytest.mark.parametrize(("form", "suffix"), [("torch_export", "pt2"), ("onnx", "onnx")])
def test_export_of_a_run(run, workdir, form, suffix):
    if form == "onnx" and "P2BE_TEST_ROUNDING" in os.environ:
        pytest.skip("ONNX has no operator for what tests/rounding.py adds to every sum")
    outcome = export(f"run={run}", f"format={form}", f"out=exported.{suffix}")
    assert outcome.code == 0, outcome.err
    given = images(3, 32)
    if form == "onnx":
        onnxruntime = pytest.importorskip("onnxruntime")
        session = onnxruntime.InferenceSession("exported.onnx", providers=["CPUExecutionProvider"])
        found = torch.from_numpy(session.run(None, {"images": given.numpy()})[0])
    else:
        found = torch.export.load("exported.pt2").module()(given)
    torch.testing.assert_close(found, load_run(run)(given), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("encoding", ["rgb", "thermometer"])
def test_other_encodings_train_and_are_attacked(encoding, workdir):
    small = ("epochs=1", "limit_train=16", "limit_test=2", "regime.threshold=1e9")
    suite = ("attack=suite_short", "attack.steps=1", "attack.queries=2")
    outcome = train(*DIGITS, f"encoding={encoding}", *small, *suite, "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    assert rows_of(Path("run/metrics.csv"))[0]["train/second_ce"]
    results = json.loads(Path("run/results.json").read_text())
    for attack in ("lspga", "lspga_margin", "pgd_ce_secant", "pgd_margin_secant", "square"):
        assert f"attack/{attack}/8" in results["conditions"]
    assert results["worst_case_error"]["8"] >= results["clean_error"]


@pytest.mark.parametrize("name", ["standard", "contrain", "advtrain", "trades", "mart"])
def test_other_regimes_train_the_classification_alone(name, workdir):
    inner = [] if name == "standard" else ["attack@regime.attack=pgd", "regime.attack.steps=1"]
    inner += ["regime.attack.start=near", "regime.attack.loss=kl"] if name == "trades" else []
    small = ("epochs=1", "limit_train=8", "limit_test=2", "model.width=4", "encoding=rgb")
    outcome = train(*DIGITS, f"regime={name}", *inner, *small, "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    assert f"regime={name} is classification alone: the decoder learns through the second pass only" in outcome.out
    assert "train/restoration" not in rows_of(Path("run/metrics.csv"))[0]
    assert Path("run/figures/restored_images.png").exists()
    assert not Path("run/figures/restoration.png").exists()


def test_stopped_in_an_epoch_and_resumed_to_the_same_bits(monkeypatch, workdir):
    arguments = [*DIGITS, "encoding.M=8", "regime.threshold=3", "model.dropout=0.1", "hydra.run.dir=whole"]
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
    assert Path("run/restoration.csv").read_text() == Path("whole/restoration.csv").read_text()


# -- a part of a mixture ----------------------------------------------------------------------------------------------


def test_a_mixture_has_its_scores_and_its_readers(run, rgb_run, workdir):
    small = ("dataset=digits", "trainer=cpu", "trainer.progress=false", "limit_test=4", "limit_train=4")
    parts = (f"model.accurate={rgb_run}", f"model.robust={run}", "model.robust_scale=3")
    attack = ("attack=pgd", "attack.steps=2")
    outcome = train(*small, "model=mix", *parts, *attack, "hydra.run.dir=mixed")
    assert outcome.code == 0, outcome.err
    given = images(3, 32)
    g, h = load_run(rgb_run)(given), load_run(run)(given)
    expected = torch.log(0.3 * g.softmax(1) + 0.7 * (3 * h).softmax(1))
    torch.testing.assert_close(load_run("mixed")(given), expected, rtol=1e-4, atol=1e-5)
    assert "attack/pgd_margin_secant/8" in json.loads(Path("mixed/results.json").read_text())["conditions"]


def test_a_gate_refuses_it(run, rgb_run, workdir):
    parts = (f"model.accurate={rgb_run}", f"model.robust={run}")
    said = refusal(train("dataset=digits", "trainer=cpu", "model=adaptive_mix", *parts, "hydra.run.dir=mixed"))
    assert said.startswith(
        f"model.robust={run}: model=fpd, whose network runs twice; model=adaptive_mix takes plain and "
    )


# -- what is refused --------------------------------------------------------------------------------------------------

TAKEN = "fpd, standard, contrain, advtrain, trades, mart"
STAGED = "has no stages, which model=fpd needs; those that have are densenet40_12, densenet40_24, densenet_bc_100_12, "
REFUSED = {
    "model=fpd backbone=alexnet": f"backbone=alexnet: {STAGED}",
    "model=fpd backbone=allconv": f"backbone=allconv: {STAGED}",
    "regime=fpd": "regime=fpd: only with model=fpd; with model=plain it must be one of advtrain, augmix, ",
    "model=mix model.accurate=A model.robust=B regime=fpd": "regime=fpd: must be none with model=mix",
    "model=fpd regime=augmix": f"regime=augmix: must be one of {TAKEN} with model=fpd",
    "model=fpd regime=tenet": f"regime=tenet: must be one of {TAKEN} with model=fpd",
    "model=fpd regime=noisymix": f"regime=noisymix: must be one of {TAKEN} with model=fpd",
    "model=fpd regime=mixing": f"regime=mixing: only with model=adaptive_mix; with model=fpd it must be one of {TAKEN}",
    "model=fpd regime=none": "regime=none: only with model=mix or nuts_mix or published; with model=fpd it must be one "
    f"of {TAKEN}",
    "model=fpd regime.noise=-1": "regime.noise=-1: must be a whole number of levels between 0 and 255",
    "model=fpd regime.noise=256": "regime.noise=256: must be a whole number of levels between 0 and 255",
    "model=fpd regime.noise=2.5": "regime.noise=2.5: must be a whole number of levels between 0 and 255",
    "model=fpd regime.noise=0.01": "regime.noise=0.01: must be a whole number of levels between 0 and 255; "
    "0.01 is 2.55 levels: 2 levels or 3?",
    "model=fpd regime.threshold=0": "regime.threshold=0.0: must be above 0",
    "model=fpd regime.threshold=-3": "regime.threshold=-3.0: must be above 0",
    "model=fpd regime.second_weight=-1": "regime.second_weight=-1.0: must be 0 or more",
    "model=fpd model.width=0": "model.width=0: must be between 1 and 4096",
    "model=fpd model.dropout=1": "model.dropout=1.0: must be at least 0 and below 1",
    "model=fpd model.dropout=-0.1": "model.dropout=-0.1: must be at least 0 and below 1",
    "model=fpd optim.accumulate=2": "optim.accumulate=2: must be 1 with regime=fpd, which may take several optimizer "
    "steps per batch",
    "model=fpd optim.betas=[0.9]": "optim.betas=[0.9]: must be two numbers, each at least 0 and below 1",
    "model=fpd optim.table_betas=[0.9,1]": "optim.table_betas=[0.9, 1.0]: must be two numbers, each at least 0 and ",
    "model=fpd optim.schedule=steps": "optim.schedule=steps: must be one of cosine, constant",
    "model=fpd model.restoration=false": "model.restoration=False: must be true with regime=fpd, which trains what is ",
    "model=fpd model.statistics=both": "model.statistics=both: must be one of shared, by_pass",
    "model=fpd regime=standard model.restoration=false model.statistics=by_pass": "model.statistics=by_pass: must be "
    "shared with model.restoration=false, which has one pass",
    "model=fpd backbone=resnet50 backbone.weights=FILE": "backbone.weights=FILE: requires model=plain, not fpd",
}


@pytest.mark.parametrize("given", REFUSED)
def test_bad_input_is_refused_before_data_is_read(given, workdir):
    arguments = ["dataset=cifar10", "data_dir=nowhere", "dataset.download=false", *given.split()]
    assert refusal(train(*arguments)).startswith(REFUSED[given])
    assert not any(workdir.iterdir())


def test_a_regime_of_a_plug_in_may_train_it(monkeypatch):
    monkeypatch.setitem(OPTIONS["regime"], "mine", Option("StandardConfig", owner="my_module"))
    config = training_config(["model=fpd"])
    config.regime = StandardConfig(name="mine")
    check_config("train", config)
    config.regime = StandardConfig(name="augmix")
    with pytest.raises(BadInput, match=f"^regime=augmix: must be one of {TAKEN} with model=fpd$"):
        check_config("train", config)


def test_a_size_that_cannot_be_restored_is_refused_before_data_is_read(workdir):
    (workdir / "pictures/train/one").mkdir(parents=True)
    (workdir / "pictures/test/one").mkdir(parents=True)
    pictures = ["dataset=image_folder", "dataset.dir=pictures", "dataset.image_size=66", "backbone=resnet50"]
    said = refusal(train("model=fpd", "trainer=cpu", *pictures, "hydra.run.dir=run"))
    assert said.startswith("backbone=resnet50: with model=fpd it takes images whose height and width are divided by 4")
    assert not (workdir / "run").exists()
