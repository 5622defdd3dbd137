"""The parts of a mixture in its configuration: what was asked for, and what is filled in from the runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from p2be_exp.config.schema import NUTS_CONSTANTS, MixtureConfig, NutsMixModelConfig, TrainConfig
from p2be_exp.config.typed import plain, typed_group
from p2be_exp.errors import BadInput

GROUPS = ("encoding", "backbone", "model")
"""The groups of a run that make its network."""


def part_config(config: TrainConfig, role: str) -> TrainConfig:
    """The configuration of a mixture with one part's groups in the place of its own.

    Args:
        config: of a mixture whose parts are filled in.
        role: one of ``config.model.roles``.
    """
    nodes = config.model.parts[role]
    return dataclasses.replace(config, **{group: typed_group(group, nodes) for group in GROUPS})


def with_parts(config: TrainConfig, parts: Mapping[str, TrainConfig]) -> TrainConfig:
    """A mixture's configuration with its parts filled in, complete without their runs.

    Encoding and backbone become the robust part's, for tables and labels that name one; the weights that a part's own
    training started from are not its own, and stay in the part's groups alone. The parts' plug-ins are added.

    Args:
        config: of the mixture; it is not changed.
        parts: the configurations of its parts' runs, by role.
    """
    nodes = {role: {group: plain(getattr(part, group)) for group in GROUPS} for role, part in parts.items()}
    robust = parts[config.model.roles[-1]]
    plugins = [*config.plugins, *(name for part in parts.values() for name in part.plugins)]
    return dataclasses.replace(
        config,
        encoding=_without(robust.encoding, "table_from"),
        backbone=_without(robust.backbone, "weights"),
        model=dataclasses.replace(cast("MixtureConfig", config.model), parts=nodes),
        plugins=list(dict.fromkeys(plugins)),
    )


def as_asked(config: TrainConfig) -> dict[str, Any]:
    """A configuration as plain dictionaries, without what :func:`with_parts` fills in: equal before and after it."""
    found: dict[str, Any] = plain(config)
    if config.model.roles:
        found["model"] = {key: value for key, value in found["model"].items() if key not in config.model.fills_in}
        found = {key: value for key, value in found.items() if key not in ("encoding", "backbone", "plugins")}
    return found


def check_parts(config: TrainConfig) -> None:
    """Check the keys of a mixture; those of another model are left alone.

    Raises:
        BadInput: a part is not named, both are the same, or what is filled in is not as :func:`with_parts` makes it.
    """
    model = config.model
    for role in model.roles:
        if getattr(model, role) is None:
            raise BadInput(f"model.{role}: required by model={model.name}; a run, model.{role}=RUN")
    if model.roles and len({Path(getattr(model, role)).absolute() for role in model.roles}) < len(model.roles):
        named = " ".join(f"model.{role}={getattr(model, role)}" for role in model.roles)
        raise BadInput(f"{named}: the same run; a mixture needs two")
    if isinstance(model, NutsMixModelConfig):
        _check_constants(model)
    if model.roles and model.parts is not None:
        _check_filled_in(config)


def _check_constants(model: NutsMixModelConfig) -> None:
    """Check that the constants of MixedNUTS are all given, or none, and that a calibration has them all."""
    given = {key: value for key, value in model.constants.items() if value is not None}
    if given and len(given) < len(NUTS_CONSTANTS):
        missing = ", ".join(f"model.{key}" for key in NUTS_CONSTANTS if key not in given)
        raise BadInput(f"{' '.join(f'model.{key}={value}' for key, value in given.items())}: {missing} missing")
    if model.calibration is not None:
        _check_calibration(model)


def _check_calibration(model: NutsMixModelConfig) -> None:
    """Check what a search is said to have found by the rules for constants that are given."""
    found = model.calibration
    if not isinstance(found, Mapping) or not set(NUTS_CONSTANTS) <= set(found):
        raise BadInput(f"model.calibration={found!r:.60}: must be null, or have {', '.join(NUTS_CONSTANTS)}")
    fields = {field.name: field for field in dataclasses.fields(model)}
    for key in NUTS_CONSTANTS:
        if why := fields[key].metadata["allowed"].refusal(found[key]):
            raise BadInput(f"model.calibration.{key}={found[key]!r:.60}: {why}")
    for key, rule in (("images", "calibration_images"), ("images_of", "calibrate_on")):  # what the header tells
        if key not in found:
            raise BadInput(f"model.calibration: {key} is required")
        if why := fields[rule].metadata["allowed"].refusal(found[key]):
            raise BadInput(f"model.calibration.{key}={found[key]!r:.60}: {why}")


def _check_filled_in(config: TrainConfig) -> None:
    parts, roles = config.model.parts, set(config.model.roles)
    if not isinstance(parts, Mapping) or set(parts) != roles:
        raise BadInput(f"model.parts={parts!r:.60}: must be null, or have {' and '.join(sorted(roles))}")
    for role, nodes in parts.items():
        if not isinstance(nodes, Mapping) or set(nodes) != set(GROUPS):
            raise BadInput(f"model.parts.{role}={nodes!r:.60}: must have {', '.join(GROUPS)}")
        for group in GROUPS:
            made = typed_group(group, nodes, prefix=f"model.parts.{role}.")
            if group == "model" and made.roles:
                raise BadInput(f"model.parts.{role}.model={made.name}: a part must not be a mixture itself")


def check_given(config: TrainConfig, overrides: Sequence[str]) -> None:
    """Check that the command line sets nothing that a model brings with it, such as a mixture from its parts.

    Args:
        config: composed from them.
        overrides: ``KEY=VALUE`` and ``GROUP=OPTION``.

    Raises:
        BadInput: names the override.
    """
    name, whose = config.model.name, config.model.brings
    if whose is None:
        return
    for key in config.model.fills_in:
        if getattr(config.model, key) is not None:
            raise BadInput(f"model.{key}: filled in by model={name} from its parts")
    for override in overrides:
        key = override.partition("=")[0].lstrip("+~")
        if key.partition(".")[0] in ("encoding", "backbone"):
            raise BadInput(f"{override}: not beside model={name}, {whose}")


def _without(group: Any, key: str) -> Any:
    """An option without the file or run that it started from."""
    has = key in {field.name for field in dataclasses.fields(group)}
    return dataclasses.replace(group, **{key: None}) if has else group
