"""``python -m p2be_exp.report``: the results of runs, collected beside the paper's or compared."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from p2be_exp.commands.exit_codes import exit_code_of
from p2be_exp.commands.help import version
from p2be_exp.commands.job import existing_part
from p2be_exp.commands.refusals import with_rank_in_refusals
from p2be_exp.config.plugin_trust import allow_requested
from p2be_exp.errors import BadInput
from p2be_exp.system.output import for_terminal, print_result
from p2be_exp.system.paths import check_path, is_folder, user_path
from p2be_exp.system.torchrun import check_one_process

_HELP = """\
Collect and compare the results of runs.

  python -m p2be_exp.report RUNS... [out=FOLDER] [evaluation=NAME]    the paper's tables and figures
  python -m p2be_exp.report compare A B                               two methods, or two trained networks
  python -m p2be_exp.report leaderboard FOLDER [out=FOLDER]           anybody's results, ranked on one page

RUNS are run folders, folders of runs (as a sweep leaves them), or evaluations (RUN/evaluations/NAME). Every table
and figure of the paper that they cover is made, beside the published numbers; runs at a smaller scale, or with another
recipe, get tables of their own that say so. Unfinished runs are listed.

Keys, set with KEY=VALUE:
  out          the folder of the report; an earlier report in it is replaced; default: reports/<time>. Only the files
               that its report.json lists are replaced; a folder with a report.md of other origin is refused
  evaluation   the evaluation to take of each run, RUN/evaluations/NAME; default: that at the end of its training
  figures      [pdf,png]: kinds of files that figures have beside SVG; PDF in the style of a two-column paper
  plugins      [NAME,NAME]: the plug-ins that the runs need, which are code; default: those of P2BE_PLUGINS
  strict_plugins  true: refuse a run if a plug-in's file has changed since; default: only warn

