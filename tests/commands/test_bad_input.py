"""Every kind of bad input that was once told in a traceback, or taken: one line that says what, where, what is allowed.

``tests/property`` makes such input by the hundred; each kind that it was found in stands here by itself.
"""

import json
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from commandline import (
    TINY,
    compare,
    copy_of,
    corruptions,
    evaluate,
    evaluate_clean,
    export,
    refusal,
    report,
    tracking,
    train,
    trained,
)
from grids import in_turn
from p2be_exp import load_run
from p2be_exp.config.plugins import forget
from p2be_exp.config.ranges import MOST_JOBS
from p2be_exp.errors import BadInput
from p2be_exp.report.measured import find_measured
from p2be_exp.sweeps import sweep_file

pytestmark = pytest.mark.usefixtures("workdir")

LONG = "x" * 300
TOO_LONG = f"{LONG}: a name of 300 bytes; must be at most 255"


def refused(workdir, command, *arguments) -> str:
    """The refusal of a command, which leaves nothing behind in the working directory."""
    before = sorted(workdir.rglob("*"))
    message = refusal(command(*arguments))
    assert sorted(workdir.rglob("*")) == before
    return message


@pytest.fixture
def run(workdir, four_epochs):
    """A copy of a finished run, in the folder ``run``."""
    return copy_of(four_epochs, workdir / "run")


# -- paths ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "arguments", "said"),
    [
        (train, [f"hydra.run.dir={LONG}"], f"hydra.run.dir={TOO_LONG}"),
        (train, ["-m", "seed=0,1", f"hydra.sweep.dir={LONG}"], f"hydra.sweep.dir={TOO_LONG}"),
        (train, [f"data_dir={LONG}"], f"data_dir={TOO_LONG}"),
        (train, [f"task_name={LONG}"], f"task_name={TOO_LONG}"),
        (train, [f"resume={LONG}"], f"resume={TOO_LONG}"),
        (train, [f"encoding.table_from={LONG}"], f"encoding.table_from={TOO_LONG}"),
        (train, ["attack=transfer", f"attack.source={LONG}"], f"attack.source={TOO_LONG}"),
        (train, ["corruption=generated", f"corruption.dir={LONG}"], f"corruption.dir={TOO_LONG}"),
        (train, ["corruption=generated", f"corruption.frost_dir={LONG}"], f"corruption.frost_dir={TOO_LONG}"),
        (train, ["dataset=image_folder", f"dataset.dir={LONG}"], f"dataset.dir={TOO_LONG}"),
        (train, ["backbone=resnet50", f"backbone.weights={LONG}"], f"backbone.weights={TOO_LONG}"),
        (evaluate, [f"run={LONG}"], f"run={TOO_LONG}"),
        (export, [f"run={LONG}"], f"run={TOO_LONG}"),
        (corruptions, ["make", f"out={LONG}"], f"out={TOO_LONG}"),
        (corruptions, ["make", "out=x", f"folder={LONG}"], f"folder={TOO_LONG}"),
        (corruptions, ["make", "out=x", f"frost_dir={LONG}"], f"frost_dir={TOO_LONG}"),
        (corruptions, ["preview", f"out={LONG}"], f"out={TOO_LONG}"),
        (report, [LONG], f"RUNS={TOO_LONG}"),
        (report, [".", f"out={LONG}"], f"out={TOO_LONG}"),
        (compare, [LONG, "."], f"A={TOO_LONG}"),
        (compare, [".", ".", f"evaluation={LONG}"], f"evaluation={TOO_LONG}"),
    ],
)
def test_a_name_that_no_file_can_have(workdir, command, arguments, said):
    assert refused(workdir, command, *arguments) == said


def test_names_of_an_evaluation_that_no_folder_can_have(workdir, run):
    assert refused(workdir, evaluate_clean, "run=run", f"name={LONG}") == f"name={TOO_LONG}"
    many = f"attack.eps_levels=[{','.join(map(str, range(100)))}]"
    assert "name=last_clean_pgd0-1-2" in refused(workdir, evaluate, "run=run", "corruption=none", "attack=pgd", many)


def test_many_runs_joined_by_commas_are_no_name_that_is_too_long(workdir, run):
    assert refused(workdir, report, ",".join(["run"] * 100 + ["nowhere"])) == "RUNS=nowhere: no such folder"


