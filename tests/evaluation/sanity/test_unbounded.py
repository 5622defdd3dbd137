"""An attack without a bound breaks a network that can be broken, and not one whose gradient is cut off."""

import torch

from p2be_exp.attacks.random import AttackRandom
from p2be_exp.encodings import RGB, Thermometer
from p2be_exp.evaluation.sanity.planted import planted_network
from p2be_exp.evaluation.sanity.unbounded import unbounded_attack_succeeds, unbounded_attacks, unbounded_verdict


def checked(model, n):
    image = torch.full((3, 4, 4), 60, dtype=torch.uint8)
    return unbounded_attack_succeeds(
        model, image.expand(n, -1, -1, -1), torch.zeros(n, dtype=torch.long), AttackRandom(0, torch.arange(n))
    )


def test_it_breaks_what_falls_halfway_to_white():
    for encoding in (RGB(), Thermometer(16)):
        model = planted_network(encoding, torch.full((3, 4, 4), 60, dtype=torch.uint8), 255)
        found = checked(model, 4)
        assert found.verdict == "ok"
        assert found.detail == "None of 4 images left at 255 levels: pgd_margin_secant broke 4 of 4."


def test_it_fails_where_no_gradient_leads_on():
    """A random choice, which is what LS-PGA comes to without a gradient, has a mean level that is not enough."""
    model = planted_network(RGB(), torch.full((3, 4, 4), 60, dtype=torch.uint8), 255)
    forward = model.trunk.forward
    model.trunk.forward = lambda features: forward(features.detach())
    found = checked(model, 4)
    assert found.verdict == "failed"
    assert found.detail == "4 of 4 images left at 255 levels: pgd_margin_secant broke 0 of 4, lspga broke 0 of 4."


def test_it_does_not_go_on_where_it_has_failed():
    model = planted_network(RGB(), torch.full((3, 4, 4), 60, dtype=torch.uint8), 255)
    forward = model.trunk.forward
    model.trunk.forward = lambda features: forward(features.detach())
    assert checked(model, 20).detail == (
        "20 of 20 images left at 255 levels: pgd_margin_secant broke 0 of 20, lspga broke 0 of 8."
    )


def test_without_images():
    model = planted_network(RGB(), torch.full((3, 4, 4), 60, dtype=torch.uint8), 255)
    assert checked(model, 0).verdict == "not measured"


def test_a_few_that_are_left_are_suspicious():
    assert [unbounded_verdict(30, left, []).verdict for left in (0, 1, 3, 4, 30)] == [
        "ok", "suspicious", "suspicious", "failed", "failed"
    ]  # fmt: skip
    assert unbounded_verdict(0, 0, []).verdict == "not measured"
    assert {attack.eps_levels for attack in unbounded_attacks()} == {255}
