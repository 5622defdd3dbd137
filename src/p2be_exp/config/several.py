"""Groups of which any number of options is chosen, :data:`~p2be_exp.config.schema.groups.SEVERAL`: ``logger=[A,B]``.

An option's keys are ``GROUP.NAME.KEY``. While one option alone could be chosen, they were ``GROUP.KEY``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any

from p2be_exp.config.schema import GROUP_SCHEMAS, SEVERAL
from p2be_exp.errors import BadInput
from p2be_exp.system.suggestions import did_you_mean


def check_choice(argument: str, group: str, value: Any) -> None:
    """Check the value of ``GROUP=``: the name of an option, or a list of different names, which may be empty.

    Args:
        argument: as it was given.
        group: one of :data:`~p2be_exp.config.schema.groups.SEVERAL`.
        value: parsed.

    Raises:
        BadInput: it is something else, or there is no such option.
    """
    names = [value] if isinstance(value, str) else value
    options = sorted(GROUP_SCHEMAS[group])
    if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
        forms = f"{group}=NAME or '{group}=[NAME,NAME]'"
        raise BadInput(f"{argument}: must be one or several of {', '.join(options)}: {forms}")
    if unknown := [name for name in names if name not in options]:
        told = f"no such {group}; available: {', '.join(options)}{did_you_mean(unknown[0], options)}"
        raise BadInput(f"{group}={unknown[0]}: {told}")
    if twice := [name for i, name in enumerate(names) if name in names[:i]]:
        raise BadInput(f"{argument}: {twice[0]} is there twice")


def refuse_grid(argument: str, group: str) -> None:
    """Tell apart ``GROUP=A,B``, a grid of two jobs, and ``GROUP=[A,B]``, two options of one job.

    Args:
        argument: has several values although there is no grid.
        group: one of :data:`~p2be_exp.config.schema.groups.SEVERAL`.

    Raises:
        BadInput: always.
    """
    values = argument.partition("=")[2]
    raise BadInput(f"{argument}: both in one run are '{group}=[{values}]'; a run for each needs -m")


def keys_of(group: str) -> list[str]:
    """The keys of all options of a group: ``GROUP.NAME.KEY``."""
    return [
        f"{group}.{name}.{field.name}"
        for name, schema in GROUP_SCHEMAS[group].items()
        for field in dataclasses.fields(schema)
    ]


def where_now(key: str, chosen: Collection[str] = ()) -> str | None:
    """What a key without the name of its option is called now; None if it never was one.

    Args:
        key: as it was given.
        chosen: names of options: if some of them have the key, the others do not matter.

    >>> where_now("logger.mode")
    'logger.wandb.mode'
    >>> where_now("logger.log_every_n_steps")
    'logger.wandb.log_every_n_steps or logger.tensorboard.log_every_n_steps'
    >>> where_now("logger.log_every_n_steps", ["tensorboard"])
    'logger.tensorboard.log_every_n_steps'
    """
    group, _, name = key.partition(".")
    if group not in SEVERAL:
        return None
    if name == "name":
        return group
    new = {each.split(".")[1]: each for each in keys_of(group) if each.split(".")[2] == name}
    return " or ".join([new[option] for option in new if option in chosen] or new.values()) or None


def chosen_in(overrides: Sequence[str], group: str) -> list[str]:
    """The options that overrides choose, as far as they are plain names or lists of them; the last override counts."""
    values = [each.partition("=")[2] for each in overrides if each.lstrip("+").startswith(f"{group}=")]
    return [name.strip("'\" ") for name in values[-1].strip("[]").split(",")] if values else []