@pytest.mark.parametrize(
    ("command", "arguments", "key"),
    [
        (train, [*TINY, "data_dir='~nobody-of-that-name/x'", "dataset=cifar10"], "data_dir"),
        (train, ["resume='~nobody-of-that-name/x'"], "resume"),
        (train, ["dataset=image_folder", "dataset.dir='~nobody-of-that-name/x'", "corruption=none"], "dataset.dir"),
        (evaluate, ["run='~nobody-of-that-name/x'"], "run"),
        (corruptions, ["make", "dataset=digits", "out='~nobody-of-that-name/x'"], "out"),
        (corruptions, ["make", "out=x", "folder='~nobody-of-that-name/x'"], "folder"),
        (corruptions, ["preview", "dataset=digits", "out='~nobody-of-that-name/x'"], "out"),
        (report, [".", "out=~nobody-of-that-name/x"], "out"),
    ],
)
def test_a_home_folder_that_is_not_there(workdir, command, arguments, key):
    said = refused(workdir, command, *arguments)
    assert said == f"{key}=~nobody-of-that-name/x: no such home folder"


def test_the_home_folder_is_that_of_the_user(workdir, monkeypatch):
    monkeypatch.setenv("HOME", str(workdir / "home"))
    made = ("dataset=digits", "names=fog", "severities=[1]", "limit_test=2")
    assert corruptions("make", *made, "out='~/set'").code == 0
    assert sorted(each.name for each in (workdir / "home" / "set").glob("*.npy")) == [
        "fog.npy",
        "indices.npy",
        "labels.npy",
    ]


def test_a_path_that_a_terminal_does_not_show_is_told_on_one_line(workdir):
    assert refused(workdir, evaluate, "run='a\nb\x1b[31m'") == "run=a\\nb\\x1b[31m: no such folder"


def test_a_working_folder_that_was_removed(workdir, monkeypatch):
    folder = workdir / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    for command in (train, evaluate, corruptions, export, report, tracking):
        said = refusal(command("--help"))
        assert said == "the working folder cannot be read (No such file or directory); change to one that exists"


# -- keys and values --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "value"), in_turn(["train", "evaluate", "make", "list"], ["3", "null", "{a:1}", "true"])
)
def test_corruptions_that_are_no_names(workdir, four_epochs, command, value):
    calls = {
        "train": (train, [*TINY, "corruption=generated", f"corruption.names={value}"]),
        "evaluate": (evaluate, [f"run={four_epochs}", "corruption=generated", f"corruption.names={value}"]),
        "make": (corruptions, ["make", "out=x", f"names={value}"]),
        "list": (corruptions, ["list", f"names={value}"]),
    }
    call, arguments = calls[command]
    said = refused(workdir, call, *arguments)
    assert "names=" in said
    assert "must be one name or a list of names; each must be one of test, extra, all, noise" in said


def test_a_list_in_a_list_of_corruptions(workdir):
    said = refused(workdir, train, *TINY, "corruption=generated", "corruption.names=[[fog]]")
    assert said.startswith("corruption.names=['fog']: must be one of test, extra, all")


@pytest.mark.parametrize(
    ("group", "value"), in_turn(["encoding", "dataset"], ["null", "3", "[rgb,p2be]", "[csv]", "true"])
)
def test_one_option_of_a_group_is_chosen_by_its_name(workdir, group, value):
    said = refused(workdir, train, f"{group}={value}")
    assert said.startswith(f"{group}={value}: must be the name of one option: ")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("encoding=P2BE", "p2be"),
        ("encoding=one-hot", "onehot"),
        ("dataset=cifar-100", "cifar100"),
        ("dataset=CIFAR_10", "cifar10"),
        ("backbone=WRN-40-2", "wrn40_2"),
        ("experiment=quikstart", "quickstart"),
        ("sweeps=Table-2", "table2"),
    ],
)
def test_another_spelling_is_understood_as_far_as_to_suggest(workdir, typed, meant):
    assert refused(workdir, train, typed).endswith(f"; did you mean {meant}?")


def test_a_corruption_in_another_spelling(workdir):
    said = refused(workdir, corruptions, "make", "out=x", "names=[Gaussian-Noise]")
    assert said.startswith("names=Gaussian-Noise: must be one of test")
    assert said.endswith("; did you mean gaussian_noise?")


