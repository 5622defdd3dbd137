"""The published systems against the papers' and the repositories' numbers, written down here a second time."""

import dataclasses

import pytest

from p2be_exp.config.published_networks import PUBLISHED_NETWORKS
from p2be_exp.config.schema import GROUP_SCHEMAS, MixtureConfig
from p2be_exp.published.systems import ALONE, CLASSES, SYSTEMS, roles_of
from p2be_exp.published.table import published_table

GATED = {  # alpha_bias, alpha_scale, gamma_scale, gamma_bias, std_scale, rob_scale; clean, robust
    "adaptive_smoothing_cifar10_edm": ((0.96, 0.04, 2.0, 1.05, 1.2, 0.3), (95.23, 68.06)),
    "adaptive_smoothing_cifar100_edm": ((0.84, 0.15, 2.0, 1.3, 2.0, 1.0), (85.21, 38.72)),
    "adaptive_smoothing_cifar100_trades": ((0.815, 0.1, 2.0, 1.0, 2.0, 1.0), (80.18, 35.15)),
}
NUTS = {  # s, c, p, alpha, surrogate's alpha; clean, robust, external
    "mixednuts_cifar10": ((5.0, -1.1, 4.0, 0.99875, 0.9570535), (95.19, 70.08, 69.71)),
    "mixednuts_cifar100": ((0.6116, -2.143, 3.571, 0.98603, 0.9706995), (83.08, 41.91, 41.80)),
}


@pytest.mark.parametrize("name", GATED)
def test_the_constants_of_adaptive_smoothing(name):
    (bias, scale, gate_std, gate_mean, accurate, robust), published = GATED[name]
    system = SYSTEMS[name]
    assert system.constants == pytest.approx(
        {"alpha_low": bias, "alpha_high": bias + scale, "gate_std": gate_std, "gate_mean": gate_mean,
         "accurate_scale": accurate, "robust_scale": robust}
    )  # fmt: skip
    assert (system.published.clean, system.published.robust) == published
    assert system.gate


@pytest.mark.parametrize("name", NUTS)
def test_the_constants_of_mixednuts(name):
    (s, c, p, alpha, surrogate), published = NUTS[name]
    system = SYSTEMS[name]
    assert system.constants == pytest.approx(
        {"scale": s, "shift": c, "power": p, "alpha": alpha, "surrogate_alpha": surrogate, "accurate_scale": 1e6},
        rel=2e-4,
    )
    assert (system.published.clean, system.published.robust, system.published.external) == published
    assert not system.gate


def test_there_are_no_others():
    assert set(SYSTEMS) == {*GATED, *NUTS}


@pytest.mark.parametrize("name", SYSTEMS)
def test_constants_are_keys_of_the_model(name):
    schema = GROUP_SCHEMAS["model"].get(SYSTEMS[name].model, MixtureConfig)
    known = {each.name for each in dataclasses.fields(schema)}
    assert {"accurate_scale"} <= known & SYSTEMS[name].constants.keys()
    assert schema is MixtureConfig or SYSTEMS[name].constants.keys() <= known


def test_parts_are_networks_that_can_be_read_with_the_classes_of_their_data_set():
    for system in SYSTEMS.values():
        assert [part.role for part in system.parts] == ["accurate", "robust"]
        assert all(CLASSES[system.dataset] in PUBLISHED_NETWORKS[part.network].classes for part in system.parts)
    assert all(part.network in PUBLISHED_NETWORKS for part in ALONE.values())


def test_what_a_network_can_be():
    assert roles_of("ra_wrn70_16", 10) == ["robust part of mixednuts_cifar10"]
    assert roles_of("wrn70_16_silu", 100) == [
        "robust part of adaptive_smoothing_cifar100_edm",
        "robust part of adaptive_smoothing_cifar100_trades",
        "robust part of mixednuts_cifar100",
    ]
    assert roles_of("wrn34_10", 10) == []


def test_the_table_has_all_of_them_in_lines_that_fit():
    table = published_table()
    for name in (*PUBLISHED_NETWORKS, *SYSTEMS, *ALONE):
        assert any(line.startswith(name) for line in table.splitlines()), name
    assert "83.08 / 41.91 (external 41.80)" in table
    assert "232,279,178" in table
    assert "ImageNet's entries are left out" in table
    assert max(map(len, table.splitlines())) <= 120
