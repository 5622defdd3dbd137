"""``python -m p2be_exp.report``: what it prints, what it writes, and what it refuses in one line."""

import contextlib
import io
import json
import subprocess
import sys
from unittest import mock

import pytest

from commandline import HANGS, Outcome, refusal
from leaderboard_entries import summary_of, write_entry
from measured_runs import OFFICIAL, write_group, write_recipe, write_results, write_run, wrong_images
from p2be_exp.commands.report import main

CONDITIONS = ("clean", "corruption/fog/1", "corruption/fog/3", "corruption/shot_noise/1", "corruption/shot_noise/3")


# Not sys.modules["torch"] = None: what asks whether torch was imported, as SciPy does, would take it for a module.
NO_TORCH = """
import runpy, sys
class NoTorch:
    def find_spec(self, name, *_):
        if name == "torch":
            raise ImportError("torch is not to be imported")
sys.meta_path.insert(0, NoTorch())
"""


def report(*arguments) -> Outcome:
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["report", *arguments]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = main()
    return Outcome(code, out.getvalue(), err.getvalue())


@pytest.fixture
def runs(workdir):
    """Two methods with two seeds each, the second without a corruption that the first has."""
    write_group("p2be", [0.30, 0.32], CONDITIONS)
    write_group("rgb", [0.33, 0.34], CONDITIONS[:4], encoding={"name": "rgb"})
    return workdir


def printed(*arguments) -> str:
    outcome = report(*arguments)
    assert (outcome.code, outcome.err) == (0, "")
    return outcome.out


def test_figures_of_other_kinds(tmp_path, workdir):
    for encoding in ("rgb", "p2be"):
        errors = {"clean": 22.0, "corruption": 34.0}
        write_recipe(f"runs/{encoding}", f"encoding={encoding}", errors, corruption=OFFICIAL)
    printed("runs", "out=out", "figures=[pdf,png]")
    files = {file.name for file in (workdir / "out" / "figures").iterdir()}
    assert {file.rpartition(".")[2] for file in files} == {"svg", "pdf", "png"}
    assert len({file.partition(".")[0] for file in files}) * 3 == len(files)
    manifest = json.loads((workdir / "out" / "report.json").read_text())["files"]
    assert {f"figures/{file}" for file in files} < set(manifest)
    printed("runs", "out=out")  # without them, those of the earlier report go
    assert {file.suffix for file in (workdir / "out" / "figures").iterdir()} == {".svg"}
    message = refusal(report("runs", "out=new", "figures=jpg"))
    assert message == "figures=jpg: must be one of svg, pdf, png, or several as [svg,pdf]"
    assert not (workdir / "new").exists()


def test_the_report(runs):
    """What the tables say is tested with them."""
    out = printed("p2be", "rgb", "out=new/report")
    assert "Runs that belong to none of the paper's tables" in out
    assert out.endswith("report in new/report: index.html, report.md, tables/, figures/\n")
    assert "<h1>" in (runs / "new" / "report" / "index.html").read_text()


def test_the_report_has_a_folder_of_its_own(runs):
    out = printed("rgb/0")
    (folder,) = (runs / "reports").iterdir()
    assert f"report in reports/{folder.name}: " in out


def test_the_report_in_the_home_folder_and_again(runs, monkeypatch):
    monkeypatch.setenv("HOME", str(runs / "home"))
    for _ in range(2):
        assert printed("rgb/0", "out=~/report").endswith("index.html, report.md, tables/, figures/\n")
    assert (runs / "home" / "report" / "report.json").is_file()
    assert not (runs / "~").exists()
    (runs / "home" / "report" / "report.json").unlink()
    message = refusal(report("rgb/0", "out=~/report"))
    assert message.endswith("contains a report.md that is not a report's; choose another folder")


def test_runs_in_a_folder_with_a_comma(runs):
    (runs / "rgb").rename(runs / "rgb,lr=0.1")
    assert "seeds 0 1" in " ".join(printed("rgb,lr=0.1", "out=report").split())
    assert "rgb,lr=0.1" in printed("compare", "p2be", "rgb,lr=0.1")


def test_the_report_of_an_evaluation(runs):
    for folder in ("p2be/0", "rgb/0"):
        write_results(f"{folder}/evaluations/mine", wrong_images(["clean"], n=77))
    printed("p2be", "rgb", "evaluation=mine", "out=report")
    text = (runs / "report" / "report.md").read_text().replace("\\", "")
    assert "77 test images" in text
    assert "evaluation=mine: not in p2be/1; there are: none" in text


