"""``train.py``: help, exit codes, and one line for every kind of bad input, with nothing left behind."""

import hashlib
import os
import pickle
import re

import numpy as np
import pytest
import torch

from commandline import ROOT, TINY, at_batch, copy_of, finish, refusal, start, start_warm, train
from p2be_exp.commands.exit_codes import IMPORT_ADVICE, exit_code_of
from p2be_exp.config.schema import GROUP_SCHEMAS
from p2be_exp.errors import BadInput, Interrupted

pytestmark = pytest.mark.usefixtures("workdir")


def refused(workdir, *arguments) -> str:
    """The refusal of a training, which leaves nothing behind in the working directory."""
    before = sorted(workdir.rglob("*"))
    message = refusal(train(*arguments))
    assert sorted(workdir.rglob("*")) == before
    return message


# -- help and exit codes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_lists_every_group_with_its_options_and_every_key(flag):
    outcome = train(flag)
    assert (outcome.code, outcome.err) == (0, "")
    unwrapped = re.sub(r"\n {14}", " ", outcome.out)
    lines = [line.split() for line in unwrapped.splitlines()]
    for group, options in GROUP_SCHEMAS.items():
        assert [group, *sorted(options)] in lines
    for key in ("seed: 0", "epochs: 200", "watch_every: 0", "resume: null"):
        assert f"  {key}" in outcome.out
    assert "130 and 143" in outcome.out


def test_the_configuration_is_shown_on_request(workdir):
    outcome = train(*TINY, "--cfg", "job")
    assert outcome.code == 0
    assert "M: 8" in outcome.out
    assert not list(workdir.iterdir())


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (None, 0, ""),
        (BadInput("key=3: must be between 1 and 2"), 2, "error: key=3: must be between 1 and 2\n"),
        (Interrupted(2), 130, ""),
        (Interrupted(15), 143, ""),
        (KeyboardInterrupt(), 130, ""),
        (SystemExit(3), 3, ""),
        (RuntimeError("operator torchvision::nms does not exist"), 1, f"error: {IMPORT_ADVICE}\n"),
    ],
)
def test_the_exit_code_of_every_end(error, code, said, capsys):
    def command():
        if error is not None:
            raise error

    assert exit_code_of(command) == code
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("kind", [RuntimeError, ValueError, OSError])
def test_an_unexpected_error_keeps_its_traceback(kind, capsys):
    def command():
        raise kind("what nobody foresaw")

    assert exit_code_of(command) == 1
    said = capsys.readouterr().err
    assert said.startswith("Traceback")
    assert "what nobody foresaw" in said


def test_hydra_full_error_shows_the_traceback_of_bad_input(monkeypatch):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    outcome = train("epochs=0")
    assert outcome.code == 2
    assert "Traceback" in outcome.err
    assert outcome.err.endswith("error: epochs=0: must be 1 or more\n")


@pytest.mark.slow
def test_the_process_itself_ends_with_the_code_and_one_line(workdir):
    outcome = finish(start(ROOT / "train.py", *TINY, "trainer=gpu", "limit_train=0", cwd=workdir))
    assert refusal(outcome) == "limit_train=0: must be 1 or more"
    assert outcome.out == ""
    outcome = finish(start_warm(ROOT / "train.py", *TINY, "limit_train=1298", cwd=workdir))
    assert refusal(outcome).startswith("limit_train=1298: ")
    assert not list(workdir.iterdir())


# -- options and values -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", ["encoding", "backbone", "dataset", "regime", "trainer", "logger", "preset"])
def test_an_unknown_option_is_answered_with_those_there_are(workdir, group):
    message = refused(workdir, *TINY, f"{group}=nosuch")
    assert message == f"{group}=nosuch: no such {group}; available: {', '.join(sorted(GROUP_SCHEMAS[group]))}"


