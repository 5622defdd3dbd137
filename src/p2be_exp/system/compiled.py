"""Loops compiled by numba, with its cache where the file system allows one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from numba import njit


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function of arrays and numbers at its first call; it runs without the GIL.

    The machine code is cached beside the source or in the user's cache folder (``NUMBA_CACHE_DIR`` names another). If
    neither can be written, as in a shared installation in a container whose user has no home folder, each process
    compiles for itself, about one second per function.
    """
    try:
        dispatcher = njit(nogil=True, cache=True)(function)
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        return njit(nogil=True)(function)
    cache: Any = dispatcher._cache  # type: ignore[attr-defined]  # an interface without types
    save = cache.save_overload

    def save_where_there_is_room(signature: Any, data: Any) -> None:
        with suppress(OSError):  # a full disk, or a quota
            save(signature, data)

    cache.save_overload = save_where_there_is_room
    return dispatcher
