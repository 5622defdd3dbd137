"""docs/published.md: its table has the networks that there are."""

import re

from commandline import ROOT
from p2be_exp.config.published_networks import PUBLISHED_NETWORKS
from p2be_exp.published.systems import SYSTEMS

PAGE = (ROOT / "docs" / "published.md").read_text()


def test_the_table_of_networks():
    rows = re.findall(r"^\| `(\w+)` \| .*? \| ([\d, ]+) \| ([\d,]+) \|", PAGE, re.M)
    expected = {
        name: (", ".join(map(str, each.classes)), f"{each.parameters:,}") for name, each in PUBLISHED_NETWORKS.items()
    }
    assert {name: (classes, parameters) for name, classes, parameters in rows} == expected


def test_the_systems_parts():
    for system in SYSTEMS.values():
        accurate, robust = (f"`{part.network}`" for part in system.parts)
        assert re.search(
            rf"\| .*CIFAR-{system.dataset[5:]}\b.* \| {accurate} \| {robust} \| `model={system.model}`", PAGE
        )


def test_it_says_what_is_left_out():
    assert "ImageNet's entries are left out" in PAGE
