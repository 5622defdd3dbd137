"""Runs whose decoders have running statistics by pass: stopped and resumed, averaged, exported, shared."""

import os
import signal
from pathlib import Path

import pytest
import torch

from commandline import QUICKSTART, assert_equal, at_batch, checkpoint_of, export, train, untimed
from p2be_exp import load_run
from small_pyramids import images

DECODER = (*QUICKSTART, "model=fpd", "regime=standard", "optim=adam", "encoding=rgb", "model.width=4", "optim.ema=0.5")
BY_PASS = (*DECODER, "model.statistics=by_pass")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("by_pass") / "whole"
    outcome = train(*BY_PASS, f"hydra.run.dir={folder}")
    assert outcome.code == 0, outcome.err
    return folder


def second_of(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key.partition("second_statistics.")[2]: value for key, value in state.items() if "second_stat" in key}


def test_each_pass_has_counted_its_batches(run):
    state = checkpoint_of(run)["state_dict"]
    second = second_of(state)
    assert len(second) == 3 * 12
    assert {int(value) for key, value in second.items() if key.endswith("tracked")} == {8}
    first = {key: state[f"model.trunk.{key}"] for key in second}
    assert {int(value) for key, value in first.items() if key.endswith("tracked")} == {8}
    key = "groups.1.0.norm1.running_mean"
    assert not torch.allclose(first[key], second[key], rtol=0.1)


def test_stopped_in_an_epoch_and_resumed_to_the_same_bits(run, monkeypatch, workdir):
    at_batch(monkeypatch, 1, 1, lambda: signal.raise_signal(signal.SIGINT))
    assert train(*BY_PASS, "hydra.run.dir=run").code == 130
    assert checkpoint_of(Path("run"))["global_step"] < 8
    outcome = train("resume=run")
    assert outcome.code == 0, outcome.err
    left, right = checkpoint_of(Path("run")), checkpoint_of(run)
    for part in ("epoch", "global_step", "state_dict", "optimizer_states", "train_meter"):
        assert_equal(left[part], right[part], part)
    assert untimed(Path("run/metrics.csv")) == untimed(run / "metrics.csv")


def test_an_average_of_weights_has_the_statistics_of_the_last_ones(run):
    last, average = load_run(run).state_dict(), load_run(run, checkpoint="ema").state_dict()
    assert_equal(second_of(last), second_of(average))
    assert not torch.equal(last["stem.weight"], average["stem.weight"])


@pytest.mark.parametrize(("form", "suffix"), [("torch_export", "pt2"), ("onnx", "onnx")])
def test_exported_it_gives_the_same_logits(run, workdir, form, suffix):
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


def test_shared_with_others_it_is_the_same_network(run, workdir):
    outcome = export(f"run={run}", "format=hub", "out=hub")
    assert outcome.code == 0, outcome.err
    assert_equal(dict(load_run("hub").state_dict()), dict(load_run(run).state_dict()))


def test_a_run_from_before_the_key_is_loaded(workdir):
    """Its statistics are shared, and its checkpoint has no others."""
    assert train(*DECODER, "epochs=1", "hydra.run.dir=older").code == 0
    expected = load_run("older")(images(3, 32))
    config = Path("older/config.yaml")
    text = config.read_text()
    assert text.count("  statistics: shared\n") == 1
    config.write_text(text.replace("  statistics: shared\n", ""))
    assert not second_of(checkpoint_of(Path("older"))["state_dict"])
    assert torch.equal(load_run("older")(images(3, 32)), expected)
