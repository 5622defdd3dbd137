"""The number of values of a range is known before one of them is made."""

import pytest

from p2be_exp.config.ranges import MOST_JOBS, check_ranges
from p2be_exp.errors import BadInput


@pytest.mark.parametrize(
    "argument",
    [
        "seed=range(3)",
        "seed=range(0,10000)",
        "seed=range(10000,0,-1)",
        "optim.lr=range(0.1,0.5,0.1)",
        "seed=range(stop=4,start=1)",
        "seed=1,2",
        "seed=range(a)",  # for Hydra's grammar to refuse
        "seed=range(1,2,3,4)",
        "task_name=orange(1000000)",
    ],
)
def test_what_can_be_listed_passes(argument):
    check_ranges(argument)


@pytest.mark.parametrize(
    ("argument", "values"),
    [
        ("seed=range(10001)", "10,001"),
        ("seed=range(0)", "0"),
        ("seed=range(3,1)", "0"),
        ("seed=range(0,1,0)", "inf"),
        ("seed=range(0,1,nan)", "inf"),
        ("seed=range(0,1e300,1e-300)", "inf"),
        ("seed=range(1000000000000000000000000)", "1e+24"),
        ("seed=sort(range(0,20000,2))", None),
        ("seed=sort(range(0,20002,2))", "10,001"),
        ("seed=[range(3),range(1000000)]", "1,000,000"),
    ],
)
def test_what_is_too_long_or_empty_is_counted(argument, values):
    if values is None:
        check_ranges(argument)
        return
    with pytest.raises(BadInput) as error:
        check_ranges(argument)
    assert str(error.value).endswith(f" has {values} values; must have between 1 and {MOST_JOBS:,}")