def test_what_is_like_nothing_is_not_guessed(workdir):
    assert "did you mean" not in refused(workdir, train, "encoding=zzz")


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (train, ["epochs=1000000000000000000000000"]),
        (train, ["batch_size=1000000000000000000000000"]),
        (train, ["limit_train=1000000000000000000000000"]),
        (train, ["optim.schedule=steps", "optim.milestones=[1,1000000000000000000000000]"]),
        (train, ["attack=square", "attack.queries=1000000000000000000000000"]),
        (corruptions, ["preview", "image=1000000000000000000000000"]),
    ],
)
def test_a_number_beyond_every_count(workdir, command, arguments):
    assert refused(workdir, command, *arguments).endswith("must be at most 2147483647")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["backbone=wrn16_1", "backbone.activation=gelu"], "backbone.activation=gelu: must be one of relu, elu"),
        (["backbone=resnet50", "backbone.activation=null"], "backbone.activation=null: a value is required"),
        (["backbone=allconv", "backbone.activation=elu"],
         "backbone.activation=elu: unknown key; backbone has: name"),
        (["backbone=resnet50", "backbone.activation=elu", "backbone.weights=none.pth"],
         "backbone.activation=elu: must be relu with backbone.weights, which are those of a network with ReLU"),
    ],
)  # fmt: skip
def test_an_activation_that_does_not_go_with_the_network(workdir, arguments, said):
    assert refused(workdir, train, *arguments) == said


def test_the_seed_keeps_its_own_largest_number(workdir):
    assert refused(workdir, train, "seed=4294967296") == "seed=4294967296: must be between 0 and 4294967295"
    assert refused(workdir, train, *TINY, "seed=4294967295", "epochs=0") == "epochs=0: must be 1 or more"


@pytest.mark.parametrize("value", ["3", "null", "lspga"])
def test_an_inner_attack_that_is_none(workdir, value):
    said = refused(workdir, train, *TINY, "regime=contrain", f"regime.attack={value}")
    assert said.startswith(f"regime.attack={'None' if value == 'null' else value}: choose with attack@regime.attack=")


def test_more_processes_than_a_machine_has_cpus(workdir, monkeypatch):
    monkeypatch.setattr("p2be_exp.system.trainer.usable_cpus", lambda: 2)
    monkeypatch.setattr("p2be_exp.system.trainer.on_gpu", lambda config: False)
    said = refused(
        workdir, train, *TINY, "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=64", "batch_size=64"
    )
    assert said == "trainer.devices=64: too many processes for 2 CPUs; must be between 1 and 4"


@pytest.mark.parametrize("name", ["..", ".", "a/b", "../evaluations/mine"])
def test_an_evaluation_is_named_by_its_folder(workdir, run, name):
    said = f"evaluation={name}: must be the name of a folder in RUN/evaluations/"
    assert refused(workdir, report, "run", f"evaluation={name}") == said
    assert refused(workdir, compare, "run", "run", f"evaluation={name}") == said


@pytest.mark.parametrize("flag", ["--cfg=x", "--cfg", "--info=x", "--nothing"])
def test_a_flag_of_hydras_with_a_wrong_value(workdir, flag):
    assert "--" in refused(workdir, train, *TINY, flag)


def test_lists_that_are_nested_without_end(workdir):
    deep = "[" * 2000 + "]" * 2000
    assert refused(workdir, train, *TINY, f"corruption.names={deep}").endswith(": nested too deeply")


# -- grids ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counted", "how"),
    in_turn(
        [
            ("seed=range(1000000)", "1,000,000"),
            ("seed=range(0,1000000000000)", "1,000,000,000,000"),
            ("seed=shuffle(range(1000000000))", "1,000,000,000"),
            ("optim.lr=range(0.1,1.0,0.0000001)", "9,000,000"),
            ("seed=range(start=0,stop=10001)", "10,001"),
            ("seed=range(3,3)", "0"),
            ("seed=range(0,3,0)", "inf"),
        ],
        [["-m"], ["-m", "dry_run=true"], ["sweeps=table2"]],
    ),
)
def test_a_range_of_a_million_values_is_counted_and_not_listed(workdir, counted, how):
    argument, values = counted
    said = refused(workdir, train, *how, argument)
    assert said.startswith(f"{argument}: ")
    assert said.endswith(f" has {values} values; must have between 1 and {MOST_JOBS:,}")


