"""Codes that cannot fit into memory: refused with a smaller batch, before anything is read."""

import pytest

from p2be_exp.attacks.lspga import images_at_once
from p2be_exp.config import training_config
from p2be_exp.errors import BadInput
from p2be_exp.evaluation import code_memory
from p2be_exp.evaluation.code_memory import check_code_memory
from p2be_exp.evaluation.data import build_data
from p2be_exp.evaluation.plan import EvaluationPlan

PICTURES = ("dataset=image_folder", "dataset.dir=nowhere", "dataset.image_size=224", "backbone=resnet50", "trainer=cpu")
OF_IMAGE = 4 * 192 * 224 * 224 * 4
"""Bytes: four tensors of 192 channels in float32."""


def check(*overrides, free=10 * OF_IMAGE, model="fpd"):
    config = training_config([f"model={model}", "encoding=thermometer", *PICTURES, *overrides])
    data = build_data(config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(code_memory, "free_bytes", lambda device: free)
        check_code_memory(EvaluationPlan.of(config), data)


def test_what_does_not_fit_is_refused_with_a_smaller_batch():
    with pytest.raises(BadInput) as error:
        check("attack=pgd", "eval_batch_size=11")
    assert str(error.value) == (
        "eval_batch_size=11: an attack on model=fpd holds 192 channels x 50,176 positions of each image 4 times, "
        "1.6 GiB, and 1.4 GiB are free; try eval_batch_size=5"
    )
    with pytest.raises(BadInput, match=r"^eval_batch_size=100: .*; try eval_batch_size=5$"):
        check("attack=suite")  # the default batch on a CPU
    with pytest.raises(BadInput, match=r"try eval_batch_size=1$"):
        check("attack=pgd", free=OF_IMAGE // 2)


@pytest.mark.parametrize(
    "given", [("attack=pgd", "eval_batch_size=10"), ("attack=none",), ("attack=square",), ("attack=lspga",)]
)
def test_what_may_fit_passes(given):
    """LS-PGA takes a few images at a time, on a CPU one of these."""
    assert images_at_once("cpu", 224 * 224) == 1
    check(*given)


def test_other_models_and_systems_that_do_not_tell_pass():
    check("attack=pgd", "regime=standard", model="plain")
    check("attack=pgd", free=None)


def test_rgb_has_three_channels():
    check("attack=pgd", "encoding=rgb", "eval_batch_size=600")
    with pytest.raises(BadInput, match=r"holds 3 channels x 50,176 positions"):
        check("attack=pgd", "encoding=rgb", "eval_batch_size=641")
