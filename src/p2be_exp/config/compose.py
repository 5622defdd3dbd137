"""Composing a configuration from ``conf/``, with errors that a person can act on."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from p2be_exp.config.folders import CONF_DIR, options_of
from p2be_exp.config.quoting import hint, text_of
from p2be_exp.config.schema import COMMAND_SCHEMAS, GROUP_SCHEMAS, register_schemas
from p2be_exp.errors import BadInput


def compose_config(command: str, overrides: Sequence[str], with_hydra: bool = False) -> DictConfig:
    """Compose the configuration of a command, with the plug-ins that the overrides (or P2BE_PLUGINS) name.

    Args:
        command: ``train``, ``evaluate``, ``corruptions``, ``export`` or ``tracking``.
        overrides: ``KEY=VALUE`` and ``GROUP=OPTION``, as on the command line.
        with_hydra: keep Hydra's own node.

    Raises:
        BadInput: an unknown key or option, a value of the wrong type, or a plug-in that cannot be loaded; one line.
    """
    from p2be_exp.plugins import load_requested  # which imports this package

    load_requested(overrides)
    register_schemas()
    with plain_errors(overrides), _fresh_hydra(), initialize_config_dir(version_base="1.3", config_dir=str(CONF_DIR)):
        return compose(command, list(overrides), return_hydra_config=with_hydra)


def parse_overrides(arguments: Sequence[str]) -> dict[str, str]:
    """Keys and values of command-line overrides, as text without quotes and escapes; flags are left out.

    Raises:
        BadInput: an override that Hydra's grammar does not take.
    """
    found: dict[str, str] = {}
    for argument in arguments:
        if argument.startswith("-"):
            continue
        try:
            override = OverridesParser.create().parse_override(argument)
        except HydraException as error:
            raise BadInput(f"{argument}: not of the form KEY=VALUE ({_first_line(error)}){hint(argument)}") from error
        found[override.key_or_group] = "null" if override.is_delete() else text_of(argument, override)
    return found


@contextmanager
def plain_errors(overrides: Sequence[str]) -> Iterator[None]:
    """Turn what Hydra and OmegaConf raise while composing into :class:`BadInput` of one line."""
    try:
        yield
    except MissingConfigException as error:
        raise BadInput(_unknown_option(error)) from error
    except OverrideParseException as error:
        told = f"{error.override}: not of the form KEY=VALUE ({_first_line(error)}){hint(error.override)}"
        raise BadInput(told) from error
    except (ConfigCompositionException, OmegaConfBaseException, ValueError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(_describe(error, overrides)) from error


@contextmanager
def _fresh_hydra() -> Iterator[None]:
    """Compose beside a Hydra application that is running already."""
    running = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        GlobalHydra.instance().clear()
        if running is not None:
            GlobalHydra.instance().hydra = running


def _unknown_option(error: MissingConfigException) -> str:
    if schema := re.fullmatch(r"/?schema/(\w+)/(\w+)", error.missing_cfg_file or ""):
        group, option = schema.groups()
        return (
            f"{group}={option}: conf/{group}/{option}.yaml is there, but no plug-in that is loaded registers it; "
            f"name the module that does in plugins=[NAME]"
        )
    missing = re.search(r"Could not find '(?:(.*)/)?([^/']*)'", str(error))
    group, option = (missing.group(1), missing.group(2)) if missing else (None, error.missing_cfg_file)
    options = error.options if error.options else options_of(group) if group else []
    return f"{group}={option}: there is no such {group}; there are: {', '.join(sorted(options))}"


def _describe(error: Exception, overrides: Sequence[str]) -> str:
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    text = _first_line(cause)
    key = getattr(cause, "full_key", None) or _quoted(error)
    plain_key = re.sub(r"\[\d+\]$", "", key or "")
    last_first = reversed(overrides)  # of a key that is given twice, the last one counts
    given = next((item for item in last_first if key and f"{_key(item)}.".startswith(f"{plain_key}.")), None)
    subject = given or key or "configuration"
    if "not in" in text or str(error).startswith("Could not override"):
        return f"{subject}: unknown key{_did_you_mean(_key(subject), overrides)}"
    if "could not be converted to" in text:
        return f"{subject}: not {_TYPES.get(text.rsplit(' ', 1)[-1], 'of the right type')}"
    if "is not a valid bool" in text:
        return f"{subject}: not true or false"
    if "is not Optional" in text or "Missing mandatory value" in text:
        return f"{subject}: a value is needed"
    return f"{subject if given or key else ' '.join(overrides)}: {text}"


_TYPES = {"Integer": "a whole number", "Float": "a number"}


_SCRIPTS = ("train", "evaluate")
"""Commands that are a file in the repository's root; the others are modules of the package."""


def _did_you_mean(key: str, overrides: Sequence[str]) -> str:
    known = known_keys(overrides)
    group, _, name = key.rpartition(".")
    homes = [other for other in known if other.endswith(f".{name}")]
    if key in known:  # elsewhere: not with the option that an experiment or the defaults have chosen, or not here
        schemas = GROUP_SCHEMAS.get(group, COMMAND_SCHEMAS)
        owners = [owner for owner, schema in schemas.items() if name in schema.__dataclass_fields__]
        if group:
            return f"; it goes with {group}={' or '.join(owners)}"
        if homes and not set(owners) & set(_SCRIPTS):
            return f"; did you mean {homes[0]}?"
        return f"; it goes with {' or '.join(_called(owner) for owner in owners)}"
    siblings = [other.rpartition(".")[2] for other in known if group and other.rpartition(".")[0] == group]
    if siblings:
        close = difflib.get_close_matches(name, siblings, n=1, cutoff=0.7)
        return f"; did you mean {group}.{close[0]}?" if close else f"; {group} has: {', '.join(siblings)}"
    close = homes or difflib.get_close_matches(key, known, n=1, cutoff=0.7)
    return f"; did you mean {close[0]}?" if close else "; see --help for what there is"


def _called(command: str) -> str:
    return f"{command}.py" if command in _SCRIPTS else f"python -m p2be_exp.{command}"


def known_keys(overrides: Sequence[str]) -> list[str]:
    """Every key that a command has with the group options that the overrides choose (all options' where none is)."""
    chosen = dict(item.lstrip("+").split("=", 1) for item in overrides if "=" in item)
    keys = {field for schema in COMMAND_SCHEMAS.values() for field in schema.__dataclass_fields__}
    for group, options in GROUP_SCHEMAS.items():
        schemas = [options[chosen[group]]] if chosen.get(group) in options else options.values()
        keys |= {f"{group}.{field}" for schema in schemas for field in schema.__dataclass_fields__}
    return sorted(keys)


def to_plain(config: DictConfig) -> dict:
    """The resolved configuration as plain dictionaries, lists and values."""
    with plain_errors([]):
        return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)


def _key(override: str) -> str:
    return override.lstrip("+~").split("=", 1)[0]


def _quoted(error: Exception) -> str | None:
    found = re.search(r"'([^']+)'", _first_line(error))
    return found.group(1) if found else None


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
