"""Plug-ins: modules outside this package that register encodings, backbones, regimes and attacks of their own.

A plug-in is named by its module in ``plugins=[...]`` or in the environment variable P2BE_PLUGINS. It is imported before
the configuration is composed. ``config.yaml`` keeps the names, so that whoever reads the run later knows what it needs;
but that is the word of whoever made the run, and a plug-in is code: it is imported only where the reader names it too,
and only if its file is the one that the run was made with.
"""

from __future__ import annotations

import dataclasses
import importlib
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import MISSING, OmegaConf

from p2be_exp.config.checks import INNER_ATTACKS
from p2be_exp.config.folders import PLUGIN_FOLDERS, conf_folders, split_plugins
from p2be_exp.config.former import FORMER, former_options, where_now
from p2be_exp.config.plugin_files import digest_of, files_of
from p2be_exp.config.schema import GROUP_SCHEMAS
from p2be_exp.errors import BadInput
from p2be_exp.system.foreign import in_run_folder

VARIABLE = "P2BE_PLUGINS"
"""Environment variable with the names of plug-ins, separated by commas: what the key ``plugins`` is by default."""

_OWNERS: dict[tuple[str, str], str] = {}
"""The module that registered an option, by group and name."""

_DIGESTS: dict[str, str] = {}
"""SHA-256 of the files of plug-ins and of the modules that registered an option, as they were when imported."""

_ALLOWED: set[str] = set()
"""Modules that the reader of runs has named: :func:`load_plugins_of` may import them."""

_BASES = {
    "encoding": ("encodings", "TableEncoding"),
    "backbone": ("backbones", "Backbone"),
    "regime": ("regimes", "Regime"),
    "attack": ("attacks", "Attack"),
}
"""What the classes of a group are derived from: where it is, imported only when it is needed, and its name."""

Made = TypeVar("Made", bound=Callable[..., Any])


# -- what a plug-in calls ---------------------------------------------------------------------------------------------


def register_encoding(name: str, schema: type) -> Callable[[Made], Made]:
    """Make a class known as ``encoding=NAME``.

    The class gets the keys of its schema as arguments, apart from ``name`` and ``lambda_smooth`` (the weight of its
    ``smoothness()``, which a table that learns needs).

    Args:
        name: small letters, digits and underscores; the class is given it.
        schema: a dataclass with a field ``name`` and one a key (:func:`p2be_exp.config.number`, ``choice``).

    Returns:
        The decorator of a :class:`~p2be_exp.encodings.TableEncoding`.

    Raises:
        BadInput: the name is taken or not allowed, the schema is none, or the class is of another kind.
    """
    from p2be_exp.encodings import _ENCODINGS

    return _register("encoding", name, schema, _ENCODINGS)


def register_backbone(name: str, schema: type) -> Callable[[Made], Made]:
    """Make a class or function known as ``backbone=NAME``; it gets ``num_classes`` and the keys of its schema.

    Args, raises: see :func:`register_encoding`.

    Returns:
        The decorator of a :class:`~p2be_exp.backbones.Backbone`.
    """
    from p2be_exp.backbones import _BACKBONES

    return _register("backbone", name, schema, _BACKBONES)


def register_regime(name: str, schema: type) -> Callable[[Made], Made]:
    """Make a class known as ``regime=NAME``; it gets ``seed``, ``augment`` and the keys of its schema.

    A key ``attack`` is an inner attack: it arrives built.

    Args, raises: see :func:`register_encoding`.

    Returns:
        The decorator of a :class:`~p2be_exp.regimes.Regime`.
    """
    from p2be_exp.regimes import _REGIMES

    return _register("regime", name, schema, _REGIMES)


def register_attack(name: str, schema: type, for_training: bool = True) -> Callable[[Made], Made]:
    """Make a class known as ``attack=NAME``; it gets one radius as ``eps_levels`` and the keys of its schema.

    Args:
        name: see :func:`register_encoding`. The attack's ``id`` starts with it, and is it where the class says nothing.
        schema: a subclass of :class:`p2be_exp.config.schema.AttackConfig`.
        for_training: whether a regime may train against it.

    Returns:
        The decorator of an :class:`~p2be_exp.attacks.Attack`.

    Raises:
        BadInput: see :func:`register_encoding`.
    """
    from p2be_exp.attacks.build import _ATTACKS

    decorator = _register("attack", name, schema, _ATTACKS)

    def register(made: Made) -> Made:
        decorator(made)
        if "id" not in vars(made):
            made.id = name
        if for_training and name not in INNER_ATTACKS:
            INNER_ATTACKS.append(name)
        return made

    return register


