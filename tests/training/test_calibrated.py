"""The constants of MixedNUTS: which images they are from, and that the search gets what the attack leaves."""

import dataclasses
import json
import shutil

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from commandline import QUICKSTART, refusal, train
from p2be_exp import load_run
from p2be_exp.config import check_config, training_config
from p2be_exp.config.schema import NUTS_CONSTANTS
from p2be_exp.data.images import ImageSet
from p2be_exp.data.split import split_train
from p2be_exp.encodings import RGB
from p2be_exp.errors import BadInput
from p2be_exp.models.classifier import Classifier
from p2be_exp.models.nuts_calibration import CIFAR10_GRID, CIFAR100_GRID, IMAGENET_GRID, calibrate
from p2be_exp.models.readers import CodeReader
from p2be_exp.runs.run import Run
from p2be_exp.training import calibrated
from p2be_exp.training.part_runs import common_split

NUTS = ("dataset=digits", "trainer=cpu", "trainer.progress=false", "limit_test=20", "limit_train=32", "model=nuts_mix")
PUBLISHED = {"scale": 5.0, "shift": -1.1, "power": 4.0, "alpha": 0.99875, "surrogate_alpha": 0.957}


class Bright(Classifier):
    """Says 1 of images brighter than half, the surer the brighter, and 0 of others."""

    def __init__(self) -> None:
        super().__init__()
        self.encoding = RGB()

    @property
    def readers(self):
        return (CodeReader(self.encoding),)

    def body(self, codes: Tensor) -> Tensor:
        brightness = codes.mean(dim=(1, 2, 3)) - 0.5
        return F.pad(torch.stack([-30 * brightness, 30 * brightness], dim=1), (0, 8))


@pytest.fixture(scope="module")
def parts(with_validation, tmp_path_factory):
    """Two runs that held 30 and 40 images out."""
    folder = tmp_path_factory.mktemp("nuts")
    other = ("encoding=rgb", "dataset.val_size=40", "epochs=1")
    assert train(*QUICKSTART, *other, f"hydra.run.dir={folder / 'robust'}").code == 0
    return shutil.copytree(with_validation, folder / "accurate"), folder / "robust"


def mixed(parts, *given):
    accurate, robust = parts
    return train(*NUTS, f"model.accurate={accurate}", f"model.robust={robust}", "hydra.run.dir=run", *given)


def test_the_search_gets_the_wrong_clean_images_and_the_right_attacked_ones():
    values = torch.tensor([60, 100, 118, 124, 131, 133, 150, 200] * 2, dtype=torch.uint8)
    images = values.view(-1, 1, 1, 1).expand(-1, 3, 4, 4).contiguous()
    labels = torch.where(torch.arange(16) < 12, values > 127, values < 127).long()  # of the last four others
    given = ImageSet(images, labels, tuple("0123456789"), "test")
    model = training_config([*NUTS, "model.accurate=a", "model.robust=b", "model.calibration_levels=8"]).model
    found = calibrated._searched(Bright(), given, model, seed=0)
    # A step of 8 levels towards the threshold is the best attack there is; 0.5 lies between 127 and 128.
    bright = (values > 127).float()
    moved = values.float() + 8 * (1 - 2 * bright)
    right = (labels == bright.long()) & ((moved > 127) == (values > 127))
    logits = [Bright()(each.view(-1, 1, 1, 1).expand(-1, 3, 4, 4).to(torch.uint8)) for each in (values, moved)]
    expected = calibrate(logits[0][labels != bright.long()], logits[1][right], CIFAR10_GRID)
    assert (found.clean_wrong, found.attacked_right) == (expected.clean_wrong, expected.attacked_right) == (4, 8)
    for key in ("s", "c", "p", "alpha", "surrogate_alpha"):
        assert getattr(found, key) == pytest.approx(getattr(expected, key), rel=1e-4)


def test_the_images_are_those_that_both_parts_held_out(parts, workdir, monkeypatch):
    seen = []

    def searched(robust, images, model, seed):
        seen.append(images)
        margins = torch.tensor([[3.0, 1.0, 0.0], [2.0, 1.0, 0.5]])
        return dataclasses.replace(calibrate(margins, margins), alpha=0.75)

    monkeypatch.setattr(calibrated, "_searched", searched)
    outcome = mixed(parts, "model.calibration_images=25")
    assert outcome.code == 0, outcome.err
    _, held_out = split_train(1297, 30, 32, 0)
    assert torch.equal(seen[0].indices, held_out[:25])
    config = Run.open("run").config()
    assert config.model.calibration["alpha"] == 0.75
    assert load_run("run").alpha == 0.75
    assert config.dataset.val_size == 0
    assert "found on 25 held-out images" in outcome.out
    assert json.loads((workdir / "run/results.json").read_text())["settings"]["calibrated_on"] == "val"


