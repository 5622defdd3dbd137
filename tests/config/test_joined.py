"""What joins a suite: which names there are, and what is refused before anything is read."""

import pytest

from p2be_exp.config import joined as module
from p2be_exp.config.joined import check_installed, joined
from p2be_exp.config.schema import AutoAttackConfig, FoolboxConfig, SquareConfig, SuiteConfig, TorchattacksConfig
from p2be_exp.errors import BadInput


def suite(*also):
    return SuiteConfig(
        name="suite", eps_levels=8, save_images=False, steps=4, restarts=1, queries=5, source=None, also=list(also)
    )


def test_each_joins_with_its_defaults():
    found = joined(suite("autoattack", "autoattack.rand", "foolbox.LInfFMNAttack", "torchattacks.APGD"))
    assert [type(each) for each in found] == [AutoAttackConfig, AutoAttackConfig, FoolboxConfig, TorchattacksConfig]
    assert [each.version for each in found[:2]] == ["standard", "rand"]
    assert [each.method for each in found[2:]] == ["LInfFMNAttack", "APGD"]
    assert all(each.gradient == "secant" for each in found)
    short = joined(suite("foolbox.bim", "foolbox.cw"))
    assert [each.method for each in short] == ["LinfBasicIterativeAttack", "L2CarliniWagnerAttack"]
    assert [each.finds_nearest for each in short] == [False, True]
    assert joined(suite()) == joined(SquareConfig(name="square")) == []


@pytest.mark.parametrize(
    ("also", "message"),
    [
        (["square"], r"also=\[square\]: must be autoattack, foolbox.METHOD, .* own are in the suite"),
        (["nonsense.PGD"], r"also=\[nonsense.PGD\]: must be autoattack"),
        (["autoattack.plus"], r"also=\[autoattack.plus\]: autoattack.VERSION must be one of standard, rand"),
        (["foolbox"], r"also=\[foolbox\]: foolbox.METHOD must be one of LinfPGD, "),
        (["torchattacks.PGDL2"], r"torchattacks.METHOD must be one of FGSM, "),
        (["autoattack", "autoattack.standard"], "autoattack.standard joins twice"),
        (["foolbox.LinfPGD", "foolbox.pgd"], "foolbox.pgd joins twice"),
    ],
)
def test_what_is_refused(also, message):
    with pytest.raises(BadInput, match=message):
        joined(suite(*also))


def test_a_library_that_is_not_installed(monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "torchattacks" else object())
    check_installed(suite("autoattack"))
    advice = r"needs torchattacks, which is not installed; pip install 'p2be-exp\[attacks\]'"
    with pytest.raises(BadInput, match=rf"attack.also=\[torchattacks\]: {advice}"):
        check_installed(suite("autoattack", "torchattacks.PGD"))
    with pytest.raises(BadInput, match=rf"attack=torchattacks: {advice}"):
        check_installed(TorchattacksConfig(name="torchattacks"))
