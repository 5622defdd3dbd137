"""A built wheel works from an empty folder, where nothing of the repository is found."""

import shutil
import subprocess
import sys
import zipfile

import pytest

import p2be_exp
from commandline import HANGS, ROOT, TINY, finish, rows_of, start, start_warm
from extension_pages import write_files
from p2be_exp.runs.run import Run

pytestmark = pytest.mark.slow

SOURCES = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "src", "conf", "sweeps", "docs/zoo")
PLUGIN = ("plugins=[my_encoding]", "encoding=gray")
SMALL = (*TINY, "corruption=none", "attack=none", "epochs=1")

MODULE = """
import runpy
import sys

runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""


def pip(*arguments):
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANGS)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy: what an earlier build left in the repository would get into it."""
    folder = tmp_path_factory.mktemp("wheel")
    (folder / "sources").mkdir()
    for name in SOURCES:
        source, target = ROOT / name, folder / "sources" / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
        else:
            shutil.copy(source, target)
    pip("wheel", "--no-deps", "--no-build-isolation", f"--wheel-dir={folder}", folder / "sources")
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def site(wheel):
    """A folder in which the wheel is installed; its programs are in it twice, so that one can be told from where."""
    folder = wheel.parent / "site"
    pip("install", "--no-deps", "--no-index", f"--target={folder}", wheel)
    for program in (folder / "bin").iterdir():  # beside the package: Python looks there before anywhere else
        shutil.copy(program, folder)
    (folder / "module.py").write_text(MODULE)
    return folder


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A folder with somebody's plug-in alone, in somebody's repository."""
    folder = tmp_path_factory.mktemp("empty")
    write_files(folder)
    who = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.com")
    for words in (("init", "--quiet"), ("add", "."), (*who, "commit", "--quiet", "--message=mine")):
        subprocess.run(["git", "-C", folder, *words], check=True)
    return folder


@pytest.fixture(scope="module")
def run(site, empty):
    """What the installed program has trained by two processes, on a plug-in's encoding."""
    ddp = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")
    outcome = finish(start_warm(site / "p2be-train", *SMALL, *PLUGIN, *ddp, "hydra.run.dir=run", cwd=empty, spares=1))
    assert outcome.code == 0, outcome.err
    return empty / "run"


def test_every_file_of_the_package_is_in_the_wheel(wheel):
    here = {"p2be_exp": ROOT / "src" / "p2be_exp", "p2be_exp/_conf": ROOT / "conf", "p2be_exp/_sweeps": ROOT / "sweeps"}
    here["p2be_exp/_zoo"] = ROOT / "docs" / "zoo"
    wanted = {
        f"{place}/{file.relative_to(folder).as_posix()}"
        for place, folder in here.items()
        for file in folder.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert found == wanted
    assert {"p2be_exp/py.typed", "p2be_exp/_conf/experiment/quickstart.yaml", "p2be_exp/_sweeps/table2.yaml"} < found


def test_the_version_stands_once(wheel):
    assert wheel.name.split("-")[1] == p2be_exp.__version__
    for name in ("pyproject.toml", "setup.py"):
        assert f'"{p2be_exp.__version__}"' not in (ROOT / name).read_text(encoding="utf-8")


def test_the_programs_start_as_pip_has_installed_them(site, empty, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(site))
    for program in ("p2be-train", "p2be-evaluate"):
        outcome = finish(start(site / "bin" / program, "--version", cwd=empty))
        assert (outcome.code, outcome.out) == (0, f"p2be-exp {p2be_exp.__version__}\n"), outcome.err


def test_what_runs_is_what_was_installed(site, empty):
    (site / "where.py").write_text("import p2be_exp.config\n\nprint(p2be_exp.__file__, p2be_exp.config.CONF_DIR)\n")
    outcome = finish(start_warm(site / "where.py", cwd=empty))
    assert outcome.out.split() == [str(site / "p2be_exp" / "__init__.py"), str(site / "p2be_exp" / "_conf")]


def test_a_plug_in_trains_by_two_processes(run):
    info = Run(run).info()
    assert (info["command"][0], info["trained_on"]["processes"]) == ("p2be-train", 2)
    assert info["git_commit"] is None
    assert Run(run).stored_config()["encoding"]["name"] == "gray"


def test_it_is_evaluated(site, empty, run):
    attack = ("attack=random_in_ball", "corruption=generated", "corruption.names=[fog]", "corruption.severities=[1]")
    outcome = finish(start_warm(site / "p2be-evaluate", "run=run", PLUGIN[0], *attack, "name=mine", cwd=empty))
    assert outcome.code == 0, outcome.err
    rows = rows_of(run / "evaluations" / "mine" / "results.csv")
    assert [row["condition"] for row in rows] == ["clean", "corruption/fog/1", "attack/random_in_ball/8"]


def test_the_zoo_is_found(site, empty):
    small = ("corruption=none", "attack=none", "limit_test=20")
    outcome = finish(start_warm(site / "p2be-evaluate", "run=zoo:digits_rgb", *small, "out=zoo", cwd=empty))
    assert outcome.code == 0, outcome.err
    assert [row["condition"] for row in rows_of(empty / "zoo" / "results.csv")] == ["clean"]


def test_the_quickstart_and_the_sweeps_are_found(site, empty):
    outcome = finish(start_warm(site / "p2be-train", "experiment=quickstart", "limit_train=0", cwd=empty))
    assert outcome.err == "error: limit_train=0: must be 1 or more\n"
    outcome = finish(start_warm(site / "p2be-train", "sweeps=table22", cwd=empty))
    assert outcome.err.startswith("error: sweeps=table22: no such sweep; available: cpu_study, fig2, fig3, ")


def test_a_sweep_with_its_report(site, empty):
    grid = ("sweeps=table2", "scale=small", "encoding=rgb,p2be", "seed=0", "corruption.names=[fog]")
    small = ("limit_train=64", "limit_test=40", "epochs=1", "trainer.progress=false", "hydra.sweep.dir=sweep")
    outcome = finish(start_warm(site / "p2be-train", *grid, *small, cwd=empty))
    assert outcome.code == 0, outcome.err
    assert Run(empty / "sweep" / "1").info()["command"][0] == "p2be-train"
    assert "scale=small" in (empty / "sweep" / "report" / "index.html").read_text()


@pytest.mark.parametrize(
    ("module", "arguments", "made"),
    [
        ("report", ("run", PLUGIN[0], "out=report"), "report/index.html"),
        ("export", ("run=run", PLUGIN[0]), "run/model.pt2"),
        ("corruptions", ("make", "dataset=digits", "names=[fog]", "limit_test=20", "out=fog"), "fog/fog.npy"),
        ("tracking", ("workspace", "dry_run=true"), None),
    ],
)
def test_the_modules_that_are_commands(site, empty, run, module, arguments, made):
    outcome = finish(start_warm(site / "module.py", f"p2be_exp.{module}", *arguments, cwd=empty))
    assert outcome.code == 0, outcome.err
    assert (empty / made).is_file() if made else "Clean error by encoding" in outcome.out
