"""The cells of examples/tour.ipynb run on a few images; what is stored with them is what a whole run gave."""

import json

import matplotlib as mpl
import pytest
import torch

from commandline import ROOT

NOTEBOOK = ROOT / "examples/tour.ipynb"
FEWER = {"images[:100], test.labels[:100]": "images[:10], test.labels[:10]", "steps=20": "steps=2", "[:50]": "[:5]"}


def cells() -> list[dict]:
    return [each for each in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if each["cell_type"] == "code"]


@pytest.mark.slow
def test_every_cell_runs(monkeypatch, tmp_path, capsys):
    pytest.importorskip("safetensors", reason="safetensors is not installed: pip install -e '.[hub]'")
    monkeypatch.chdir(tmp_path)
    mpl.use("Agg")
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)  # those of the tests' process stay
    names: dict = {}
    for cell in cells():
        code = "".join(cell["source"]).replace("plt.show()", "")
        for long, short in FEWER.items():
            code = code.replace(long, short)
        exec(compile(code, str(NOTEBOOK), "exec"), names)
    assert len(names["networks"]) == 3
    assert all(0 <= low <= high <= 100 for low, *_, high in names["errors"].values())
    assert "images wrong" in capsys.readouterr().out


def test_it_is_stored_with_what_it_shows():
    outputs = [output for cell in cells() for output in cell["outputs"]]
    assert not [each for each in outputs if each["output_type"] == "error"]
    assert sum("image/png" in each.get("data", {}) for each in outputs) == 3
    assert [cell["execution_count"] for cell in cells()] == list(range(1, len(cells()) + 1))
