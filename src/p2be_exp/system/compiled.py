"""Loops compiled by numba, which keeps what it compiled where that can be written."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from numba import njit


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function of arrays and numbers at its first call; it runs without Python's lock.

    The machine code is kept beside the source or in the user's cache folder (``NUMBA_CACHE_DIR`` names another) and
    found there by the next process. Where neither can be written, as in a shared installation and a container whose
    user has no home, each process compiles for itself: about a second for each function that it calls.
    """
    try:
        dispatcher = njit(nogil=True, cache=True)(function)
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        return njit(nogil=True)(function)
    cache: Any = dispatcher._cache  # type: ignore[attr-defined]  # of an interface that has no types
    save = cache.save_overload

    def save_where_there_is_room(signature: Any, data: Any) -> None:
        with suppress(OSError):  # a full disk, or a quota
            save(signature, data)

    cache.save_overload = save_where_there_is_room
    return dispatcher
