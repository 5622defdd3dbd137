"""The lines that a training begins with."""

from types import SimpleNamespace

from p2be_exp.config import training_config
from p2be_exp.training.header import run_header


def header(*overrides, image_size):
    """Of a configuration and images that are not there."""
    data = SimpleNamespace(
        name="image_folder", num_classes=3, image_size=image_size, train_dataloader=Loader, test_dataloader=Loader
    )
    config = training_config(["dataset=image_folder", "trainer=cpu", *overrides])
    return run_header(config, "run", data, {"total": 10, "table": 0}).splitlines()


class Loader:
    data = range(8)

    def __len__(self):
        return 1


def test_a_network_for_small_images_on_large_pictures_and_the_reverse():
    (line,) = (line for line in header("backbone=wrn40_2", image_size=224) if line.startswith("sizes"))
    assert line.startswith("sizes   wrn40_2 is made for images of 32 x 32: a step at 224 x 224 is the work of 49 such;")
    (line,) = (line for line in header("backbone=resnet50", image_size=64) if line.startswith("sizes"))
    assert line.startswith("sizes   resnet50 is made for images of 224 x 224: its strides leave little of 64 x 64;")
    for backbone, side in (("wrn40_2", 32), ("resnet50", 224)):
        lines = header(f"backbone={backbone}", image_size=side)
        assert not any(line.startswith("sizes") for line in lines)


def test_a_tenet_training_that_ends_before_its_first_second_step():
    def said(*overrides):
        lines = header("regime=tenet", "backbone=wrn40_2", *overrides, image_size=32)
        return [line for line in lines if line.startswith("tenet")]

    assert said("epochs=500") == [
        "tenet   never starts: the first batch with a second step would be 501 (regime.from_step=500, regime.every=3), "
        "the last batch is 500"
    ]
    assert said("epochs=501") == []
    assert said("epochs=4", "regime.from_step=5", "regime.every=1") != []
    assert said("epochs=5", "regime.from_step=5", "regime.every=1") == []
    assert said("epochs=3", "regime.from_step=0") == []
    assert said("epochs=2", "regime.from_step=0") != []


def test_a_decoder_that_nobody_teaches_is_told():
    def lines(*overrides):
        return header("model=fpd", "encoding=rgb", "backbone=wrn16_1", *overrides, image_size=32)

    assert "model   rgb; fpd around wrn16_1; 10 parameters" in lines()
    assert not any(line.startswith("decoder") for line in lines())
    told = "decoder regime=standard is classification alone: the decoder learns through the second pass only"
    assert told in lines("regime=standard", "model.statistics=by_pass")
    shared = "; both passes share running statistics, which fit neither in eval mode (model.statistics=by_pass)"
    assert told + shared in lines("regime=standard")
    without = lines("regime=standard", "model.restoration=false", "model.tanh=false")
    assert "model   rgb; fpd-no-tanh-no-restoration around wrn16_1; 10 parameters" in without
    assert not any(line.startswith("decoder") for line in without)
