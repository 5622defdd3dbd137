"""One evaluation as a leaderboard reads it: its numbers, checked, and what its authors say of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from p2be_exp.errors import BadInput, one_line
from p2be_exp.report.leaderboard.checked import Checked
from p2be_exp.report.leaderboard.conditions import check_equal, read_conditions
from p2be_exp.report.leaderboard.corrupted import Corrupted, read_corrupted
from p2be_exp.report.leaderboard.entry import Entry, read_entry
from p2be_exp.report.leaderboard.sanity import Panel, read_panel
from p2be_exp.report.leaderboard.trained import Trained, read_trained
from p2be_exp.report.leaderboard.worst_case import WorstCase, read_worst_case
from p2be_exp.report.measured import Counts
from p2be_exp.runs.run import FORMAT_VERSION
from p2be_exp.system.forms import read_json, unusable

FILE = "results.json"


@dataclass(frozen=True)
class TestImages:
    """Which images were tested, as far as results say.

    Attributes:
        dataset: its name.
        n: how many.
        subset: the seed of their choice; None if all were tested.
        kind: size of the images and digest of their files, where the results have them.
    """

    __test__ = False  # no test, for pytest

    dataset: str
    n: int
    subset: int | None
    kind: tuple[str, ...]


@dataclass(frozen=True)
class Submission:
    """One evaluation.

    Attributes:
        place: its folder, in the folder of the leaderboard.
        entry: in its authors' words.
        trained: what the run's configuration says, where there is one.
        images: that were tested.
        clean: counts on them unchanged.
        corrupted: errors under corruptions, if any.
        worst_case: over the attacks of a suite, if one ran.
        panel: the checks of its attacks.
        seed: of the evaluation, where it is known.
        version: of this package, where it is known.
        written: when, where it is known.
    """

    place: str
    entry: Entry
    trained: Trained | None
    images: TestImages
    clean: Counts
    corrupted: Corrupted | None
    worst_case: WorstCase | None
    panel: Panel
    seed: int | None
    version: str
    written: str


def read_submission(file: Path, root: Path) -> Submission | None:
    """Read the results of an evaluation and the files beside it; None where nothing is measured yet.

    Args:
        file: a ``results.json``.
        root: the folder of the leaderboard.

    Raises:
        BadInput: a file is damaged or foreign; the file, the key and what is allowed.
    """
    summary = Checked(file, "", _content(file))
    summary["format_version"].whole(FORMAT_VERSION, FORMAT_VERSION)
    counts = read_conditions(summary)
    settings = summary["settings"]
    dataset = settings["dataset"].text("the name of a data set", most=100)
    place = one_line(file.parent.relative_to(root).as_posix())  # a stranger may have named it
    entry = read_entry(file.parent, place if place != "." else one_line(root.resolve().name) or "results")
    if (clean := counts.get("clean")) is None:
        return None
    check_equal(summary["clean_error"], clean.error, "the counts of clean images")
    seed, version, written = settings["seed"], summary["versions"], summary["written"]
    return Submission(
        place,
        entry,
        read_trained(file.parent),
        _images(settings, dataset, clean.n),
        clean,
        read_corrupted(summary, counts, dataset),
        read_worst_case(summary, counts),
        read_panel(summary),
        seed=seed.whole(-(2**63), 2**63) if seed.given else None,
        version=version["p2be-exp"].text(most=100) if version.given and version["p2be-exp"].given else "",
        written=written.text(most=100) if written.given else "",
    )


def _content(file: Path) -> object:
    try:
        return read_json(file)
    except (OSError, ValueError) as error:
        raise BadInput(f"{file}: {unusable(error)}; must be the {FILE} of an evaluation") from error


def _images(settings: Checked, dataset: str, n: int) -> TestImages:
    """Without a limit every image of the data set is tested, whatever the seed of the choice."""
    limit, split_seed = settings["limit_test"], settings["split_seed"]
    subset = split_seed.whole(-(2**63), 2**63) if limit.given and split_seed.given else None
    kind = [f"{key} {settings[key].value}" for key in ("image_size", "resized", "test_files") if settings[key].given]
    return TestImages(dataset, n, subset, tuple(kind))