def _register(group: str, name: str, schema: type, registry: dict[str, Any]) -> Callable[[Made], Made]:
    module = sys._getframe(2).f_globals["__name__"]  # whoever called register_...

    def register(made: Made) -> Made:
        _check_new(group, name, schema, made, module)
        registry[name] = made
        GROUP_SCHEMAS[group][name] = schema
        _OWNERS[group, name] = module
        _keep_digest(module)
        if isinstance(made, type):
            made.name = name
        return made

    return register


def _check_new(group: str, name: str, schema: type, made: Callable[..., Any], module: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):  # it becomes part of file names and of conditions
        raise BadInput(f"plug-in {module}: {group}={name}: allowed are small letters, digits and underscores")
    owner = _OWNERS.get((group, name), "p2be_exp" if name in GROUP_SCHEMAS[group] else module)
    if owner != module:  # a module that is imported again, or a cell that is run again, replaces its own
        raise BadInput(f"plug-in {module}: {group}={name} is there already, from {owner}; choose another name")
    keys = schema.__dataclass_fields__ if dataclasses.is_dataclass(schema) else {}
    needed = ("name", "eps_levels", "save_images") if group == "attack" else ("name",)
    if missing := [key for key in needed if key not in keys]:
        raise BadInput(f"plug-in {module}: {group}={name}: the schema has to be a dataclass with {', '.join(missing)}")
    base = _base_of(group)
    if not (issubclass(made, base) if isinstance(made, type) else group == "backbone" and callable(made)):
        or_else = ", or a function that returns one" if group == "backbone" else ""
        raise BadInput(f"plug-in {module}: {group}={name} has to be a subclass of {base.__name__}{or_else}")
    if group == "encoding" and "lambda_smooth" not in keys and _learns_smoothly(made):
        raise BadInput(f"plug-in {module}: encoding={name} has a smoothness, so that its schema needs lambda_smooth")


def _base_of(group: str) -> type:
    folder, name = _BASES[group]
    return getattr(importlib.import_module(f"p2be_exp.{folder}"), name)


def _learns_smoothly(made: Callable[..., Any]) -> bool:
    from p2be_exp.encodings import TableEncoding

    return getattr(made, "smoothness", TableEncoding.smoothness) is not TableEncoding.smoothness


# -- loading them -----------------------------------------------------------------------------------------------------


def load_plugins(names: Iterable[str], where: str = "plugins") -> None:
    """Import plug-ins, installed ones or from the current folder, and look for options in the ``conf/`` beside them.

    Args:
        names: of modules; those that are loaded already are left alone.
        where: the key or run that names them, for the message.

    Raises:
        BadInput: one cannot be imported, or registers an option whose YAML file is missing or does not fit.
    """
    for name in names:
        if name not in PLUGIN_FOLDERS:
            _load(name, where)


def load_requested(arguments: Sequence[str]) -> None:
    """Load the plug-ins that a command line (``plugins=[...]``), or else P2BE_PLUGINS, names.

    Raises:
        BadInput: see :func:`load_plugins`; or the value is no list of names.
    """
    names, where = _requested(arguments)
    load_plugins(names, where)


def allow_requested(arguments: Sequence[str]) -> None:
    """Note the plug-ins that a command line, or else P2BE_PLUGINS, names: a run that is read may need them.

    They are imported when it does, and not before its files have been compared.

    Raises:
        BadInput: the value is no list of names.
    """
    allow(_requested(arguments)[0])


def allow(names: Iterable[str]) -> None:
    """Note modules that may be imported for a run that needs them."""
    _ALLOWED.update(names)


def _requested(arguments: Sequence[str]) -> tuple[list[str], str]:
    """Names of modules, and where they are from."""
    given = [argument for argument in arguments if argument.lstrip("+").startswith("plugins=")]
    return (_names(given[-1]), given[-1]) if given else (split_plugins(VARIABLE), VARIABLE)


