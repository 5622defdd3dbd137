"""The commit of a run is that of the project's own checkout, and of no repository that happens to be around."""

import subprocess
from pathlib import Path

import pytest

from commandline import ROOT
from p2be_exp.system import installation
from p2be_exp.system.installation import data_folder, git_commit, is_installed


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.com")
    done = subprocess.run(["git", "-C", folder, *who, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository of one commit, with a package in it; nothing of this process is in a hook of git."""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    package = tmp_path / "repository" / "src" / "p2be_exp"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    folder = package.parents[1]
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message=first")
    return folder


def is_in(monkeypatch, package: Path, checkout: Path) -> None:
    monkeypatch.setattr(installation, "_PACKAGE", package)
    monkeypatch.setattr(installation, "_CHECKOUT", checkout)


def test_in_a_checkout_the_files_are_at_its_top():
    assert not is_installed()
    assert (data_folder("conf"), data_folder("sweeps")) == (ROOT / "conf", ROOT / "sweeps")


def test_an_installed_package_has_them_inside(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "p2be_exp"
    is_in(monkeypatch, package, tmp_path)
    (package / "_conf").mkdir(parents=True)
    assert is_installed()
    assert data_folder("conf") == package / "_conf"


def test_the_commit_of_the_checkout_and_whether_it_is_changed(repository, monkeypatch):
    is_in(monkeypatch, repository / "src" / "p2be_exp", repository)
    assert git_commit() == git(repository, "rev-parse", "HEAD")
    (repository / "notes.txt").touch()  # no part of it
    assert git_commit() == git(repository, "rev-parse", "HEAD")
    (repository / "src" / "p2be_exp" / "__init__.py").write_text("changed = True\n")
    assert git_commit() == git(repository, "rev-parse", "HEAD") + "+"


def test_a_repository_around_says_nothing(repository, monkeypatch):
    copied = repository / "third_party" / "p2be"
    (copied / "src" / "p2be_exp").mkdir(parents=True)
    is_in(monkeypatch, copied / "src" / "p2be_exp", copied)
    assert git_commit() is None


def test_an_installed_package_has_no_commit_wherever_it_is(repository, monkeypatch):
    (repository / "src" / "p2be_exp" / "_conf").mkdir()
    is_in(monkeypatch, repository / "src" / "p2be_exp", repository)
    assert git_commit() is None


def test_no_repository_has_none(tmp_path, monkeypatch):
    is_in(monkeypatch, tmp_path / "src" / "p2be_exp", tmp_path)
    assert git_commit() is None


def test_in_a_hook_of_another_repository_it_is_still_that_of_this_one(repository, tmp_path, monkeypatch):
    git(tmp_path, "init", "--quiet", "other")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    is_in(monkeypatch, repository / "src" / "p2be_exp", repository)
    commit = git_commit()
    monkeypatch.delenv("GIT_DIR")
    assert commit == git(repository, "rev-parse", "HEAD")
