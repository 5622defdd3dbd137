"""What an attack broke alone, and how its images grew in number."""

import numpy as np

from p2be_exp.evaluation.broken import alone, growth
from p2be_exp.evaluation.condition import Condition


def test_alone_against_a_count_image_by_image():
    rng = np.random.default_rng(0)
    conditions = [Condition("attack", f"a{number}", eps_levels=8) for number in range(4)]
    wrong = {each.id: rng.random(50) < 0.4 for each in conditions}
    expected = {
        each.id: sum(
            wrong[each.id][image] and not any(wrong[other.id][image] for other in conditions if other is not each)
            for image in range(50)
        )
        for each in conditions
    }
    assert alone(conditions, wrong) == expected
    assert any(expected.values())


def test_half_and_twice_of_an_attack_are_no_other_attack():
    names = ("pgd_half", "pgd", "pgd_twice", "square")
    conditions = [Condition("attack", name, eps_levels=8) for name in names]
    rows = ("11000", "11100", "11110", "10001")
    wrong = {each.id: np.array(list(row), int).astype(bool) for each, row in zip(conditions, rows, strict=True)}
    found = alone(conditions, wrong)
    assert found == {"attack/pgd_half/8": 0, "attack/pgd/8": 2, "attack/pgd_twice/8": 1, "attack/square/8": 1}


def test_growth():
    assert growth(np.array([np.nan, np.nan])) == [[0, 0]]
    assert growth(np.array([0.0, 0.0, np.nan])) == [[0, 2]]
    assert growth(np.array([0.0, 7.0, 3.0, 40.0, np.nan])) == [
        [0, 1],
        [1, 1],
        [2, 1],
        [4, 2],
        [8, 3],
        [16, 3],
        [32, 3],
        [64, 4],
    ]