def test_training_images_are_used_where_they_are_asked_for_and_the_result_says_so(rgb_run, parts, workdir, monkeypatch):
    margins = torch.tensor([[3.0, 1.0, 0.0], [2.0, 1.0, 0.5]])
    monkeypatch.setattr(calibrated, "_searched", lambda *_: calibrate(margins, margins))
    outcome = mixed((rgb_run, parts[1]), "model.calibrate_on=train", "model.calibration_images=10")
    assert outcome.code == 0, outcome.err
    assert "found on 10 training images" in outcome.out
    assert json.loads((workdir / "run/results.json").read_text())["settings"]["calibrated_on"] == "train"


def test_given_constants_are_taken_as_they_are(rgb_run, four_epochs, workdir):
    outcome = mixed((rgb_run, four_epochs), *(f"model.{key}={value}" for key, value in PUBLISHED.items()))
    assert outcome.code == 0, outcome.err
    assert "scale 5, shift -1.1, power 4, alpha 0.99875, surrogate_alpha 0.957; as given" in outcome.out
    model = load_run("run")
    assert (model.transform.s, model.transform.c, model.transform.p) == (5.0, -1.1, 4.0)
    images = torch.randint(256, (4, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    torch.testing.assert_close(model(images).exp().sum(1), torch.ones(4), rtol=1e-4, atol=1e-4)
    logits, climbed = model.answers(*model.read(images))
    assert torch.equal(logits, model(images))
    assert not torch.equal(logits, climbed)


def test_what_cannot_be_calibrated_is_refused(rgb_run, four_epochs, parts, workdir, monkeypatch):
    monkeypatch.setattr("p2be_exp.training.job.build_data", None)  # data is not read
    said = refusal(mixed((rgb_run, parts[1])))
    assert said == (
        "model=nuts_mix: calibrates on a validation split that both parts held out, and one of them was trained "
        "without one (dataset.val_size=0); model.calibrate_on=train uses training images instead, and the result says "
        "so"
    )
    assert refusal(mixed(parts)) == "model.calibration_images=500: the parts held out 30 images in common"
    assert refusal(mixed(parts, "model.alpha=0.9")) == (
        "model.alpha=0.9: model.scale, model.shift, model.power, model.surrogate_alpha missing"
    )
    assert "model.calibration: filled in by model=nuts_mix" in refusal(mixed(parts, "model.calibration={a: 1}"))
    other = training_config(["dataset=digits", "dataset.val_size=30", "dataset.split_seed=1"])
    runs = {"accurate": Run.open(parts[0]), "robust": Run.open(parts[1])}
    monkeypatch.setattr(runs["robust"], "config", lambda: other)
    model = training_config([*NUTS, "model.accurate=a", "model.robust=b"])
    with pytest.raises(BadInput, match=r"one of them has another dataset\.split_seed"):
        common_split(model, runs)


@pytest.mark.parametrize(
    ("calibration", "said"),
    [
        (3, "model.calibration=3: must be null, or have scale, shift, power, alpha, surrogate_alpha"),
        ({"scale": 1.0}, "must be null, or have scale, shift, power, alpha, surrogate_alpha"),
        ({**PUBLISHED, "alpha": 2}, "model.calibration.alpha=2: must be between 0 and 1"),
        ({**PUBLISHED, "power": float("nan")}, "model.calibration.power=nan: must be 1 or more"),
        ({**PUBLISHED, "scale": "5"}, "model.calibration.scale='5': must be above 0"),
        (PUBLISHED, "model.calibration: images is required"),
        ({**PUBLISHED, "images": 30}, "model.calibration: images_of is required"),
        ({**PUBLISHED, "images": "many", "images_of": "val"}, "model.calibration.images='many': must be"),
        ({**PUBLISHED, "images": 30, "images_of": ["test"]}, "model.calibration.images_of=['test']: must be"),
    ],
)
def test_a_stored_calibration_is_checked(calibration, said):
    config = training_config([*NUTS, "model.accurate=a", "model.robust=b"])
    config.model.calibration = calibration
    with pytest.raises(BadInput) as raised:
        check_config("train", config)
    assert said in str(raised.value)


def test_a_robust_part_that_is_never_wrong_has_nothing_to_be_calibrated_on():
    values = torch.full((12,), 200, dtype=torch.uint8)
    images = values.view(-1, 1, 1, 1).expand(-1, 3, 4, 4).contiguous()
    model = training_config(["model=nuts_mix", "model.accurate=a", "model.robust=b"]).model
    for label, said in ((1, "is right on clean images all of the time"), (0, "is wrong under attack images all of")):
        given = ImageSet(images, torch.full((12,), label), tuple("0123456789"), "test")
        with pytest.raises(BadInput, match=said):
            calibrated._searched(Bright(), given, model, seed=0)


def test_the_grid_is_the_published_one_for_the_number_of_classes():
    assert [calibrated.grid_of(n) for n in (10, 100, 1000)] == [CIFAR10_GRID, CIFAR100_GRID, IMAGENET_GRID]
    assert set(PUBLISHED) == set(NUTS_CONSTANTS)