def test_a_backbone_for_other_images_is_refused(workdir):
    message = refused(workdir, *TINY, "backbone=alexnet")
    assert message.startswith("backbone=alexnet: takes images of 63 x 63 or more pixels, not 32 x 32; 32 x 32 is for ")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("encoding.M=0", "must be between 1 and 1024"),
        ("encoding.M=-3", "must be between 1 and 1024"),
        ("encoding.M=x", "must be a whole number"),
        ("encoding.M=2.5", "must be a whole number"),
        ("encoding.M=null", "a value is required"),
        ("encoding.M=8,16", "Ambiguous value"),
        ("encoding.lambda_smooth=-1.0", "must be 0 or more"),
        ("encoding.lambda_smooth=nan", "must be 0 or more"),
        ("encoding.lambda_smooth=much", "must be a number"),
        ("batch_size=0", "must be 1 or more"),
        ("batch_size=true", "must be a whole number"),
        ("epochs=0", "must be 1 or more"),
        ("epochs=1.5", "must be a whole number"),
        ("seed=-1", "must be between 0 and"),
        ("trainer.progress=maybe", "must be true or false"),
        ("trainer.devices=2", "several devices require trainer=ddp"),
        ("foo=1", "unknown key"),
        ("epoch=3", "did you mean epochs?"),
        ("encoding.foo=1", "encoding has: M, init"),
        ("encoding.lamda_smooth=1", "did you mean encoding.lambda_smooth?"),
        ("regime.alpha_jsd=12", "it belongs to regime=augmix"),
        ("encoding.table_from=nowhere", "no such folder"),
        ("limit_train=1298", "must be between 1 and 1297"),
        ("limit_test=501", "must be between 1 and 500"),
        ("dataset.val_size=1297", "must be between 0 and 1296"),
        ("trainer=gpu", "no GPU was found"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(workdir, monkeypatch, override, said):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    message = refused(workdir, *TINY, override)
    assert message.startswith(f"{override}: ")
    assert said in message


def test_an_added_key_is_refused_too(workdir):
    assert refused(workdir, *TINY, "+foo=1").startswith("foo=1: unknown key")
    assert refused(workdir, *TINY, "+encoding.foo=1").startswith("encoding.foo=1: unknown key")


def test_a_removed_key_is_asked_for(workdir):
    assert refused(workdir, *TINY, "~epochs") == "epochs: a value is required"


@pytest.mark.parametrize("encoding", ["rgb", "onehot", "thermometer"])
def test_an_encoding_without_smoothness_takes_no_lambda(workdir, encoding):
    message = refused(workdir, "experiment=quickstart", f"encoding={encoding}", "encoding.lambda_smooth=1")
    assert message.startswith("encoding.lambda_smooth=1: unknown key; encoding has: ")


def test_train_and_val_together_are_no_more_than_there_are(workdir):
    message = refused(workdir, *TINY, "dataset.val_size=1000", "limit_train=298")
    assert message.startswith("limit_train=298: must be between 1 and 297 ")


# -- folders ----------------------------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_written(workdir):
    (workdir / "file").write_text("")
    message = refused(workdir, *TINY, "hydra.run.dir=file/run")
    assert message == f"hydra.run.dir=file/run: cannot be written ({workdir / 'file'})"


def test_logs_that_cannot_be_written(workdir):
    (workdir / "logs").write_text("")
    assert refused(workdir, *TINY).startswith("hydra.run.dir=logs/train/runs/")


def test_a_folder_that_holds_a_run_is_not_written_over(workdir, four_epochs):
    run = copy_of(four_epochs, workdir / "run")
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    message = refused(workdir, *TINY, "hydra.run.dir=run")
    assert message == "hydra.run.dir=run: already holds a run; resume=run resumes it"
    assert before == {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}


def test_late_bad_input_leaves_folders_alone_that_were_there(workdir):
    (workdir / "mine").mkdir()
    refused(workdir, *TINY, "limit_train=1298", "hydra.run.dir=mine/deep/run")
    assert (workdir / "mine").is_dir()


def test_a_folder_with_other_things_in_it_keeps_them(workdir):
    (workdir / "mine").mkdir()
    (workdir / "mine" / "notes.txt").write_text("mine")
    refused(workdir, *TINY, "limit_train=1298", "hydra.run.dir=mine")


def test_a_launcher_has_to_name_the_folder(workdir, monkeypatch):
    for name, value in {"TORCHELASTIC_RUN_ID": "1", "RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    two = ("trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu")
    assert refused(workdir, *TINY, *two).startswith("hydra.run.dir: required with several processes from a launcher")


# -- data -------------------------------------------------------------------------------------------------------------


def test_missing_data_offline_says_how_to_get_it(workdir):
    message = refused(workdir, "dataset=cifar10", "dataset.download=false", "data_dir=mydata")
    assert message.startswith("dataset=cifar10: data_batch_1, ")
    for part in ("not found in mydata/cifar-10-batches-py", "https://", "data_dir", "dataset=digits"):
        assert part in message


@pytest.fixture
def cifar10(workdir, monkeypatch):
    """A CIFAR-10 folder of seven images a file; a function writes one of its files."""
    from torchvision.datasets import CIFAR10

    folder = workdir / "data" / CIFAR10.base_folder
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    md5 = {}

    def write(name, entry):
        content = pickle.dumps(entry)
        (folder / name).write_bytes(content)
        md5[name] = hashlib.md5(content).hexdigest()
        files = {which: [name for name, _ in getattr(CIFAR10, which)] for which in ("train_list", "test_list")}
        for which, names in files.items():
            monkeypatch.setattr(CIFAR10, which, [[each, md5.get(each, "")] for each in names])
        monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": md5.get(CIFAR10.meta["filename"], "")})

    def entry(labels=range(7)):
        return {"data": rng.integers(0, 256, (len(labels), 3072), dtype=np.uint8), "labels": list(labels)}

    for name, _ in [*CIFAR10.train_list, *CIFAR10.test_list]:
        write(name, entry())
    write(CIFAR10.meta["filename"], {CIFAR10.meta["key"]: [f"class {number}" for number in range(10)]})
    return folder, write, entry


CIFAR10_TINY = (*(argument for argument in TINY if "limit" not in argument), "dataset=cifar10", "epochs=1")


def test_the_fake_cifar_itself_can_be_trained_on(cifar10):
    assert train(*CIFAR10_TINY, "dataset.download=false").code == 0


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: content[:-1] + b"?"])
def test_a_truncated_or_altered_file_is_named(workdir, cifar10, damage):
    folder, _, _ = cifar10
    file = folder / "data_batch_3"
    file.write_bytes(damage(file.read_bytes()))
    message = refused(workdir, *CIFAR10_TINY)
    assert message.startswith("data/cifar-10-batches-py/data_batch_3: truncated or altered")
    assert "dataset=digits" in message


