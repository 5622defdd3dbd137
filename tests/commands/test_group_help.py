"""``--help GROUP``: every option with its keys; what is no group is refused."""

from dataclasses import fields

import pytest

from commandline import evaluate, refusal, train
from p2be_exp.commands.group_help import SWEEPS, group_help
from p2be_exp.commands.help import TRAIN_GROUPS
from p2be_exp.config.folders import options_of
from p2be_exp.config.schema import GROUP_SCHEMAS
from p2be_exp.sweeps import list_sweeps


def test_an_option_has_a_line_for_each_key():
    """As conf/encoding/p2be.yaml has them, with what the schema allows and what the preset sets."""
    outcome = train("--help", "encoding=p2be")
    assert outcome.code == 0
    head, about, *lines = outcome.out.splitlines()
    assert head == "encoding=p2be"
    assert about.startswith("  Pixel to Binary Embedding: ")
    found = {line.split(":")[0].strip(): line for line in lines if line[2] != " "}  # without what is wrapped
    assert list(found) == ["M", "lambda_smooth", "smoothness", "slope_at_zero", "init", "table_from"]
    assert found["M"].split(None, 2) == ["M:", "64", "bits a level; between 1 and 1024"]
    assert found["lambda_smooth"].endswith("   1.0 with preset=official; weight of the smoothness loss; 0 or more")
    assert "   normal with preset=official; of the latent table: normal | " in found["init"]


@pytest.mark.parametrize("words", [["--help", "encoding"], ["help=encoding"], ["encoding", "-h"]])
def test_a_group_has_all_its_options(words):
    outcome = train(*words)
    assert outcome.code == 0
    heads = [line for line in outcome.out.splitlines() if line and not line.startswith(" ")]
    assert heads == [f"encoding={name}" for name in options_of("encoding")]


def test_of_an_option_that_is_another_with_other_values():
    text = group_help("attack=pgd_fixed")
    assert text.startswith("attack=pgd_fixed, which is attack=pgd with\n  PGD as adversarial training has it: ")
    assert "\n  steps: 10 " in text


def test_a_remark_of_several_lines_is_one_paragraph():
    """conf/dataset/caltech256.yaml has two such, one about the option and one of a key."""
    about, *keys = group_help("dataset=caltech256").partition("\n")[2].partition("\n  val_size")
    assert " ".join(about.split()).endswith(
        "of each class the first 95 % of its files to train on, the next 5 % to test on."
    )
    assert "256 for 224, in proportion; below 64 the image_size itself; between" in " ".join("".join(keys).split())


def test_what_stands_between_keys_is_a_heading():
    assert "\n  # Where they are generated:\n  seed: 0  " in group_help("corruption=auto")


@pytest.mark.parametrize("group", GROUP_SCHEMAS)
def test_every_option_says_what_it_is(group):
    for name, schema in GROUP_SCHEMAS[group].items():
        head, about = group_help(f"{group}={name}").splitlines()[:2]
        keys = {f"{each.name}:" for each in fields(schema)}
        assert about.startswith("  "), head
        assert about.split()[0] not in {"#", *keys}, head


def test_every_option_of_every_group():
    for group in TRAIN_GROUPS:
        before = list_sweeps() if group == SWEEPS else options_of(group)
        text = group_help(group)
        after = list_sweeps() if group == SWEEPS else options_of(group)
        for name in {*before} & {*after}:  # other tests make an experiment, and take it away
            assert f"{group}={name}" in text
        for name, schema in GROUP_SCHEMAS[group].items() if group in GROUP_SCHEMAS else ():
            assert schema
            assert f"name: {name}" not in text
        assert all(len(line) <= 120 for line in text.splitlines()), group


def test_sweeps_have_their_titles():
    assert "sweeps=table2         Table II: " in train("--help", "sweeps").out
    assert "\n  sweeps      cpu_study" in train("--help").out


def test_evaluate_has_groups_of_its_own():
    assert evaluate("--help", "attack=lspga").out.startswith("attack=lspga\n  Logit-space")
    assert refusal(evaluate("--help", "encoding")) == "--help encoding: must be one of corruption, attack, trainer"


def test_a_word_that_is_nothing_is_refused():
    assert refusal(train("--help", "encodin")).endswith("sweeps; did you mean encoding?")
    assert refusal(train("--help", "sweeps=table9")).startswith(
        "--help sweeps=table9: must be one of cpu_study, fig2, "
    )
    assert refusal(train("help=backbone=wrn")).startswith("--help backbone=wrn: must be one of alexnet, ")


def test_keys_beside_it_do_not_matter():
    assert train("--help", "epochs=3").out == train("--help").out
