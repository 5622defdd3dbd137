"""The defaults of an option, read where no command line composes them."""

from __future__ import annotations

import pytest

from p2be_exp.config import compose_config, to_plain
from p2be_exp.config.defaults import defaults_of


@pytest.mark.parametrize("name", ["lspga", "pgd", "random_in_ball", "square"])
def test_they_are_what_a_command_composes(name):
    assert defaults_of("attack", name) == to_plain(compose_config("evaluate", ["run=some", f"attack={name}"]))["attack"]
