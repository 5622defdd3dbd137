"""Which module an option from outside belongs to, found without a look at who calls."""

from __future__ import annotations

import pytest

from p2be_exp.config import plugins
from p2be_exp.config.register import _owner_of


@pytest.mark.parametrize(
    ("made", "schema", "loading", "owner"),
    [
        ("plug", "plug", "plug", "plug"),
        ("torchvision.models.resnet", "plug", "plug", "plug"),  # somebody else's network under a schema of one's own
        ("package.coder", "package.keys", "package", "package.coder"),
        ("package.coder", "p2be_exp.config.schema", "package", "package.coder"),
        ("beside", "beside", "plug", "beside"),  # a module that the plug-in imports
        ("p2be_exp.encodings.rgb", "p2be_exp.config.schema", "plug", "plug"),
        ("functools", "builtins", "plug", "plug"),
        ("mine", "p2be_exp.config.schema", None, "mine"),  # imported by hand
        ("__main__", "__main__", None, "__main__"),
    ],
)
def test_the_owner_of_an_option(monkeypatch, made, schema, loading, owner):
    monkeypatch.setattr(plugins, "_LOADING", [] if loading is None else [loading])
    assert _owner_of(type("Made", (), {"__module__": made}), type("Keys", (), {"__module__": schema})) == owner