In the folder: index.html (one page with everything), runs.html (the runs in a list to sort and to filter), report.md,
tables/*.csv (one row per cell, in full precision), tables/*.tex (booktabs), figures/*.svg.

For comparisons: python -m p2be_exp.report compare --help; for leaderboards: leaderboard --help.

Exit codes: 0 done, 1 failed, 2 bad input."""

_COMPARE_HELP = """\
Compare two methods over several seeds each, or two trained networks.

  python -m p2be_exp.report compare A B [evaluation=NAME] [out=FOLDER]

A and B are each a run folder, a folder of runs (as a multirun leaves it), an evaluation (RUN/evaluations/NAME), or
several of these joined by commas.

  two runs or more on each side  the difference of the means over seeds: paired over the seeds that both have, with
                                 Welch's interval if they have none in common; the runs of a side may differ only in
                                 the seed
  one run on each side           the difference of these two networks on the same images: a bootstrap interval, and
                                 McNemar's test of each condition with Holm's correction; says nothing about two methods

Keys, set with KEY=VALUE:
  evaluation   the evaluation to take of each run, RUN/evaluations/NAME; default: that at the end of its training
  out          a folder for compare.csv and compare.json, in full precision
  plugins      [NAME,NAME]: the plug-ins that the runs need, which are code; default: those of P2BE_PLUGINS
  strict_plugins  true: refuse a run if a plug-in's file has changed since; default: only warn

Differences are B - A: negative where B has fewer errors.

Exit codes: 0 done, 1 failed, 2 bad input."""

_LEADERBOARD_HELP = """\
Rank the results of anybody's networks on one page.

  python -m p2be_exp.report leaderboard FOLDER [out=FOLDER] [radius=LEVELS]

FOLDER holds the results.json of evaluations at any depth; beside each, an entry.yaml may say what it is, with the keys
name, authors, paper, training_data, note. Results of other data sets or other test images are not ranked against each
other. Ranked is the worst case over a suite of attacks, else the clean error; not ranked are worst cases whose sanity
panel has a failed check. A damaged or foreign file is refused.

Keys, set with KEY=VALUE:
  out          the folder of the page; an earlier leaderboard in it is replaced; default: reports/<time>
  radius       of the worst case that decides, in levels; default: 8 if there is one, else what most results have

In the folder: leaderboard.html (one page that needs nothing else), leaderboard.json, leaderboard.csv.

Exit codes: 0 done, 1 failed, 2 bad input."""


def main() -> int:
    """Run the command with ``sys.argv``; return its exit code."""
    return exit_code_of(with_rank_in_refusals(_command))


def _command() -> None:
    if "--version" in sys.argv[1:]:
        print(version())
        return
    name, *arguments = sys.argv[1:] or [""]
    if name in ("-h", "--help"):
        print(_HELP)
        return
    if not {"-h", "--help"} & set(arguments):
        check_one_process("p2be_exp.report")
    _COMMANDS.get(name, _report)(arguments if name in _COMMANDS else sys.argv[1:])


def _report(arguments: Sequence[str]) -> None:
    if {"-h", "--help"} & set(arguments):
        print(_HELP)
        return
    paths, keys = _parsed(arguments, keys=("evaluation", "out", "figures", "plugins", "strict_plugins"))
    allow_requested(arguments)
    kinds = _kinds(keys.get("figures", "svg"))
    if not paths:
        raise BadInput("RUNS: required; run folders, folders of runs, or the command compare (see --help)")
    for path in paths:
        check_path("RUNS", first := path.split(",")[0])
        if not is_folder(path) and not is_folder(first):
            raise BadInput(f"{path}: neither a folder nor a command; commands are {', '.join(_COMMANDS)} (see --help)")
    out = _out(keys)

    from p2be_exp.report.paper.folder import check_folder
    from p2be_exp.report.paper.write import make_report, report_text, write_report

    check_folder(out)
    _check_writable(out)
    report = make_report(paths, keys.get("evaluation"))
    write_report(report, out, kinds)
    print(for_terminal(report_text(report)))
    print(f"\nreport in {out}: index.html, report.md, tables/, figures/")


def _compare(arguments: Sequence[str]) -> None:
    if {"-h", "--help"} & set(arguments):
        print(_COMPARE_HELP)
        return
    sides, keys = _parsed(arguments, keys=("evaluation", "out", "plugins", "strict_plugins"))
    allow_requested(arguments)
    if len(sides) != 2:
        raise BadInput(f"compare: takes two sides, A and B, not {len(sides)} ({' '.join(sides) or 'none'})")

    from p2be_exp.report.compare import compare
    from p2be_exp.report.comparison_table import comparison_table, write_comparison
    from p2be_exp.report.measured import find_measured

    a, b = (find_measured(key, side, keys.get("evaluation")) for key, side in zip("AB", sides, strict=True))
    comparison = compare(a, b)
    if "out" not in keys:
        print_result(comparison_table(comparison))
    else:
        print(for_terminal(comparison_table(comparison)))
        write_comparison(comparison, user_path("out", keys["out"]))
        print(f"\ncompare.csv and compare.json in {keys['out']}")


def _leaderboard(arguments: Sequence[str]) -> None:
    if {"-h", "--help"} & set(arguments):
        print(_LEADERBOARD_HELP)
        return
    folders, keys = _parsed(arguments, keys=("out", "radius"))
    if len(folders) != 1:
        raise BadInput(f"leaderboard: takes one FOLDER, not {len(folders)} ({' '.join(folders) or 'none'})")
    radius = keys.get("radius")
    if radius is not None and not re.fullmatch(r"[0-9]{1,3}", radius):
        raise BadInput(f"radius={radius}: must be a whole number of levels")
    folder, out = user_path("FOLDER", folders[0]), _out(keys)

    from p2be_exp.report.leaderboard.write import check_out, leaderboard_text, make_leaderboard, write_leaderboard

    check_out(out)
    _check_writable(out)
    leaderboard = make_leaderboard(folder, None if radius is None else int(radius))
    write_leaderboard(leaderboard, out)
    print(for_terminal(leaderboard_text(leaderboard)))
    print(f"\nleaderboard in {out}: leaderboard.html, leaderboard.json, leaderboard.csv")


def _kinds(given: str) -> list[str]:
    """The kinds of files that figures are to have, ``[svg,pdf]`` or ``svg,pdf``.

    Raises:
        BadInput: another kind.
    """
    kinds = [each.strip() for each in given.removeprefix("[").removesuffix("]").split(",")]
    if not set(kinds) <= set(_KINDS):
        raise BadInput(f"figures={given}: must be one of {', '.join(_KINDS)}, or several as [svg,pdf]")
    return kinds


def _out(keys: Mapping[str, str]) -> Path:
    """The folder of a report."""
    return user_path("out", keys.get("out") or f"reports/{datetime.now():%Y-%m-%d_%H-%M-%S_%f}")


def _check_writable(out: Path) -> None:
    """Reported now, not after everything has been read and drawn."""
    if not existing_part(out).is_dir():
        raise BadInput(f"out={out}: cannot be written ({os.strerror(errno.ENOTDIR)})")


def _parsed(arguments: Sequence[str], keys: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The positional arguments, and the values of the keys.

    Raises:
        BadInput: a flag, an unknown key, or a key that has no value or is given twice.
    """
    positional: list[str] = []
    found: dict[str, str] = {}
    for argument in arguments:
        if argument.startswith("-"):
            raise BadInput(f"{argument}: not a flag; the keys are {', '.join(f'{key}=' for key in keys)} and --help")
        named = re.match(r"(\w+)=(.*)", argument, re.DOTALL)  # a path may contain a = further on
        if named is None:
            positional.append(argument)
            continue
        key, value = named.groups()
        if key not in keys:
            raise BadInput(f"{argument}: unknown key; the keys are {', '.join(keys)}")
        if not value or key in found:
            raise BadInput(f"{argument}: exactly one value is required")
        found[key] = value
    name = found.get("evaluation", "x")
    if name in (".", "..") or "/" in name:
        raise BadInput(f"evaluation={name}: must be the name of a folder in RUN/evaluations/")
    check_path("evaluation", name)
    return positional, found


_KINDS = ("svg", "pdf", "png")

_COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {"compare": _compare, "leaderboard": _leaderboard}
