"""bf16 on CPUs: where it is allowed, what is trained and measured in it, gone on with to the bit."""

import os
import signal

import pytest
import torch

from commandline import (
    ROOT,
    TINY,
    assert_equal,
    at_batch,
    checkpoint_of,
    copy_of,
    evaluate,
    finish,
    refusal,
    rows_of,
    start_warm,
    train,
    trained,
    untimed,
)
from p2be_exp import load_run
from p2be_exp.config.schema import TrainerConfig
from p2be_exp.runs.run import Run
from p2be_exp.system import trainer
from p2be_exp.training import job as jobs
from p2be_exp.training import probes

BF16 = "trainer.precision=bf16"
SHOWN = [each for each in TINY if each != "trainer.progress=false"]

KILLED = """
import os, signal
from p2be_exp.commands.train import main
from p2be_exp.training.module import TrainingModule

step = TrainingModule.training_step

def training_step(self, batch, batch_idx):
    if (self.current_epoch, batch_idx) == (2, 1):
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, batch, batch_idx)

TrainingModule.training_step = training_step
raise SystemExit(main())
"""

needs_bf16 = pytest.mark.skipif(not trainer.cpu_computes_bf16(), reason="this CPU has no bf16 (AVX512-BF16 or AMX)")


def without_bf16(monkeypatch) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)


@pytest.mark.parametrize(
    ("onednn", "avx512", "amx", "machine", "expected"),
    [
        (True, True, False, "x86_64", True),
        (True, False, True, "x86_64", True),
        (True, False, False, "x86_64", False),  # any AVX-512: oneDNN emulates it
        (False, True, True, "x86_64", False),  # held back, by ONEDNN_MAX_CPU_ISA say
        (True, False, False, "aarch64", True),
    ],
)
def test_a_cpu_that_computes_bf16(monkeypatch, onednn, avx512, amx, machine, expected):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: onednn)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(trainer.platform, "machine", lambda: machine)
    assert trainer.cpu_computes_bf16() is expected


def test_a_build_without_onednn_computes_none(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert trainer.cpu_computes_bf16() is False


def test_a_network_that_cannot_be_copied_gets_no_advice():
    model = torch.nn.Linear(3, 3)
    model.last = model(torch.zeros(1, 3))  # has a graph
    images, labels = torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64)
    assert probes.bf16_factor(model, images, labels) == probes.single_thread_factor(model, images, labels) == 0


def test_where_there_is_none_it_is_refused_before_anything_is_done(workdir, monkeypatch):
    without_bf16(monkeypatch)
    told = "trainer.precision=bf16: this CPU has no bf16 (AVX512-BF16 or AMX); use auto or 32"
    assert refusal(train(*TINY, BF16, "trainer=cpu", "hydra.run.dir=run")) == told
    assert not (workdir / "run").exists()


@pytest.mark.parametrize(("precision", "expected"), [("auto", "32-true"), ("32", "32-true"), ("bf16", "bf16-mixed")])
def test_auto_is_float32_on_a_cpu(precision, expected):
    config = TrainerConfig(accelerator="cpu", precision=precision)
    assert trainer.precision_of(config) == expected
    assert trainer.evaluation_precision(config) == ("bf16-mixed" if precision == "bf16" else "32-true")


