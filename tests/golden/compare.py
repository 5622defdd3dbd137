"""Is every number the same as at another commit? ``python tests/golden/compare.py BASE``

BASE is checked out into a temporary worktree. Both commits run the same commands on the same small data, one thread
each (PyTorch, OpenMP, MKL, numba, OpenCV), and everything they leave is compared to the bit: the loss terms of every
step and the images that the network saw, weights and optimizer states, rows, predictions, adversarial images, corrupted
images, exports, reports; and what this commit makes of run folders that BASE has trained. See ``grid.py`` for the
cases. A line is printed for each as it is known::

    equal    train/p2be-augmix (3,102 values)
    DIFFERS  train/p2be-contrain (214 of 3,111 values): step 1: jsd: 0.00052 before, 0.00053 after

Exit codes: 0 everything is equal; 1 something differs or is broken; 2 bad usage.

It stands outside of the test suite: it takes two cores for some minutes, and a tolerance under which another machine
would pass says nothing about later steps. The suite replays four stored cases (``test_golden.py``).
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import grid  # noqa: E402

ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "NUMBA_NUM_THREADS",
        "OPENCV_FOR_THREADS_NUM",
        "VECLIB_MAXIMUM_THREADS",
    ),
    "1",
)


NEW_KEYS = (
    "config.yaml: strict_plugins",
    "config.yaml: model: name",
    "config.yaml: backbone: activation",
    "regime: awp_gamma",
    "regime: awp_warmup",
    "attack: start",
    "attack: adaptive",
    "attack: step_size",
    "trainer: compile",
)
"""What a commit before this one need not have had: keys of the configuration, never numbers. Compared where it had."""


class Worker:
    """The process that runs cases on one checkout.

    Args:
        tree: the checkout.
        folder: where its commands run.
        old: where the base's run.
    """

    def __init__(self, tree: Path, folder: Path, old: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        keep = ("P2BE", "HYDRA", "WANDB", "PL_", "PYTEST", "PYTHON")
        environment = {key: value for key, value in os.environ.items() if not key.startswith(keep)}
        cache = {"NUMBA_CACHE_DIR": str(folder / "numba"), "MPLCONFIGDIR": str(folder / "matplotlib")}
        paths = {"PYTHONPATH": str(tree / "src"), "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
        self._errors = (folder / "worker.err").open("w")
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "worker.py"), str(tree), str(old)],
            cwd=folder,
            env={**environment, **ONE_THREAD, **cache, **paths},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def answer(self, name: str) -> dict[str, Any]:
        """Run a case; what the worker says of it."""
        try:
            self._process.stdin.write(name + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            told = Path(self._errors.name).read_text().strip().splitlines()[-1:]
            return {"broken": f"the worker has ended: {' '.join(told)}"}
        return json.loads(line)

    def close(self) -> None:
        """Let it end."""
        self._process.stdin.close()
        self._process.wait()
        self._errors.close()


def compared(before: dict[str, Any], after: dict[str, Any]) -> tuple[str, list[str]]:
    """The verdict on a case, and a line for each difference."""
    for side, answer in (("before", before), ("after", after)):
        if "broken" in answer:
            return "BROKEN", [f"{side}: {answer['broken']}"]
    skipped = [
        f"{side}: {answer['skipped']}" for side, answer in (("before", before), ("after", after)) if "skipped" in answer
    ]
    if skipped:
        return "skipped", skipped
    one, other = before["found"], after["found"]
    if not one:
        return "BROKEN", ["nothing was found to compare"]
    return ("DIFFERS" if (found := differences(one, other)) else "equal"), found


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """A line for each key whose values differ, in the order of the keys: the first one was known first."""
    lines = []
    for key in [*one, *(key for key in other if key not in one)]:
        if key not in other:
            lines.append(f"{key}: {told(one[key])} before, missing after")
        elif key not in one and not key.endswith(NEW_KEYS):
            lines.append(f"{key}: missing before, {told(other[key])} after")
        elif key in one and told(one[key]) != told(other[key]):  # so that nan is nan, and 1 is not 1.0
            lines.append(f"{key}: {told(one[key])} before, {told(other[key])} after")
    return lines


def told(value: Any) -> str:
    """A value as it is printed: numbers in full."""
    return value if isinstance(value, str) else repr(value)


def main(arguments: list[str] | None = None) -> int:
    """Compare, print, return the exit code."""
    options = _options(arguments)
    names = _chosen(options)
    if options.list:
        print("\n".join(names))
        return 0
    work = Path(tempfile.mkdtemp(prefix="golden-"))
    tree = work / "tree"
    started = time.monotonic()
    try:
        commit = _git("rev-parse", "--short", f"{options.base}^{{commit}}")
        _git("worktree", "add", "--detach", str(tree), commit)
        print(f"{commit} and {options.tree}: {len(names)} cases in {work}", flush=True)
        counts = _run(names, tree, options.tree, work, options.all)
    finally:
        if tree.exists():
            _git("worktree", "remove", "--force", str(tree))
        if not options.keep:
            shutil.rmtree(work, ignore_errors=True)
    minutes = (time.monotonic() - started) / 60
    print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()), f"in {minutes:.1f} minutes")
    return int(bool(counts.get("DIFFERS", 0) + counts.get("BROKEN", 0)))


def _run(names: list[str], base: Path, new: Path, work: Path, everything: bool) -> dict[str, int]:
    """Run the cases on both, print each verdict; how many there are of each."""
    workers = {
        "before": Worker(base, work / "before", work / "before"),
        "after": Worker(new, work / "after", work / "before"),
    }
    answers: dict[str, dict[str, Any]] = {name: {} for name in names}
    news = threading.Condition()

    def follow(side: str) -> None:
        for name in names:
            if side == "after" and grid.CASES[name].old:
                with news:
                    news.wait_for(lambda name=name: all("before" in answers[each] for each in grid.CASES[name].after))
            answer = workers[side].answer(name)
            with news:
                answers[name][side] = answer
                news.notify_all()

    for side in workers:
        threading.Thread(target=follow, args=[side], daemon=True).start()
    counts: dict[str, int] = {}
    for name in names:
        with news:
            news.wait_for(lambda name=name: len(answers[name]) == 2)
        verdict, lines = compared(**answers[name])
        counts[verdict] = counts.get(verdict, 0) + 1
        _print(verdict, name, lines, len(answers[name]["before"].get("found", {})), everything)
    for worker in workers.values():
        worker.close()
    return counts


def _print(verdict: str, name: str, lines: list[str], count: int, everything: bool) -> None:
    number = {"equal": f" ({count:,} values)", "DIFFERS": f" ({len(lines):,} of {count:,} values)"}.get(verdict, "")
    print(f"{verdict:8} {name}{number}" + "".join(f": {line}" for line in lines[:1]), flush=True)
    for line in lines[1:] if everything else []:
        print(f"         {line}", flush=True)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", nargs="?", default="HEAD", help="the commit to compare with; default: HEAD")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="these cases and what they need; * stands for anything"
    )
    parser.add_argument("--quick", action="store_true", help="a few cases: two minutes")
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    parser.add_argument("--all", action="store_true", help="print every difference and not the first alone")
    parser.add_argument("--keep", action="store_true", help="keep the folders of both")
    parser.add_argument("--tree", type=Path, default=HERE.parents[1], help="the checkout to compare; default: this one")
    options = parser.parse_args(arguments)
    options.tree = options.tree.resolve()
    if not (options.tree / "train.py").is_file():
        parser.error(f"--tree {options.tree}: no checkout of the project")
    return options


def _chosen(options: argparse.Namespace) -> list[str]:
    names = [name for name, case in grid.CASES.items() if case.quick or not options.quick]
    if options.only:
        names = [name for name in grid.CASES if any(fnmatch.fnmatch(name, pattern) for pattern in options.only)]
        if not names:
            raise SystemExit(f"--only {' '.join(options.only)}: no such case (see --list)")
    return grid.in_order(names)


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(HERE), *arguments], capture_output=True, text=True)
    if done.returncode:
        print(done.stderr.strip(), file=sys.stderr)
        raise SystemExit(2)
    return done.stdout.strip()


if __name__ == "__main__":
    raise SystemExit(main())
