"""Suggestions for misspelled words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A suggestion to append to an error message; empty if no known word is close.

    Case, hyphens, underscores and dots are ignored.

    >>> did_you_mean("cifar-100", ["cifar10", "cifar100"])
    '; did you mean cifar100?'
    """
    bare = {_bare(each): each for each in known}
    close = difflib.get_close_matches(_bare(word), bare, n=1, cutoff=0.7)
    return f"; did you mean {bare[close[0]]}?" if close else ""


def _bare(word: str) -> str:
    return re.sub(r"[\W_]", "", word).lower()
