"""The command's keys: KEY=VALUE, as in the project's other commands."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from benchmarks.step.measure import CLOCKS, Effort
from benchmarks.step.training import Setting
from p2be_exp.errors import BadInput

HELP = """\
Where the time of a training step goes, ours and the published method's, by part.

  python -m benchmarks.step
  python -m benchmarks.step encoding=rgb,p2be regime=standard,augmix batch_size=16 rounds=7

Ours is the training as it is, Lightning's loop with every callback of a run, on random images of 32 x 32. The plain
form is the published method in a bare loop: NCHW, a code tensor of floats, float32, AugMix by Pillow in two processes
of a loader. They take turns by rounds of some steps, in one process; on a GPU each part is also timed with a wait at
its end. On a GPU further tables have the whole step eager, captured as a CUDA graph and with a compiled trunk, and
the losses of the first 20 steps of each. There is a plain form of the regimes standard and augmix with the encodings
rgb, onehot, thermometer and p2be.

Keys, set with KEY=VALUE; the first four may be lists:
  encoding    (p2be)
  regime      (augmix)
  backbone    (wrn40_2)
  precision   32 or bf16: of ours; the plain form has float32 (bf16 on a GPU, else 32)
  device      cpu or cuda (cuda where there is one)
  batch_size  images a step (128)
  steps       of a round (4)
  rounds      that count, 2 or more (7)
  clock       wall, or cpu: the processor's time, the loader's processes included, where others use the CPU (wall)
  seconds     after which no further round of a setting begins, if there are three (no limit)
  threads     of a CPU (PyTorch's)

Exit codes: 0 done; 1 failed; 2 bad input; 130 and 143 stopped by SIGINT and SIGTERM."""

_LISTS = ("encoding", "regime", "backbone", "precision")
_NUMBERS = {"batch_size": 1, "steps": 1, "rounds": 2, "threads": 1}
"""Each with the least that is allowed."""
_KEYS = (*_LISTS, "device", *_NUMBERS, "clock", "seconds")


@dataclass(frozen=True)
class Settings:
    """What was asked for; see ``HELP``.

    Attributes:
        settings: every combination, checked.
        effort: of each.
        threads: None for PyTorch's.
    """

    settings: tuple[Setting, ...]
    effort: Effort
    threads: int | None


def parse_settings(arguments: Sequence[str]) -> Settings:
    """The settings of a command line.

    Raises:
        BadInput: a flag, an unknown key, a key given twice or without a value, or a value that is not allowed.
    """
    given = _given(arguments)
    device = _device(given.get("device"))
    bf16 = "bf16" if device.type == "cuda" else "32"
    defaults = {"encoding": "p2be", "regime": "augmix", "backbone": "wrn40_2", "precision": bf16}
    lists = [given.get(key, defaults[key]).strip("[]").split(",") for key in _LISTS]
    for precision in lists[3]:
        if precision not in ("32", "bf16"):
            raise BadInput(f"precision={precision}: allowed are 32, bf16")
    batch_size = _whole("batch_size", given.get("batch_size", "128"))
    combinations = itertools.product(*(dict.fromkeys(each) for each in lists))
    settings = tuple(Setting(*names, batch_size, device) for names in combinations)
    for setting in settings:
        setting.config()
    clock = given.get("clock", "wall")
    if clock not in CLOCKS:
        raise BadInput(f"clock={clock}: allowed are {', '.join(CLOCKS)}")
    if clock == "cpu" and device.type != "cpu":
        raise BadInput("clock=cpu: the processor's time says nothing of a GPU; allowed is wall")
    effort = Effort(_whole("steps", given.get("steps", "4")), _whole("rounds", given.get("rounds", "7")),
                    _seconds(given.get("seconds")), clock=clock)  # fmt: skip
    return Settings(settings, effort, _whole("threads", given["threads"]) if "threads" in given else None)


def _given(arguments: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for argument in arguments:
        named = re.fullmatch(r"(\w+)=(.*)", argument, re.DOTALL)
        if named is None:
            raise BadInput(f"{argument}: not of the form KEY=VALUE (see --help)")
        key, value = named.groups()
        if key not in _KEYS:
            raise BadInput(f"{argument}: unknown key; allowed are {', '.join(_KEYS)}")
        if not value or key in found:
            raise BadInput(f"{argument}: one value is needed")
        found[key] = value
    return found


def _device(value: str | None) -> torch.device:
    if value not in (None, "cpu", "cuda"):
        raise BadInput(f"device={value}: allowed are cpu, cuda")
    available = torch.cuda.is_available()
    if value == "cuda" and not available:
        raise BadInput("device=cuda: PyTorch sees no GPU; allowed is cpu")
    return torch.device(value or ("cuda" if available else "cpu"))


def _whole(key: str, value: str) -> int:
    least = _NUMBERS[key]
    if not re.fullmatch(r"\d{1,6}", value) or int(value) < least:
        raise BadInput(f"{key}={value}: allowed is a whole number from {least} on")
    return int(value)


def _seconds(value: str | None) -> float:
    if value is None:
        return float("inf")
    if not re.fullmatch(r"\d{1,6}(\.\d+)?", value):
        raise BadInput(f"seconds={value}: allowed is a number from 0 on")
    return float(value)
