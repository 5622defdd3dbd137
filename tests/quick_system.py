"""What every run asks the system for, in less time."""

import contextlib
import functools
import os
from importlib import metadata
from unittest import mock


def _not_waited_for(descriptor):
    """Takes the place of ``os.fsync``."""


@contextlib.contextmanager
def quick_system():
    """Within the block, for this process: nothing waits for the disk, since no machine is switched off in a test, and
    the version of a package is read once."""
    with (
        mock.patch.object(os, "fsync", _not_waited_for),
        mock.patch.object(metadata, "version", functools.cache(metadata.version)),
    ):
        yield
