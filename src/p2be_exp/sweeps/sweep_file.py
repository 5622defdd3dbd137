"""A file of ``sweeps/``, read into overrides for a multirun."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from p2be_exp.config.yaml_files import read_yaml
from p2be_exp.errors import BadInput
from p2be_exp.system.command_line import quoted
from p2be_exp.system.installation import data_folder
from p2be_exp.system.suggestions import did_you_mean

SWEEPS_DIR = data_folder("sweeps")
"""The folder of the sweep files."""

SCALES = ("full", "small")

FIRST = "first"
"""Name and folder of a run that is trained before the others and has no name of its own."""

_PLACEHOLDER = re.compile(r"(?<!\$)\{([a-z][a-z0-9_]*)\}")
"""In a value, the folder of a first run by its name; ``${KEY}`` is an interpolation."""

_SECTIONS = {"title", "about", "first", "full", "small", "blocks"}
_PLAIN = re.compile(r"[\w./+-]+", re.ASCII)
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_RESERVED = {FIRST, "report", "report_attacks"}
"""Folders of a sweep that no block and no named first run may be called by."""


@dataclass(frozen=True)
class Sweep:
    """The jobs of a sweep at one scale.

    Attributes:
        name: of the file.
        scale: ``full`` or ``small``.
        title: the table or figure, and what is in it.
        about: remarks on it at this scale; may be empty.
        grids: by block, overrides ``KEY=VALUE``; those with several values, joined by commas, span the block's grid.
            A file without blocks has one grid, with an empty name.
        first: by name, overrides of each run that others need; a run that none of them needs is left out.
    """

    name: str
    scale: str
    title: str
    about: str
    grids: Mapping[str, tuple[str, ...]]
    first: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def list_sweeps() -> list[str]:
    """Names of the available sweeps."""
    return sorted(path.stem for path in SWEEPS_DIR.glob("*.yaml"))


def read_sweep(name: str, scale: str = "full", given: Sequence[str] = ()) -> Sweep:
    """Read a sweep; a user's own overrides replace the file's.

    Args:
        name: of the file in ``sweeps/``, without its suffix.
        scale: ``full`` or ``small``; keys that ``small`` does not set are as in ``full``.
        given: the user's overrides; one with several values replaces the file's in the grid.

    Raises:
        BadInput: there is no such sweep or scale, its file does not follow ``docs/sweeps.md``, or the overrides leave
            none of its blocks.
    """
    if name not in (known := list_sweeps()):
        raise BadInput(f"sweeps={name}: no such sweep; available: {', '.join(known)}{did_you_mean(name, known)}")
    if scale not in SCALES:
        raise BadInput(f"scale={scale}: must be one of {', '.join(SCALES)}")
    content = read_yaml(SWEEPS_DIR / f"{name}.yaml")
    _check_form(f"sweeps/{name}.yaml", content)
    about = " ".join(str(content["small"].pop("note", "") if scale == "small" else content.get("about", "")).split())
    content["full"].pop("note", None)
    common = {"sweeps": name, "scale": scale}
    if scale == "small":
        common["departs_from_paper"] = f"scale=small of sweeps={name}: {about}"
    grids = {
        block: _overrides({**keys, **common}, of_block)
        for block, (keys, of_block) in _chosen(_blocks(content, scale), given).items()
    }
    if not grids:
        raise BadInput(f"sweeps={name}: no block of its file has {' '.join(given)}")
    first = {
        run: _overrides({**_at_scale(section, scale), **common}, _shared(given))
        for run, section in _needed_first(name, content, grids).items()
    }
    return Sweep(name, scale, content["title"], about, grids, first)


def first_runs_of(override: str) -> set[str]:
    """Names of the first runs whose folders an override names.

    >>> first_runs_of("encoding.table_from=null,{first}")
    {'first'}
    """
    return set(_PLACEHOLDER.findall(override))


def with_folders(override: str, folders: Mapping[str, str]) -> str:
    """An override with the folders of first runs in it.

    Args:
        override: with their placeholders.
        folders: by the name of the run, in Hydra's grammar.

    >>> with_folders("model.robust={robust}", {"robust": "sweep/robust"})
    'model.robust=sweep/robust'
    """
    return _PLACEHOLDER.sub(lambda found: folders.get(found[1], found[0]), override)


def _check_form(file: str, content: Any) -> None:
    """Check that a sweep file has its sections, and that they are mappings of keys to values.

    Raises:
        BadInput: names the file, the section, the key and its value.
    """
    if not isinstance(content, dict) or not {"title", "full", "small"} <= set(content) <= _SECTIONS:
        found = ", ".join(map(str, content)) if isinstance(content, dict) else f"no sections ({content})"
        raise BadInput(
            f"{file}: sections are {', '.join(sorted(_SECTIONS))}; title, full and small are required; found: {found}"
        )
    for key in ("title", "about"):
        if not isinstance(content.get(key, ""), str):
            raise BadInput(f"{file}: {key}={content[key]}: must be text")
    sections = {name: content[name] for name in SCALES}
    taken: set[str] = set(_RESERVED)
    if "first" in content:
        first, named = content["first"], _is_named(content["first"])
        sections |= _sections_of(file, "first", first, taken) if named else _scales_of(file, "first", first)
        taken |= set(first) if named else set()
    if "blocks" in content:
        sections |= _sections_of(file, "blocks", content["blocks"], taken)
    for name, section in sections.items():
        if not isinstance(section, dict):
            raise BadInput(f"{file}: {name}={section}: must be keys with values")
        for key, value in section.items():
            if name.startswith("first.") and first_runs_of(str(value)):
                raise BadInput(f"{file}: {name}: {key}={value}: a first run cannot need another")
            if not isinstance(key, str) or isinstance(value, dict):
                raise BadInput(f"{file}: {name}: {key}={value}: keys must be written as on the command line, GROUP.KEY")
            if value == []:
                raise BadInput(f"{file}: {name}: {key}=[]: at least one value is required")


def _sections_of(file: str, key: str, content: Any, taken: Collection[str]) -> dict[str, Any]:
    """The sections of named runs or blocks, by their place in the file; none may have a name that is taken.

    Raises:
        BadInput: they are of another form.
    """
    if not isinstance(content, dict) or not content:
        raise BadInput(f"{file}: {key}={content}: must be names with sections")
    found: dict[str, Any] = {}
    for name, section in content.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name in taken:
            others = " or ".join(sorted(taken))
            raise BadInput(f"{file}: {key}: {name}: a name has small letters, digits and _, and is not {others}")
        found |= _scales_of(file, f"{key}.{name}", section)
    return found


def _scales_of(file: str, key: str, section: Any) -> dict[str, Any]:
    """What a section has for each scale, by its place in the file.

    Raises:
        BadInput: it is of another form.
    """
    if not isinstance(section, dict) or not {"full"} <= set(section) <= set(SCALES):
        raise BadInput(f"{file}: {key}={section}: its sections are full and small; full is required")
    return {f"{key}.{scale}": keys for scale, keys in section.items()}


def _is_named(first: Any) -> bool:
    """Whether a section ``first`` names its runs, rather than being one run's scales."""
    return isinstance(first, dict) and bool(first) and not set(SCALES) & set(first)


