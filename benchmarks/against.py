"""Is this checkout as fast as another commit? Both in one run, in turn, in CPU seconds.

    python benchmarks/against.py BASE                # some six minutes
    python benchmarks/against.py BASE --rounds 5

BASE is checked out into a temporary worktree. A process for each commit imports its own package and its own benchmark
scripts (training_step, lspga and evaluation, whose functions make the works), and does a work when it is asked to; the
two take turns, and begin in turn. Reported are the medians and the median and quartiles of each round's ratio.
"""

import argparse
import contextlib
import importlib
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STEPS = {
    "standard step, WRN-40-2, RGB, batch 16": ("rgb", "wrn40_2", 16, "standard"),
    "standard step, WRN-40-2, P2BE, batch 16": ("p2be", "wrn40_2", 16, "standard"),
    "augmix step, WRN-16-1, P2BE, batch 32": ("p2be", "wrn16_1", 32, "augmix"),
}
SEARCHES = {
    "LS-PGA, WRN-16-1, P2BE, batch 16": ("lspga", 16),
    "forward and backward, WRN-16-1, P2BE, batch 32": ("images", 32),
}
CELLS = "evaluation of five cells of 400 images, WRN-16-1, RGB"
NAMES = (*STEPS, *SEARCHES, CELLS)


# -- the process of a commit ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def works() -> Iterator[dict[str, Callable[[], object]]]:
    """Every work by name, on one thread of the CPU, from the benchmark scripts of the commit that is imported."""
    import torch

    step, search, cells = (importlib.import_module(f"benchmarks.{name}") for name in _SCRIPTS)
    cpu = torch.device("cpu")
    torch.set_num_threads(1)
    made: dict[str, Callable[[], object]] = {
        name: step.make_step(*settings, cpu, "32") for name, settings in STEPS.items()
    }
    for name, (variant, batch) in SEARCHES.items():
        made[name] = search.make_variant(variant, batch, search.Settings("wrn16_1", 7, cpu, "32"))
    with cells.stored_cells("rgb", "wrn16_1", 400, 5, 200, cpu) as stored:
        numbers = itertools.count()
        made[CELLS] = lambda: stored.evaluate(stored.cells, f"round{next(numbers)}")
        yield made


_SCRIPTS = ("training_step", "lspga", "evaluation")


def serve() -> None:
    """Answer each name on standard input with the CPU seconds of that work."""
    answers = sys.stdout
    with contextlib.redirect_stdout(sys.stderr), works() as made:
        for work in made.values():
            work()
            work()
        print("ready", file=answers, flush=True)
        for line in sys.stdin:
            start = time.process_time()
            made[line.strip()]()
            print(time.process_time() - start, file=answers, flush=True)


# -- the comparison ---------------------------------------------------------------------------------------------------


class Commit:
    """A process that does the works of a checkout.

    Args:
        tree: the checkout.
    """

    def __init__(self, tree: Path) -> None:
        path = os.pathsep.join([str(tree / "src"), str(tree)])  # before an editable install of this checkout
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), "--serve"],
            cwd=tree,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def answer(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        if not (line := self.process.stdout.readline()):
            raise SystemExit(f"a process ended with exit code {self.process.wait()}")
        return line.strip()

    def seconds(self, name: str) -> float:
        """CPU seconds of a work."""
        assert self.process.stdin is not None
        print(name, file=self.process.stdin, flush=True)
        return float(self.answer())


def row(name: str, base: Sequence[float], here: Sequence[float]) -> str:
    """A line of the table in Markdown, from the seconds of each round."""
    ratios = sorted(mine / theirs for mine, theirs in zip(here, base, strict=True))
    low, middle, high = statistics.quantiles(ratios, n=4)
    medians = (1000 * statistics.median(each) for each in (base, here))
    return f"| {name} | {' | '.join(f'{each:.0f}' for each in medians)} | {middle:.2f} ({low:.2f} to {high:.2f}) |"


def compare(base: Path, rounds: int) -> Iterator[str]:
    """The rows, each as soon as it is measured.

    Args:
        base: a checkout of the other commit.
        rounds: of each work, 2 or more.
    """
    commits = [Commit(base), Commit(ROOT)]
    try:
        for each in commits:
            each.answer()  # that it is ready
        for name in NAMES:
            found: tuple[list[float], list[float]] = ([], [])
            for round_ in range(rounds):
                for which in (0, 1) if round_ % 2 == 0 else (1, 0):
                    found[which].append(commits[which].seconds(name))
            yield row(name, *found)
    finally:
        for each in commits:
            each.process.kill()
            each.process.wait()


def main() -> None:
    """Measure and print a table in Markdown, row by row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", nargs="?", default="HEAD", help="the commit to compare with; default: HEAD")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return
    if options.rounds < 2:
        parser.error("--rounds: must be 2 or more")
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        subprocess.run(["git", "-C", ROOT, "worktree", "add", "--quiet", "--detach", tree, options.base], check=True)
        try:
            print(f"this checkout over {options.base}, one thread, {options.rounds} rounds\n")
            print("| work | there, CPU ms | here, CPU ms | here over there |\n|---|---|---|---|", flush=True)
            for line in compare(tree, options.rounds):
                print(line, flush=True)
        finally:
            subprocess.run(["git", "-C", ROOT, "worktree", "remove", "--force", tree], check=True)


if __name__ == "__main__":
    main()