def test_the_report_without_torch(runs):
    """Where no run has learned a table: torch takes seconds."""
    code = NO_TORCH + "sys.argv = ['report', 'rgb', 'out=report']\n"
    code += "runpy.run_module('p2be_exp.report', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=HANGS)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_leaderboard(workdir):
    """What is on it is tested with it; nothing that takes seconds to import is needed."""
    write_entry("in/a", summary_of(10, {4: 20, 8: 40}), "name: First")
    write_entry("in/b", summary_of(10, {8: 30}))
    out = printed("leaderboard", "in", "out=board", "radius=4")
    assert "Ranked by the worst case at 4 levels" in out
    assert out.endswith("leaderboard in board: leaderboard.html, leaderboard.json, leaderboard.csv\n")
    code = NO_TORCH + "sys.argv = ['report', 'leaderboard', 'in', 'out=board']\n"
    code += "runpy.run_module('p2be_exp.report', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=HANGS)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads((workdir / "board" / "leaderboard.json").read_text())["radius"] == 8


def test_a_leaderboard_has_a_folder_of_its_own(workdir):
    write_entry("in/a")
    out = printed("leaderboard", "in")
    (folder,) = (workdir / "reports").iterdir()
    assert f"leaderboard in reports/{folder.name}: " in out
    assert "radius=LEVELS" in printed("leaderboard", "--help")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "leaderboard: takes one FOLDER, not 0 (none)"),
        (("in", "in"), "leaderboard: takes one FOLDER, not 2 (in in)"),
        (("none",), "FOLDER=none: no such folder"),
        (("in", "radius=x"), "radius=x: must be a whole number of levels"),
        (("in", "radius=3"), "radius=3: no results have a worst case there, must be one of: 8"),
        (("in", "evaluation=a"), "evaluation=a: unknown key; the keys are out, radius"),
        (("in", "out=in/a/results.json"), "out=in/a/results.json: is a file, must be a folder"),
        (("in", "out=in/a/results.json/x"), "out=in/a/results.json/x: cannot be written (Not a directory)"),
        (("other",), "other/results.json: format_version is missing, must be 1"),
    ],
)
def test_no_leaderboard(workdir, arguments, told):
    write_entry("in/a", summary_of(10, {8: 30}))
    write_entry("other", {"accuracy": 0.9})
    message = refusal(report("leaderboard", *arguments))
    assert message.endswith(told)
    assert not (workdir / "reports").exists()


def test_groups(runs):
    out = printed("compare", "p2be", "rgb")
    assert out.startswith("two groups of trained networks")
    assert "p2be/{0,1} (2 runs, seeds 0 1; last checkpoint)" in out
    assert "encoding.name=p2be | rgb" in out
    assert "not in all runs of B: shot_noise 3" in out
    assert "McNemar" not in out
    assert sorted(path.name for path in runs.iterdir()) == ["p2be", "rgb"]


def test_networks(runs):
    out = printed("compare", "p2be/1", "rgb/0")
    assert out.startswith("these two networks")
    assert "Holm's correction for 4 conditions" in out


def test_runs_joined_by_commas(runs):
    assert printed("compare", "p2be/0,p2be/1", "rgb") == printed("compare", "p2be", "rgb")


def test_the_sides_are_not_interchangeable(runs):
    assert printed("compare", "p2be", "rgb") != printed("compare", "rgb", "p2be")
    report("compare", "p2be", "rgb", "out=one")
    report("compare", "rgb", "p2be", "out=other")
    one, other = (json.loads((runs / name / "compare.json").read_text())["rows"] for name in ("one", "other"))
    assert [row["difference"] for row in one] == pytest.approx([-row["difference"] for row in other])


def test_files(runs):
    out = printed("compare", "p2be", "rgb", "out=new/folder")
    assert out.startswith(printed("compare", "p2be", "rgb"))
    assert out.endswith("compare.csv and compare.json in new/folder\n")
    assert sorted(path.name for path in (runs / "new" / "folder").iterdir()) == [".lock", "compare.csv", "compare.json"]


