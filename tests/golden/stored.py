"""Four cases of the commands whose numbers are kept: ``python tests/golden/stored.py --store`` writes them anew.

They are kept in ``cases/NAME.json``, with the fingerprint of the machine that they were made on: where another one
computes, the last bits of a float are others, and after some steps the first ones. So ``test_golden.py`` compares all
of it on an equal machine, and elsewhere what does not hang on rounding. To be stored again after a change that is
meant to change numbers, which the changelog then tells; ``compare.py`` says before which they are.
"""

from __future__ import annotations

import contextlib
import fnmatch
import json
import math
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
if str(HERE.parent) not in sys.path:
    sys.path.insert(0, str(HERE.parent))  # of the helpers of all tests, where this is run as a script

import grid  # noqa: E402
from readings import read_arrays, read_checkpoint, read_results, read_steps  # noqa: E402
from worker import fingerprint, noted_steps  # noqa: E402

import commandline  # noqa: E402

Found = dict[str, Any]
SHORT = ("experiment=quickstart", "limit_train=64", "limit_test=40", "batch_size=16", "epochs=1", *grid.STEPS)
KEPT = ("step *", "last.ckpt: state_dict: *", "results.csv: *", "per_image/*", "set/*")
INTEGERS = (
    "results.csv: *: n",
    "per_image/*: index",
    "per_image/*: label",
    "set/labels.npy: ",
    "*: num_batches_tracked",
    "*initial_bits",
)
"""What is made of integers alone, or by comparisons that no rounding decides: equal on every machine."""
CLOSE = ("step 1: *", "set/*: mean")
"""The first step's losses, and the mean level of corrupted images, of which a pixel may be a level off elsewhere."""
TOLERANCE = 1e-4
"""Of those on another machine, relative."""


def training(*arguments: str) -> Callable[[], Found]:
    """A case that trains in the current folder."""

    def run() -> Found:
        with noted_steps(Path("steps.jsonl")):
            outcome = commandline.train(*SHORT, *arguments, "hydra.run.dir=run")
        assert outcome.code == 0, outcome.err
        steps, weights = read_steps(Path("steps.jsonl")), read_checkpoint(Path("run/checkpoints/last.ckpt"))
        return steps | weights | read_results(Path("run"))

    return run


def corrupted() -> Found:
    """Eight digits under the nineteen corruptions."""
    grid.make_frost(Path(grid.FROST))
    few = ("names=all", "severities=[1,5]", "limit_test=8")
    keys = ("dataset=digits", "out=set", *few, f"frost_dir={grid.FROST}", "workers=1")
    outcome = commandline.corruptions("make", *keys)
    assert outcome.code == 0, outcome.err
    means = {f"set/{file.name}: mean": float(np.load(file).mean()) for file in sorted(Path("set").glob("*.npy"))}
    return read_arrays(Path("set")) | means


CASES: dict[str, Callable[[], Found]] = {
    "p2be_augmix": training("encoding=p2be", "regime=augmix", *grid.NONE),
    "onehot_contrain": training("encoding=onehot", "regime=contrain", "regime.attack.steps=2", *grid.NONE),
    "rgb_attacked": training(
        "encoding=rgb",
        "regime=advtrain",
        "attack@regime.attack=pgd",
        "regime.attack.steps=2",
        "corruption=none",
        "attack=suite_short",
        "attack.steps=2",
        "attack.queries=4",
    ),
    "corruptions": corrupted,
}


def found(name: str) -> Found:
    """What a case gives here and now, in a folder of its own; the keys that are kept."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        values = CASES[name]()
    return {key: value for key, value in values.items() if matches(key, KEPT)}


def matches(key: str, patterns: tuple[str, ...]) -> bool:
    """Whether a key is one of those that patterns name."""
    return any(fnmatch.fnmatchcase(key, pattern) for pattern in patterns)


def stored(name: str) -> tuple[dict[str, Any], Found]:
    """The fingerprint of the machine that a case was stored on, and its values."""
    content = json.loads(file_of(name).read_text())
    return content["fingerprint"], content["found"]


def file_of(name: str) -> Path:
    """Where a case is stored."""
    return HERE / "cases" / f"{name}.json"


def differences_elsewhere(expected: Found, here: Found) -> list[str]:
    """A line for each value that rounding cannot explain.

    Args:
        expected: as stored on another machine.
        here: what this one gives.
    """
    if expected.keys() != here.keys():
        return [f"other keys: {sorted(expected.keys() ^ here.keys())[:3]}"]
    exact = {key for key in expected if matches(key, INTEGERS)}
    close = {key for key in expected if matches(key, CLOSE) and isinstance(expected[key], float)}
    wrong = {key for key in exact if expected[key] != here[key]}
    wrong |= {key for key in close if not math.isclose(expected[key], here[key], rel_tol=TOLERANCE)}
    return [f"{key}: {expected[key]!r} stored, {here[key]!r} here" for key in expected if key in wrong]


def main() -> int:
    """Store the cases."""
    if sys.argv[1:] != ["--store"]:
        print(__doc__)
        return 2
    import torch

    torch.set_num_threads(1)
    for name in CASES:
        content = {"fingerprint": fingerprint(), "found": found(name)}
        file_of(name).parent.mkdir(exist_ok=True)
        file_of(name).write_text(json.dumps(content, indent=1) + "\n")
        print(f"{name}: {len(content['found'])} values in {file_of(name).stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