def test_a_grid_of_a_million_jobs_is_counted_and_not_listed(workdir):
    said = refused(workdir, train, "-m", "seed=range(1000)", "encoding.M=range(1,1001)")
    assert said == "seed=range(1000) encoding.M=range(1,1001): 1,000,000 jobs; must be at most 10,000"


def test_a_grid_that_is_none(workdir):
    said = refused(workdir, train, "-m", "optim.lr=interval(0,1)")
    assert said == "optim.lr=interval(0,1): the values must be listed (A,B,C) or be a range(...)"
    said = refused(workdir, train, "-m", "seed=glob(*)")
    assert said == "seed=glob(*): glob(...) is only for the options of a group; the values must be listed"


# -- files that a user writes -----------------------------------------------------------------------------------------

HEADER = "# @package _global_\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{HEADER}epochs: 3\n\tseed: 3\n", "FILE, line 3: a tab; YAML is indented with spaces"),
        (f"{HEADER}epochs: 3\nepochs: 4\n", "FILE, line 3: found duplicate key epochs"),
        (f"{HEADER}epochs: 3: 4\n", "FILE, line 2: mapping values are not allowed here"),
        (f"{HEADER}epochs: !!python/name:os.system x\n", "FILE, line 2: a tag (!) that is not plain YAML"),
        (f"{HEADER}- epochs\n", "FILE: must be a mapping of keys to values"),
        ("", "FILE: must be a mapping of keys to values"),
        ("3\n", "FILE: must be a mapping of keys to values"),
        ("epochs: 3\n", f"FILE: its first line must be {HEADER.strip()}, so that its keys are those of the command"),
        (f"{HEADER}epochs: abc\n", "FILE: epochs=abc: must be a whole number"),
        (f"{HEADER}epochs: 0\n", "FILE: epochs=0: must be 1 or more"),
        (f"{HEADER}epoch: 3\n", "FILE: epoch=3: unknown key; did you mean epochs?"),
        (f"{HEADER}encoding:\n  N: 3\n", "FILE: encoding.N: unknown key; encoding has: M, init, lambda_smooth, name, "
                                         "slope_at_zero, smoothness, table_from"),
        (f"{HEADER}encoding: rgb\n",
         "FILE: encoding=rgb: must be a section of keys; choose an option with - override /encoding: NAME"),
        (f"{HEADER}encoding:\n  M: [3]\n", "FILE: encoding.M=[3]: must be a whole number"),
        (f"{HEADER}defaults: 3\n", "FILE: defaults=3: must be a list"),
        (f"{HEADER}defaults:\n  - override /encoding: P2BE\n", "FILE: encoding=P2BE: no such encoding; "
         "available: onehot, p2be, rgb, thermometer; did you mean p2be?"),
        (f"{HEADER}defaults:\n  - override /encoding: [rgb, p2be]\n",
         "FILE: defaults: override /encoding: ['rgb', 'p2be']: must be the name of one option"),
        (f"{HEADER}epochs: ${{nowhere}}\n", "FILE: epochs: Interpolation key 'nowhere' not found"),
        (f"{HEADER}task_name: \xff\n".encode("latin-1"), "FILE: not UTF-8 text (byte 31)"),
        (None, "FILE: cannot be read (Is a directory)"),
    ],
)  # fmt: skip
def test_an_experiment_that_is_wrong_names_file_key_and_value(workdir, monkeypatch, text, said):
    file = workdir / "conf" / "experiment" / "mine.yaml"
    file.parent.mkdir(parents=True)
    (workdir / "plug_of_bad_input.py").write_text("")
    file.mkdir() if text is None else file.write_bytes(text if isinstance(text, bytes) else text.encode())
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    monkeypatch.syspath_prepend(workdir)
    forget("plug_of_bad_input")
    message = refused(workdir, train, "plugins=[plug_of_bad_input]", "experiment=mine", "dataset=digits")
    assert message == said.replace("FILE", str(file))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title: T\n\tfull: {}\n", ", line 2: a tab; YAML is indented with spaces"),
        ("title: T\nfull: {seed: 0}\nfull: {}\nsmall: {}\n", ", line 3: found duplicate key full"),
        ("title: T\nfull: {seed: 0}\n", ": sections are about, blocks, first, full, small, title; title, full and "
                                        "small are required; found: title, full"),
        ("- title\n", ": sections are about, blocks, first, full, small, title; title, full and small are required; "
                      "found: no sections (['title'])"),
        ("title: T\nfull: 3\nsmall: {}\n", ": full=3: must be keys with values"),
        ("title: [T]\nfull: {seed: 0}\nsmall: {}\n", ": title=['T']: must be text"),
        ("title: T\nfull: {encoding: {M: 3}}\nsmall: {}\n",
         ": full: encoding={'M': 3}: keys must be written as on the command line, GROUP.KEY"),
        ("title: T\nfull: {seed: []}\nsmall: {}\n", ": full: seed=[]: at least one value is required"),
        ("title: T\nfirst: 3\nfull: {seed: 0}\nsmall: {}\n",
         ": first=3: its sections are full and small; full is required"),
        ("title: T\nfull: {epochs: abc}\nsmall: {}\n", ": epochs=abc: must be a whole number"),
        ("title: T\nfull: {epochs: 0}\nsmall: {}\n", ": epochs=0: must be 1 or more"),
        ("title: T\nfull: {encoding: P2BE}\nsmall: {}\n", ": encoding=P2BE: no such encoding; available: "
                                                        "onehot, p2be, rgb, thermometer; did you mean p2be?"),
    ],
)  # fmt: skip
def test_a_sweep_file_that_is_wrong_names_file_key_and_value(workdir, monkeypatch, text, said):
    folder = workdir / "sweeps"
    folder.mkdir()
    monkeypatch.setattr(sweep_file, "SWEEPS_DIR", folder)
    (folder / "mine.yaml").write_text(text)
    how = ["dry_run=true"] if len(text) % 2 else []  # the same is said in both ways
    message = refused(workdir, train, "sweeps=mine", *how)
    assert message.removeprefix(f"{folder.parent}/") == f"sweeps/mine.yaml{said}"


