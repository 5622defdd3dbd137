"""Which backbones can be taken apart into stages: known from the names alone, before a network is built."""

from __future__ import annotations

from p2be_exp.errors import BadInput
from p2be_exp.registry import option, staged_backbones


def check_staged(backbone: str, needed_by: str) -> None:
    """Check that a backbone has stages, for an option that reads or changes what is between them.

    Args:
        backbone: its name.
        needed_by: the option, as a user chooses it (``regime=NAME``).

    Raises:
        BadInput: there is no such backbone, or it has none; the message names those that have.

    >>> check_staged("alexnet", "regime=tenet")
    Traceback (most recent call last):
    ...
    p2be_exp.errors.BadInput: backbone=alexnet: has no stages, which regime=tenet needs; those that have are ...
    """
    if not option("backbone", backbone).staged:
        raise BadInput(
            f"backbone={backbone}: has no stages, which {needed_by} needs; "
            f"those that have are {', '.join(staged_backbones())}"
        )
