"""Composing a configuration from ``conf/``, with errors that a user can act on."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from p2be_exp.config.experiments import check_experiment, experiment_files, file_with
from p2be_exp.config.folders import CONF_DIR, options_of
from p2be_exp.config.former import where_now
from p2be_exp.config.quoting import hint, text_of
from p2be_exp.config.ranges import check_ranges
from p2be_exp.config.schema import COMMAND_SCHEMAS, GROUP_SCHEMAS, SEVERAL, TrainConfig, register_schemas
from p2be_exp.config.several import check_choice, chosen_in, keys_of, refuse_grid
from p2be_exp.config.several import where_now as name_now
from p2be_exp.config.typed import typed
from p2be_exp.config.yaml_files import shown, yaml_line
from p2be_exp.errors import BadInput
from p2be_exp.system.program import PROGRAMS, name_of
from p2be_exp.system.suggestions import did_you_mean


def compose_config(command: str, overrides: Sequence[str], with_hydra: bool = False) -> DictConfig:
    """Compose the configuration of a command, with the plug-ins that the overrides (or P2BE_PLUGINS) name.

    Args:
        command: ``train``, ``evaluate``, ``evaluate_model``, ``corruptions``, ``export`` or ``tracking``.
        overrides: ``KEY=VALUE`` and ``GROUP=OPTION``, as on the command line.
        with_hydra: keep Hydra's own node, ``hydra``.

    Raises:
        BadInput: an unknown key or option, a value of the wrong type, or a plug-in that cannot be loaded; one line.
    """
    from p2be_exp.config.plugins import load_requested  # it imports this package

    load_requested(overrides)
    if command != "train" and (of_hydra := next((each for each in overrides if _key(each).startswith("hydra")), None)):
        where = "; use out=FOLDER to choose where the results go" if command.startswith("evaluate") else ""
        raise BadInput(f"{of_hydra}: is for {name_of('train')}; {name_of(command)} has no keys of Hydra's{where}")
    register_schemas()
    _check_options(overrides)
    with (
        naming_experiment(overrides),
        plain_errors(overrides),
        _fresh_hydra(),
        initialize_config_dir(version_base="1.3", config_dir=str(CONF_DIR), job_name=command),
    ):
        config = compose(command, list(overrides), return_hydra_config=with_hydra)
        if config.get("strict_plugins") and "strict_plugins" not in map(_key, overrides):
            raise BadInput(
                "strict_plugins=true: must be given on the command line; a file of conf/ is read too late for it"
            )
        return config


def parse_overrides(arguments: Sequence[str]) -> dict[str, str]:
    """Keys and values of command-line overrides, as text without quotes and escapes; flags are left out.

    Raises:
        BadInput: an override does not follow Hydra's grammar.
    """
    found: dict[str, str] = {}
    for argument in arguments:
        if argument.startswith("-"):
            continue
        override = _parsed(argument)
        found[override.key_or_group] = "null" if override.is_delete() else text_of(argument, override)
    return found


@contextmanager
def plain_errors(overrides: Sequence[str]) -> Iterator[None]:
    """Turn the errors of Hydra and OmegaConf into :class:`BadInput` with a message of one line."""
    try:
        yield
    except MissingConfigException as error:
        raise BadInput(_unknown_option(error)) from error
    except OverrideParseException as error:
        message = f"{error.override}: must have the form KEY=VALUE ({_first_line(error)}){hint(error.override)}"
        raise BadInput(message) from error
    except YAMLError as error:
        raise BadInput(yaml_line(error)) from error
    except RecursionError as error:
        raise BadInput(f"{' '.join(overrides)}: nested too deeply") from error
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(_describe(error, overrides)) from error


@contextmanager
def naming_experiment(overrides: Sequence[str]) -> Iterator[None]:
    """Prefix an error with the experiment's file if the offending key comes from that file, not from an override."""
    try:
        yield
    except BadInput as error:
        key = re.match(r"[\w.@/]+", str(error))
        typed = any(key and f"{key.group()}.".startswith(f"{_key(each)}.") for each in overrides)
        file = "" if key is None or typed else file_with(chosen_experiments(overrides), key.group())
        raise (BadInput(f"{file}{error}") if file else error) from error.__cause__


