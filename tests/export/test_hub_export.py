"""``format=hub``: the run's weights to the bit, its numbers on a card that the hub reads, nothing of its machine."""

import hashlib
import json
import re
import struct

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard

from commandline import ROOT, copy_of, evaluate_clean, export, refusal, rows_of, trained, weights_of
from p2be_exp import load_run
from p2be_exp.config import check_config, compose_config, to_plain
from p2be_exp.config.parts import with_parts
from p2be_exp.config.typed import typed
from p2be_exp.export import hub
from p2be_exp.export.markdown import words
from p2be_exp.export.model_card import Card
from p2be_exp.export.shared_config import without_places
from p2be_exp.export.shared_results import read_results
from p2be_exp.runs.run import Run

FILES = {"model.safetensors", "config.json", "results.json", "README.md"}
TYPES = {"F32": np.float32, "I64": np.int64}


def arrays_of(file):
    """The arrays of a safetensors file, by its specification: a length, a JSON header, then the numbers."""
    content = file.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        yield name, np.frombuffer(data[start:end], TYPES[entry["dtype"]]).reshape(entry["shape"])


@pytest.fixture
def run(four_epochs, workdir):
    return copy_of(four_epochs, workdir / "run")


def hub_refusal(*arguments):
    return refusal(export("run=run", "format=hub", *arguments))


# -- what is in the folder --------------------------------------------------------------------------------------------


