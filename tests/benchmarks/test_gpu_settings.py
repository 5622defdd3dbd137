"""The command line: what it takes, and the one line with which it refuses."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks.gpu.command import main
from benchmarks.gpu.dependencies import NEEDED, missing_line
from benchmarks.gpu.settings import Settings, parse_settings
from p2be_exp.errors import BadInput


def refused(capsys, *arguments) -> str:
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    return said


def test_defaults(workdir):
    settings = parse_settings(["out=there"])
    assert settings == Settings(
        out=str(workdir / "there"),
        minutes=9.0,
        parts=("tests", "step", "train"),
        size="full",
        data_dir=str(workdir / "data"),
        work=str(workdir / "gpu_work"),
        frost_dir=None,
        encodings=("rgb", "onehot", "thermometer", "p2be"),
        epochs=None,
    )


def test_the_work_folder_is_beside_the_data(workdir, monkeypatch):
    monkeypatch.setenv("P2BE_DATA_DIR", str(workdir / "a" / "data"))
    assert parse_settings(["out=there"]).work == str(workdir / "a" / "gpu_work")
    assert parse_settings(["out=there", "work=w"]).work == str(workdir / "w")


def test_parts_are_run_in_their_order(workdir):
    assert parse_settings(["out=there", "parts=train,tests"]).parts == ("tests", "train")


def test_settings_survive_json(workdir):
    settings = parse_settings(["out=there", "minutes=2.5", "epochs=4"])
    given = json.loads(json.dumps(settings.as_dict()))
    assert Settings(**{**given, "parts": tuple(given["parts"]), "encodings": tuple(given["encodings"])}) == settings


@pytest.mark.parametrize(
    ("argument", "named"),
    [
        ("minutes=0", "minutes=0"),
        ("minutes=soon", "minutes=soon"),
        ("minutes=nan", "minutes=nan"),
        ("parts=train,rest", "tests, step, train"),
        ("size=big", "full, test"),
        ("encodings=rgb,gray", "thermometer"),
        ("epochs=0", "epochs=0"),
        ("epochs=", "epochs="),
        ("frost_dir=nowhere", "no such folder"),
        ("colour=red", "unknown key"),
        ("--fast", "KEY=VALUE"),
        ("out=again", "one value"),
    ],
)
def test_a_value_that_is_not_allowed_is_named(workdir, capsys, argument, named):
    assert named in refused(capsys, "out=there", argument)
    assert not Path("there").exists()


def test_out_is_needed(workdir, capsys):
    assert "out=FOLDER" in refused(capsys, "size=test")


def test_the_full_size_needs_a_gpu(workdir, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "size=test" in refused(capsys, "out=there")


def test_data_are_looked_for_before_any_time_is_spent(workdir, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert "cifar100" in refused(capsys, "out=there", "data_dir=empty")
    assert not Path("there").exists()


def test_help(capsys):
    assert main(["--help"]) == 0
    assert "minutes" in capsys.readouterr().out


def test_what_is_missing_stands_on_one_line():
    line = missing_line(lambda module: None if module in ("hydra", "cv2") else object())
    assert line.startswith("error: not installed: hydra-core, opencv-python-headless; pip install ")
    assert "\n" not in line
    assert missing_line(lambda module: object()) is None


def test_every_package_that_is_needed_is_one_of_the_projects():
    dependencies = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    assert all(f'"{package}' in dependencies for package in NEEDED.values())


def test_other_trainings_in_the_work_folder_are_refused(workdir, capsys):
    work = workdir / "work"
    work.mkdir()
    plan = {"size": "test", "encodings": ["rgb"], "epochs": 2, "table_lr": 0.01, "test_images": 40}
    seconds = {"start_seconds": 1.0, "evaluation_seconds": 1.0, "images_per_second": 1.0}
    (work / "plan.json").write_text(json.dumps({**plan, **seconds}), encoding="utf-8")
    given = ("out=there", "size=test", f"work={work}", "parts=train")
    assert "encodings=p2be" in refused(capsys, *given, "encodings=p2be")
    assert "epochs=3" in refused(capsys, *given, "encodings=rgb", "epochs=3")
    (work / "plan.json").write_text("{", encoding="utf-8")
    assert "damaged" in refused(capsys, *given, "encodings=rgb")


def test_a_folder_of_something_else_is_refused(workdir):
    from benchmarks.gpu.out import Out

    (workdir / "there").mkdir()
    (workdir / "there" / "thesis.tex").touch()
    with pytest.raises(BadInput, match=r"thesis\.tex"):
        Out(workdir / "there")