@contextmanager
def _fresh_hydra() -> Iterator[None]:
    """Compose while a Hydra application is already running."""
    running = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        GlobalHydra.instance().clear()
        if running is not None:
            GlobalHydra.instance().hydra = running


def _parsed(argument: str) -> Override:
    """Parse one override by Hydra's grammar.

    Raises:
        BadInput: it does not follow the grammar.
    """
    check_ranges(argument)
    try:
        return OverridesParser.create().parse_override(argument)
    except HydraException as error:
        raise BadInput(f"{argument}: must have the form KEY=VALUE ({_first_line(error)}){hint(argument)}") from error
    except RecursionError as error:
        raise BadInput(f"{argument}: nested too deeply") from error


def _check_options(overrides: Sequence[str]) -> None:
    """Check that options are chosen by their names, one of a group or as many as it takes: Hydra's errors are unclear.

    Raises:
        BadInput: names the group and its options.
    """
    for argument in overrides:
        override = _parsed(argument)
        group = override.key_or_group
        if group == "hydra.verbose" and not (isinstance(override.value(), bool | str) or _all_texts(override.value())):
            raise BadInput(f"{argument}: must be true, false, or names of loggers")
        if group in SEVERAL and override.is_sweep_override():
            refuse_grid(argument, group)
        is_option = group in GROUP_SCHEMAS or group == "experiment"
        if not is_option or override.is_delete() or override.is_sweep_override():
            continue
        value = override.value()
        if group in SEVERAL:
            check_choice(argument, group, value)
            continue
        if group == "experiment":
            value = value if isinstance(value, str) else "several" if _all_texts(value) else None
        if not isinstance(value, str | dict):
            raise BadInput(f"{argument}: must be the name of one option: {', '.join(options_of(group))}")
    for file in experiment_files(chosen_experiments(overrides)):
        check_experiment(file)


def chosen_experiments(overrides: Sequence[str]) -> list[str]:
    """The experiments that overrides choose, in order; all values of a sweep are included."""
    return [
        name
        for each in overrides
        if each.lstrip("+").startswith("experiment=")
        for name in re.split(r"[,\[\]'\" ]+", each.partition("=")[2])
        if name
    ]


def _all_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, str) for each in value)


_EXTRAS = {
    "hydra/sweeper=optuna": "optuna",
    "hydra/launcher=joblib": "joblib",
    "hydra/launcher=submitit_slurm": "slurm",
    "hydra/launcher=submitit_local": "slurm",
}
"""Options of Hydra's own groups that a package brings, and the extra that installs it."""


def _unknown_option(error: MissingConfigException) -> str:
    if schema := re.fullmatch(r"/?schema/(\w+)/(\w+)", error.missing_cfg_file or ""):
        group, option = schema.groups()
        return (
            f"{group}={option}: conf/{group}/{option}.yaml exists, but no loaded plug-in registers it; "
            f"name the module that does in plugins=[NAME]"
        )
    missing = re.search(r"Could not find '(?:(.*)/)?([^/']*)'", str(error))
    of_several = re.fullmatch(
        r"(\w+)/(\w+)", error.missing_cfg_file or ""
    )  # one of a list, which Hydra words otherwise
    found = missing or of_several
    group, option = (found.group(1), found.group(2)) if found else (None, error.missing_cfg_file)
    if now := where_now(group or "", option or ""):
        return now
    options = error.options if error.options else options_of(group) if group else []
    if extra := _EXTRAS.get(f"{group}={option}"):
        return f"{group}={option}: not installed; pip install 'p2be-exp[{extra}]'"
    message = f"no such {group}; available: {', '.join(sorted(options))}"
    return f"{group}={option}: {message}{did_you_mean(option or '', options)}"


