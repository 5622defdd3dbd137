"""Published weights: our logits are torchvision's of normalised images; bad files; a run without its file."""

import hashlib
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torchvision import models
from torchvision.transforms import Normalize

from commandline import QUICKSTART, checkpoint_of, refusal, train
from p2be_exp import load_run
from p2be_exp.backbones import ImageSizes, ResNet50
from p2be_exp.config.schema import (
    BackboneConfig,
    PlainModelConfig,
    PretrainableBackboneConfig,
    RGBConfig,
    ThermometerConfig,
    TrainConfig,
)
from p2be_exp.errors import BadInput
from p2be_exp.models import pretrained
from p2be_exp.models.model import build_model
from p2be_exp.models.pretrained import load_weights, read_weights

NORMALIZE = Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))  # torchvision's ImageNet transforms
SIZES = {"resnet50": 65, "alexnet": 67}
ENCODINGS = {
    "rgb": RGBConfig(),
    "thermometer": ThermometerConfig(M=3),
}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A file of random weights as torchvision publishes them, and its network in eval mode, by name."""
    made = {}

    def publish(name):
        if name not in made:
            torch.manual_seed(0)
            network = getattr(models, name)(weights=None, num_classes=5)
            for key, value in network.state_dict().items():
                if key.endswith(("running_mean", "running_var", "bias")):
                    value.uniform_(0.2, 1)
            path = tmp_path_factory.mktemp(name) / f"{name}-0123abcd.pth"
            torch.save(network.state_dict(), path)
            made[name] = path, network.eval()
        return made[name]

    return publish


def group(name, path) -> PretrainableBackboneConfig:
    return PretrainableBackboneConfig(name, weights=None if path is None else str(path))


def configured(encoding, backbone) -> TrainConfig:
    return TrainConfig(encoding=ENCODINGS[encoding], backbone=backbone, model=PlainModelConfig())


def loaded(name, path, encoding="rgb", num_classes=5):
    """A model with the file's weights, and what the header says."""
    backbone = group(name, path)
    torch.manual_seed(1)
    model = build_model(configured(encoding, backbone), num_classes).eval()
    return model, load_weights(model, read_weights(backbone))


def levels(name, batch=2):
    size = SIZES[name]
    return torch.randint(256, (batch, 3, size, size + 3), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


@pytest.mark.parametrize("name", SIZES)
@torch.no_grad()
def test_logits_are_those_of_torchvision_on_normalised_images(published, name):
    path, network = published(name)
    model, said = loaded(name, path)
    assert said == f"trunk, stem, classifier from {path}"
    images = levels(name)
    expected = network(NORMALIZE(images / 255))
    torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())
    assert (expected[0] - expected[1]).abs().max() > 1e-3 * expected.abs().max()
    # The borders, too: padding comes after the shift.
    first = network.conv1 if name == "resnet50" else network.features[0]
    features = first(NORMALIZE(images / 255))
    for form in ("lookup", "folded"):
        model.stem.form = form
        torch.testing.assert_close(model.stem(images, model.encoding.table()), features, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model.forward_codes(images / 255), expected, rtol=1e-4, atol=1e-3)


@torch.no_grad()
def test_another_encoding_and_other_classes_start_fresh(published):
    path, network = published("resnet50")
    model, said = loaded("resnet50", path, "thermometer", num_classes=4)
    starts = "stem (it reads thermometer codes), classifier (4 classes, the file has 5)"
    assert said == f"trunk from {path}; fresh: {starts}"
    fresh = build_and_seed("resnet50", "thermometer", 4)
    assert model.stem.shift is None
    for key, value in model.state_dict().items():
        theirs = network.state_dict().get(key.removeprefix("trunk.network."))
        if key.startswith("stem") or ".fc." in key:
            assert torch.equal(value, fresh.state_dict()[key]), key
        else:
            assert torch.equal(value, theirs), key


def build_and_seed(name, encoding, num_classes):
    torch.manual_seed(1)
    return build_model(configured(encoding, group(name, None)), num_classes)


def test_the_home_folder_may_be_written_short(published, monkeypatch):
    path, _ = published("resnet50")
    monkeypatch.setenv("HOME", str(path.parent))
    assert read_weights(group("resnet50", f"~/{path.name}")).classes == 5
    with pytest.raises(BadInput, match=r"^backbone\.weights=~/none\.pth: no such file"):
        read_weights(group("resnet50", "~/none.pth"))


def test_without_weights_there_is_no_shift():
    assert read_weights(BackboneConfig("wrn40_2")) is None
    assert read_weights(group("resnet50", None)) is None
    assert build_and_seed("resnet50", "rgb", 4).stem.shift is None