def test_a_users_own_override_is_not_said_to_be_the_files(workdir):
    assert refused(workdir, train, "sweeps=table2", "epochs=0") == "epochs=0: must be 1 or more"
    assert refused(workdir, train, "experiment=quickstart", "epochs=0") == "epochs=0: must be 1 or more"


# -- files of a run ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    ["[]", "3", '{"state": 3}', '{"state": "running", "alive": 3}', '{"state": "running", "alive": "yesterday"}',
     '{"state": "running", "alive": "2026-01-01T00:00:00"}', '{"state": "running", "pid": 1e30}', "[" * 100_000,
     '{"state": "running", "pid": -1, "alive": "2026-01-01T00:00:00+00:00"}', "", "\xff"],
)  # fmt: skip
def test_a_status_with_odd_content_is_no_status(workdir, run, content):
    (run / "status.json").write_bytes(content.encode("latin-1"))
    assert refused(workdir, compare, "run", "run") == "A=run: status.json is damaged"
    assert train("resume=run").code == 0  # nobody owns it
    assert json.loads((run / "status.json").read_text())["state"] == "finished"


@pytest.mark.parametrize(
    ("changed", "command"),
    in_turn(
        [("classes", [None]), ("classes", 3), ("plugins", {"a": 3}), ("versions", {"torch": 2}), ("files", []),
         ("command", 3), ("trained_on", 3), ("sweep", "x"), ("format_version", "1")],
        [evaluate_clean, export],
    ),
)  # fmt: skip
def test_what_made_a_run_with_odd_content(workdir, run, changed, command):
    key, value = changed
    info = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**info, key: value}))
    said = refused(workdir, command, "run=run")
    assert said.startswith("run=run: ")
    assert "damaged" in said
    assert key in said


def test_classes_in_another_order(workdir, run):
    info = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**info, "classes": info["classes"][::-1]}))
    assert refused(workdir, evaluate_clean, "run=run").endswith("(their order differs)")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("clean,clean", "clean,clean,,,,,,x"),
        (",40,", ",forty,"),
        (",40,", ",39,"),
        (",40,", ",-40,"),
        ("condition", "x"),
    ],
)
def test_results_with_odd_rows(workdir, run, old, new):
    text = (run / "results.csv").read_text()
    assert old in text
    (run / "results.csv").write_text(text.replace(old, new, 1))
    said = "results.csv is damaged; remove results.csv and results.json to measure again"
    assert refused(workdir, train, "resume=run") == f"resume=run: {said}"


