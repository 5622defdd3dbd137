"""What holds of every bad input: one line, exit code 2, nothing changed on disk."""

import hashlib
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

from hypothesis import HealthCheck, settings

from commandline import Outcome
from p2be_exp.commands import corruptions as corruptions_command
from p2be_exp.errors import ResourceError
from p2be_exp.system.ownership import LOCK

ACCEPTED = "error: accepted\n"


def cases(in_ci: int, times: int = 1) -> settings:
    """How many cases a property is tried on.

    Args:
        in_ci: which are the same at every call, whatever the machine's speed.
        times: how many times as many, and others at every call.
    """
    return settings(
        max_examples=in_ci * times,
        derandomize=times == 1,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


def _accepted(*_, **__):
    raise ResourceError("accepted")


@contextmanager
def only_checked():
    """Commands go as far as everything is checked, and then say that they accept it, instead of computing."""
    targets = (
        "p2be_exp.data.ImageDataModule.prepare_data",  # of train.py and evaluate.py
        "p2be_exp.corruptions.make.make_set",
        "p2be_exp.corruptions.apply.corrupt",
        "p2be_exp.export.exported",
        "p2be_exp.report.paper.write.write_report",
        "p2be_exp.report.compare.compare",
    )
    with ExitStack() as stack:
        for target in targets:
            stack.enter_context(mock.patch(target, _accepted))
        # Whether the images are there is another matter than what was typed.
        stack.enter_context(mock.patch.object(corruptions_command, "_source", _digits))
        yield


def _digits(config):
    from p2be_exp.corruptions.source import DatasetSource
    from p2be_exp.data import load_dataset

    _, test = load_dataset("digits", ".", False, None)
    return DatasetSource("digits", test, len(test))


def refused_or_accepted(outcome: Outcome) -> bool:
    """Whether an input was accepted; otherwise it was refused as bad input is."""
    if outcome.err == ACCEPTED or (outcome.code, outcome.err) == (0, ""):
        return True
    assert "Traceback" not in outcome.err, outcome.err
    assert outcome.code == 2, (outcome.code, outcome.err)
    assert outcome.err.startswith("error: "), outcome.err
    lines = outcome.err.split("\n")
    assert lines[1:] == [""], outcome.err
    assert lines[0].isprintable(), outcome.err
    return False


def content(folder: Path) -> dict[str, str]:
    """Everything in a folder by its path: kind and digest; times do not count."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        if path.name == LOCK:
            continue
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"link to {path.readlink()}"
        elif path.is_dir():
            found[name] = "folder"
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found
