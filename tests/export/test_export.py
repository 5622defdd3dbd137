"""Exported classifiers: the logits of the run, for any number of images, without this package, in one file."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from commandline import QUICKSTART, ROOT, copy_of, export, finish, refusal, start_warm, train
from extension_pages import write_files
from p2be_exp import load_run
from p2be_exp.config import plugins
from p2be_exp.config.schema import ThermometerConfig
from p2be_exp.data import load_dataset
from p2be_exp.encodings import build_encoding
from p2be_exp.export import DeployedClassifier, exported, largest_difference
from p2be_exp.export.deployment import FOLD_FROM_M, FoldedStem, LookUpStem
from p2be_exp.models import stem_form
from p2be_exp.models.stem import EncodedConv2d
from p2be_exp.runs.run import Run

TOLERANCE = 1e-4  # logits of about 10; float32 sums in another order
# One M below which the stem of a .pt2 file looks codes up, two from which it is folded.
ENCODINGS = {"p2be": 8, "rgb": 1, "onehot": 16, "thermometer": 32}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A trained run of each encoding, with a plug-in's network of a few layers, to write into."""
    folder = tmp_path_factory.mktemp("exported")
    write_files(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        patch.chdir(folder)
        for name, bits in ENCODINGS.items():
            keys = [] if name == "rgb" else [f"encoding.M={bits}"]
            small = ["plugins=[my_backbone]", "backbone=tiny", "epochs=1", f"encoding={name}", *keys]
            outcome = train(*QUICKSTART, *small, f"hydra.run.dir={name}")
            assert outcome.code == 0, outcome.err
        yield {name: folder / name for name in ENCODINGS}
        plugins.forget("my_backbone")


@pytest.fixture(scope="module")
def files(runs):
    """Both files of each run, made by the command."""
    found = {}
    for name, run in runs.items():
        for form, suffix in (("torch_export", "pt2"), ("onnx", "onnx")):
            outcome = export(f"run={run}", f"format={form}")
            assert outcome.code == 0, outcome.err
            assert outcome.out.startswith(f"{run}/model.{suffix}: ")
            found[name, form] = run / f"model.{suffix}"
    return found


@pytest.fixture(scope="module")
def images():
    """Test images and, so that every level occurs, noise."""
    _, test = load_dataset("digits", "none", False)
    noise = torch.randint(256, (20, 3, 32, 32), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    return torch.cat([test.images[:40], noise])


@torch.no_grad()
def logits_of(file: Path, images: torch.Tensor) -> torch.Tensor:
    if file.suffix == ".pt2":
        return torch.export.load(file).module()(images)
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


@pytest.mark.parametrize("form", ["torch_export", "onnx"])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_logits_are_the_runs(runs, files, images, encoding, form):
    with torch.no_grad():
        expected = load_run(runs[encoding])(images)
    assert expected.abs().max() < 100
    for batch in (1, 3, len(images)):
        found = logits_of(files[encoding, form], images[:batch])
        torch.testing.assert_close(found, expected[:batch], atol=TOLERANCE, rtol=0)
        assert torch.equal(found.argmax(1), expected[:batch].argmax(1))


@pytest.mark.slow
def test_the_programs_run_where_this_package_is_not(runs, files, images, tmp_path):
    np.save(tmp_path / "images.npy", images[:5].numpy())
    script = tmp_path / "alone.py"
    script.write_text(
        "import sys\nsys.modules['p2be_exp'] = None  # importing it is an error\n"
        "import numpy, torch\n"
        "images = torch.from_numpy(numpy.load('images.npy'))\n"
        "for name, file in zip(sys.argv[1::2], sys.argv[2::2]):\n"
        "    with torch.no_grad():\n"
        "        numpy.save(f'{name}.npy', torch.export.load(file).module()(images).numpy())\n"
        "assert not [name for name in sys.modules if name.startswith('p2be_exp.')]\n"
    )
    programs = {name: str(files[name, "torch_export"]) for name in ("p2be", "thermometer")}
    outcome = finish(start_warm(script, *(word for pair in programs.items() for word in pair), cwd=tmp_path))
    assert outcome.code == 0, outcome.err
    for name in programs:
        with torch.no_grad():
            expected = load_run(runs[name])(images[:5])
        torch.testing.assert_close(
            torch.from_numpy(np.load(tmp_path / f"{name}.npy")), expected, atol=TOLERANCE, rtol=0
        )


def test_the_pages_python_moves_a_program(files, images, monkeypatch):
    (block,) = re.findall(r"^On a GPU:\n\n```python\n(.*?)```$", (ROOT / "docs/export.md").read_text(), re.M | re.S)
    assert block.count('"cuda"') == 1
    monkeypatch.chdir(files["p2be", "torch_export"].parent)
    names = {}
    exec(block.replace('"cuda"', '"cpu"'), names)
    with torch.no_grad():
        assert torch.equal(names["program"](images[:3]), logits_of(files["p2be", "torch_export"], images[:3]))


def test_what_a_file_says_of_itself(runs, files):
    inside = {"metadata.json": ""}
    torch.export.load(files["thermometer", "torch_export"], extra_files=inside)
    program = json.loads(inside["metadata.json"])
    session = onnxruntime.InferenceSession(files["thermometer", "onnx"], providers=["CPUExecutionProvider"])
    onnx = json.loads(session.get_modelmeta().custom_metadata_map["p2be_exp"])
    assert (program.pop("stem"), onnx.pop("stem")) == ("folded", "lookup")
    assert {**program, "exported": None} == {**onnx, "exported": None}
    run = Run(runs["thermometer"])
    assert program["input"]["shape"] == ["dynamic", 3, 32, 32]
    assert program["input"]["dtype"] == "uint8"
    assert program["output"]["classes"] == 10
    assert program["output"]["names"] == [str(digit) for digit in range(10)]
    assert program["encoding"] == {"name": "thermometer", "M": 32}
    assert (program["M"], program["backbone"], program["dataset"], program["seed"]) == (32, "tiny", "digits", 0)
    assert (program["checkpoint"], program["step"]) == ("last", 4)
    assert program["trained"]["git_commit"] == run.info()["git_commit"]
    assert program["exported"]["versions"] == run.info()["versions"]
    (given,), (taken,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.shape, given.type) == ("images", ["batch", 3, 32, 32], "tensor(uint8)")
    assert (taken.name, taken.shape, taken.type) == ("logits", ["batch", 10], "tensor(float)")


def test_a_file_names_no_folder_of_this_machine(files):
    for file in files.values():
        assert str(ROOT).encode() not in file.read_bytes(), file
        assert file.suffix == ".pt2" or b"DeployedClassifier" not in file.read_bytes(), "where each node came from"


@pytest.mark.parametrize("form", ["torch_export", "onnx"])
def test_a_fixed_batch_takes_no_other(runs, tmp_path, images, form):
    file = tmp_path / ("two.pt2" if form == "torch_export" else "two.onnx")
    outcome = export(f"run={runs['rgb']}", f"format={form}", "batch=2", f"out={file}")
    assert outcome.code == 0, outcome.err
    assert "uint8 (2, 3, 32, 32) to 10 logits" in outcome.out
    assert logits_of(file, images[:2]).shape == (2, 10)
    with pytest.raises(Exception, match=r"(?i)shape|dimension|guard"):
        logits_of(file, images[:3])


# -- the command ------------------------------------------------------------------------------------------------------


def test_a_file_that_is_there_is_kept_unless_asked(runs, files, tmp_path):
    before = files["p2be", "onnx"].read_bytes()
    message = refusal(export(f"run={runs['p2be']}", "format=onnx"))
    assert message == f"out={files['p2be', 'onnx']}: already exists; overwrite=true replaces a file"
    assert files["p2be", "onnx"].read_bytes() == before
    mine = tmp_path / "mine.pt2"
    mine.write_text("old")
    assert export(f"run={runs['rgb']}", f"out={mine}", "overwrite=true").code == 0
    assert mine.read_bytes() != b"old"
    assert list(tmp_path.iterdir()) == [mine]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "run: required; the run to export, run=FOLDER"),
        (["run=nowhere"], "run=nowhere: no such folder"),
        (["run=run", "format=pickle"], "format=pickle: must be one of torch_export, onnx, hub"),
        (["run=run", "batch=0"], "batch=0: must be dynamic, or a number of images, 1 or more"),
        (["run=run", "batch=any"], "batch=any: must be dynamic, or a number of images, 1 or more"),
        (["run=run", "checkpoint=best"], "run=run: no checkpoints/best.ckpt (it has no validation split)"),
        (["run=run", "out=model.pt"], "out=model.pt: must end in .pt2 for format=torch_export"),
        (["run=run", "out=run/run.json/model.pt2"], "out=run/run.json/model.pt2: cannot be written (RUN/run.json)"),
        (["run=run", "size=64"], "size=64: unknown key; it belongs to python -m p2be_exp.corruptions"),
        (["run=run", "-m"], "-m: not a flag of p2be_exp.export, which takes KEY=VALUE (see --help)"),
    ],
)
def test_bad_input(workdir, four_epochs, arguments, message):
    copy_of(four_epochs, workdir / "run")
    assert refusal(export(*(arguments or ["format=onnx"]))).replace(f"{workdir}/run", "RUN") == message
    assert not list(workdir.rglob("*model*"))


