"""Where a resumed training says that it goes on."""

import pytest

from p2be_exp.training.callbacks.resumed import resumed_line


@pytest.mark.parametrize(
    ("done", "line"),
    [
        ((0, 12, 0, 41), "resumed at epoch 1/12"),
        ((2, 12, 0, 41), "resumed at epoch 3/12"),
        ((2, 12, 5, 41), "resumed in epoch 3/12, at batch 6/41"),
    ],
)
def test_the_line(done, line):
    assert resumed_line(*done) == line