def _describe(error: Exception, overrides: Sequence[str]) -> str:
    causes = (error, error.__cause__, error.__context__)
    cause = next((each for each in causes if isinstance(each, OmegaConfBaseException)), error)
    text = _first_line(cause)
    file = _file_of(error)
    key = getattr(cause, "full_key", None) or _quoted(error)
    plain_key = re.sub(r"\[\d+\]$", "", key or "")
    last_first = reversed(overrides)  # if a key is given twice, the last one counts
    given = next((item for item in last_first if key and f"{_key(item)}.".startswith(f"{plain_key}.")), None)
    subject = given or key or "configuration"
    if file:
        key, value = getattr(cause, "full_key", None) or "", getattr(cause, "value", None)
        subject = f"{file}: {key}{'' if value is None else f'={value}'}" if key else file
    message = f"{subject if given or key or file else ' '.join(overrides)}: {text}"
    if "not in" in text or str(error).startswith("Could not override"):
        return f"{subject}: unknown key{_did_you_mean(key if file else _key(subject), overrides)}" if key else message
    if "could not be converted to" in text:
        return f"{subject}: must be {_TYPES.get(text.rsplit(' ', 1)[-1], 'of the right type')}"
    if "is not a ListConfig" in text:
        key, _, value = subject.partition("=")
        return f"{subject}: must be a list, such as {key}=[{value}]"
    if "is not a valid bool" in text:
        return f"{subject}: must be true or false"
    if "is not Optional" in text or "Missing mandatory value" in text:
        return f"{subject}: a value is required"
    return message


def _file_of(error: Exception) -> str | None:
    """The experiment file that an error of Hydra is about."""
    named = re.match(r"In '(?:[^']*/)?experiment/([^']+)'", _first_line(error))
    return next((shown(file) for file in experiment_files([named.group(1)])), None) if named else None


_TYPES = {"Integer": "a whole number", "Float": "a number"}


def _did_you_mean(key: str, overrides: Sequence[str]) -> str:
    known = known_keys(overrides)
    group, _, name = key.rpartition(".")
    if now := name_now(key, chosen_in(overrides, group)):
        return f"; it is now {now}"
    full_keys = [other for other in known if other.endswith(f".{name}")]
    if key in known and group.partition(".")[0] in SEVERAL:
        return f"; it belongs to {group.replace('.', '=')}"
    if key in known:  # it exists, but for another option or another command
        schemas = GROUP_SCHEMAS.get(group, COMMAND_SCHEMAS)
        owners = [owner for owner, schema in schemas.items() if name in schema.__dataclass_fields__]
        if group:
            return f"; it belongs to {group}={' or '.join(owners)}"
        if full_keys and not set(owners) & set(PROGRAMS):
            return f"; did you mean {full_keys[0]}?"
        return f"; it belongs to {' or '.join(name_of(owner) for owner in owners)}"
    siblings = [other.rpartition(".")[2] for other in known if group and other.rpartition(".")[0] == group]
    if siblings:
        close = difflib.get_close_matches(name, siblings, n=1, cutoff=0.7)
        return f"; did you mean {group}.{close[0]}?" if close else f"; {group} has: {', '.join(siblings)}"
    close = full_keys or difflib.get_close_matches(key, known, n=1, cutoff=0.7)
    return f"; did you mean {close[0]}?" if close else "; see --help for the available keys"


def known_keys(overrides: Sequence[str]) -> list[str]:
    """Every key of all commands, given the group options in the overrides (of all options where none is chosen)."""
    chosen = dict(item.lstrip("+").split("=", 1) for item in overrides if "=" in item)
    keys = {field for schema in COMMAND_SCHEMAS.values() for field in schema.__dataclass_fields__}
    for group, options in GROUP_SCHEMAS.items():
        if group in SEVERAL:
            keys |= {*keys_of(group)}
            continue
        schemas = [options[chosen[group]]] if chosen.get(group) in options else options.values()
        keys |= {f"{group}.{field}" for schema in schemas for field in schema.__dataclass_fields__}
    return sorted(keys)


def to_plain(config: DictConfig) -> dict[str, Any]:
    """The resolved configuration as plain dictionaries, lists and values."""
    with plain_errors([]):
        return cast("dict[str, Any]", OmegaConf.to_container(config, resolve=True, throw_on_missing=True))


def training_config(overrides: Sequence[str]) -> TrainConfig:
    """The typed configuration of a training; whether its values are compatible is not checked.

    Args:
        overrides: see :func:`compose_config`.

    Raises:
        BadInput: see :func:`compose_config`.
    """
    return typed(to_plain(compose_config("train", overrides)))


def _key(override: str) -> str:
    return override.lstrip("+~").split("=", 1)[0]


def _quoted(error: Exception) -> str | None:
    found = re.search(r"'([^']+)'", _first_line(error))
    return found.group(1) if found else None


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