def load_plugins_of(config: Mapping[str, Any], recorded: Mapping[str, str], where: str) -> None:
    """Load the plug-ins of a run that somebody else may have made.

    Args:
        config: of the run; it need not have been checked.
        recorded: what :func:`digests` gave when the run was made.
        where: the key and run, for the message.

    Raises:
        BadInput: one was not named by the reader, is another file than the run was made with (found out before it is
            imported), is inside a run folder, or cannot be imported.
    """
    names = config["plugins"]
    known = {*PLUGIN_FOLDERS, *sys.modules, *_ALLOWED, *split_plugins(VARIABLE)}
    if strange := [name for name in names if name not in known]:
        listed = ",".join(strange)
        raise BadInput(
            f"{where}: needs the plug-in{'s' * (len(strange) > 1)} {', '.join(strange)}, code that the run names and "
            f"you have not; if you trust it, plugins=[{listed}] (or {VARIABLE}={listed}) allows it"
        )
    for module in names:
        if module not in PLUGIN_FOLDERS:
            _check_file(module, recorded, where)
    for module in recorded:  # those of its parts that can be found
        if module not in sys.modules and any(_belongs(module, name) for name in names) and files_of(module):
            _check_file(module, recorded, where)
    load_plugins(names, where)
    check_unchanged(config, recorded, where)


def load_former_of(config: Mapping[str, Any], where: str) -> None:
    """Load the plug-ins that have options of a run which were part of the package when it was made.

    Args, raises: see :func:`load_plugins_of`; there is no file to compare theirs with.
    """
    for group, name in former_options(config):
        module = FORMER[group, name]
        if name in GROUP_SCHEMAS[group]:
            continue
        if module not in {*sys.modules, *_ALLOWED, *split_plugins(VARIABLE)}:
            raise BadInput(f"{where}: {where_now(group, name)}")
        load_plugins([module], where)


def _check_file(module: str, recorded: Mapping[str, str], where: str) -> None:
    """Check that the file of a module, which may not be imported yet, is the one of a run."""
    if module in sys.modules:
        _keep_digest(module)
        found = _DIGESTS.get(module)
    else:
        _look_here()
        files = files_of(module)
        found = digest_of(files[-1]) if files else None
        if not files:
            raise BadInput(f"{where}: its plug-in {module} is not found; it is looked for {_WHERE_LOOKED}")
    if recorded.get(module) != found:
        raise BadInput(_other_file(module, where))


def digests() -> dict[str, str]:
    """SHA-256 by module: of every plug-in that is loaded, and of every module that has registered an option.

    No commit of this package covers them. Each is of the file as it was when Python read it.
    """
    return dict(_DIGESTS)


def digests_of_attack(attack: str) -> dict[str, str]:
    """The part of :func:`digests` that decides what an attack does; empty for one of this package."""
    owner = _OWNERS.get(("attack", attack))
    return {owner: _DIGESTS[owner]} if owner in _DIGESTS else {}


def check_unchanged(config: Mapping[str, Any], recorded: Mapping[str, str], where: str) -> None:
    """Check that the plug-ins of a run, which are loaded, are the files that it was made with.

    Args:
        config: of the run; it need not have been checked.
        recorded: what :func:`digests` gave when the run was made.
        where: the key and run, for the message.

    Raises:
        BadInput: one is another file now; the same configuration would give another network.
    """
    names = config["plugins"]
    owners = {_OWNERS[option] for option in _chosen(config) if option in _OWNERS}
    parts = [module for module in recorded if module in _DIGESTS and any(_belongs(module, name) for name in names)]
    moved_out = set(FORMER.values()) - set(recorded)  # since the run was made
    for module in dict.fromkeys([*names, *sorted(owners - {"__main__"} - moved_out), *parts]):
        if recorded.get(module) != _DIGESTS.get(module):
            raise BadInput(_other_file(module, where))


def _other_file(module: str, where: str) -> str:
    return (
        f"plugins=[{module}]: its file is not the one that {where} was made with (by its SHA-256 in run.json); "
        "put the file back as it was, or train anew"
    )


