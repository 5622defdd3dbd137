"""A published network as a classifier: level / 255 in, its logits out, and nothing that learns."""

from functools import partial

import pytest
import torch

from p2be_exp.config import compose_config, to_plain
from p2be_exp.config.typed import typed
from p2be_exp.encodings import RGB
from p2be_exp.errors import BadInput
from p2be_exp.models.model import build_model
from p2be_exp.models.published.classifier import PublishedClassifier
from p2be_exp.models.published.networks import RECIPES, Recipe
from p2be_exp.models.published.padded_wide_resnet import PaddedWideResNet

NETWORK = "wrn70_16_silu"


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    make = partial(PaddedWideResNet, depths=(1, 1, 1), widths=(4, 6, 8))
    monkeypatch.setitem(RECIPES, NETWORK, Recipe(make, "logits.bias", RECIPES[NETWORK].colours))


def model_of(classes=10):
    arguments = ["model=published", f"model.network={NETWORK}", "model.weights=x.pt", "dataset=cifar10"]
    torch.manual_seed(0)
    return build_model(typed(to_plain(compose_config("train", arguments))), classes)


def levels():
    return torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_it_is_the_network_on_levels_divided_by_255():
    model = model_of()
    assert isinstance(model, PublishedClassifier)
    with torch.no_grad():
        torch.testing.assert_close(model(levels()), model.network(levels() / 255))
    (encoding,) = model.encodings
    assert isinstance(encoding, RGB)


def test_nothing_of_it_learns_and_the_network_stays_in_eval_mode():
    model = model_of().train()
    assert model.learned() == ([], [])
    assert model.training
    assert not any(each.training for each in model.network.modules())
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model(levels())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_gradient_reaches_the_image():
    model = model_of().eval()
    images = (levels() / 255).requires_grad_()
    model.surrogate("secant")(images)[:, 0].sum().backward()
    of_network = (levels() / 255).requires_grad_()
    model.network(of_network)[:, 0].sum().backward()
    torch.testing.assert_close(images.grad, of_network.grad, rtol=1e-4, atol=1e-7)
    assert images.grad.abs().max() > 0


def test_another_number_of_classes_is_refused():
    with pytest.raises(BadInput, match=f"^model.network={NETWORK}: 3 classes; "):
        model_of(3)
