"""AutoAttack: which parts it has, that it breaks what can be broken, and that it leaves the process as it was."""

import logging
import sys

import pytest
import torch

from attacked_networks import attacked_network
from p2be_exp.encodings import RGB, Thermometer

pytest.importorskip("pyautoattack", reason="pyautoattack is not installed: pip install -e '.[attacks]'")

from p2be_exp.attacks.libraries.autoattack import AutoAttack


@pytest.mark.parametrize("encoding", [RGB(), Thermometer(16)], ids=lambda each: each.name)
def test_it_breaks_images_inside_the_ball(encoding):
    model, images, labels, numbers = attacked_network(encoding, batch=6)
    attack = AutoAttack(20, "standard", "secant")
    attack.parts = lambda classes: ["apgd-ce", "apgd-t"]  # without 5000 queries
    found = attack(model, images, labels, numbers)
    assert found.broken.sum() >= 3
    assert torch.equal(model(found.images).argmax(1) != labels, found.broken)
    assert (found.images.short() - images.short()).abs().max() <= 20
    assert (found.zero_gradient < 0.5).all()
    assert attack.id == "autoattack_standard_secant"
    again = attack(model, images, labels, numbers)
    assert torch.equal(again.images, found.images)


def test_square_is_among_the_parts_of_the_standard_version():
    attack = AutoAttack(8, "standard", "secant")
    assert attack.parts(10) == ["apgd-ce", "apgd-t", "fab-t", "square"]
    assert attack.remark(10) == attack.remark(4) == ""
    assert attack.parts(3) == ["apgd-ce", "apgd-dlr", "fab-t", "square"]
    assert attack.remark(3) == "3 classes have no targeted DLR loss: APGD on the DLR loss instead"
    assert attack.parts(2) == ["apgd-ce", "fab-t", "square"]
    assert attack.remark(2) == "2 classes have no targeted DLR loss: left out"
    rand = AutoAttack(8, "rand", "secant")
    assert rand.parts(10) == rand.parts(3) == ["apgd-ce", "apgd-dlr"]
    assert rand.parts(2) == ["apgd-ce"]
    assert rand.remark(2) == "2 classes have no DLR loss: left out"
    assert rand.remark(3) == ""


@pytest.mark.parametrize("classes", [2, 3])
def test_with_few_classes_it_runs(classes):
    model, images, labels, numbers = attacked_network(RGB(), batch=3, size=4, classes=classes)
    attack = AutoAttack(40, "standard", "secant")
    parts = attack.parts
    attack.parts = lambda classes: [each for each in parts(classes) if each != "square"]
    assert attack(model, images, labels, numbers).broken.any()


def test_the_log_and_the_trace_function_are_as_before(caplog):
    def trace(frame, event, argument):
        return None

    model, images, labels, numbers = attacked_network(RGB(), batch=3, size=4)
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        AutoAttack(200, "standard", "secant")(model, images, labels, numbers)
        after = sys.gettrace()
    finally:
        sys.settrace(before)
    assert after is trace
    assert not caplog.records
    assert logging.getLogger("auto-attack").level == logging.NOTSET
