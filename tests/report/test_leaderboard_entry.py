"""``entry.yaml``: what it may say, and what is refused in one line."""

import pytest

from p2be_exp.errors import BadInput
from p2be_exp.report.leaderboard.entry import Entry, read_entry

FULL = """
name: P2BE with ConTrain
authors: A. Author, Ö. Author
paper: https://example.org/a?b=c&d#e
training_data: 600 images of digits
note: 'Three seeds: this is the first.'
"""


def write(folder, text):
    (folder / "entry.yaml").write_text(text)
    return folder


def test_all_of_it(tmp_path):
    found = read_entry(write(tmp_path, FULL), "x")
    assert found == Entry(
        "P2BE with ConTrain",
        "A. Author, Ö. Author",
        "https://example.org/a?b=c&d#e",
        "600 images of digits",
        "Three seeds: this is the first.",
    )


def test_it_is_optional_and_so_is_all_but_the_name(tmp_path):
    assert read_entry(tmp_path, "x") == Entry("x")
    assert read_entry(write(tmp_path, '{"name": "a", "note": null}'), "x") == Entry("a")  # JSON is YAML


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("authors: A", "name is missing, must be the name of the entry, at most 80 characters"),
        ("name: ' '", 'name=" ": must be the name of the entry'),
        ("name: 3", "name=3: must be a text, of one line, printable, at most 80 characters"),
        ("name: [a]", 'name=["a"]: must be a text'),
        (f"name: {'a' * 81}", f'name="{"a" * 76}...: must be a text, of one line, printable, at most 80 characters'),
        ("name: a\nnote: \"a\\nb\"", 'note="a\\nb": must be a text, of one line'),
        ('name: "a\\u202Eb"', 'name="a\\u202eb": must be a text, of one line, printable'),  # turns the direction
        ("name: a\npaper: javascript:alert(1)", "must be an address that starts with https:// or http://"),
        ("name: a\npaper: https://a b", "must be an address"),
        ("name: a\npaper: 'https://a\"onclick=b'", "must be an address"),
        ("name: a\ncode: https://a", "code: unknown key; the keys are name, authors, paper, training_data, note"),
        ("- name", '["name"]: must be a mapping'),
        ("", "null: must be a mapping"),
        ("name: a\nnote: [", "is not YAML (line 2); must be lines KEY: TEXT with the keys name, authors"),
        ("!!python/object/apply:os.system [echo]", "is not YAML (line 1)"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path, text, told):
    with pytest.raises(BadInput) as caught:
        read_entry(write(tmp_path, text), "x")
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/entry.yaml: ")
    assert told in message
    assert "\n" not in message


def test_an_entry_that_is_no_file(tmp_path):
    (tmp_path / "entry.yaml").mkdir()
    with pytest.raises(BadInput, match=r"entry\.yaml: cannot be read \(Is a directory\)"):
        read_entry(tmp_path, "x")
