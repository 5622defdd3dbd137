"""Stored configurations: read as they were written, and nothing done for whoever wrote them."""

import re

import pytest
from omegaconf import OmegaConf

from commandline import TINY, copy_of, evaluate, evaluate_clean, refusal, report, train
from p2be_exp.config.stored import LARGEST, read_stored
from p2be_exp.runs.run import Run

VALUES = {
    "numbers": [0, -3, 10**20, 1e-5, 1e22, 0.1, float("inf"), float("-inf"), 1000.5],
    "texts": [
        "1e-5",
        "1e5",
        "+.1e+3",
        "2020-01-01",
        "1:30",
        "0x1f",
        "0o7",
        "1_000",
        ".5",
        "-1.",
        "yes",
        "null",
        "~",
        "",
    ],
    "signs": ["a: b #c", "<<", "=", "*x", "&x", "!t", "$", "{", "- a", "ü\n2", "%", "'", '"', "a\tb", " a ", "\u2028"],
    "others": [True, False, None, [], {}],
}


def test_what_omegaconf_writes_is_read_back_to_the_bit(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(OmegaConf.to_yaml(OmegaConf.create(VALUES)), encoding="utf-8")
    found = read_stored(file)
    assert found == VALUES
    assert [list(map(type, each)) for each in found.values()] == [list(map(type, each)) for each in VALUES.values()]


BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (BOMB, r"line 1: an anchor \(& or \*\)"),
        ("a: *x", r"line 1: an anchor"),
        ("a: 1\nb: ${oc.env:HOME}", "an interpolation, '.{oc.env:HOME}'; a stored configuration is plain"),
        ("a: {'${b}': 1}", "an interpolation"),
        ("a:\n- {b: ['${c}']}", "an interpolation"),
        ("a: !!python/object/apply:os.getcwd []", "line 1: could not determine a constructor"),
        ("a: 1\nb: 2\na: 3", "line 3: duplicate key a"),
        ("[a]: 1", "line 1: a key that is not text"),
        ("a: [1", "line 1: "),
        ("[" * 5000, "too deeply nested"),
        ("a: \x00", "not YAML"),
        ("# " + "x" * LARGEST, "more than 65,536 bytes"),
    ],
)
def test_what_is_not_plain_is_refused_in_one_line(tmp_path, text, why):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ValueError, match=f"^{why}") as error:
        read_stored(tmp_path / "config.yaml")
    assert "\n" not in str(error.value)


def test_a_merge_key_merges_nothing(tmp_path):
    (tmp_path / "config.yaml").write_text("a: {<<: {b: 1}}")
    assert read_stored(tmp_path / "config.yaml") == {"a": {"<<": {"b": 1}}}


def test_a_variable_of_the_readers_stays_the_readers(workdir, four_epochs, monkeypatch):
    monkeypatch.setenv("SECRET", "of the reader")
    run = Run(copy_of(four_epochs, workdir / "run"))
    run.config_file.write_text(re.sub("task_name: .*", "task_name: ${oc.env:SECRET}", run.config_file.read_text()))
    why = "config.yaml or run.json is damaged (an interpolation, '${oc.env:SECRET}'; a stored configuration is plain)"
    assert refusal(evaluate_clean("run=run")) == f"run=run: {why}"
    assert refusal(report("run", "out=out")) == f"RUNS=run: {why}; no run has results to report"
    assert not (workdir / "out").exists()


def test_a_damaged_run_does_not_stop_the_report_of_a_folder(workdir, four_epochs):
    for name in ("a", "bomb", "half", "unreadable"):
        copy_of(four_epochs, workdir / "runs" / name)
    Run("runs/bomb").config_file.write_text(BOMB)
    Run("runs/half").run_file.write_text("{")
    Run("runs/unreadable").config_file.unlink()
    Run("runs/unreadable").config_file.mkdir()
    outcome = report("runs", "out=out")
    assert outcome.code == 0, outcome.err
    told = outcome.out[outcome.out.index("not used:") :]
    assert "runs/bomb: config.yaml or run.json is damaged (line 1: an anchor (& or *))" in told
    assert "runs/half: config.yaml or run.json is damaged" in told
    assert "runs/unreadable: not a run folder (config.yaml missing)" in told
    assert "runs/a:" not in told


def test_a_bomb_is_refused_by_evaluate(workdir, four_epochs):
    copy_of(four_epochs, workdir / "run")
    Run("run").config_file.write_text(BOMB)
    assert "an anchor" in refusal(evaluate("run=run"))


def test_a_configuration_that_could_not_be_read_again_is_not_trained(workdir):
    message = refusal(train(*TINY, r"task_name='a\${b}'", "hydra.run.dir=run"))
    assert message == "a${b}: an interpolation would remain in config.yaml; a stored configuration must be plain"
    assert not (workdir / "run").exists()