@pytest.mark.parametrize(
    ("out", "why"),
    [
        ("~nouser/x.pt2", "no such home folder"),
        ("x" * 300 + ".pt2", "a name of 304 bytes; must be at most 255"),
        ("y" * 300 + "/x.pt2", "a name of 300 bytes; must be at most 255"),
    ],
)
def test_places_that_cannot_be(workdir, four_epochs, out, why):
    assert refusal(export(f"run={four_epochs}", f"out='{out}'")) == f"out={out}: {why}"


@pytest.mark.parametrize(
    ("weights", "why"),
    [
        (3e38, "its own logits are not all finite numbers"),  # they overflow
        (None, r"the exported logits differ by [0-9.]+"),
    ],
)
def test_a_network_that_cannot_be_checked_is_one_line(runs, workdir, monkeypatch, weights, why):
    run = copy_of(runs["rgb"], workdir / "run")
    if weights is None:
        forward = DeployedClassifier.forward
        monkeypatch.setattr(DeployedClassifier, "forward", lambda self, images: forward(self, images) + 1)
    else:
        saved = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
        for value in filter(torch.is_floating_point, saved["state_dict"].values()):
            value.fill_(weights)
        torch.save(saved, run / "checkpoints/last.ckpt")
    outcome = export("run=run", "out=new.pt2")
    assert outcome.code == 1
    assert re.fullmatch(rf"error: run=run: {why}; nothing is written\n", outcome.err), outcome.err
    assert not (workdir / "new.pt2").exists()


