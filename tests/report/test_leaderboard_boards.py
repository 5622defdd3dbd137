"""Which results are ranked against each other, and how."""

import pytest

from leaderboard_entries import CHECK, summary_of, write_entry
from p2be_exp.errors import BadInput
from p2be_exp.report.leaderboard.write import make_leaderboard

FAILED = ({**CHECK, "verdict": "failed"},)
SUSPICIOUS = ({**CHECK, "verdict": "suspicious"},)


def boards(tmp_path, summaries, radius=None):
    """By heading of the board and class, the names with their ranks."""
    for name, summary in summaries.items():
        write_entry(tmp_path / name, summary)
    found = make_leaderboard(tmp_path, radius)
    return {
        (board.dataset, board.n, board.images): {
            kind: [(place.rank, place.submission.entry.name) for place in places]
            for kind, places in board.classes.items()
        }
        for board in found.boards
    }


def test_by_the_worst_case_and_ties_share_a_rank(tmp_path):
    wrong = {"a": 40, "b": 30, "c": 40, "d": 41}
    summaries = {name: summary_of(10, {8: count}) for name, count in wrong.items()}
    summaries["c"] = summary_of(9, {8: 40})  # the clean error orders those of a rank
    places = [(1, "b"), (2, "c"), (2, "a"), (4, "d")]
    assert boards(tmp_path, summaries) == {("digits", 200, ""): {"suite": places}}


def test_what_is_measured_otherwise_is_ranked_apart(tmp_path):
    summaries = {
        "full": summary_of(10, {8: 90}),
        "suspicious": summary_of(10, {8: 95}, sanity=SUSPICIOUS),
        "short": summary_of(10, {8: 40}, suite="suite_short"),
        "masked": summary_of(10, {8: 11}, sanity=FAILED),
        "no_panel": summary_of(10, {8: 12}, sanity=()),
        "clean": summary_of(4),
        "alone": summary_of(5, {8: 6}) | {"worst_case": None, "worst_case_error": None},
        "elsewhere": summary_of(6, {4: 20}),
    }
    (classes,) = boards(tmp_path, summaries).values()
    assert classes == {
        "suite": [(1, "full"), (2, "suspicious")],
        "suite_short": [(1, "short")],
        "clean": [(1, "clean"), (2, "alone"), (3, "elsewhere")],
        "untrusted": [(None, "masked"), (None, "no_panel")],
    }


def test_other_data_and_other_images_have_boards_of_their_own(tmp_path):
    summaries = {
        "a": summary_of(10),
        "b": summary_of(10, dataset="cifar10"),
        "c": summary_of(10, n=100, limit_test=100),
        "d": summary_of(11, n=100, limit_test=100),
        "e": summary_of(10, n=100, limit_test=100, split_seed=1),
        "f": summary_of(10, dataset="image_folder", test_files="abc"),
        "g": summary_of(10, dataset="image_folder", test_files="abd"),
    }
    assert boards(tmp_path, summaries) == {
        ("cifar10", 200, ""): {"clean": [(1, "b")]},
        ("digits", 200, ""): {"clean": [(1, "a")]},
        ("digits", 100, "chosen with split_seed 0"): {"clean": [(1, "c"), (2, "d")]},
        ("digits", 100, "chosen with split_seed 1"): {"clean": [(1, "e")]},
        ("image_folder", 200, "test_files abc"): {"clean": [(1, "f")]},
        ("image_folder", 200, "test_files abd"): {"clean": [(1, "g")]},
    }


def test_all_images_are_the_same_images_however_they_were_asked_for(tmp_path):
    summaries = {"a": summary_of(10), "b": summary_of(11, limit_test=200), "c": summary_of(12, split_seed=3)}
    assert boards(tmp_path, summaries) == {("digits", 200, ""): {"clean": [(1, "a"), (2, "b"), (3, "c")]}}


def test_the_radius(tmp_path):
    summaries = {"a": summary_of(10, {4: 20, 8: 60}), "b": summary_of(10, {4: 30, 8: 50}), "c": summary_of(10, {4: 25})}
    (by_8,) = boards(tmp_path, summaries).values()
    assert by_8 == {"suite": [(1, "b"), (2, "a")], "clean": [(1, "c")]}
    (by_4,) = boards(tmp_path, summaries, radius=4).values()
    assert by_4 == {"suite": [(1, "a"), (2, "c"), (3, "b")]}
    with pytest.raises(BadInput, match="radius=5: no results have a worst case there, must be one of: 4, 8"):
        make_leaderboard(tmp_path, 5)


def test_the_radius_where_nobody_has_8_levels(tmp_path):
    for name, radii in {"a": {2: 20, 4: 30}, "b": {2: 20, 4: 40}, "c": {4: 20}}.items():
        write_entry(tmp_path / name, summary_of(10, radii))
    assert make_leaderboard(tmp_path).radius == 4


def test_what_is_found(tmp_path):
    write_entry(tmp_path / "x" / "deep" / "er", entry="name: Deep")
    write_entry(tmp_path / ".hidden" / "y")
    write_entry(tmp_path / "z", summary_of() | {"conditions": {}, "clean_error": None})
    (tmp_path / "loop").symlink_to(tmp_path)
    found = make_leaderboard(tmp_path)
    assert [each.entry.name for board in found.boards for each in board.submissions] == ["Deep"]
    assert found.not_measured == ["z"]


def test_one_folder_of_results(tmp_path):
    (submission,) = make_leaderboard(write_entry(tmp_path / "mine")).boards[0].submissions
    assert (submission.entry.name, submission.place) == ("mine", ".")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda folder: None, "no such folder"),
        (lambda folder: folder.mkdir(), "no results.json in it or in a folder below"),
        (lambda folder: write_entry(folder / "a", summary_of() | {"conditions": {}}), "clean is not measured yet"),
        (lambda folder: write_entry(folder / "a", {"accuracy": 1}), "a/results.json: format_version is missing"),
        (lambda folder: write_entry(folder / "a", entry="nam: x"), "a/entry.yaml: nam: unknown key"),
    ],
)
def test_no_leaderboard(tmp_path, make, told):
    make(tmp_path / "in")
    with pytest.raises(BadInput) as caught:
        make_leaderboard(tmp_path / "in")
    assert told in str(caught.value)
    assert str(tmp_path / "in") in str(caught.value)
