"""The command's keys: KEY=VALUE, as in the project's other commands."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.gpu.sizes import SIZES
from p2be_exp.errors import BadInput

PARTS = ("tests", "step", "train")
"""In the order in which they are run."""

ENCODINGS = ("rgb", "onehot", "thermometer", "p2be")

HELP = """\
Measure on a GPU that nobody prepared, within a few minutes.

  python -m benchmarks.gpu minutes=9 out=FOLDER
  python -m benchmarks.gpu minutes=3 out=FOLDER parts=tests,step

Parts, each in a process of its own, with a limit of its own:
  tests   the tests that are marked gpu
  step    a training step by part and by encoding, AugMix, LS-PGA, the evaluation of stored corruptions, each beside a
          baseline
  train   the encodings trained side by side on CIFAR-100, then evaluated under corruptions and LS-PGA

Keys, set with KEY=VALUE:
  out         folder for rows.jsonl, table.md, log.txt and an archive an encoding: at most 8 files of at most 16 MiB
  minutes     for everything (9)
  parts       those to run (tests,step,train)
  size        full, or test: tiny, for any machine; it says nothing about speed or encodings (full)
  data_dir    where CIFAR-100 is (P2BE_DATA_DIR, else ./data)
  work        folder of the trainings; called again with it, the program goes on with them (data_dir/../gpu_work)
  frost_dir   folder with frost's textures; without them and without the package imagecorruptions, frost is left out
  encodings   those to train (rgb,onehot,thermometer,p2be)
  epochs      of the trainings; without it, as many as fit

Exit codes: 0 done, whatever failed inside a part; 1 failed; 2 bad input; 130 and 143 stopped by SIGINT and SIGTERM."""

_KEYS = ("out", "minutes", "parts", "size", "data_dir", "work", "frost_dir", "encodings", "epochs")


@dataclass(frozen=True)
class Settings:
    """What was asked for; paths are absolute. See ``HELP``."""

    out: str
    minutes: float
    parts: tuple[str, ...]
    size: str
    data_dir: str
    work: str
    frost_dir: str | None
    encodings: tuple[str, ...]
    epochs: int | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON; ``Settings(**...)`` of it is the same."""
        return asdict(self)


def parse_settings(arguments: Sequence[str]) -> Settings:
    """The settings of a command line.

    Raises:
        BadInput: a flag, an unknown key, a key given twice or without a value, or a value that is not allowed.
    """
    given = _given(arguments)
    if "out" not in given:
        raise BadInput("out: where to write? out=FOLDER")
    data_dir = _path(given.get("data_dir") or os.environ.get("P2BE_DATA_DIR") or "data")
    frost_dir = given.get("frost_dir")
    if frost_dir is not None and not Path(_path(frost_dir)).is_dir():
        raise BadInput(f"frost_dir={frost_dir}: no such folder")
    return Settings(
        out=_path(given["out"]),
        minutes=_minutes(given.get("minutes", "9")),
        parts=_chosen("parts", given.get("parts"), PARTS),
        size=_one("size", given.get("size", "full"), tuple(SIZES)),
        data_dir=data_dir,
        work=_path(given["work"]) if "work" in given else str(Path(data_dir).parent / "gpu_work"),
        frost_dir=None if frost_dir is None else _path(frost_dir),
        encodings=_chosen("encodings", given.get("encodings"), ENCODINGS),
        epochs=_epochs(given.get("epochs")),
    )


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


def _path(value: str) -> str:
    return str(Path(value).expanduser().resolve())


def _minutes(value: str) -> float:
    if not re.fullmatch(r"\d+(\.\d+)?", value) or not 0 < float(value) <= 10_000:
        raise BadInput(f"minutes={value}: allowed is a number above 0, up to 10000")
    return float(value)


def _epochs(value: str | None) -> int | None:
    if value is not None and (not re.fullmatch(r"\d{1,6}", value) or int(value) < 1):
        raise BadInput(f"epochs={value}: allowed is a whole number from 1 on")
    return None if value is None else int(value)


def _one(key: str, value: str, allowed: Sequence[str]) -> str:
    if value not in allowed:
        raise BadInput(f"{key}={value}: allowed are {', '.join(allowed)}")
    return value


def _chosen(key: str, value: str | None, allowed: tuple[str, ...]) -> tuple[str, ...]:
    """Some of the allowed, in the order of these."""
    if value is None:
        return allowed
    names = value.strip("[]").split(",")
    for name in names:
        _one(key, name, allowed)
    return tuple(name for name in allowed if name in names)