@pytest.fixture(scope="module")
def lowered(tmp_path_factory):
    """A finished run in bf16: to copy, not to change. Any CPU computes it, if slowly."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "cpu_computes_bf16", lambda: True)
        return trained(tmp_path_factory.mktemp("bf16") / "run", BF16, "epochs=3")


def test_it_is_trained_in_bf16_with_weights_in_float32(lowered):
    assert Run(lowered).info()["trained_on"]["precision"] == "bf16-mixed"
    saved = checkpoint_of(lowered)
    assert {value.dtype for value in saved["state_dict"].values() if value.is_floating_point()} == {torch.float32}
    assert float(rows_of(lowered / "metrics.csv")[-1]["train/loss"]) > 0


def test_convolutions_are_in_bf16_and_so_is_the_evaluation(lowered, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "cpu_computes_bf16", lambda: True)
    seen = set()
    convolve = torch.nn.Conv2d.forward

    def noted(self, features):
        out = convolve(self, features)
        seen.add(out.dtype)
        return out

    monkeypatch.setattr(torch.nn.Conv2d, "forward", noted)
    copy = copy_of(lowered, tmp_path / "run")
    arguments = (f"run={copy}", "corruption.names=[fog]", "corruption.severities=[1]", "attack=lspga", "attack.steps=2")
    assert evaluate(*arguments, BF16, "name=low").code == 0
    assert torch.bfloat16 in seen
    seen.clear()
    assert evaluate(*arguments, "name=full").code == 0
    assert seen == {torch.float32}
    for name in ("low", "full"):
        assert len(rows_of(copy / "evaluations" / name / "results.csv")) == 4  # the attack beside random in ball


def test_a_received_run_is_read_and_evaluated_on_any_cpu(lowered, tmp_path, monkeypatch):
    copy = copy_of(lowered, tmp_path / "run")
    without_bf16(monkeypatch)
    assert Run.open(copy).config().trainer.precision == "bf16"
    assert load_run(copy)(torch.zeros(1, 3, 32, 32, dtype=torch.uint8)).dtype == torch.float32
    assert evaluate(f"run={copy}", "corruption=none", "attack=none").code == 0


def stopped(workdir, monkeypatch, name: str):
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "cpu_computes_bf16", lambda: True)
        at_batch(patch, 1, 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert train(*TINY, BF16, "epochs=3", f"hydra.run.dir={name}").code == 143
    return workdir / name


def test_it_is_gone_on_with_to_the_bit(workdir, monkeypatch, lowered):
    run = stopped(workdir, monkeypatch, "run")
    monkeypatch.setattr(trainer, "cpu_computes_bf16", lambda: True)
    assert train(f"resume={run}").code == 0
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "train_meter"):
        assert_equal(checkpoint_of(run)[part], checkpoint_of(lowered)[part], part)
    assert untimed(run / "metrics.csv") == untimed(lowered / "metrics.csv")
    assert untimed(run / "results.csv") == untimed(lowered / "results.csv")


def test_on_another_cpu_it_is_gone_on_with_in_float32(workdir, monkeypatch):
    run = stopped(workdir, monkeypatch, "run")
    without_bf16(monkeypatch)
    assert refusal(train(f"resume={run}")).startswith("trainer.precision=bf16: this CPU has no bf16")
    assert train(f"resume={run}", "trainer.precision='32'").code == 0
    assert Run(run).info()["trained_on"]["precision"] == "bf16-mixed, then 32-true"


@pytest.mark.parametrize(
    ("factor", "computes", "arguments", "said"),
    [
        (2.8, True, [], "CPU, float32, 1 thread (trainer.precision=bf16 would be 2.8 times as fast here)\n"),
        (1.1, True, [], "CPU, float32, 1 thread\n"),
        (2.8, False, [], "CPU, float32, 1 thread\n"),
        (2.8, True, ["trainer.precision='32'"], "CPU, float32, 1 thread\n"),
        (2.8, True, [BF16], "CPU, bf16, 1 thread\n"),
    ],
)
def test_the_head_says_where_it_would_be_clearly_faster(workdir, monkeypatch, factor, computes, arguments, said):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for module in (trainer, jobs):
        monkeypatch.setattr(module, "cpu_computes_bf16", lambda: computes)
    monkeypatch.setattr(jobs, "bf16_factor", lambda *arguments: factor)
    try:
        outcome = train(*SHOWN, *arguments, "epochs=1", "hydra.run.dir=run")
    finally:
        torch.set_num_threads(threads)
    assert outcome.code == 0, outcome.err
    assert f"device  {said}" in outcome.out


def test_the_factor_is_that_of_passes_in_turn_and_leaves_the_network_as_it_is(monkeypatch):
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.Flatten(),
                                torch.nn.Dropout(0.5), torch.nn.Linear(288, 4)).train()  # fmt: skip
    before, random, lowered = model.state_dict(), torch.get_rng_state(), []
    before = {name: value.clone() for name, value in before.items()}

    def timed(run):
        run()
        lowered.append(torch.is_autocast_enabled("cpu"))
        return 1.0 if lowered[-1] else 3.0

    monkeypatch.setattr(probes, "_seconds", timed)
    assert probes.bf16_factor(model, torch.zeros(20, 3, 8, 8), torch.zeros(20, dtype=torch.int64)) == 3
    assert lowered == [False, True] * (1 + probes.ROUNDS)
    assert_equal(dict(model.state_dict()), before)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.slow
@needs_bf16
def test_killed_and_gone_on_with_it_is_as_in_one_go(workdir, monkeypatch, lowered):
    """With the CPU's own instructions, in a process that is killed."""
    run, driver = workdir / "run", workdir / "driver.py"
    driver.write_text(KILLED)
    outcome = finish(start_warm(driver, *TINY, BF16, "epochs=3", f"hydra.run.dir={run}", cwd=workdir))
    assert outcome.code == -signal.SIGKILL
    outcome = finish(start_warm(ROOT / "train.py", f"resume={run}", cwd=workdir))
    assert outcome.code == 0, outcome.err
    assert untimed(run / "metrics.csv") == untimed(lowered / "metrics.csv")
    assert_equal(checkpoint_of(run)["state_dict"], checkpoint_of(lowered)["state_dict"])
