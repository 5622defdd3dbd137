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

from hydra._internal import defaults_list
from hydra._internal.config_repository import CachingConfigRepository
from hydra._internal.hydra import Hydra
from hydra.core import config_store
from omegaconf import OmegaConf
from omegaconf.base import Metadata

_load, _get_mode, _structured = OmegaConf.load, Hydra.get_mode, OmegaConf.structured
_interpolation_map = defaults_list._create_interpolation_map


def _load_once(file):
    """Each text is parsed once; the parser is Python's own and takes a third of a composition."""
    if not isinstance(file, io.TextIOBase):
        return _load(file)
    return copy.deepcopy(_parsed(file.read()))


@functools.lru_cache(maxsize=1000)
def _parsed(text: str):
    return _load(io.StringIO(text))


def _structured_once(node):
    """Each schema is turned into a configuration once; what is read from Hydra's store is a copy."""
    return _of_schema(node) if isinstance(node, type) else _structured(node)


@functools.lru_cache(maxsize=1000)
def _of_schema(schema: type):
    return _structured(schema)


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
        mock.patch.object(Hydra, "get_mode", _mode_given),
        mock.patch.object(Metadata, "__deepcopy__", _copied, create=True),
        mock.patch.object(defaults_list, "_create_interpolation_map", _map_where_it_is_used),
        mock.patch.object(CachingConfigRepository, "__init__", _repository_with_sources_of_its_own),
        mock.patch.object(config_store, "OmegaConf", SimpleNamespace(structured=_structured_once)),
    ):
        yield
