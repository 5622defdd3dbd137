"""The picture of the stem's forms: its sizes are those of the tensors."""

import importlib.util
import sys

import pytest
import torch

from commandline import ROOT
from p2be_exp.encodings.table import encode
from p2be_exp.models.stem import EncodedConv2d
from usual import P2BE


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("stem_forms", ROOT / "docs/images/stem_forms.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_sizes_are_those_of_the_tensors(script):
    images = torch.zeros(1, 3, script.SIDE, script.SIDE, dtype=torch.uint8)
    encoding = P2BE(script.M)
    stem = EncodedConv2d(encoding, script.CHANNELS, padding=1)
    assert stem.weight[0, 0].numel() == script.TAPS
    made = {
        "levels": images,
        "codes": encode(images, encoding.table()),
        "features": stem(images, encoding.table()),
    }
    for name, count, kind in (script.LEVELS, script.CODES, script.FEATURES):
        assert made[name].nbytes * script.IMAGES == count
        assert str(made[name].dtype) == f"torch.{kind}"


def test_units(script):
    assert [script.size(count) for count in (384 * 2**10, 96 * 2**20)] == ["384 KiB", "96.0 MiB"]


def test_the_picture_is_written(script, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["stem_forms.py", str(tmp_path / "stem.png")])
    script.main()
    assert (tmp_path / "stem.png").read_bytes().startswith(b"\x89PNG")
