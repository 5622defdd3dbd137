"""The command: checks first, then setting after setting; every row is printed as soon as it is known."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import PIL
import pytorch_lightning as pl
import torch

from benchmarks.hardware import hardware
from benchmarks.step.forms import FORMS, Form, form_row, forms_on, loss_rows, measure_form
from benchmarks.step.measure import OURS, WHOLE, Effort, busy, busy_rows, measure, rows
from benchmarks.step.settings import HELP, Settings, parse_settings
from benchmarks.step.training import Setting
from p2be_exp.commands.exit_codes import exit_code_of
from p2be_exp.errors import Interrupted

TIMES = ("encoding", "regime", "backbone", "precision", "form", "part", "ms", "quartiles", "percent", "launches",
         "plain_over_ours", "ratio_quartiles")  # fmt: skip
BUSY = ("encoding", "regime", "backbone", "precision", "part", "gpu_busy_ms", "busy_percent_of_the_step", "kernels")

WHOLE_STEPS = ("encoding", "regime", "backbone", "precision", "form", "ms", "least_to_most", "first_step_s",
               "gpu_busy_ms", "kernels", "busy_percent", "peak_gib", "times_faster_than_eager")  # fmt: skip
LOSSES = ("setting", "step", *FORMS)


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    return exit_code_of(partial(_command, arguments))


def _command(arguments: Sequence[str]) -> None:
    if {"-h", "--help"} & set(arguments):
        print(HELP)
        return
    asked = parse_settings(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    if asked.threads is not None:
        torch.set_num_threads(asked.threads)
    run(asked)


def run(asked: Settings) -> None:
    """Measure every setting and print the tables in Markdown."""
    device = asked.settings[0].device
    print(f"{hardware(device)}; Lightning {pl.__version__}; Pillow {PIL.__version__}")
    print(head(asked.settings[0], asked.effort))
    print_head(TIMES)
    whole: dict[Setting, float] = {}
    for setting in asked.settings:
        for row in rows(setting, measure(setting, asked.effort)):
            if (row["form"], row["part"]) == (OURS, WHOLE):
                whole[setting] = row["ms"]
            print_row(TIMES, row)
    print_forms(asked)
    if device.type == "cuda":
        print_head(BUSY)
        for setting in asked.settings:
            for row in busy_rows(setting, busy(setting) or {}, whole[setting]):
                print_row(BUSY, row)


def print_forms(asked: Settings) -> None:
    """The forms of a whole step, then the losses of their first steps; on a CPU the word that there are none."""
    print_head(WHOLE_STEPS)
    losses: list[dict[str, Any]] = []
    for setting in asked.settings:
        found: dict[str, Form] = {}
        for name in FORMS:
            if name in forms_on(setting.device):
                found[name] = measure_form(setting, name, asked.effort.steps, asked.effort.rounds)
            print_row(WHOLE_STEPS, form_row(setting, name, found.get(name), found.get("eager")))
        losses += loss_rows(setting, found) if found else []
    if losses:
        print_head(LOSSES)
        for row in losses:
            print_row(LOSSES, row)


def head(setting: Setting, effort: Effort) -> str:
    """What all rows have in common."""
    return (
        f"batches of {setting.batch_size} random images of 32 x 32; up to {effort.rounds} rounds of {effort.steps} "
        f"steps in turn; ms a step ({effort.clock} clock): median and quartiles of the rounds"
    )


def print_head(columns: Iterable[str]) -> None:
    """The head of a table."""
    names = [each.replace("_", " ") for each in columns]
    print(f"\n| {' | '.join(names)} |\n{'|---' * len(names)}|", flush=True)


def print_row(columns: Iterable[str], row: Mapping[str, Any]) -> None:
    """A row of it, at once."""
    values = [row.get(each) for each in columns]
    cells = ["" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value) for value in values]
    print(f"| {' | '.join(cells)} |", flush=True)


def _interrupt(number: int, frame: object) -> None:
    raise Interrupted(number)