def test_the_weights_are_the_runs_to_the_bit(four_epochs, shared):
    assert {each.name for each in shared.iterdir()} == FILES
    expected = {name.removeprefix("model."): value for name, value in weights_of(four_epochs).items()}
    found = dict(arrays_of(shared / "model.safetensors"))
    assert found.keys() == {name for name in expected if f"model.{name}" in weights_of(four_epochs)}
    for name, value in found.items():
        assert np.array_equal(value, expected[name].numpy()), name
    images = torch.randint(256, (3, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(load_run(shared)(images), load_run(four_epochs)(images))


def test_what_the_configuration_says(four_epochs, shared):
    config, weights = json.loads((shared / "config.json").read_text()), (shared / "model.safetensors").read_bytes()
    assert config["weights"] == {
        **{"checkpoint": "last", "step": 16, "classes": 10, "bytes": len(weights)},
        "sha256": hashlib.sha256(weights).hexdigest(),
    }
    stored, info = Run(four_epochs).stored_config(), Run(four_epochs).info()
    assert config["configuration"] == {**stored, "data_dir": "data"}
    assert config["run"].items() <= info.items()
    assert not {"command", "platform", "locations"} & set(config["run"])


def test_the_results_are_the_runs(four_epochs, shared):
    assert json.loads((shared / "results.json").read_text()) == json.loads((four_epochs / "results.json").read_text())


def test_attacks_that_were_measured_apart_go_along(workdir):
    """In a file of their own, which a later network without any takes away."""
    few = ("attack=random_in_ball", "limit_test=30", "limit_attack=10", "optim.ema=0.5")
    run = trained(workdir / "run", "epochs=1", *few)
    for which, evaluation, apart in (("last", None, "attacks"), ("ema", "ema", "ema_attacks")):
        keys = [f"checkpoint={which}", *([f"evaluation={evaluation}"] if evaluation else [])]
        assert export("run=run", "format=hub", "overwrite=true", *keys).code == 0
        found = {each.name: each.read_text(errors="replace") for each in (run / "hub").iterdir()}
        assert found.keys() == {*FILES, "results_attacks.json"}
        assert found["results_attacks.json"] == (run / "evaluations" / apart / "results.json").read_text()
        card = found["README.md"]
        assert re.search(r"## Errors\n(.*\n)+\| `clean` \| 30 \|", card)
        assert re.search(r"## Attacks, on 10 of these images\n(.*\n)+\| `attack/random_in_ball/8` \| 10 \|", card)
        assert "`results.json` and `results_attacks.json` every number" in card
        assert "No sanity panel was run" not in card
    assert export("run=run", "format=hub", "overwrite=true", "evaluation=attacks").code == 0
    assert {each.name for each in (run / "hub").iterdir()} == FILES
    (run / "evaluations" / "attacks" / "results.json").unlink()
    missing = "run=run (attacks): no results.json; evaluate first (or evaluation=NAME of RUN/evaluations)"
    assert hub_refusal("overwrite=true") == missing


def test_no_file_names_a_folder_of_this_machine(four_epochs, shared):
    for file in shared.iterdir():
        for folder in (four_epochs.parent, ROOT):
            assert str(folder).encode() not in file.read_bytes(), file


def test_the_hub_reads_the_card(four_epochs, shared):
    (row,) = rows_of(four_epochs / "results.csv")
    card = ModelCard.load(shared / "README.md")
    assert (card.data.license, card.data.library_name, card.data.datasets) == ("mit", "p2be_exp", ["digits"])
    assert {"image-classification", "p2be"} <= set(card.data.tags)
    (result,) = card.data.eval_results
    assert (result.task_type, result.dataset_name, result.metric_type) == ("image-classification", "digits", "accuracy")
    assert result.metric_value == pytest.approx(100 - float(row["error"]), abs=1e-4)
    low, high = (f"{float(row[key]):.2f}" for key in ("ci_low", "ci_high"))
    line = f"| `clean` | {row['n']} | {row['n_wrong']} | {float(row['error']):.2f} | {low} to {high} |"
    assert line in card.text.splitlines()
    assert "No sanity panel was run" in card.text


@pytest.fixture(scope="module")
def quickstart_card():
    """The card of a network that was attacked and corrupted, and its results."""
    folder = ROOT / "docs/zoo/digits_p2be"
    return (folder / "README.md").read_text(), json.loads((folder / "results.json").read_text())


def test_the_card_of_a_network_that_was_attacked(quickstart_card):
    text, results = quickstart_card
    metrics = {each.metric_type: each.metric_value for each in ModelCard(text).data.eval_results}
    assert metrics == {
        "accuracy": pytest.approx(100 - results["clean_error"], abs=1e-4),
        "corruption_accuracy": pytest.approx(100 - results["mean_corruption_error"], abs=1e-4),
        "robust_accuracy_8_levels": pytest.approx(100 - results["worst_case_error"]["8"], abs=1e-4),
    }
    for name, row in results["conditions"].items():
        if name.startswith("corruption/"):
            _, corruption, severity = name.split("/")
            cells = re.search(rf"^\| `{corruption}` \|(.*)\|$", text, re.M)[1].split("|")
            assert cells[int(severity) - 1].strip() == f"{row['error']:.2f}"
        else:
            assert f"| `{name}` | {row['n']} | {row['n_wrong']} | {row['error']:.2f} | " in text
    for check in results["sanity"]:
        assert f"* {check['verdict']}: {check['name']}" in text


def test_the_card_says_which_plug_ins_are_needed(four_epochs):
    run = Run.open(four_epochs)
    config = run.config()
    config.plugins = ["my_encoding"]
    card = Card(config, run.info(), "last", 16, 10, 32, read_results(four_epochs, "run=run", "last", 16), "mit")
    assert "load_run(\"FOLDER\", plugins=['my_encoding'])" in card.text()
    assert "needs plug-ins, which are code and not part of it: `my_encoding`" in card.text()


def test_anybodys_text_is_no_markup():
    assert words("a|b\n<script>`x`[y](z)") == r"a\|b\\n\<script\>\`x\`\[y\](z)"


# -- places -----------------------------------------------------------------------------------------------------------


def test_a_configuration_without_places():
    chosen = [
        "encoding=p2be",
        "encoding.table_from=/secret/runs/table",
        "data_dir=/secret/data",
        "corruption=generated",
    ]
    more = ["corruption.frost_dir=/secret/frost", "attack=suite", "attack.source=/secret/runs/rgb", "logger=wandb"]
    config = typed(to_plain(compose_config("train", [*chosen, *more, "logger.wandb.entity=secret"])))
    found = without_places(config)
    assert "secret" not in json.dumps(found)
    assert (found["data_dir"], found["attack"]["source"], found["encoding"]["table_from"]) == ("data", "rgb", "table")
    assert found["logger"] == {"csv": {"name": "csv"}}
    check_config("train", typed(found))
    assert config.data_dir == "/secret/data"


def test_the_configuration_of_a_mixture_without_places():
    mixture = ["model=mix", "model.accurate=/secret/a/run", "model.robust=/secret/b/run", "regime=none"]
    asked = typed(to_plain(compose_config("train", mixture)))
    part = typed(to_plain(compose_config("train", ["encoding=p2be", "encoding.table_from=/secret/c"])))
    found = without_places(with_parts(asked, {"accurate": part, "robust": part}))
    assert "secret" not in json.dumps(found)
    assert (found["model"]["accurate"], found["model"]["robust"]) == ("accurate", "robust")
    assert found["model"]["parts"]["robust"]["encoding"]["table_from"] == "c"
    check_config("train", typed(found))


def test_results_name_a_run_without_its_folder(run):
    results = json.loads((run / "results.json").read_text())
    results["settings"]["attack"] = {"name": "transfer", "source": "/secret/runs/rgb"}
    (run / "results.json").write_text(json.dumps({**results, "run": "/secret/runs/this"}))
    content = read_results(run, "run=run", "last", 16).content
    assert "secret" not in json.dumps(content)
    assert content["settings"]["attack"]["source"] == "rgb"


# -- the command ------------------------------------------------------------------------------------------------------


def test_the_results_of_an_evaluation(run):
    assert evaluate_clean("run=run", "limit_test=10", "name=ten").code == 0
    assert export("run=run", "format=hub", "evaluation=ten").code == 0
    assert json.loads((run / "hub/results.json").read_text())["conditions"]["clean"]["n"] == 10
    assert "license: unknown" in (run / "hub/README.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["batch=2"], "batch=2: not with format=hub, whose network takes any number of images"),
        (["license=My Own"], "license=My Own: must be an identifier of the hub, such as mit, cc-by-4.0 or other"),
        (["evaluation=../x"], "evaluation=../x: must be the name of a folder in RUN/evaluations/"),
        (
            ["evaluation=x"],
            "evaluation=x: no results.json; evaluate first (or evaluation=NAME of RUN/evaluations)",
        ),
        (["checkpoint=best"], "run=run: no checkpoints/best.ckpt (it has no validation split)"),
        (["out=run"], "out=run: holds checkpoints, which is no file of format=hub; choose another folder"),
        (["out=run/run.json"], "out=run/run.json: is a file; format=hub writes a folder"),
        (["out=run/run.json/x"], "out=run/run.json/x: cannot be written (RUN/run.json)"),
        (["format=onnx", "license=mit"], "license=mit: only for format=hub"),
    ],
)
def test_what_is_refused(run, arguments, message):
    before = sorted(run.rglob("*"))
    assert hub_refusal(*arguments).replace(str(run), "RUN") == message
    assert sorted(run.rglob("*")) == before


def test_results_of_another_step_are_refused(run):
    results = json.loads((run / "results.json").read_text())
    results["settings"]["step"] = 12
    (run / "results.json").write_text(json.dumps(results))
    assert hub_refusal() == (
        "run=run: results.json is of the last checkpoint, step 12, and checkpoint=last is of step 16; "
        "evaluate this one first"
    )


def test_a_network_that_is_there_is_replaced_when_asked(run, workdir):
    folder = workdir / "clone"
    (folder / ".git").mkdir(parents=True)
    assert export("run=run", "format=hub", f"out={folder}").code == 0
    assert hub_refusal(f"out={folder}") == f"out={folder}: already exists; overwrite=true replaces a network"
    assert export("run=run", "format=hub", f"out={folder}", "license=cc0-1.0", "overwrite=true").code == 0
    assert "license: cc0-1.0" in (folder / "README.md").read_text()
    assert {each.name for each in folder.iterdir()} == {*FILES, ".git"}


def test_a_stop_in_between_leaves_no_network(run, workdir, monkeypatch):
    folder, write = workdir / "out", hub.write_bytes
    assert export("run=run", "format=hub", f"out={folder}").code == 0

    def stopped(file, content):
        if file.name == "README.md":
            raise PermissionError(13, "Permission denied")
        write(file, content)

    with monkeypatch.context() as patch:
        patch.setattr(hub, "write_bytes", stopped)
        assert hub_refusal(f"out={folder}", "overwrite=true") == f"out={folder}: cannot be written (Permission denied)"
    assert not (folder / "config.json").exists()
    assert export("run=run", "format=hub", f"out={folder}").code == 0
    load_run(folder)


def test_a_link_is_not_written_through(run, workdir):
    (workdir / "out").mkdir()
    (workdir / "out/README.md").symlink_to(workdir / "mine")
    assert hub_refusal("out=out") == "out=out: README.md in it is a link; nothing is written through links"
    assert not (workdir / "mine").exists()


def test_a_network_without_finite_logits_is_not_written(run, workdir):
    saved = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    for value in filter(torch.is_floating_point, saved["state_dict"].values()):
        value.fill_(3e38)  # they overflow
    torch.save(saved, run / "checkpoints/last.ckpt")
    outcome = export("run=run", "format=hub", "out=out")
    assert outcome.code == 1
    assert outcome.err == "error: run=run: its own logits are not all finite numbers; nothing is written\n"
    assert not (workdir / "out").exists()