def test_results_that_the_images_behind_them_do_not_show(workdir, run):
    file = run / "per_image" / "clean.npz"
    with np.load(file) as saved:
        arrays = dict(saved)
    for name, array in {"wrong": ~arrays["wrong"], "index": arrays["index"][1:], "confidence": np.array(3)}.items():
        np.savez(file, **{**arrays, name: array})
        assert refused(workdir, train, "resume=run").startswith("resume=run: per_image is damaged; remove results.csv")


@pytest.mark.parametrize(
    "content", ["epoch\nx\n", "epoch,step\n1,2,3\n", "step\n1\n", "epoch\n1\n\x00\n", "epoch\n-1\n"]
)
def test_epochs_with_odd_rows(workdir, run, content):
    (run / "metrics.csv").write_text(content)
    said = "resume=run: metrics.csv is damaged; remove it to continue without its rows"
    assert refused(workdir, train, "resume=run") == said


def test_a_finished_job_of_a_sweep_without_its_results(workdir):
    trained("sweep/0", "epochs=1")
    shutil.rmtree("sweep/.hydra", ignore_errors=True)
    Path("sweep/0/results.json").write_text("[]")
    outcome = train("-m", *TINY, "epochs=1", "seed=0,1", "hydra.sweep.dir=sweep", "hydra.sweep.subdir=${hydra.job.num}")
    assert outcome.code == 2
    assert "Traceback" not in outcome.err
    assert "error: hydra.sweep.dir=sweep: job 0: results.json is damaged\n" in outcome.err


@pytest.mark.parametrize(
    ("key", "value"), in_turn(["frost_textures", "versions", "constants", "left_out", "blocks"], [3, "missing"])
)
def test_a_manifest_with_odd_content_is_not_gone_on_with(workdir, key, value):
    made = ("make", "dataset=digits", "names=fog", "severities=[1]", "limit_test=2", "out=set")
    assert corruptions(*made).code == 0
    manifest = json.loads(Path("set/manifest.json").read_text())
    manifest = {**manifest, key: value} if value == 3 else {name: manifest[name] for name in manifest if name != key}
    Path("set/manifest.json").write_text(json.dumps(manifest))
    assert refused(workdir, corruptions, *made).startswith("out=set: manifest.json is damaged")


# -- files that may not be read ---------------------------------------------------------------------------------------


@contextmanager
def as_nobody(folder):
    """This process without root's right to read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def foreign(four_epochs, monkeypatch):
    """A run in a folder that anybody can look into."""
    folder = Path(tempfile.mkdtemp())
    copy_of(four_epochs, folder / "run")
    for each in (folder, *folder.rglob("*")):
        each.chmod(0o755 if each.is_dir() else 0o644)
    monkeypatch.chdir(folder)
    yield folder / "run"
    monkeypatch.undo()
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("file", "command", "arguments", "said"),
    [
        ("config.yaml", evaluate, ["run=run"], "run=run: config.yaml cannot be read (Permission denied)"),
        ("run.json", export, ["run=run"], "run=run: run.json cannot be read (Permission denied)"),
        ("status.json", compare, ["run", "run"], "A=run: status.json cannot be read (Permission denied)"),
        ("results.csv", compare, ["run", "run"], "A=run: results.csv cannot be read (Permission denied)"),
        ("results.json", compare, ["run", "run"], "A=run: results.json cannot be read (Permission denied)"),
    ],
)
def test_a_file_that_may_not_be_read_is_not_called_damaged(foreign, file, command, arguments, said):
    (foreign / file).chmod(0)
    with as_nobody(foreign):
        outcome = command(*arguments)
    assert refusal(outcome) == said


def test_images_that_may_not_be_read_are_not_called_damaged(foreign):
    (foreign / "per_image" / "clean.npz").chmod(0)
    (measured,) = find_measured("A", "run")
    with as_nobody(foreign), pytest.raises(BadInput, match=r"^A=run: per_image/clean.npz cannot be read \(Permission"):
        measured.images("clean")


def test_a_folder_that_may_not_be_looked_into(foreign):
    foreign.chmod(0)
    with as_nobody(foreign):
        for command, arguments in ((evaluate, ["run=run"]), (report, ["run"]), (train, ["resume=run"])):
            said = refusal(command(*arguments))
            assert "Permission denied" in said
            assert "damaged" not in said
        with pytest.raises((BadInput, PermissionError)):
            load_run("run")
    foreign.chmod(0o755)
