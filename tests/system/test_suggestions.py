"""What somebody may have meant."""

import pytest

from p2be_exp.system.suggestions import did_you_mean


@pytest.mark.parametrize(
    ("word", "known", "said"),
    [
        ("P2BE", ["p2be", "rgb"], "; did you mean p2be?"),
        ("WRN-40-2", ["wrn40_2", "wrn16_1"], "; did you mean wrn40_2?"),
        ("quikstart", ["quickstart"], "; did you mean quickstart?"),
        ("zzz", ["p2be"], ""),
        ("", ["p2be"], ""),
        ("x", [], ""),
    ],
)
def test_a_near_word_is_suggested_and_a_far_one_is_not(word, known, said):
    assert did_you_mean(word, known) == said
