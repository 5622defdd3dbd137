"""What a path can be, and what it stands for."""

import pytest

from p2be_exp.errors import BadInput
from p2be_exp.system.paths import NAME_BYTES, PATH_BYTES, check_path, is_folder, user_path


@pytest.mark.parametrize("text", ["", ".", "a/b", "x" * 255, "ü" * 127, "~/x", "a\nb", "/".join(["x" * 200] * 20)])
def test_what_a_file_can_be_called(text):
    check_path("out", text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x" * 256, f"a name of 256 bytes; must be at most {NAME_BYTES}"),
        ("a/" + "ü" * 128, f"a name of 256 bytes; must be at most {NAME_BYTES}"),
        ("/".join(["x" * 200] * 21), f"a path of 4220 bytes; must be at most {PATH_BYTES}"),
        ("a\0b", "a path cannot contain a null character"),
        ("\ud800", "cannot be written as a path (surrogates not allowed)"),
    ],
)
def test_what_no_file_can_be_called(text, why):
    for check in (check_path, user_path):
        with pytest.raises(BadInput) as error:
            check("out", text)
        assert str(error.value) == f"out={text}: {why}"


def test_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_path("out", "~/x") == tmp_path / "x"
    with pytest.raises(BadInput, match="no such home folder"):
        user_path("out", "~nobody-of-that-name/x")


def test_a_text_that_is_too_long_is_no_folder(tmp_path):
    assert is_folder(str(tmp_path))
    assert not is_folder("")
    assert not is_folder(",".join([str(tmp_path)] * 1000))