def test_onnx_that_is_not_installed(workdir, four_epochs, monkeypatch):
    from p2be_exp.export import onnx_file

    here = onnx_file.importlib.util.find_spec
    monkeypatch.setattr(
        onnx_file.importlib.util, "find_spec", lambda name: None if name == "onnxscript" else here(name)
    )
    copy_of(four_epochs, workdir / "run")
    assert refusal(export("run=run", "format=onnx")) == (
        "format=onnx: onnxscript not installed; pip install 'p2be-exp[export]'"
    )


def test_help_lists_the_keys():
    for arguments in ([], ["--help"]):
        outcome = export(*arguments)
        assert outcome.code == 0
        assert "overwrite: false" in outcome.out


# -- parts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [LookUpStem, FoldedStem])
@pytest.mark.parametrize(("stride", "padding", "kernel"), [(1, 1, 3), (2, 3, 7), (1, 0, 1)])
@pytest.mark.parametrize("extras", [False, True])
def test_both_stems_are_the_convolution_of_the_codes(form, stride, padding, kernel, extras):
    encoding = build_encoding(ThermometerConfig(M=5))
    torch.manual_seed(0)
    more = {"bias": True, "shift": torch.randn(15)} if extras else {}
    stem = EncodedConv2d(encoding, 4, kernel, stride, padding, **more)
    images = torch.randint(256, (2, 3, 9, 8), dtype=torch.uint8)
    codes = encoding(images) - (more["shift"].view(-1, 1, 1) if extras else 0)
    expected = torch.nn.functional.conv2d(codes, stem.weight, stem.bias, stride, padding)
    torch.testing.assert_close(form(stem, encoding.table())(images), expected, atol=1e-5, rtol=1e-5)


def test_a_residual_network_is_exported_and_not_changed(four_epochs):
    model = load_run(four_epochs)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    program = exported(model.train(), "folded", (32, 32))
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not DeployedClassifier(model, "lookup").training
    assert largest_difference(program.module(), model.eval(), (32, 32), (1, 3)) < TOLERANCE


def test_a_network_that_says_something_else_is_noticed(four_epochs):
    model = load_run(four_epochs)
    assert largest_difference(model, model, (32, 32), (1, 3)) == 0
    for wrong in (lambda images: model(images) + 0.01, lambda images: model(images) * float("nan")):
        with pytest.raises(RuntimeError, match="nothing is written"):
            largest_difference(wrong, model, (32, 32), (1, 3))


def test_the_length_from_which_codes_are_folded():
    assert min(ENCODINGS.values()) < FOLD_FROM_M <= max(ENCODINGS.values())
    assert stem_form.FOLD_FROM_M == FOLD_FROM_M