def _at_scale(section: Mapping[str, Any], scale: str) -> dict[str, Any]:
    """The keys of a section at a scale; a key with the value ``drop`` in ``small`` is left out."""
    keys = {**section["full"], **(section.get("small", {}) if scale == "small" else {})}
    return {key: value for key, value in keys.items() if value != "drop"}


def _needed_first(
    name: str, content: Mapping[str, Any], grids: Mapping[str, Sequence[str]]
) -> dict[str, Mapping[str, Any]]:
    """By name, the sections of the first runs that the grids need, in the order of the file.

    Raises:
        BadInput: the file has no section for one of them.
    """
    first = content.get("first", {})
    there = first if _is_named(first) else {FIRST: first} if first else {}
    needed = {run for grid in grids.values() for override in grid for run in first_runs_of(override)}
    for run in sorted(needed - set(there)):
        section = f"first.{run}" if _is_named(first) else "first"
        raise BadInput(f"sweeps/{name}.yaml: {{{run}}} requires a section {section}")
    return {run: section for run, section in there.items() if run in needed}


# -- blocks -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Block:
    """The keys of a block at a scale with those of the whole file, and which of them it sets itself."""

    keys: Mapping[str, Any]
    own: frozenset[str]


def _blocks(content: Mapping[str, Any], scale: str) -> dict[str, _Block]:
    """The blocks of a file at a scale; a file without any is one, with an empty name.

    A block's keys win over the file's of the same scale, and ``small`` over ``full``: what is small stays small.
    """
    found = {}
    for name, block in content.get("blocks", {"": {"full": {}}}).items():
        parts = [{**content[part], **block.get(part, {})} for part in SCALES]
        keys = _at_scale(dict(zip(SCALES, parts, strict=True)), scale)
        own = {key for part in SCALES for key in block.get(part, {})}
        found[name] = _Block(keys, frozenset(own & set(keys)))
    return found