def test_an_old_file_that_counts_no_batches(published, tmp_path):
    path, _ = published("resnet50")
    old = {key: value for key, value in torch.load(path).items() if "num_batches" not in key}
    torch.save(old, tmp_path / "old.pth")
    model, said = loaded("resnet50", tmp_path / "old.pth")
    assert said.startswith("trunk, stem, classifier from")
    assert torch.equal(model.trunk.network.bn1.running_var, old["bn1.running_var"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: [1, 2], "not a state dict, which has a tensor for each name"),
        (lambda w: {"state_dict": w}, "not a state dict, which has a tensor for each name"),
        (lambda w: {key: value for key, value in w.items() if key != "bn1.bias"}, r"resnet50 \(bn1.bias is missing\)"),
        (lambda w: {**w, "bn9.bias": w["bn1.bias"]}, r"resnet50 \(bn9.bias is not one of its names\)"),
        (lambda w: {**w, "bn1.bias": w["bn1.bias"][:3]}, r"bn1.bias has shape \(3,\), .* has \(64,\)"),
        (lambda w: {**w, "conv1.weight": w["conv1.weight"][:, :1]}, r"conv1.weight has shape \(64, 1, 7, 7\)"),
        (lambda w: {**w, "fc.weight": w["fc.weight"][:, :7]}, r"fc.weight has shape \(5, 7\)"),
        (lambda w: {**w, "fc.bias": w["fc.bias"][:3]}, "weight and bias of fc have different numbers of classes"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(published, tmp_path, change, message):
    path, _ = published("resnet50")
    right = {key: torch.zeros(()).expand(value.shape) for key, value in torch.load(path).items()}  # a small file
    torch.save(right, tmp_path / "right.pth")
    assert read_weights(group("resnet50", tmp_path / "right.pth")).classes == 5
    torch.save(change(right), tmp_path / "bad.pth")
    with pytest.raises(BadInput, match=f"^backbone.weights={tmp_path}/bad.pth: .*{message}") as raised:
        read_weights(group("resnet50", tmp_path / "bad.pth"))
    assert "\n" not in str(raised.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "text.pth").write_text("weights")
    torch.save(Path("a pickled object"), tmp_path / "object.pth")
    for file in ("text", "object"):
        with pytest.raises(BadInput, match=f"{file}.pth: not a weights-only file"):
            read_weights(group("resnet50", tmp_path / f"{file}.pth"))
    with pytest.raises(BadInput, match=r"^backbone.weights=\S*none.pth: no such file;.* resnet50-\*.pth"):
        read_weights(group("resnet50", tmp_path / "none.pth"))


def test_a_flipped_bit_is_refused(published, tmp_path):
    path, _ = published("resnet50")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "flipped.pth").write_bytes(content)
    told = r"flipped\.pth: .* damaged \(record \S+/data/\d+ does not match its checksum\)$"
    with pytest.raises(BadInput, match=told):
        read_weights(group("resnet50", tmp_path / "flipped.pth"))


def test_weights_that_are_no_numbers_are_refused(published, tmp_path):
    path, _ = published("resnet50")
    small = {key: torch.zeros(()).expand(value.shape) for key, value in torch.load(path).items()}
    torch.save({**small, "fc.bias": torch.full((5,), float("nan"))}, tmp_path / "nan.pth")
    with pytest.raises(BadInput, match=r"nan\.pth: fc\.bias is NaN throughout$"):
        read_weights(group("resnet50", tmp_path / "nan.pth"))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_of_a_published_name_is_the_published_file(published, tmp_path, monkeypatch, zipped):
    path, _ = published("resnet50")
    small = {key: torch.zeros(()).expand(value.shape) for key, value in torch.load(path).items()}
    torch.save(small, tmp_path / "mine.pth", _use_new_zipfile_serialization=zipped)
    digest = hashlib.sha256((tmp_path / "mine.pth").read_bytes()).hexdigest()
    theirs, altered = (tmp_path / f"resnet50-{begin}.pth" for begin in (digest[:8], "0676ba61"))
    for file in (theirs, altered):
        shutil.copy(tmp_path / "mine.pth", file)
    with pytest.raises(BadInput, match=f"truncated or altered, its SHA-256 begins with {digest[:8]}; fetch"):
        read_weights(group("resnet50", altered))  # torchvision's own name
    listed = [SimpleNamespace(url=f"https://example.org/models/{theirs.name}")]
    monkeypatch.setattr(models, "get_model_weights", lambda name: listed)
    assert read_weights(group("resnet50", theirs)).classes == 5


# -- from the command line -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("workdir")
def test_a_bad_file_is_refused_before_a_run_begins(monkeypatch):
    monkeypatch.setattr(ResNet50, "sizes", ImageSizes(32))
    outcome = train(*QUICKSTART, "backbone=resnet50", "backbone.weights=none.pth", "hydra.run.dir=run")
    assert "backbone.weights=none.pth: no such file" in refusal(outcome)
    assert not Path("run").exists()


def test_a_backbone_without_published_weights_has_no_such_key():
    assert "backbone.weights" in refusal(train(*QUICKSTART, "backbone=resnet18", "backbone.weights=a.pth"))


@pytest.mark.usefixtures("workdir")
def test_a_run_is_loaded_and_resumed_without_its_file(monkeypatch, published):
    path, network = published("resnet50")
    shutil.copy(path, "weights.pth")
    monkeypatch.setattr(ResNet50, "sizes", ImageSizes(32))  # the digits' size, for a test that is quick
    begun = []
    original = pretrained.load_weights

    def noting(model, weights):
        said = original(model, weights)
        begun.append({key: value.clone() for key, value in model.state_dict().items()})
        return said

    monkeypatch.setattr("p2be_exp.training.job.load_weights", noting)
    arguments = ("encoding=rgb", "backbone=resnet50", "backbone.weights=weights.pth", "epochs=1", "optim.lr=1e-3")
    few = ("limit_train=2", "batch_size=2", "limit_test=2", "hydra.run.dir=run")
    outcome = train(*QUICKSTART, *arguments, *few)
    assert outcome.code == 0, outcome.err
    assert "weights trunk, stem from weights.pth; fresh: classifier (10 classes, the file has 5)" in outcome.out
    assert torch.equal(begun[0]["trunk.network.bn1.weight"], network.bn1.weight)
    Path("weights.pth").unlink()
    model = load_run("run")
    kept = checkpoint_of(Path("run"))["state_dict"]
    assert torch.equal(model.stem.shift, torch.tensor([0.485, 0.456, 0.406]))
    assert torch.equal(kept["model.stem.shift"], model.stem.shift)
    assert not torch.equal(kept["model.stem.weight"], begun[0]["stem.weight"])
    assert train("resume=run").code == 0
    assert len(begun) == 1
