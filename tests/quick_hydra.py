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
from hydra._internal.config_repository import CachingConfigRepository
from hydra._internal.hydra import Hydra
from hydra.core import config_store
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from omegaconf.base import Metadata
from omegaconf.grammar_parser import parse

_load, _get_mode, _structured = OmegaConf.load, Hydra.get_mode, OmegaConf.structured
_interpolation_map = defaults_list._create_interpolation_map
_merge, _parse_rule = ConfigLoaderImpl._compose_config_from_defaults_list, OverridesParser.parse_rule

MOST = 1000
"""Results that are kept, of each kind."""


def _load_once(file):
    """Each text is parsed once; the parser is Python's own and takes a third of a composition."""
    if not isinstance(file, io.TextIOBase):
        return _load(file)
    text = file.read()
    config = copy.deepcopy(_parsed(text))
    config.__dict__["_text"] = text
    return config


@functools.lru_cache(maxsize=MOST)
def _parsed(text: str):
    return _load(io.StringIO(text))


def _structured_once(node):
    """Each schema is turned into a configuration once; what is read from Hydra's store is a copy."""
    return _of_schema(node) if isinstance(node, type) else _structured(node)


@functools.lru_cache(maxsize=MOST)
def _of_schema(schema: type):
    return _structured(schema)


_merged: dict[tuple, object] = {}


def _merge_once(self, defaults, repo):
    """Files and schemas that are chosen are merged once, before what is typed: half of a composition."""
    origins = [_origin(repo.load_config(each.config_path).config) for each in defaults]
    if None in origins:
        return _merge(self, defaults, repo)
    key = tuple((each.config_path, each.package, origin) for each, origin in zip(defaults, origins, strict=True))
    if key not in _merged:
        if len(_merged) >= MOST:
            _merged.clear()
        _merged[key] = _merge(self, defaults, repo)
    return copy.deepcopy(_merged[key])


def _origin(config):
    """What a part of a configuration is made of: a file's text, or a schema; None for anything else."""
    if (text := config.__dict__.get("_text")) is not None:
        return text
    schema = OmegaConf.get_type(config)
    return None if schema in (dict, list) else schema


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
