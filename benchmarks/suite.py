"""What the suite of attacks costs at one radius, row by row, and AutoAttack's standard beside it on the same images.

    python benchmarks/suite.py                                  # an RGB network of the digits is trained first
    python benchmarks/suite.py run=RUN images=500 eps_levels=8
    python benchmarks/suite.py planted="random gradients" autoattack=false

CPU seconds of this process on one thread. ``planted`` puts one of the defences of ``examples/planted_defences`` on the
network: of those whose gradient is worth nothing Square decides the worst case, and so runs three times.
"""

import contextlib
import io
import runpy
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import torch

from benchmarks.hardware import hardware
from p2be_exp.commands import train
from p2be_exp.evaluation import job
from p2be_exp.evaluation.effort import decisive
from p2be_exp.evaluation.results import Results, Row
from p2be_exp.evaluation.sanity import panel

EXAMPLE = Path(__file__).resolve().parents[1] / "examples/planted_defences/planted_defences.py"
KEYS = {"run": "", "images": "100", "eps_levels": "8", "planted": "", "autoattack": "true"}
ADDED = ("lspga_margin",)
OTHER_EFFORTS = ("_half", "_twice")
AUTOATTACK = "autoattack_"


class Clock:
    """CPU seconds since it was last read."""

    def __init__(self) -> None:
        self.since = time.process_time()

    def read(self) -> float:
        """Seconds, and begin again."""
        before, self.since = self.since, time.process_time()
        return self.since - before


@contextlib.contextmanager
def timed(seconds: dict[str, float]) -> Iterator[None]:
    """Note the seconds of each row and of the panel's halves, and print each as it comes."""
    clock, out = Clock(), sys.stdout
    add, control, live = Results.add, panel._positive_control, panel._live

    def note(name: str, what: str = "") -> None:
        seconds[name] = clock.read()
        print(f"| {name} | {seconds[name]:.2f} | {what} |", file=out, flush=True)

    def added(self: Results, row: Row, images: dict) -> None:
        note(row.name or row.kind, f"{row.n_wrong}")
        add(self, row, images)
        clock.read()

    def controlled(*arguments):
        clock.read()
        found = control(*arguments)
        note("panel: positive control")
        return found

    def lived(*arguments):
        clock.read()
        found = live(*arguments)
        note("panel: checks that ask the model")
        return found

    with (
        mock.patch.object(Results, "add", added),
        mock.patch.object(panel, "_positive_control", controlled),
        mock.patch.object(panel, "_live", lived),
    ):
        yield


def decisive_of_the_suite(attack_of, wrong):
    """Which attacks decide without AutoAttack, which would run with half and twice its effort where it decides."""
    return decisive({each: attack for each, attack in attack_of.items() if not each.name.startswith(AUTOATTACK)}, wrong)


def trained(folder: str) -> str:
    """An RGB network of 600 digits."""
    keys = ("experiment=quickstart", "encoding=rgb", "limit_train=600", "corruption=none", "attack=none")
    quiet = ("trainer.progress=false", "trainer=cpu", f"hydra.run.dir={folder}/rgb")
    with mock.patch.object(sys, "argv", ["train.py", *keys, *quiet]), contextlib.redirect_stdout(io.StringIO()):
        train.main()
    return f"{folder}/rgb"


def summary(seconds: dict[str, float]) -> None:
    """How the parts compare."""
    rows = {name: value for name, value in seconds.items() if not name.startswith("panel") and name != "clean"}
    library = next((rows.pop(name) for name in list(rows) if name.startswith(AUTOATTACK)), None)
    efforts = sum(value for name, value in rows.items() if name.endswith(OTHER_EFFORTS))
    added = sum(value for name, value in rows.items() if name in ADDED)
    suite, control = sum(rows.values()), seconds["panel: positive control"]
    before = suite - efforts - added
    parts = f"{added:.1f} s LS-PGA along the margin and {efforts:.1f} s half and twice the effort"
    print(f"\nsuite {suite:.1f} s, of it {parts}")
    print(f"the suite over the suite without these: {suite / before:.2f}")
    print(f"positive control {control:.2f} s, {100 * control / suite:.1f} % of the suite")
    if library is not None:
        print(f"AutoAttack standard {library:.1f} s, {library / suite:.1f} times the suite")


def main() -> None:
    """The command."""
    given = {**KEYS, **dict(word.split("=", 1) for word in sys.argv[1:])}
    if unknown := sorted(given.keys() - KEYS.keys()):
        raise SystemExit(f"{', '.join(unknown)}: unknown; the keys are {', '.join(KEYS)}")
    torch.set_num_threads(1)
    example = runpy.run_path(str(EXAMPLE))
    planted = example["DEFENCES"][given["planted"]] if given["planted"] else example["Planted"]
    also = ["attack.also=[autoattack]"] if given["autoattack"] == "true" else []
    print(f"{hardware(torch.device('cpu'))}\n\n| row | CPU seconds | images wrong |\n|---|---|---|", flush=True)
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        run = given["run"] or trained(folder)
        words = ["attack=suite", f"limit_test={given['images']}", f"attack.eps_levels={given['eps_levels']}"]
        evaluation = example["Evaluation"].of(run, *words, "trainer=cpu", *also)
        with timed(seconds), mock.patch.object(job, "_show"), mock.patch.object(job, "decisive", decisive_of_the_suite):
            evaluation.outcome(planted)
    summary(seconds)


if __name__ == "__main__":
    main()
