"""``verify``: a line a file of a folder, and an exit code that says whether all are the published ones."""

import os
import shutil
from pathlib import Path

import pytest
from made_archives import made_archive, md5

from commandline import corruptions, refusal
from p2be_exp.corruptions.published import FILES

FOLDER = Path("set")


@pytest.fixture
def made(workdir, monkeypatch):
    """A folder that holds the twenty files of a small set, which is taken for the published CIFAR-10-C."""
    made = made_archive("cifar10", monkeypatch)
    write(made, FOLDER)
    return made


def write(made, folder):
    folder.mkdir()
    for name, content in made.files.items():
        (folder / name).write_bytes(content)


def verdicts(code: int, folder="set"):
    """What is printed, which has to end with an exit code: the lines by file, and the sum."""
    outcome = corruptions("verify", folder)
    assert (outcome.code, outcome.err) == (code, "")
    head, *lines, empty, whole = outcome.out.splitlines()
    assert (head.split(), empty) == (["file", "verdict"], "")
    return dict(line.split(maxsplit=1) for line in lines), whole


def test_a_whole_set(made):
    found, whole = verdicts(0)
    assert found == dict.fromkeys(made.files, "published")
    assert whole == "20 of the 20 files of CIFAR-10-C are as published"


@pytest.mark.parametrize("place", [0, 100, -1])
def test_one_changed_byte(made, place):
    content = bytearray(made.files["fog.npy"])
    content[place] ^= 1
    (FOLDER / "fog.npy").write_bytes(content)
    found, whole = verdicts(1)
    assert found.pop("fog.npy") == f"other digest (md5 {md5(content)}, published {md5(made.files['fog.npy'])})"
    assert set(found.values()) == {"published"}
    assert whole == "19 of the 20 files of CIFAR-10-C are as published"


def test_every_verdict(made):
    (FOLDER / "fog.npy").write_bytes(made.files["fog.npy"][:-1])
    (FOLDER / "snow.npy").unlink()
    (FOLDER / "frost.npy").unlink()
    (FOLDER / "frost.npy").mkdir()
    (FOLDER / "labels.npy").unlink()
    os.mkfifo(FOLDER / "labels.npy")  # which is not waited for
    shutil.copy(FOLDER / "contrast.npy", FOLDER / "contrast2.npy")
    for beside in ("notes.txt", ".hidden.npy"):
        (FOLDER / beside).write_text("x")
    found, whole = verdicts(1)
    assert found.pop("fog.npy").startswith("other digest (md5 ")
    assert found.pop("snow.npy") == "missing"
    assert found.pop("frost.npy") == found.pop("labels.npy") == "cannot be read (not a file)"
    assert found.pop("contrast2.npy") == "no such published file"
    assert set(found.values()) == {"published"}
    assert len(found) == 16
    assert whole == "16 of the 20 files of CIFAR-10-C are as published"


def test_a_file_beside_a_whole_set_is_named_and_does_no_harm(made):
    (FOLDER / "sketch.npy").write_bytes(b"x")
    found, whole = verdicts(0)
    assert found["sketch.npy"] == "no such published file"
    assert whole.startswith("20 of the 20 ")


@pytest.mark.parametrize("name", ["manifest.json", "indices.npy"])
def test_a_file_that_makes_it_another_set_is_named_and_fails(made, name):
    """No evaluation would take the folder for the published one."""
    (FOLDER / name).write_text("{}")
    found, whole = verdicts(1)
    assert found[name] == "no such published file (beside it the folder is taken for no published set)"
    assert whole.startswith("20 of the 20 ")


def test_which_data_set_is_told_by_the_files_and_else_by_the_name(made, monkeypatch):
    other = made_archive("cifar100", monkeypatch)
    write(other, Path("CIFAR-10-C"))  # under the wrong name
    assert verdicts(0, "CIFAR-10-C")[1] == "20 of the 20 files of CIFAR-100-C are as published"
    (FOLDER / "fog.npy").write_bytes(other.files["fog.npy"])
    assert verdicts(1)[0]["fog.npy"] == "other digest (that of CIFAR-100-C)"
    for name, whose in (("CIFAR-100-C", "CIFAR-100-C"), ("anything", "CIFAR-10-C")):
        Path(name).mkdir()
        found, whole = verdicts(1, name)
        assert set(found.values()) == {"missing"}
        assert whole == f"0 of the 20 files of {whose} are as published"


def test_what_was_made_here_is_named_by_its_digest(workdir):
    assert corruptions("make", "dataset=digits", "limit_test=2", "names=fog", "severities=[1]", "out=set").code == 0
    found, _ = verdicts(1)
    digest = md5((FOLDER / "fog.npy").read_bytes())
    assert found["fog.npy"] == f"other digest (md5 {digest}, published {FILES['cifar10']['fog']})"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: no such folder"),
        (["notes"], "notes: not a folder"),
        ([], "verify: takes exactly one folder, not 0"),
        (["a", "b"], "verify: takes exactly one folder, not 2"),
        (["x" * 300], f"verify={'x' * 300}: a name of 300 bytes; must be at most 255"),
        (["-v"], "-v: not a flag; the command takes KEY=VALUE (see --help)"),
    ],
)
def test_bad_input_is_one_line(workdir, arguments, message):
    Path("notes").write_text("x")
    assert refusal(corruptions("verify", *arguments)) == message


def test_a_closed_folder(made, monkeypatch):
    """Nothing is closed to root, so that the system's answer is what is made here."""
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != FOLDER)
    assert refusal(corruptions("verify", "set")) == "set: cannot be read"
