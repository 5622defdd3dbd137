"""What a process has that does not belong to one library: to be compared before and after."""

import logging
import multiprocessing
import os
import random
import signal
import socket
import sys
import threading
import warnings
from typing import Any


def snapshot() -> dict[str, Any]:
    """The state by name, in values that can be compared; of numpy, torch and matplotlib where they are imported."""
    root = logging.getLogger()
    state = {
        "working folder": os.getcwd(),  # noqa: PTH109
        "environment": dict(os.environ),
        "umask": _umask(),
        "signal handlers": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "blocked signals": signal.pthread_sigmask(signal.SIG_BLOCK, []),
        "root logger": (root.level, list(root.handlers), list(root.filters), root.disabled),
        "levels": {name: each.level for name, each in root.manager.loggerDict.items() if hasattr(each, "level")},
        "disabled logging": logging.root.manager.disable,
        "warnings": list(warnings.filters),
        "showwarning": warnings.showwarning,
        "streams": (sys.stdin, sys.stdout, sys.stderr),
        "hooks": (sys.excepthook, sys.displayhook, threading.excepthook, sys.unraisablehook),
        "sys.argv": list(sys.argv),
        "sys.path": list(sys.path),
        "start method": multiprocessing.get_start_method(allow_none=True),
        "socket timeout": socket.getdefaulttimeout(),
        "recursion": sys.getrecursionlimit(),
        "random": random.getstate(),
        "threads": sorted(each.name for each in threading.enumerate()),
    }
    for library in (_numpy, _torch, _matplotlib, _hydra):
        if library.__name__.lstrip("_") in sys.modules:
            state |= library()
    return state


def changes(before: dict[str, Any], after: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What differs, with both values; of a mapping what differs in it."""
    found = {}
    for name, one in before.items():
        other = after[name]
        if isinstance(one, dict):
            found |= {
                f"{name}: {key}": (one.get(key), other.get(key))
                for key in {*one, *other}
                if one.get(key) != other.get(key) and not (name == "levels" and key not in one)  # a new logger
            }
        elif one != other:
            found[name] = (one, other)
    return found


def _numpy() -> dict[str, Any]:
    import numpy as np

    kind, keys, *rest = np.random.get_state()
    return {
        "numpy.random": (kind, keys.tolist(), *rest),
        "numpy errors": np.geterr(),
        "numpy print": repr(np.get_printoptions()),
    }


def _torch() -> dict[str, Any]:
    import torch

    return {
        "torch.random": torch.get_rng_state().tolist(),
        "torch threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "matmul precision": torch.get_float32_matmul_precision(),
        "default dtype": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
        "deterministic": torch.get_deterministic_debug_mode(),
        "cudnn": (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32),
        "anomaly": torch.is_anomaly_enabled(),
        "sharing": torch.multiprocessing.get_sharing_strategy(),
    }


def _matplotlib() -> dict[str, Any]:
    import matplotlib
    from matplotlib import pyplot

    return {"backend": matplotlib.get_backend(), "rcParams": dict(matplotlib.rcParams), "figures": pyplot.get_fignums()}


def _hydra() -> dict[str, Any]:
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig

    return {"hydra": (GlobalHydra.instance().hydra, HydraConfig.instance().cfg)}


def _umask() -> int:
    now = os.umask(0)
    os.umask(now)
    return now