def test_a_label_outside_the_classes_is_named(workdir, cifar10):
    _, write, entry = cifar10
    write("data_batch_2", entry([0, 1, 10]))
    message = refused(workdir, *CIFAR10_TINY)
    assert message == "data/cifar-10-batches-py/data_batch_2: labels from 0 to 10, must be between 0 and 9"


# -- a table from another run -----------------------------------------------------------------------------------------


def test_a_table_comes_from_a_p2be_run_of_the_same_m(workdir, four_epochs, rgb_run):
    (workdir / "empty").mkdir()
    cases = {
        "empty": "not a run folder (config.yaml and run.json missing)",
        str(four_epochs): "a p2be table with M=16 is needed, not p2be, M=8",
        str(rgb_run): "a p2be table with M=16 is needed, not rgb, M=1",
    }
    for source, said in cases.items():
        message = refused(workdir, *TINY, "encoding.M=16", f"encoding.table_from={source}")
        assert message == f"encoding.table_from={source}: {said}"


# -- resume -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(workdir, four_epochs):
    return copy_of(four_epochs, workdir / "run")


def test_what_is_no_run_cannot_be_resumed(workdir):
    (workdir / "empty").mkdir()
    assert refused(workdir, "resume=nowhere") == "resume=nowhere: no such folder"
    assert refused(workdir, "resume=empty") == "resume=empty: not a run folder (config.yaml and run.json missing)"


