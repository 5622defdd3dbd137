"""What an error says, on one line."""

import pytest

from p2be_exp.errors import BadInput, one_line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain ü – 日本", "plain ü – 日本"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\x1b[31m\x00", "\\x1b[31m\\x00"),
        ("\udcff", "\\udcff"),
    ],
)
def test_what_does_not_print_is_written_out(text, line):
    assert one_line(BadInput(text)) == line


def test_the_middle_of_a_very_long_text_is_left_out():
    line = one_line("a" * 5000 + "b" * 5000)
    assert len(line) < 2100
    assert line.startswith("aaa")
    assert line.endswith("bbb")
