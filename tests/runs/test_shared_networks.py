"""A network that was shared: what takes it in the place of a run, and what is said of a file that is not as it was."""

import hashlib
import json
import os
import pickle
import sys

import pytest
import torch
from safetensors.torch import save

from commandline import copy_of, evaluate_clean, export, refusal, report, train, untimed
from p2be_exp import load_run
from p2be_exp.config import compose_config, to_plain
from p2be_exp.config.typed import typed
from p2be_exp.errors import BadInput
from p2be_exp.evaluation.attack_source import attack_source
from p2be_exp.runs.load import load_checkpoint


@pytest.fixture
def network(shared, workdir):
    return copy_of(shared, workdir / "network")


def changed(folder, *keys, value):
    """``config.json`` with another value; None for a key that is removed."""
    content = json.loads((folder / "config.json").read_text())
    node = content
    for key in keys[:-1]:
        node = node[key]
    if value is None:
        del node[keys[-1]]
    else:
        node[keys[-1]] = value
    (folder / "config.json").write_text(json.dumps(content))


def with_weights(folder, content):
    """Another weights' file, which ``config.json`` says is the right one."""
    (folder / "model.safetensors").write_bytes(content)
    changed(folder, "weights", "bytes", value=len(content))
    changed(folder, "weights", "sha256", value=hashlib.sha256(content).hexdigest())


def said(folder):
    with pytest.raises(BadInput) as error:
        load_run(folder)
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix(f"run={folder}: ")


# -- in the place of a run --------------------------------------------------------------------------------------------


def test_an_evaluation_gives_the_rows_of_the_run(four_epochs, network, workdir):
    before = {file: file.read_bytes() for file in network.iterdir()}
    for run, out in ((four_epochs, "of_run"), (network, "of_network")):
        assert evaluate_clean(f"run={run}", f"out={out}").code == 0
    assert untimed(workdir / "of_network/results.csv") == untimed(workdir / "of_run/results.csv")
    assert {file: file.read_bytes() for file in network.iterdir()} == before


def test_an_attack_transfers_from_it(network):
    small = ["encoding=p2be", "dataset=digits", "attack=transfer", f"attack.source={network}"]
    source = attack_source(typed(to_plain(compose_config("train", small))))
    assert source.shared is not None
    assert load_checkpoint(source)["global_step"] == 16


def test_it_is_exported_like_a_run(network):
    assert export("run=network", "out=x.pt2").code == 0
    assert refusal(export("run=network")) == "run=network: a shared network stays as it is; use out=FILE.pt2"
    assert refusal(export("run=network", "format=hub", "out=x")) == "run=network: is a network of format=hub already"


def test_nothing_is_written_into_it(network):
    message = refusal(evaluate_clean("run=network"))
    assert message == "run=network: a shared network stays as it is; use out=FOLDER for the results"


def test_what_takes_runs_alone_says_so(network):
    for outcome in (train("resume=network"), train("encoding=p2be", "encoding.table_from=network")):
        assert refusal(outcome).endswith("=network: a network to share (config.json), not a run")
    assert "network: neither a run" in refusal(report("network"))


def test_the_checkpoint_is_the_one_that_there_is(shared, network):
    assert load_run(shared, "last") is not None
    with pytest.raises(BadInput, match="no best checkpoint; a shared network has one, here the last"):
        load_run(shared, "best")
    changed(network, "weights", "checkpoint", value="best")
    for which in ("last", "best"):
        load_run(network, which)


def test_another_librarys_folder_is_none(workdir):
    (workdir / "config.json").write_text('{"architectures": ["ResNet"], "model_type": "resnet"}')
    assert said(workdir) == "config.json is not of a network of p2be_exp; export one with format=hub"


# -- files that are damaged, or hostile -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (["format_version"], 2, "config.json has format 2; this version reads format 1"),
        (["library_name"], "timm", "config.json is not of a network of p2be_exp; export one with format=hub"),
        (["weights"], None, "config.json is damaged"),
        (["weights", "sha256"], 3, "config.json is damaged (weights.sha256: 3)"),
        (["weights", "step"], -1, "config.json is damaged (weights: a number that is not possible)"),
        (["weights", "bytes"], 2**62, "model.safetensors is damaged, or not the file that config.json was written for"),
        (["weights", "classes"], 10**9, "config.json is damaged (num_classes: 1000000000)"),
        (["run", "classes"], [1], "config.json is damaged (run.classes: 1)"),
        (["run", "format_version"], 9, "run format 9; this version reads format 1"),
        (["configuration", "data_dir"], "${oc.env:HOME}", "config.json is damaged (an interpolation, '${oc.env:HOME}'"),
        (
            ["configuration", "encoding", "M"],
            10**6,
            "config.json is damaged, or of another version (encoding.M=1000000",
        ),
        (["configuration", "encoding", "M"], 16, "model.safetensors does not match config.json"),
        (
            ["configuration", "backbone"],
            None,
            "config.json is damaged, or of another version (backbone: a value is required)",
        ),
        (
            ["configuration", "plugins"],
            ["stranger"],
            "needs the plug-in stranger, code that the run names and you do not",
        ),
        (["configuration", "plugins"], ["../x"], "config.json is damaged (plugins: ['../x'])"),
    ],
)
def test_a_configuration_that_is_not_as_it_was(network, keys, value, message):
    changed(network, *keys, value=value)
    assert said(network).startswith(message)


@pytest.mark.parametrize("content", ["", "{", "[]", "[" * 10_000, '{"a":' * 900 + "1" + "}" * 900, " " * 2**21])
def test_a_configuration_that_is_something_else(network, content):
    (network / "config.json").write_text(content)
    assert said(network).startswith("config.json is ")


def test_a_flipped_bit_is_found(network):
    file = network / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert said(network).startswith("model.safetensors is damaged, or not the file that config.json was written for")
    file.write_bytes(content[:-1])
    assert said(network).startswith("model.safetensors is damaged")
    file.unlink()
    assert said(network) == "no model.safetensors"
    os.mkfifo(file)
    assert said(network) == "model.safetensors cannot be read (a pipe or a device, no file)"


class Planted:
    """What a pickle would run."""

    def __reduce__(self):
        return os.mkdir, ("planted",)


def test_nothing_in_it_is_executed(network, workdir):
    with_weights(network, pickle.dumps(Planted()))
    assert said(network) == "model.safetensors is damaged (not a safetensors file)"
    torch.save(Planted(), workdir / "x.pt")
    with_weights(network, (workdir / "x.pt").read_bytes())
    assert said(network) == "model.safetensors is damaged (not a safetensors file)"
    assert not (workdir / "planted").exists()


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"a": torch.tensor([1.0, float("nan")])}, "model.safetensors: a has 1 NaN among 2 values"),
        ({"a": torch.ones(2, dtype=torch.int8)}, "model.safetensors: a is torch.int8, which no network here has"),
        ({"a": torch.ones(10)}, "model.safetensors does not match config.json"),
        ({}, "config.json is damaged (num_classes: 10)"),
    ],
)
def test_weights_of_something_else(network, tensors, message):
    with_weights(network, save(tensors))
    assert said(network) == message


def test_a_header_that_promises_more_than_there_is(network):
    header = b'{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}'
    with_weights(network, len(header).to_bytes(8, "little") + header + bytes(8))
    assert said(network) == "model.safetensors is damaged (not a safetensors file)"


def test_a_package_that_is_not_installed(network, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    assert said(network) == "safetensors is not installed; pip install 'p2be-exp[hub]'"
