"""docs/benchmark.md: its file is evaluated by its command, and it names the arguments that there are."""

import inspect
import re

from commandline import ROOT, evaluate
from p2be_exp import benchmark
from p2be_exp.models.robustbench import list_robustbench

PAGE = (ROOT / "docs" / "benchmark.md").read_text()


def test_the_file_of_the_page_is_evaluated(workdir):
    (code,) = re.findall(r"^`my_model.py`\n\n```python\n(.*?)^```$", PAGE, re.M | re.S)
    (workdir / "my_model.py").write_text(code)
    (command,) = re.findall(r"^python evaluate.py (model=my_model.py:build .*)$", PAGE, re.M)
    given = [each for each in command.split() if not each.startswith(("dataset=", "attack", "limit_test="))]
    outcome = evaluate(*given, "dataset=digits", "attack=none", "limit_test=8", "trainer=cpu")
    assert outcome.code == 0, outcome.err


def test_every_argument_is_in_the_table():
    table = PAGE.partition("| argument |")[2].partition("\n\n")[0]
    first = re.findall(r"^\| (`.*?) \|", table, re.M)
    assert re.findall(r"`(\w+)`", " ".join(first)) != []
    assert set(re.findall(r"`(\w+)`", " ".join(first))) == set(inspect.signature(benchmark).parameters)


def test_the_networks_that_it_names_are_known():
    named = re.findall(r"`([A-Z][a-z]+20\d\d\w+)`", PAGE)
    assert len(named) > 1
    assert {*named, "Hendrycks2020AugMix_WRN"} <= set(list_robustbench())
