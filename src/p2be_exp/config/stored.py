"""Reading a stored configuration: plain values, in which nothing is resolved or repeated.

A ``config.yaml`` may come from an untrusted source. OmegaConf would resolve its interpolations (``${oc.env:NAME}``
reveals the user's environment), and YAML anchors can expand a few hundred bytes without bound.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from p2be_exp.system.foreign_files import open_file

LARGEST = 2**16
"""Maximum size of a stored configuration in bytes; a real one has about 3,000. Parsing 1 MiB can take 17 s."""


class _Plain(yaml.SafeLoader):
    """YAML without anchors, aliases, tags, merge keys, timestamps and duplicate keys."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise ValueError(f"line {event.start_mark.line + 1}: an anchor (& or *)")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise ValueError(f"line {line}: a key that is not text")
            if key.value in seen:
                raise ValueError(f"line {line}: duplicate key {key.value}")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Plain.yaml_implicit_resolvers = {
    first: [
        (tag, form) for tag, form in resolvers if tag not in ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:merge")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
# YAML 1.1 reads 1e-5 as text; OmegaConf, which writes these files, as a number.
_Plain.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+"), list("-+.0123456789")
)


def read_stored(file: Path) -> Any:
    """The content of a stored configuration.

    Args:
        file: YAML as :meth:`p2be_exp.runs.run.Run.create` writes it.

    Returns:
        Dictionaries, lists, strings, numbers, booleans and None.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is larger than :data:`LARGEST`, not YAML, or not plain: an anchor, a tag, an interpolation
            (``${...}``), a duplicate key. The message is one line.
    """
    with open_file(file) as content:
        data = content.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError(f"more than {LARGEST:,} bytes")
    try:
        value = yaml.load(data, Loader=_Plain)  # a restricted safe loader
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        raise ValueError(f"{where}{getattr(error, 'problem', None) or 'not YAML'}") from error
    except RecursionError as error:
        raise ValueError("too deeply nested") from error
    if (text := next(interpolations(value), None)) is not None:
        raise ValueError(f"an interpolation, {text!r}; a stored configuration is plain")
    return value


def interpolations(value: Any) -> Iterator[str]:
    """The strings in a configuration that OmegaConf would read as interpolations."""
    if isinstance(value, str):
        if "${" in value:
            yield value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from interpolations(key)
            yield from interpolations(each)
    elif isinstance(value, list):
        for each in value:
            yield from interpolations(each)
