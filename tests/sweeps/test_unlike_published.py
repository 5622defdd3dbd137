"""What is told of corrupted images before a sweep: the sets that are not here, and frost's textures."""

import pytest

from p2be_exp.config import training_config
from p2be_exp.sweeps import unlike_published as module
from p2be_exp.sweeps.unlike_published import unlike_published


@pytest.fixture(autouse=True)
def without_textures(monkeypatch):
    """Whether or not the package that has them is installed."""
    monkeypatch.setattr(module, "find_textures", lambda folder: None)


def config(*overrides):
    return training_config(["dataset=cifar100", "data_dir=some/where", *overrides])


def test_a_missing_set_is_told_once_with_the_command_that_fetches_it(workdir):
    told = unlike_published([config("corruption=auto", f"seed={seed}") for seed in range(3)])
    assert told == [
        "the corrupted images are made here, since there is no some/where/CIFAR-100-C; "
        "for the published ones: python -m p2be_exp.corruptions fetch cifar100 data_dir=some/where",
        "frost is left out of every mean, since its textures are not here: "
        "pip install --no-deps imagecorruptions, or corruption.frost_dir=FOLDER",
    ]


def test_imagenet_c_has_an_address(workdir):
    told = unlike_published([training_config(["experiment=imagenet", "corruption=auto", "data_dir=where"])])
    assert told[0].endswith(
        "the published ones are at https://zenodo.org/records/2235448, to be unpacked as where/ImageNet-C"
    )


def test_nothing_is_told_where_nothing_is_missing(workdir, monkeypatch):
    assert unlike_published([config("corruption=none")]) == []
    assert unlike_published([training_config(["dataset=digits", "corruption=auto"])]) == []  # was never published
    assert unlike_published([config("corruption=auto", "corruption.names=[fog]")])[1:] == []
    monkeypatch.setattr(module, "find_textures", lambda folder: object())
    assert unlike_published([config("corruption=generated")]) == []
