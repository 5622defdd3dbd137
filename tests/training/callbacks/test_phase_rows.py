"""restoration.csv: read as written, a damaged one is refused."""

import pytest

from p2be_exp.errors import BadInput
from p2be_exp.runs.run import Run
from p2be_exp.training.callbacks.phase_rows import PhaseRow, read_phases


def test_it_is_read_as_written(tmp_path):
    assert read_phases(Run(tmp_path)) == []
    (tmp_path / "restoration.csv").write_text("epoch,step,error,joint\n1,1,0.5,0\n1,2,0.25,1\n")
    assert read_phases(Run(tmp_path)) == [PhaseRow(1, 1, 0.5, 0), PhaseRow(1, 2, 0.25, 1)]


@pytest.mark.parametrize(
    "text",
    ["", "epoch,step\n1,1\n", "epoch,step,error,joint\n1,1,0.5\n", "epoch,step,error,joint\n1,1,few,0\n"],
    ids=["empty", "other columns", "a short row", "no number"],
)
def test_a_damaged_one_is_refused(text, tmp_path):
    (tmp_path / "restoration.csv").write_text(text)
    with pytest.raises(BadInput, match=r"restoration\.csv .*; remove it to continue without its rows"):
        read_phases(Run(tmp_path))
