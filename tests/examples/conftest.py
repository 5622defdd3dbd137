"""The examples as a user has them: their folders on Python's path, loaded as plug-ins, forgotten afterwards."""

import sys
from contextlib import contextmanager

import pytest

from commandline import ROOT
from p2be_exp.config import plugins


@contextmanager
def example(folder, module):
    """A module of ``examples/FOLDER``, loaded as a plug-in."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "examples" / folder))
        patch.delenv("P2BE_PLUGINS", raising=False)
        plugins.load_plugins([module])
        try:
            yield sys.modules[module]
        finally:
            plugins.forget(module)


@pytest.fixture(scope="module")
def greedy():
    """The module of the greedy attack."""
    with example("greedy_attack", "greedy_attack") as module:
        yield module