def _chosen(blocks: Mapping[str, _Block], given: Sequence[str]) -> dict[str, tuple[Mapping[str, Any], list[str]]]:
    """By block that is left, its keys and the user's overrides in it.

    An override of a key that blocks set chooses among their values: it leaves each block those of its values that the
    block has, and leaves out the blocks that have none. Where no block has any of them, they replace the values of all
    blocks that set the key. Blocks that do not set it keep out of it. Other overrides are for every block.
    """
    kept = {name: (block.keys, list[str]()) for name, block in blocks.items()}
    for override in given:
        key, wanted = _key(override), override.partition("=")[2].split(",")
        setting = [name for name, block in blocks.items() if key in block.own]
        theirs = {name: _values(blocks[name].keys[key]).split(",") for name in setting}
        has = {name: [value for value in wanted if value in theirs[name]] for name in setting}
        for name in list(kept):
            if name not in setting:
                more = [] if setting else [override]
            elif has[name]:
                more = [f"{override.partition('=')[0]}={','.join(has[name])}"]
            elif not any(has.values()):
                more = [override]
            else:
                del kept[name]
                continue
            kept[name][1].extend(more)
    return kept


# -- overrides --------------------------------------------------------------------------------------------------------

_SHARED = re.compile(r"(trainer|logger)(\..+)?|data_dir|limit_train|limit_test|encoding\.M")


def _shared(given: Sequence[str]) -> list[str]:
    """The user's overrides of how to run, and of the code length, which also apply to the runs before the grid."""
    return [override for override in given if _SHARED.fullmatch(_key(override))]


def _overrides(keys: Mapping[str, Any], given: Sequence[str]) -> tuple[str, ...]:
    """Overrides of a section's keys, with the user's own at the same positions, so that the jobs keep their order.

    If the user chooses another option of a group, the section's keys of that group are dropped.
    """
    theirs = {_key(override): override for override in given}
    replaced = [key for key in keys if key in theirs and not _within(theirs[key], keys[key])]
    kept = {key: value for key, value in keys.items() if not any(of_group(key, group) for group in replaced)}
    mine = [theirs.pop(key, f"{key}={_values(value)}") for key, value in kept.items()]
    return (*mine, *theirs.values())


def of_group(key: str, group: str) -> bool:
    """Whether a key is one of a group's, or chooses an option within it: ``regime.beta``, ``attack@regime.attack``."""
    return key.startswith(f"{group}.") or f"@{group}." in key


def _within(override: str, value: Any) -> bool:
    """Whether every value of a user's override is one of the section's."""
    return set(override.partition("=")[2].split(",")) <= set(_values(value).split(","))


def _key(override: str) -> str:
    return override.split("=")[0].lstrip("+~")


def _values(value: Any) -> str:
    """A value in Hydra's grammar; a list spans the grid, a nested list is one value."""
    return ",".join(_value(each) for each in value) if isinstance(value, list) else _value(value)


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(_value(each) for each in value)}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = str(value)
    if _PLAIN.fullmatch(text) or _PLACEHOLDER.fullmatch(text) or text.startswith("${"):
        return text
    return quoted(text)
