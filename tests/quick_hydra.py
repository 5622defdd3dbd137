"""Hydra's compositions in less time: the tests of one process make hundreds of them from the same files.

Nothing that a test sees is another: the same text is the same configuration, and a mode that nobody set is none.
"""

import contextlib
import copy
import functools
import io
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import omegaconf._utils
import omegaconf.base
from hydra._internal import defaults_list
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository, ConfigRepository
from hydra._internal.hydra import Hydra
from hydra.core import config_store
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from omegaconf.base import Metadata
from omegaconf.grammar_parser import parse

_load, _get_mode, _structured = OmegaConf.load, Hydra.get_mode, OmegaConf.structured
_interpolation_map = defaults_list._create_interpolation_map
_load_part = ConfigRepository.load_config
_merge, _parse_rule = ConfigLoaderImpl._compose_config_from_defaults_list, OverridesParser.parse_rule

MOST = 1000
"""Results that are kept, of each kind."""


def _load_once(file):
    """Each text is parsed once; the parser is Python's own and takes a third of a composition."""
    if not isinstance(file, io.TextIOBase):
        return _load(file)
    return copy.deepcopy(_parsed(file.read()))


@functools.lru_cache(maxsize=MOST)
def _parsed(text: str):
    return _load(io.StringIO(text))


def _structured_once(node):
    """Each schema is turned into a configuration once; what is read from Hydra's store is a copy."""
    return _of_schema(node) if isinstance(node, type) else _structured(node)


@functools.lru_cache(maxsize=MOST)
def _of_schema(schema: type):
    return _structured(schema)


_loaded = {}
_merged = {}


def _load_part_once(self, config_path):
    """Each file of the same text, and each schema, is made ready once; what is kept is only read."""
    source = self._find_object_source(config_path, ObjectType.CONFIG)
    scheme = None if source is None else source.scheme()
    if scheme == "file":
        origin = Path(source.path, source._normalize_file_name(config_path)).read_bytes()
    elif scheme == "structured":
        stored = source.store._load(source._normalize_file_name(config_path))
        origin = (_Same(stored.node), stored.package, stored.provider)
    elif scheme == "pkg" and source.path == "hydra.conf":
        origin = "Hydra's own"
    else:
        return _load_part(self, config_path)
    key = (source.path, source.provider, config_path, origin)
    if key not in _loaded:
        _keep(_loaded, key, _load_part(self, config_path))
        _loaded[key].key = key
    return copy.copy(_loaded[key])


def _merge_once(self, defaults, repo):
    """Files and schemas that are chosen are merged once, before what is typed: half of a composition."""
    parts = [repo.load_config(each.config_path) for each in defaults]
    key = tuple((each.package, getattr(part, "key", None)) for each, part in zip(defaults, parts, strict=True))
    if key not in _merged:
        for part in parts:
            part.config = copy.deepcopy(part.config)
        merged = _merge(self, defaults, repo)
        if any(origin is None for _, origin in key):
            return merged
        _keep(_merged, key, merged)
    return copy.deepcopy(_merged[key])


class _Same:
    """Equal to what holds the same object, which is kept as long as this."""

    def __init__(self, held):
        self.held = held

    def __hash__(self):
        return id(self.held)

    def __eq__(self, other):
        return isinstance(other, _Same) and self.held is other.held


def _keep(results, key, result):
    if len(results) >= MOST:
        results.clear()
    results[key] = result


def _parse_rule_once(self, text, rule):
    """Each word of a command is parsed once, but for one that is shuffled as it is parsed."""
    if "shuffle" in text:
        return _parse_rule(self, text, rule)
    return copy.deepcopy(_of_rule(text, rule))


@functools.lru_cache(maxsize=MOST)
def _of_rule(text: str, rule: str):
    return _parse_rule(OverridesParser.create(), text, rule)


_tree_of = functools.lru_cache(maxsize=MOST)(parse)
"""The tree of an interpolation, which is read, and not changed."""


def _mode_given(self, config_name, overrides):
    """Hydra composes everything once more to see a mode, which no file of ours sets."""
    return _get_mode(self, config_name, overrides) if any("hydra.mode" in word for word in overrides) else None


def parse_beforehand(folder: Path) -> None:
    """Parse a folder's files, for the processes that are forked."""
    for file in sorted(folder.rglob("*.yaml")):
        _parsed(file.read_text(encoding="utf-8"))


def _copied(self, memo):
    """A node's metadata: of what it holds only two dictionaries can change."""
    copied = object.__new__(type(self))
    copied.__dict__.update(self.__dict__)
    copied.flags = None if self.flags is None else dict(self.flags)
    copied.resolver_cache = copy.deepcopy(self.resolver_cache, memo) if self.resolver_cache else defaultdict(dict)
    return copied


def _map_where_it_is_used(overrides, defaults, self_added):
    """What interpolations in a defaults list may name: nearly none has one."""
    return _interpolation_map(overrides, defaults, self_added) if any(d.is_interpolation() for d in defaults) else None


def _repository_with_sources_of_its_own(self, delegate):
    """What is set up for a composition replaces the list of sources, and changes none of them."""
    self.delegate, self.cache = copy.copy(delegate), {}


@contextlib.contextmanager
def quick_hydra():
    """Within the block, for this process."""
    with (
        mock.patch.object(OmegaConf, "load", staticmethod(_load_once)),
        mock.patch.object(ConfigRepository, "load_config", _load_part_once),
        mock.patch.object(ConfigLoaderImpl, "_compose_config_from_defaults_list", _merge_once),
        mock.patch.object(OverridesParser, "parse_rule", _parse_rule_once),
        mock.patch.object(omegaconf.base, "parse", _tree_of),
        mock.patch.object(omegaconf._utils, "parse", _tree_of),
        mock.patch.object(Hydra, "get_mode", _mode_given),
        mock.patch.object(Metadata, "__deepcopy__", _copied, create=True),
        mock.patch.object(defaults_list, "_create_interpolation_map", _map_where_it_is_used),
        mock.patch.object(CachingConfigRepository, "__init__", _repository_with_sources_of_its_own),
        mock.patch.object(config_store, "OmegaConf", SimpleNamespace(structured=_structured_once)),
    ):
        yield