def _chosen(config: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Group and name of the options that a run has chosen among those that a plug-in may add to."""
    nodes = [(group, config.get(group)) for group in _BASES]
    nodes += [("attack", node.get("attack")) for group, node in nodes if group == "regime" and isinstance(node, dict)]
    return [(group, str(node.get("name"))) for group, node in nodes if isinstance(node, dict)]


def _keep_digest(module: str) -> None:
    if file := _file_of(module):
        _DIGESTS[module] = digest_of(file)


def _file_of(module: str) -> Path | None:
    """The file of a module that is loaded; some name one, as seen from nowhere, that there is not (``torch.ops``)."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return Path(file) if file and Path(file).is_absolute() and Path(file).is_file() else None


def forget(name: str) -> None:
    """Take back all that a plug-in has registered, so that it can be loaded anew."""
    if registered := [key for key, module in _OWNERS.items() if _belongs(module, name)]:
        _unregister(registered)
    PLUGIN_FOLDERS.pop(name, None)
    _ALLOWED.discard(name)
    for known in (_DIGESTS, sys.modules):
        for module in [each for each in known if _belongs(each, name)]:
            del known[module]


def _unregister(options: Iterable[tuple[str, str]]) -> None:
    """Remove options, each a group and a name, from where their classes are; PyTorch is imported with these."""
    from p2be_exp.attacks.build import _ATTACKS
    from p2be_exp.backbones import _BACKBONES
    from p2be_exp.encodings import _ENCODINGS
    from p2be_exp.regimes import _REGIMES

    registries = {"encoding": _ENCODINGS, "backbone": _BACKBONES, "regime": _REGIMES, "attack": _ATTACKS}
    for group, option in options:
        del _OWNERS[group, option], registries[group][option], GROUP_SCHEMAS[group][option]
        if group == "attack" and option in INNER_ATTACKS:
            INNER_ATTACKS.remove(option)


def _names(argument: str) -> list[str]:
    try:
        value = OverridesParser.create().parse_override(argument).value()
    except HydraException as error:
        raise BadInput(f"{argument}: not a list of modules; one is written plugins=[NAME,NAME]") from error
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise BadInput(f"{argument}: not a list of modules; one is written plugins=[NAME,NAME]")
    return [str(name) for name in value]


def _load(name: str, where: str) -> None:
    _look_here()
    if (inside := next((file for file in files_of(name) if in_run_folder(file)), None)) and name not in sys.modules:
        raise BadInput(f"{where}: plug-in {name} is {inside}, inside a run folder; nothing there is imported")
    before = set(_OWNERS)
    try:
        importlib.import_module(name)
        file = _file_of(name)
        folder = file.resolve().parent / "conf" if file else None
        PLUGIN_FOLDERS[name] = folder if folder is not None and folder.is_dir() else None
        _keep_digest(name)
        _check_files(key for key in _OWNERS if key not in before or _belongs(_OWNERS[key], name))
    except BadInput as error:
        forget(name)
        raise BadInput(f"{where}: {error}") from error
    except BaseException as error:
        forget(name)
        if not isinstance(error, Exception | SystemExit):
            raise
        why = str(error).strip().splitlines()
        raise BadInput(
            f"{where}: plug-in {name} cannot be imported ({type(error).__name__}{f': {why[0]}' if why else ''}); "
            f"it is looked for {_WHERE_LOOKED}"
        ) from error


_WHERE_LOOKED = "in the current folder and among what is installed"


def _look_here() -> None:
    """Let Python look for plug-ins in the current folder, unless that is part of a run, which a stranger may have made.

    At the end: a file that happens to be there hides nothing that is installed.
    """
    here = Path.cwd()
    if str(here) not in sys.path and not in_run_folder(here / "plugin.py"):
        sys.path.append(str(here))


def _check_files(registered: Iterable[tuple[str, str]]) -> None:
    for group, option in registered:
        module, file = _OWNERS[group, option], f"conf/{group}/{option}.yaml"
        found = [path for folder in conf_folders() if (path := folder / group / f"{option}.yaml").is_file()]
        if not found:
            raise BadInput(f"plug-in {module}: {group}={option} has no {file} beside its module")
        if why := _unfit(found[0], group, option):  # the first is the one that Hydra reads
            raise BadInput(f"plug-in {module}: {file}: {why}")


def _unfit(file: Path, group: str, option: str) -> str | None:
    """What keeps a YAML file from being that of an option; None where nothing does."""
    try:
        content = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    except Exception as error:  # of YAML, of OmegaConf, of the file system
        return f"cannot be read ({type(error).__name__})"
    if not isinstance(content, dict):
        return "not a list of keys and values"
    line, defaults = f"/schema/{group}/{option}@_here_", content.get("defaults")
    if not isinstance(defaults, list) or line not in defaults:
        return f"its defaults need the line - {line}, which checks its keys and values"
    of_schema = getattr(GROUP_SCHEMAS[group][option], "name", MISSING)
    if (name := content.get("name", of_schema)) != option:
        return f"name: {name}; its name has to be {option}"
    return None


def _belongs(module: str, name: str) -> bool:
    return module == name or module.startswith(f"{name}.")
