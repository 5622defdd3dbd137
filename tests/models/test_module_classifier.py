"""Anybody's module as a classifier: what it gets, what attacks climb, and what is refused before anything long."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from models_of_readers import images, net
from p2be_exp.attacks.attack import attacked
from p2be_exp.attacks.random import AttackRandom
from p2be_exp.encodings import RGB, Thermometer
from p2be_exp.encodings.given import GivenTable
from p2be_exp.errors import BadInput
from p2be_exp.models.module_checks import check_logits, check_module
from p2be_exp.models.module_classifier import ModuleClassifier, digest
from usual import PGD

LABELS = torch.tensor([1, 0, 3])


class Seen(nn.Module):
    """Keeps what it is given."""

    def forward(self, given):
        self.given = given.detach()
        return given.flatten(1)[:, :4] * 1.0


def smooth_module(seed=0):
    """Images in [0, 1] to four logits: no corner, so that no gradient hangs on rounding."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(125, 4)).double().eval()


class OfLevels(nn.Module):
    """The same for levels."""

    def __init__(self, of_images):
        super().__init__()
        self.of_images = of_images

    def forward(self, levels):
        return self.of_images(levels / 255)


class Rounds(OfLevels):
    """To sixteen values a colour: no gradient gets through."""

    def forward(self, given):
        return self.of_images((given * 15).round() / 15)


class Flattens(OfLevels):
    """Takes its input in the usual order of memory alone."""

    def forward(self, given):
        return self.of_images(given.view(len(given), -1).view(given.shape))


def every_level():
    return torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)


def test_a_module_gets_images_levels_or_codes():
    levels, seen = every_level(), Seen()
    ModuleClassifier(seen)(levels)
    assert torch.equal(seen.given, levels / 255)
    ModuleClassifier(seen, input="levels")(levels)
    assert torch.equal(seen.given, levels.float())  # to the bit: one may floor them
    ModuleClassifier(seen, encoding=torch.eye(256))(levels)
    assert torch.equal(seen.given.argmax(1)[0], levels[0, 0].long())
    assert seen.given.shape == (1, 768, 16, 16)


def test_a_table_gives_the_logits_and_gradients_of_the_encoding_that_it_is_of():
    own = net(Thermometer(16))
    convolution = nn.Conv2d(48, 5, 3, padding=1, bias=False)
    convolution.weight = own.stem.weight
    table = Thermometer(16).table().tolist()
    model = ModuleClassifier(nn.Sequential(convolution, own.trunk), encoding=table).double().eval()
    assert torch.equal(model(images()), own(images()))
    given = (images() / 255).double().requires_grad_()
    gradients = []
    for each in (model, own):
        (gradient,) = torch.autograd.grad(each.surrogate("secant")(given)[:, 0].sum(), given)
        gradients.append(gradient)
    torch.testing.assert_close(*gradients)
    assert gradients[0].any()


@pytest.mark.parametrize("given", ["unit", "levels"])
def test_the_gradient_is_the_module_s_own(given):
    module = smooth_module()
    model = ModuleClassifier(module if given == "unit" else OfLevels(module), input=given).double().eval()
    pixels = (images() / 255).double().requires_grad_()
    (expected,) = torch.autograd.grad(module(pixels)[:, 1].sum(), pixels)
    (found,) = torch.autograd.grad(model.surrogate("secant")(pixels)[:, 1].sum(), pixels)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("given", ["unit", "levels"])
def test_a_surrogate_is_climbed_and_the_module_judges(given):
    module = smooth_module()
    true = Rounds(module) if given == "unit" else OfLevels(Rounds(module))
    model = ModuleClassifier(true, surrogate=module, input=given).double().eval()
    pixels = (images() / 255).double().requires_grad_()
    logits = model.surrogate("secant")(pixels)
    torch.testing.assert_close(logits, Rounds(module)((images() / 255).double()))
    (expected,) = torch.autograd.grad(module(pixels)[:, 1].sum(), pixels)
    (found,) = torch.autograd.grad(logits[:, 1].sum(), pixels)
    torch.testing.assert_close(found, expected)
    labels = model(images()).argmax(1)
    found = PGD(64, loss="margin", steps=20)(model, images(), labels, AttackRandom(0, torch.arange(3)))
    assert found.broken.all()
    assert (model(found.images).argmax(1) != labels).all()


def test_without_a_gradient_an_attack_finds_zeros_and_no_error():
    model = ModuleClassifier(Rounds(smooth_module())).double().eval()
    labels = model(images()).argmax(1)
    found = PGD(4, steps=2)(model, images(), labels, AttackRandom(0, torch.arange(3)))
    assert found.zero_gradient is not None
    assert (found.zero_gradient == 1).all()


def test_a_module_of_another_precision_is_asked_in_its_own():
    model = ModuleClassifier(smooth_module())  # float64; the table is float32
    with attacked(model):
        assert model(images()).dtype == torch.float64
        check_module(model, images(), 4, climbs=True)


def test_a_module_that_flattens_by_view_gets_the_order_of_memory_that_it_needs():
    module = smooth_module()
    model, other = ModuleClassifier(Flattens(module)).double(), ModuleClassifier(module).double()
    with pytest.raises(RuntimeError, match="view"):
        model(images())
    check_module(model, images(), 4, climbs=True)
    check_module(other, images(), 4, climbs=True)
    assert (model.contiguous, other.contiguous) == (True, False)
    torch.testing.assert_close(model(images()), other(images()))


