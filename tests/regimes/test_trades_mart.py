"""TRADES and MART against the reference code's loss functions, written down again; the regimes end to end."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from p2be_exp.attacks.divergence import kl_divergence
from p2be_exp.regimes.mart import boosted_cross_entropy, weighted_consistency


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