def test_an_evaluation_of_each_run(runs):
    for folder in ("p2be/0", "rgb/0"):
        write_results(f"{folder}/evaluations/mine", wrong_images(["clean"], n=77, seed=len(folder)))
    out = printed("compare", "p2be/0", "rgb/0", "evaluation=mine")
    assert "77 test images" in out
    direct = printed("compare", "p2be/0/evaluations/mine", "rgb/0/evaluations/mine")
    assert direct == out
    message = refusal(report("compare", "p2be", "rgb", "evaluation=mine"))
    assert message == "evaluation=mine: not in p2be/1; there are: none"


def test_a_folder_with_an_equals_sign_in_its_name(runs):
    write_run(runs / "sweeps" / "M=32", wrong_images(CONDITIONS), seed=8)
    assert "sweeps/M=32 (one run, seed 8" in printed("compare", "p2be/0", "sweeps/M=32")


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help(flag):
    for arguments in ([flag], ["runs", flag]):
        for part in ("compare A B", "RUNS... [out=FOLDER] [evaluation=NAME]", "index.html", "tables/*.csv"):
            assert part in printed(*arguments)
    for arguments in (["compare", flag], ["compare", "a", "b", "c", flag]):
        out = printed(*arguments)
        for part in ("compare A B [evaluation=NAME] [out=FOLDER]", "Welch", "McNemar", "negative where B has fewer"):
            assert part in out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "RUNS: required; run folders, folders of runs, or the command compare (see --help)"),
        (
            ["compere", "a", "b"],
            "compere: neither a folder nor a command; commands are compare, leaderboard (see --help)",
        ),
        (
            ["p2be", "nowhere"],
            "nowhere: neither a folder nor a command; commands are compare, leaderboard (see --help)",
        ),
        (["p2be,nowhere"], "RUNS=nowhere: no such folder"),
        (["p2be", "output=x"], "output=x: unknown key; the keys are evaluation, out, figures, plugins, strict_plugins"),
        (["p2be", "out=p2be/0/run.json"], "out=p2be/0/run.json: is a file, must be a folder"),
        (["p2be", "out=p2be/1"], "out=p2be/1: is a run; choose another folder"),
        (["p2be", "out=p2be/0/run.json/new"], "out=p2be/0/run.json/new: cannot be written (Not a directory)"),
        (["compare"], "compare: takes two sides, A and B, not 0 (none)"),
        (["compare", "p2be"], "compare: takes two sides, A and B, not 1 (p2be)"),
        (["compare", "p2be", "rgb", "rgb"], "compare: takes two sides, A and B, not 3 (p2be rgb rgb)"),
        (
            ["compare", "p2be", "rgb", "output=x"],
            "output=x: unknown key; the keys are evaluation, out, plugins, strict_plugins",
        ),
        (["compare", "p2be", "rgb", "out="], "out=: exactly one value is required"),
        (["compare", "p2be", "rgb", "out=a", "out=b"], "out=b: exactly one value is required"),
        (
            ["compare", "p2be", "rgb", "-v"],
            "-v: not a flag; the keys are evaluation=, out=, plugins=, strict_plugins= and --help",
        ),
        (["compare", "p2be", "nowhere"], "B=nowhere: no such folder"),
        (["compare", "nowhere", "rgb"], "A=nowhere: no such folder"),
    ],
)
def test_what_it_does_not_take(runs, arguments, told):
    assert refusal(report(*arguments)) == told
    assert sorted(path.name for path in runs.iterdir()) == ["p2be", "rgb"]


def test_groups_of_several_methods(runs):
    message = refusal(report("compare", "p2be,rgb", "rgb"))
    assert message.startswith(
        "encoding.name=p2be in p2be/0, rgb in rgb/0: the runs of a group (A) may differ in the seed"
    )


def test_one_run_against_several(runs):
    assert refusal(report("compare", "p2be", "rgb/0")).startswith("B=rgb/0: one run against several")


def test_as_a_module(runs):
    """Without torch, which takes seconds."""
    code = NO_TORCH + "sys.argv = ['report', 'compare', 'p2be', 'rgb']\n"
    code += "runpy.run_module('p2be_exp.report', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=HANGS)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == printed("compare", "p2be", "rgb")
    wrong = subprocess.run(
        [sys.executable, "-m", "p2be_exp.report", "x"], capture_output=True, text=True, timeout=HANGS
    )
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == "error: x: neither a folder nor a command; commands are compare, leaderboard (see --help)\n"
