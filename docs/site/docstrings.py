"""Docstrings as Markdown: roles become code, doctests become blocks. An extension of Griffe, which reads them."""

from __future__ import annotations

import re
from typing import Any

import griffe


class Docstrings(griffe.Extension):
    """Rewrites each docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """See :class:`griffe.Extension`."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(text: str) -> str:
    r"""A docstring without roles of reStructuredText, its doctests fenced.

    >>> as_markdown("See :class:`~p2be_exp.attacks.Attack` and :meth:`Attack.search`.")
    'See `Attack` and `Attack.search`.'
    >>> as_markdown("It adds.\n\n>>> add(1, 2)\n3")
    'It adds.\n\n```pycon\n>>> add(1, 2)\n3\n```'
    """
    text = re.sub(r":\w+:`~[\w.]*?(\w+)`", r"`\1`", text)
    text = re.sub(r":\w+:`([^`]+)`", r"`\1`", text)
    return re.sub(r"(^>>> .*?)(?=\n\s*\n|\Z)", r"```pycon\n\1\n```", text, flags=re.M | re.S)