def test_a_check_leaves_modes_and_parameters_as_they_were():
    module = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(75), nn.Linear(75, 4)).train()
    module[1].eval()
    before = copy.deepcopy(module.state_dict())
    check_module(ModuleClassifier(module), images(), 4, climbs=True)
    assert [each.training for each in module.modules()] == [True, True, False, True]
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(each.requires_grad and each.grad is None for each in module.parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"module": len}, r"model: builtin_function_or_method, must be a torch.nn.Module"),
        ({"input": "bytes"}, "input=bytes: must be one of unit, levels"),
        ({"encoding": RGB(), "input": "levels"}, "input=levels: not with an encoding, whose codes are the input"),
        ({"surrogate": "secant"}, r"surrogate: str, must be callable"),
        ({"surrogate": len, "encoding": RGB()}, "surrogate: not with an encoding"),
        ({"encoding": "rgb"}, r"encoding: str, must be a table of numbers, \(256, M\)"),
        ({"encoding": torch.zeros(255, 4)}, r"encoding: a table of shape \(255, 4\); must be \(256, M\)"),
        ({"encoding": torch.full((256, 1), torch.nan)}, "encoding: a table with values that are not finite"),
    ],
)
def test_arguments_that_are_refused(arguments, message):
    with pytest.raises(BadInput, match=message):
        ModuleClassifier(**{"module": nn.Identity(), **arguments})


def test_parameters_on_several_devices_are_refused():
    with pytest.raises(BadInput, match=r"model: parameters on several devices \(cpu, meta\)"):
        ModuleClassifier(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, device="meta")))


class Says(nn.Module):
    """The same outputs for whatever it is given."""

    def __init__(self, outputs):
        super().__init__()
        self.outputs = outputs

    def forward(self, given):
        return self.outputs


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ((1, 2), "outputs are tuple; must be logits"),
        (torch.zeros(3, 5), r"outputs of shape \(3, 5\); must be logits, \(3, 4\) for 3 images and 4 classes"),
        (torch.zeros(4), r"outputs of shape \(4,\)"),
        (torch.zeros(3, 4, dtype=torch.long), "outputs of torch.int64; must be logits, floats"),
        (torch.full((3, 4), torch.inf), "outputs that are not finite"),
        (F.softmax(torch.arange(12.0).view(3, 4), 1), "outputs that sum to 1 are probabilities"),
    ],
)
def test_outputs_that_are_no_logits_are_refused(outputs, message):
    with pytest.raises(BadInput, match=f"^here: {message}"):
        check_module(ModuleClassifier(Says(outputs)), images(), 4, climbs=False, key="here")


def test_a_single_class_and_log_probabilities_are_logits():
    check_logits(torch.ones(3, 1), 3, 1)
    check_logits(F.log_softmax(torch.arange(12.0).view(3, 4), 1), 3, 4)


def test_a_module_that_fails_is_refused_with_its_own_words():
    with pytest.raises(
        BadInput, match=r"model: fails on input torch.float32 \(3, 3, 5, 5\) \(RuntimeError: mat1"
    ) as no:
        check_module(ModuleClassifier(nn.Sequential(nn.Flatten(), nn.Linear(7, 4))), images(), 4, climbs=False)
    assert "\n" not in str(no.value)


class Detaches(OfLevels):
    def forward(self, given):
        return self.of_images(given.detach())


@pytest.mark.parametrize("blind", [Rounds, Detaches])
def test_no_gradient_is_refused_where_an_attack_climbs(blind):
    model = ModuleClassifier(blind(smooth_module())).double()
    check_module(model, images(), 4, climbs=False)
    with pytest.raises(
        BadInput, match="model: no gradient reaches the image; give its pre-processing as encoding=TABLE"
    ):
        check_module(model, images(), 4, climbs=True)
    helped = ModuleClassifier(blind(smooth_module()), surrogate=smooth_module()).double()
    check_module(helped, images(), 4, climbs=True)
    not_helped = ModuleClassifier(smooth_module(), surrogate=blind(smooth_module())).double()
    with pytest.raises(BadInput, match="surrogate: no gradient reaches the image; it must be differentiable"):
        check_module(not_helped, images(), 4, climbs=True)


def test_a_surrogate_with_other_outputs_is_refused():
    model = ModuleClassifier(smooth_module(), surrogate=lambda given: given.mean((1, 2, 3))).double()
    with pytest.raises(BadInput, match=r"surrogate: outputs of shape \(3,\)"):
        check_module(model, images(), 4, climbs=True)


def test_what_settings_say_of_it():
    one, other = ModuleClassifier(smooth_module()), ModuleClassifier(smooth_module(1))
    again = ModuleClassifier(smooth_module())
    assert one.about() == again.about() != other.about()
    assert one.about() == {"input": "unit", "encoding": None, "surrogate": False, "weights": digest(one)}
    of_codes = ModuleClassifier(smooth_module(), encoding=Thermometer(4)).about()
    assert (of_codes["input"], of_codes["encoding"]) == ("codes", {"name": "thermometer", "M": 4})
    tables = [ModuleClassifier(nn.Identity(), encoding=torch.full((256, 2), value)).about() for value in (0.0, 1.0)]
    assert tables[0]["encoding"] == {"name": "table", "M": 2}
    assert tables[0]["weights"] != tables[1]["weights"]


def test_a_given_table_is_one_s_own():
    table = torch.rand(256, 3)
    encoding = GivenTable(table)
    table.zero_()
    assert encoding.table().any()
    assert not encoding.binary
    assert encoding.buckets() is None
    assert GivenTable(torch.eye(256)).binary


@pytest.mark.parametrize("form", ["lookup", "folded"])
def test_the_readers_of_levels_can_be_deployed(form):
    (reader,) = ModuleClassifier(Seen(), input="levels").readers
    levels = every_level()
    torch.testing.assert_close(reader.deployed(form)(levels), levels.float())