@pytest.mark.parametrize("content", [b"", b"garbage", None])
def test_a_damaged_checkpoint_is_named(workdir, run, content):
    file = run / "checkpoints" / "last.ckpt"
    file.write_bytes(file.read_bytes()[:20_000] if content is None else content)
    assert refused(workdir, "resume=run") == "resume=run: checkpoints/last.ckpt is damaged"


@pytest.mark.parametrize("content", ["", "{", "- 1", "epochs: 2\n", "\0"])
@pytest.mark.parametrize("file", ["config.yaml", "run.json"])
def test_a_damaged_description_is_named(workdir, run, file, content):
    (run / file).write_text(content)
    message = refused(workdir, "resume=run")
    assert message.startswith("resume=run: config.yaml ")
    assert "damaged" in message


def test_half_a_configuration_is_damaged(workdir, run):
    lines = (run / "config.yaml").read_text().splitlines(keepends=True)
    (run / "config.yaml").write_text("".join(lines[: len(lines) // 2]))  # still valid YAML
    assert refused(workdir, "resume=run").startswith("resume=run: config.yaml is damaged, or of another version (")


def test_a_run_of_another_format_is_refused(workdir, run):
    text = (run / "run.json").read_text()
    (run / "run.json").write_text(text.replace('"format_version": 1', '"format_version": 2'))
    assert refused(workdir, "resume=run") == "resume=run: run format 2; this version reads format 1"


@pytest.mark.parametrize(
    "override", ["epochs=5", "+epochs=5", "seed=1", "encoding=rgb", "encoding.M=4", "hydra.run.dir=x", "foo=1", "~seed"]
)
def test_a_key_that_would_change_the_training_is_refused_by_name(workdir, run, override):
    key = override.strip("+~").split("=")[0]
    assert refused(workdir, "resume=run", override).startswith(f"{key}: a resumed run keeps its own")


def test_the_keys_that_go_with_resume_are_checked_too(workdir, run):
    assert refused(workdir, "resume=run", "watch_every=-1") == "watch_every=-1: must be 0 or more"
    assert refused(workdir, "resume=run", "trainer.devices=2").startswith("trainer.devices=2: several devices")
    assert refused(workdir, "resume=run", "trainer=tpu").startswith("trainer=tpu: no such trainer")
    message = refused(workdir, "resume=run", "logger.log_every_n_steps=3")
    assert message.startswith("logger.log_every_n_steps=3: unknown key")


def test_a_logger_in_a_list_that_there_is_not_is_told_where_hydra_composes_itself(workdir):
    message = refused(workdir, "--cfg", "job", "logger=[wandb,tensorbord]")
    assert message == "logger=tensorbord: no such logger; available: csv, tensorboard, wandb; did you mean tensorboard?"


@pytest.mark.parametrize("flags", [["-m"], ["--multirun"], ["-m", "watch_every=1,2"]])
def test_resume_does_not_go_with_a_multirun(workdir, run, flags):
    assert refused(workdir, "resume=run", *flags) == f"resume=run: cannot be combined with {flags[0]}"


@pytest.mark.parametrize("value", [None, "0", "1"])
def test_the_environment_of_a_training_is_the_users(workdir, monkeypatch, value):
    if value is not None:
        monkeypatch.setenv("HYDRA_FULL_ERROR", value)
    seen = []
    at_batch(monkeypatch, 0, 0, lambda: seen.append(os.environ.get("HYDRA_FULL_ERROR")))
    assert train(*TINY, "epochs=1", "limit_train=16", "hydra.run.dir=run").code == 0
    assert seen == [value]
    assert os.environ.get("HYDRA_FULL_ERROR") == value
