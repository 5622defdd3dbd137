"""The text of ``--help GROUP``: a group's options with their keys, defaults, allowed values and remarks."""

from __future__ import annotations

import dataclasses
import re
import textwrap
from collections.abc import Mapping, Sequence
from functools import cache

from p2be_exp.config.fields import Allowed
from p2be_exp.config.folders import CONF_DIR, conf_folders, options_of
from p2be_exp.config.schema import GROUP_SCHEMAS
from p2be_exp.errors import BadInput
from p2be_exp.sweeps.sweep_file import SCALES, list_sweeps, read_sweep
from p2be_exp.system.suggestions import did_you_mean

SWEEPS = "sweeps"
_PRESET = "official"
_FROM_PRESET = re.compile(r"\$\{preset\.(?P<key>\w+)\}")
_KEY = re.compile(r"(?P<key>\w+):")
_LINE = re.compile(r"(?P<code>(?:[^#\s]|\s+(?=[^#\s])|(?<=\S)#)*)(?:\s*#\s?(?P<remark>.*))?")
_COLUMNS = 118
_WIDEST = 44  # a default that is longer has its remark right behind it


def wants_help(arguments: Sequence[str]) -> bool:
    """Whether help is asked for: ``-h``, ``--help`` or ``help=GROUP``."""
    return any(each in ("-h", "--help") or each.startswith("help=") for each in arguments)


def asked_for(arguments: Sequence[str], groups: Sequence[str]) -> list[str]:
    """What help is asked for by words beside ``--help``: ``GROUP``, ``GROUP=OPTION`` or ``help=GROUP``.

    Args:
        arguments: of the command.
        groups: that it has.

    Raises:
        BadInput: a word is no group, or one has no such option.
    """
    words = [each.removeprefix("help=") for each in arguments if not each.startswith("-")]
    return [each for each in words if _is_asked_for(each, groups)]


def _is_asked_for(word: str, groups: Sequence[str]) -> bool:
    group, given, name = word.partition("=")
    if group not in groups:
        if given:  # a key, which does not matter here
            return False
        raise BadInput(f"--help {word}: must be one of {', '.join(groups)}{did_you_mean(word, groups)}")
    known = list_sweeps() if group == SWEEPS else options_of(group)
    if given and name not in known:
        raise BadInput(f"--help {word}: must be one of {', '.join(known)}{did_you_mean(name, known)}")
    return True


def group_help(asked: str) -> str:
    """The options of a group, or one of them, each with the lines of its file.

    Args:
        asked: ``GROUP`` or ``GROUP=OPTION``, of :func:`asked_for`.
    """
    group, _, name = asked.partition("=")
    if group == SWEEPS:
        return "\n".join(_of_sweep(each) for each in ([name] if name else list_sweeps()))
    return "\n\n".join(_of_option(group, each) for each in ([name] if name else options_of(group)))


def _of_sweep(name: str) -> str:
    return _wrapped(f"sweeps={name:<15}", read_sweep(name, SCALES[0]).title)


def _of_option(group: str, name: str) -> str:
    """An option's remark, then a line for each key: its default, what it is, what it may be."""
    path = next((path for folder in conf_folders() if (path := folder / group / f"{name}.yaml").is_file()), None)
    if path is None:  # it has been taken away since it was listed
        return f"{group}={name}"
    head, _, body = path.read_text(encoding="utf-8").partition("\n\n")
    like = re.findall(r"^  - (?P<like>\w+)$", head, re.MULTILINE)
    lines = [f"{group}={name}" + "".join(f", which is {group}={each} with" for each in like if each != "_self_")]
    schema = GROUP_SCHEMAS[group].get(name) if group in GROUP_SCHEMAS else None
    allowed = _allowed(schema)
    split = [_split(line, allowed) for line in _whole_lines(body) if not line.startswith("name:")]
    about = [line.removeprefix("# ") for line in _whole_lines(head) if line.startswith("# ")]
    while split and not split[0][0]:  # what stands before the first key is about the option
        about.append(split.pop(0)[1])
    if f"name: {name}  # " in body:  # an option without keys has its remark there
        about.append(body.partition("  # ")[2].splitlines()[0])
    lines += [_wrapped("  ", line) for line in about]
    width = max((len(code) for code, remark in split if remark and len(code) <= _WIDEST), default=0)
    lines += [_wrapped(f"  {code:<{width}}   " if code else "  # ", remark) for code, remark in split]
    return "\n".join(lines)


def _whole_lines(text: str) -> list[str]:
    """The lines of a file, each remark with the lines that continue it: a paragraph of them is one line."""
    whole: list[str] = []
    remark = False  # whether the line before is a remark alone
    for line in text.splitlines():
        words = line.strip()
        if whole and words.startswith("# ") and (remark or line != words):
            whole[-1] += f" {words.removeprefix('# ')}"
        elif "@package" not in line:
            whole.append(line)
            remark = line.startswith("# ")
    return whole


def _wrapped(code: str, remark: str) -> str:
    beside = textwrap.wrap(remark, max(40, _COLUMNS - len(code))) or [""]
    return f"\n{' ' * len(code)}".join([code + beside[0], *beside[1:]]).rstrip()


def _split(line: str, allowed: Mapping[str, Allowed]) -> tuple[str, str]:
    """A line without its remark, and the remark, with what is allowed if it does not say so."""
    if line.startswith("#"):
        return "", line.removeprefix("#").strip()
    found = _LINE.fullmatch(line)
    assert found is not None
    code, remarks = found["code"].rstrip(), [found["remark"] or ""]
    if preset := _FROM_PRESET.search(code):
        remarks.insert(0, f"{_presets()[preset['key']]} with preset={_PRESET}")
    key = _KEY.match(code)
    range_of = allowed.get(key["key"]) if key else None
    if range_of is not None and (range_of.choices is None or " | " not in remarks[-1]):
        remarks.append(str(range_of))
    return code, "; ".join(filter(None, remarks))


@cache
def _presets() -> dict[str, str]:
    """The values of the preset that is the default, as they are written."""
    text = (CONF_DIR / "preset" / f"{_PRESET}.yaml").read_text(encoding="utf-8")
    return dict(re.findall(r"^(\w+): +([^ \n]+)", text, re.MULTILINE))


def _allowed(schema: type | None) -> dict[str, Allowed]:
    if schema is None:
        return {}
    return {each.name: each.metadata["allowed"] for each in dataclasses.fields(schema) if "allowed" in each.metadata}
