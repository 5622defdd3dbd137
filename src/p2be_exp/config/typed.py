"""Conversion between plain dictionaries and the dataclasses of the schema.

YAML files and checkpoints hold plain dictionaries; the code reads ``config.optim.accumulate``. Fresh compositions and
stored configurations go through the same function, so that both have all keys, no others, and values of the right
types and ranges.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar, overload

from p2be_exp.config.older import fill_in
from p2be_exp.config.schema import GROUP_BASES, GROUP_SCHEMAS, SEVERAL, TrainConfig
from p2be_exp.config.several import where_now
from p2be_exp.config.types import unfit
from p2be_exp.errors import BadInput
from p2be_exp.system.paths import check_path

Config = TypeVar("Config")

_NESTED = {("regime", "attack"): "attack"}
"""Keys of a group that hold an option of another group."""


@overload
def typed(config: Mapping[str, Any]) -> TrainConfig: ...
@overload
def typed(config: Mapping[str, Any], schema: type[Config]) -> Config: ...


def typed(config: Mapping[str, Any], schema: type = TrainConfig) -> Any:
    """The typed configuration of a command.

    Args:
        config: resolved plain dictionaries, from a composition or from a run's ``config.yaml``; it is not changed. In
            that of a training, keys added since it was stored are filled in.
        schema: one of :data:`~p2be_exp.config.schema.COMMAND_SCHEMAS`.

    Raises:
        BadInput: a key is missing or unknown, or its value has the wrong type or is out of range; names the key.
    """
    filled = copy.deepcopy(dict(config))
    if schema is TrainConfig:
        fill_in(filled)
    return checked(filled, schema)


def checked(config: Mapping[str, Any], schema: type[Config]) -> Config:
    """The same as :func:`typed` without filling in keys: a fresh composition has all of them.

    Raises:
        BadInput: see :func:`typed`.
    """
    check_values("", config, schema)
    groups = {
        group: typed_options(group, config) if group in SEVERAL else typed_group(group, config)
        for group in GROUP_SCHEMAS
        if group in _fields(schema)
    }
    return schema(**{**config, **groups})


def typed_group(group: str, config: Mapping[str, Any], prefix: str = "") -> Any:
    """The option of a group that a configuration chooses, as an object of that option's schema.

    Args:
        group: its name.
        config: has the option's keys and values under ``group``.
        prefix: of the keys in messages, for a group inside another.

    Raises:
        BadInput: no option is chosen; or see :func:`typed`.
    """
    node, options = config.get(group), GROUP_SCHEMAS[group]
    if not isinstance(node, Mapping):
        raise BadInput(f"{group}: must be one of {', '.join(options)}")
    schema = options[node["name"]] if node.get("name") in options else next(iter(options.values()))
    if "name" in _fields(schema) and "name" in node and node["name"] not in options:
        raise BadInput(f"{group}.name={node['name']}: choose with {group}=, one of {', '.join(options)}")
    return _option(group, node, schema, f"{prefix}{group}.")


def typed_options(group: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a group of which several may be chosen, each as an object of its schema.

    Args:
        group: one of :data:`~p2be_exp.config.schema.groups.SEVERAL`.
        config: has, by the names of the options, their keys and values under ``group``.

    Raises:
        BadInput: what is chosen is no option; or see :func:`typed`.
    """
    nodes, options = config.get(group), GROUP_SCHEMAS[group]
    if not isinstance(nodes, Mapping):
        raise BadInput(f"{group}: must be one or several of {', '.join(options)}")
    choose = f"choose with {group}=, one or several of {', '.join(options)}"
    for name, node in nodes.items():
        if name not in options:
            now = where_now(f"{group}.{name}", nodes)
            raise BadInput(f"{group}.{name}={node}: unknown key; {f'it is now {now}' if now else choose}")
        if not isinstance(node, Mapping) or "name" not in node:
            raise BadInput(f"{group}.{name}={node}: {choose}")
        if node["name"] != name:
            raise BadInput(f"{group}.{name}.name={node['name']}: {choose}")
    return {name: _option(group, node, options[name], f"{group}.{name}.") for name, node in nodes.items()}


def _option(group: str, node: Mapping[str, Any], schema: type, prefix: str) -> Any:
    check_values(prefix, node, schema)
    nested = {
        key: _nested(f"{prefix}{key}", node[key], inner)
        for (outer, key), inner in _NESTED.items()
        if outer == group and key in node
    }
    return _with_base(group, schema)(**{**node, **nested})


def _nested(key: str, node: Any, group: str) -> Any:
    """An option that is the value of a key of another group."""
    options = GROUP_SCHEMAS[group]
    if not isinstance(node, Mapping) or node.get("name") not in options:
        chosen = node.get("name") if isinstance(node, Mapping) else node
        raise BadInput(f"{key}={chosen}: choose with {group}@{key}=, one of {', '.join(options)}")
    return _option(group, node, options[node["name"]], f"{key}.")


def _with_base(group: str, schema: type) -> type:
    """A schema with its group's base class; a plug-in's schema need not be derived from it."""
    base = GROUP_BASES[group]
    if issubclass(schema, base):
        return schema
    own = {
        key: None for key in _fields(schema) if hasattr(base, key)
    }  # instances have these keys; the base must not hide them
    return type(schema.__name__, (schema, base), {"__module__": schema.__module__, "__doc__": schema.__doc__, **own})


def check_values(prefix: str, node: Mapping[str, Any], schema: type) -> None:
    """Check that a node has exactly the keys of its schema, with values of the right types and ranges.

    Raises:
        BadInput: names the key, the value and what is allowed.
    """
    fields = _fields(schema)
    for key in fields:
        if key not in node:
            raise BadInput(f"{prefix}{key}: a value is required")
    for key, value in node.items():
        if key not in fields:
            raise BadInput(f"{prefix}{key}={value}: unknown key; the keys are {', '.join(fields)}")
        allowed = fields[key].metadata.get("allowed")
        if allowed is not None and value is not None and (why := allowed.refusal(value)):
            raise BadInput(f"{prefix}{key}={value}: {why}")
        if why := unfit(value, schema, key):
            raise BadInput(f"{prefix}{key}={value}: {why}")
        if fields[key].metadata.get("path") and value is not None:
            check_path(f"{prefix}{key}", value)


def plain(config: Any) -> Any:
    """A typed configuration, or an option of a group, as plain dictionaries for YAML, JSON or a checkpoint.

    The keys are in the order of the schema, which is that of a composition.
    """
    if dataclasses.is_dataclass(config):
        return {key: plain(getattr(config, key)) for key in _fields(type(config))}
    if isinstance(config, dict):
        return {key: plain(value) for key, value in config.items()}
    return list(config) if isinstance(config, list) else config


def has_key(node: Any, key: str) -> bool:
    """Whether an option has a key itself, not only as a property of its group's base."""
    return key in _fields(type(node))


def _fields(schema: type) -> dict[str, dataclasses.Field[Any]]:
    return {field.name: field for field in dataclasses.fields(schema)}
