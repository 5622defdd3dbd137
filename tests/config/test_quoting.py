"""Texts of any characters go through the shell and Hydra's grammar and come back as they were."""

import doctest
import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from p2be_exp.config import compose_config, parse_overrides, quoting
from p2be_exp.config.quoting import hint, read_arguments
from p2be_exp.system.command_line import as_override, typed

NAMES = [
    *("a (1), ü=2", "it's", 'say "x"', """'"'""", "a b", "$HOME", "a,b", "a=b", "a\nb", "\\", "a\\", "a\\'", 'a\\"b'),
    *(
        "~",
        "~/x",
        "(",
        "[a]",
        "{a: b}",
        "${b}",
        "a${b",
        "\\${b}",
        "\\\\${b}",
        "a\\b${c}\\",
        "null",
        "true",
        "007",
        "1e3",
    ),
    *("1e3", "choice(a)", "#", "&;<>|!*?", "日本", "l\udcf6t", "-x", " a ", "%", "'", '"', "\t"),
]
TEXTS = st.text(st.sampled_from("ab ü(),=~'\"\\${}[]\n:#/.") | st.characters(exclude_characters="\0"), min_size=1)


def read(argument: str) -> str:
    """The value that a configuration gets."""
    value = OverridesParser.create().parse_override(argument).value()
    return OmegaConf.to_container(OmegaConf.create({"value": value}), resolve=True)["value"]


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_what_is_typed_comes_back(text):
    (argument,) = shlex.split(typed(as_override("run", text)))
    assert read(argument) == text
    assert parse_overrides([argument]) == {"run": text}
    assert read_arguments([argument]) == [argument]


for name in NAMES:
    test_what_is_typed_comes_back = example(name)(test_what_is_typed_comes_back)


@pytest.mark.parametrize("text", ["logs/train/runs/2026-01-31_12-00-00_000000", "../a.b-c", "a b", "c:d@e%f+g"])
def test_quotes_are_there_where_they_are_needed_alone(text):
    assert as_override("run", text) == f"run={text}"


@pytest.mark.parametrize("name", ["a (1), ü=2", "it's", 'say "x"', "a,b", "~/x", "[a]", "007", "läuft", "a=b"])
def test_a_path_needs_no_quotes_of_a_grammar(name):
    for key in ("run", "out"):
        (argument,) = read_arguments([f"{key}={name}"])
        assert read(argument) == name
    settings = compose_config("export", read_arguments([f"run={name}", f"out={name}"]))
    assert (settings.run, settings.out) == (name, name)


def test_what_the_grammar_reads_is_left_alone():
    given = ["run=logs/run", "out='a b'", 'out="a\\"b"', "out=a\\,b", "out=null", "out=", "out", "encoding.M=8"]
    assert read_arguments(given) == given
    assert parse_overrides(["run='a b'", "out=a\\,b", "resume='it\\'s'", "epochs=3", "seed=1,2"]) == {
        "run": "a b",
        "out": "a,b",
        "resume": "it's",
        "epochs": "3",
        "seed": "1,2",
    }


def test_in_a_grid_a_comma_is_one_of_the_grid():
    assert read_arguments(["-m", "data_dir=a,b"]) == ["-m", "data_dir=a,b"]
    assert read_arguments(["data_dir=a,b"]) == ['data_dir="a,b"']


def test_other_keys_are_shown_how_to_be_quoted():
    assert hint("departs_from_paper=a (1)") == "; as text: 'departs_from_paper=\"a (1)\"'"
    assert hint("departs_from_paper") == hint("a b=c") == hint("seed=") == ""


def test_the_examples():
    assert doctest.testmod(quoting).failed == 0
