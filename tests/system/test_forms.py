"""The form of a JSON file, and what is said of one that cannot be used."""

import json

import pytest

from p2be_exp.system.forms import misfit, read_json, unusable

FORM = {"a": (dict, type(None)), "a.b": int, "c.*": str, "d.*.e": float}


@pytest.mark.parametrize(
    "content",
    [{}, {"a": None}, {"a": {"b": 3}, "x": 1}, {"c": ["x"], "d": {"one": {"e": 1.0}}}, {"c": {"one": "x"}}],
)
def test_what_has_the_form(content):
    assert misfit(FORM, content) is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], "[]"),
        (None, "null"),
        ({"a": 3}, "a: 3"),
        ({"a": {"b": True}}, "a.b: true"),
        ({"a": {"b": None}}, "a.b: null"),
        ({"c": ["x", 3]}, "c: 3"),
        ({"d": [{"e": "x"}]}, 'd.*.e: "x"'),
    ],
)
def test_what_has_another_form_is_named(content, said):
    assert misfit(FORM, content) == said


def test_json_that_never_ends_is_no_json(tmp_path):
    file = tmp_path / "a.json"
    file.write_text("[" * 100_000)
    with pytest.raises(ValueError, match="nested too deeply"):
        read_json(file)
    file.write_text(json.dumps({"a": 1}))
    assert read_json(file) == {"a": 1}


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FileNotFoundError(2, "No such file"), "is missing"),
        (PermissionError(13, "Permission denied"), "cannot be read (Permission denied)"),
        (OSError("NumPy's own"), "is damaged"),
        (ValueError("x"), "is damaged"),
    ],
)
def test_what_is_said_of_a_file(error, said):
    assert unusable(error) == said
