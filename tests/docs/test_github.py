"""The files of .github/ have the form that GitHub asks for; it shows nothing of one that has not."""

import re

import pytest
import yaml

from commandline import ROOT

FORMS = sorted(path for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")
TYPES = {"textarea", "input", "dropdown", "checkboxes", "markdown"}


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_an_issue_form(path):
    form = yaml.safe_load(path.read_text())
    assert set(form) <= {"name", "description", "title", "labels", "assignees", "body"}
    assert form["name"]
    assert form["description"]
    ids = [element["id"] for element in form["body"]]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[\w-]+", each) for each in ids)
    labels = [element["attributes"]["label"] for element in form["body"]]
    assert len(labels) == len(set(labels))
    for element in form["body"]:
        assert element["type"] in TYPES
        assert set(element) <= {"type", "id", "attributes", "validations"}
        assert set(element.get("validations", {})) <= {"required"}
        options = element["attributes"].get("options", [])
        assert bool(options) == (element["type"] in ("dropdown", "checkboxes"))
        assert all(isinstance(each, dict if element["type"] == "checkboxes" else str) for each in options)


def test_there_is_a_form_for_each_kind_of_question():
    assert {path.stem for path in FORMS} == {"bug", "number", "defence"}


def test_the_workflow_runs_everything_on_every_python_that_is_supported():
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    (job,) = workflow["jobs"].values()
    classifiers = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text())
    assert job["strategy"]["matrix"]["python"] == classifiers == ["3.11", "3.12", "3.13"]
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    (setup,) = (step for step in job["steps"] if "setup-python" in step.get("uses", ""))
    assert setup["with"]["python-version"] == "${{ matrix.python }}"
    assert (ROOT / ".ci/run").stat().st_mode & 0o111
