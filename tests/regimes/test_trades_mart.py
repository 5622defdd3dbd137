"""TRADES and MART against the reference code's loss functions, written down again; the regimes' own pass."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from p2be_exp.attacks import Attack, Search
from p2be_exp.attacks.divergence import kl_divergence
from p2be_exp.augment import random_flip_crop
from p2be_exp.backbones import build_backbone
from p2be_exp.config import training_config
from p2be_exp.data import Batch
from p2be_exp.models.model import EncodedClassifier
from p2be_exp.regimes import Mart, Trades, build_regime
from p2be_exp.regimes.adversarial import RobustRegime
from p2be_exp.regimes.mart import boosted_cross_entropy, weighted_consistency
from usual import P2BE


def trades_reference(clean, adversarial, labels, beta):
    """``trades_loss`` (github.com/yaodongyu/TRADES, trades.py), from its logits on."""
    criterion = nn.KLDivLoss(reduction="sum")
    natural = F.cross_entropy(clean, labels)
    robust = (1.0 / len(clean)) * criterion(F.log_softmax(adversarial, dim=1), F.softmax(clean, dim=1))
    return natural + beta * robust


def mart_reference(clean, adversarial, labels, beta):
    """``mart_loss`` (github.com/YisenWang/MART, mart.py), from its logits on."""
    kl = nn.KLDivLoss(reduction="none")
    probabilities = F.softmax(adversarial, dim=1)
    two = torch.argsort(probabilities, dim=1)[:, -2:]
    other = torch.where(two[:, -1] == labels, two[:, -2], two[:, -1])
    boosted = F.cross_entropy(adversarial, labels) + F.nll_loss(torch.log(1.0001 - probabilities + 1e-12), other)
    natural = F.softmax(clean, dim=1)
    right = torch.gather(natural, 1, labels.unsqueeze(1)).squeeze()
    robust = (1.0 / len(clean)) * torch.sum(
        torch.sum(kl(torch.log(probabilities + 1e-12), natural), dim=1) * (1.0000001 - right)
    )
    return boosted, robust, boosted + float(beta) * robust


def test_a_robust_regime_without_a_loss_of_its_views_cannot_be_made():
    class Lossless(RobustRegime):
        name = "lossless"

    with pytest.raises(TypeError, match="loss_of_views"):
        Lossless(0, None, True, None)


@pytest.fixture
def logits():
    generator = torch.Generator().manual_seed(0)
    clean, adversarial = 3 * torch.randn(2, 32, 10, generator=generator, dtype=torch.float64)
    return clean.requires_grad_(), adversarial.requires_grad_(), torch.randint(10, (32,), generator=generator)


def gradients(loss, *inputs):
    return torch.autograd.grad(loss, inputs, retain_graph=True)


def test_trades_is_the_references_loss_with_its_gradient(logits):
    clean, adversarial, labels = logits
    expected = trades_reference(clean, adversarial, labels, 6.0)
    found = F.cross_entropy(clean, labels) + 6.0 * kl_divergence(clean, adversarial).mean()
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(
        gradients(found, clean, adversarial), gradients(expected, clean, adversarial), rtol=1e-9, atol=1e-12
    )


def test_mart_is_the_references_loss_with_its_gradient(logits):
    clean, adversarial, labels = logits
    boosted, robust, expected = mart_reference(clean, adversarial, labels, 5.0)
    terms = boosted_cross_entropy(adversarial, labels), weighted_consistency(clean, adversarial, labels)
    torch.testing.assert_close(terms, (boosted, robust), rtol=1e-12, atol=0)
    found = terms[0] + 5.0 * terms[1]
    torch.testing.assert_close(
        gradients(found, clean, adversarial), gradients(expected, clean, adversarial), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_certain_predictions_have_finite_losses_and_gradients(dtype):
    clean, adversarial = torch.tensor([[300.0, 0.0, -300.0]]), torch.tensor([[-300.0, 300.0, 0.0]])
    clean, adversarial = (each.to(dtype).requires_grad_() for each in (clean, adversarial))
    labels = torch.tensor([0])
    terms = [
        kl_divergence(clean, adversarial).mean(),
        boosted_cross_entropy(adversarial, labels),
        weighted_consistency(clean, adversarial, labels),
    ]
    assert [each.dtype for each in terms] == [torch.float32] * 3
    assert all(each.isfinite() for each in terms)
    assert terms[0].item() == pytest.approx(600, rel=1e-3)
    assert terms[1].item() == pytest.approx(600 + 4 * 2.302585, rel=1e-2)  # -log(1.0001 - 1) is four times log 10
    for each in gradients(sum(terms), clean, adversarial):
        assert each.isfinite().all()


# -- the regimes ------------------------------------------------------------------------------------------------------


class Brighter(Attack):
    """Adds the radius to every level."""

    id = "brighter"

    def search(self, model, images, labels, random, restart=0):
        return Search((images.short() + self.eps_levels).clamp(max=255).to(torch.uint8))


@pytest.mark.parametrize("learns", [True, False])
@pytest.mark.parametrize("cls", [Trades, Mart])
def test_both_views_are_in_one_pass(cls, learns):
    """Loss and gradient are those of the reference's function of the logits of one pass of 2B images."""
    torch.manual_seed(0)
    model = EncodedClassifier(P2BE(4), build_backbone("wrn16_1", 10)).train().double()
    images = torch.randint(256, (6, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    batch = Batch(images, torch.tensor([0, 3, 1, 2, 2, 9]), torch.tensor([70, 5, 1, 900, 33, 4]), 6, 6, 1.0)
    regime = cls(11, Brighter(5), learns, 2.5, random_flip_crop)
    before = {name: value.clone() for name, value in model.named_buffers()}
    result = regime.loss(model, batch, 3)
    result.total().backward()
    found = [each.grad.clone() for each in model.parameters()]
    statistics = {name: value.clone() for name, value in model.named_buffers()}
    model.zero_grad()
    for name, value in before.items():
        model.get_buffer(name).copy_(value)
    clean, adversarial = regime.views(model, batch, 3)
    assert not torch.equal(clean, adversarial)
    table = model.encoding.table()
    features = [model.stem(clean, table), model.stem(adversarial, table if learns else table.detach())]
    natural, other = model.trunk(torch.cat(features)).split(6)
    if cls is Trades:
        expected, names = trades_reference(natural, other, batch.labels, 2.5), {"ce", "kl"}
    else:
        expected, names = mart_reference(natural, other, batch.labels, 2.5)[2], {"bce", "kl"}
    expected.backward()
    torch.testing.assert_close(result.total(), expected, rtol=1e-10, atol=0)
    for mine, parameter in zip(found, model.parameters(), strict=True):
        torch.testing.assert_close(mine, parameter.grad, rtol=1e-7, atol=1e-10)
    for name, value in model.named_buffers():
        torch.testing.assert_close(value, statistics[name])
    assert (set(result.terms), result.weights) == (names, {"kl": 2.5})
    torch.testing.assert_close(result.logits, natural)


@pytest.mark.parametrize(("name", "attack", "beta"), [("trades", "kl", 6.0), ("mart", "ce", 5.0)])
def test_the_configuration_builds_them(name, attack, beta):
    config = training_config([f"regime={name}", "regime.awp_gamma=0.005", "preset=paper"]).regime
    regime = build_regime(config, 3, "flip_crop")
    assert (regime.name, regime.beta, regime.perturbation.gamma, regime.perturbation.warmup) == (name, beta, 0.005, 10)
    assert (regime.attack.id, regime.attack.steps) == (f"pgd_{attack}_secant_near_fixed", 10)
    assert (regime.attack.eps_levels, regime.attack.stop_when_wrong) == (8, False)
