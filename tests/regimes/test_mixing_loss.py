"""The loss that a gate is trained on, one image at a time in plain Python floats."""

import math

import pytest
import torch

from p2be_exp.regimes.mixing_loss import mixing_terms


def test_the_weighted_terms_are_the_mean_of_the_images_losses():
    generator = torch.Generator().manual_seed(0)
    output = torch.randn(8, 5, generator=generator, dtype=torch.float64).log_softmax(1)
    gamma = 3 * torch.randn(8, generator=generator, dtype=torch.float64)
    labels = torch.randint(5, (8,), generator=generator)
    adversarial = torch.tensor([False, True, True, False, True, False, False, True])
    expected = []
    for log_probabilities, gate, label, attacked in zip(
        output.tolist(), gamma.tolist(), labels.tolist(), adversarial.tolist(), strict=True
    ):
        probability = 1 / (1 + math.exp(-gate))
        bce = -math.log(probability if attacked else 1 - probability)
        ce = -log_probabilities[label]
        expected.append((1 if attacked else 1.7) * (1.5 * bce + 0.5 * ce + 0.1 * bce * ce))
    terms = mixing_terms(output, gamma, labels, adversarial, clean_scale=1.7)
    found = 1.5 * terms["bce"] + 0.5 * terms["ce"] + 0.1 * terms["product"]
    assert found.item() == pytest.approx(sum(expected) / 8, rel=1e-10)


def test_by_hand_with_the_published_scale():
    """B is log 2, C log 4; the clean image counts twice."""
    terms = mixing_terms(torch.zeros(2, 4), torch.zeros(2), torch.tensor([0, 3]), torch.tensor([False, True]))
    two, four = math.log(2), math.log(4)
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(
        {"bce": 1.5 * two, "ce": 1.5 * four, "product": 1.5 * two * four}
    )


def test_far_gammas_have_finite_terms_of_full_precision():
    gamma = torch.tensor([300.0, -300.0]).bfloat16().requires_grad_()
    output = torch.tensor([[-400.0, 0.0], [0.0, -400.0]]).bfloat16().requires_grad_()
    terms = mixing_terms(output, gamma, torch.tensor([0, 0]), torch.tensor([False, True]), 1.0)
    assert {name: (term.item(), term.dtype) for name, term in terms.items()} == {
        "bce": (300.0, torch.float32),
        "ce": (200.0, torch.float32),
        "product": (60_000.0, torch.float32),
    }
    for each in torch.autograd.grad(sum(terms.values()), (gamma, output)):
        assert each.isfinite().all()
