"""The nineteen corruptions by name: the published order, their categories, and how a user selects some of them."""

from __future__ import annotations

from collections.abc import Sequence

from p2be_exp.errors import BadInput
from p2be_exp.system.suggestions import did_you_mean

CATEGORIES = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("snow", "frost", "fog", "brightness"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
}
"""The fifteen test corruptions by category, in the order of Hendrycks and Dietterich (ICLR 2019)."""

TEST = tuple(name for names in CATEGORIES.values() for name in names)
"""The fifteen that means and mCE are taken over."""

EXTRA = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
"""The four that were published for validation; their means are always kept apart."""

ALL = TEST + EXTRA
"""All nineteen. A corruption's position here is part of its random numbers: append, never reorder."""

SEVERITIES = (1, 2, 3, 4, 5)

GROUPS = {"test": TEST, "extra": EXTRA, "all": ALL, **CATEGORIES}
"""Words that stand for several corruptions."""


def category_of(name: str) -> str:
    """``noise``, ``blur``, ``weather``, ``digital``, or ``extra`` for the four beyond the fifteen."""
    return next((category for category, names in CATEGORIES.items() if name in names), "extra")


def select_names(wanted: str | Sequence[str], key: str = "names") -> tuple[str, ...]:
    """The corruptions that a user asks for, in the published order, each once.

    Args:
        wanted: names of corruptions or of groups (``test``, ``extra``, ``all``, ``noise``, ...), one or several.
        key: the option's name, for the message.

    Raises:
        BadInput: a name that is neither, or none at all.

    >>> select_names(["fog", "noise"])
    ('gaussian_noise', 'shot_noise', 'impulse_noise', 'fog')
    """
    allowed = f"must be one of {', '.join((*GROUPS, *ALL))}"
    if not isinstance(wanted, str | list | tuple):
        raise BadInput(f"{key}={wanted}: must be one name or a list of names; each {allowed}")
    wanted = [wanted] if isinstance(wanted, str) else list(wanted)
    for name in wanted:
        if not isinstance(name, str) or (name not in ALL and name not in GROUPS):
            raise BadInput(f"{key}={name}: {allowed}{did_you_mean(str(name), (*GROUPS, *ALL))}")
    chosen = {member for name in wanted for member in GROUPS.get(name, (name,))}
    if not chosen:
        raise BadInput(f"{key}=[]: at least one corruption is needed")
    return tuple(name for name in ALL if name in chosen)


def select_severities(wanted: int | Sequence[int], key: str = "severities") -> tuple[int, ...]:
    """The severities that a user asks for, ascending, each once.

    Raises:
        BadInput: one outside 1 to 5, or none at all.
    """
    wanted = [wanted] if isinstance(wanted, int) else list(wanted)
    for severity in wanted:
        if severity not in SEVERITIES:
            raise BadInput(f"{key}={severity}: must be between 1 and 5")
    if not wanted:
        raise BadInput(f"{key}=[]: at least one severity is needed")
    return tuple(sorted(set(wanted)))
