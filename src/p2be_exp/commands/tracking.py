"""``python -m p2be_exp.tracking``: the panels of a W&B project."""

from __future__ import annotations

import sys

from p2be_exp.commands.exit_codes import exit_code_of
from p2be_exp.commands.help import keys_of, version
from p2be_exp.commands.refusals import with_rank_in_refusals
from p2be_exp.config import check_config, compose_config, to_plain
from p2be_exp.config.quoting import read_arguments
from p2be_exp.config.schema import TrackingConfig
from p2be_exp.config.typed import typed
from p2be_exp.errors import BadInput
from p2be_exp.system.output import print_result
from p2be_exp.system.program import words_of
from p2be_exp.system.torchrun import check_one_process

_HELP = """\
Create a view of a W&B project with panels that compare encodings.

  python -m p2be_exp.tracking workspace project=p2be_exp entity=my-team
  python -m p2be_exp.tracking workspace dry_run=true                     print the panels, send nothing

Keys, set with KEY=VALUE:
{keys}

Runs are logged with {train} logger=wandb. Each call creates a new view; existing views are not changed.
Needs pip install 'p2be-exp[dashboards]', and wandb login. The panels and their purpose: docs/dashboards.md.

Exit codes: 0 done, 1 failed, 2 bad input."""


def main() -> int:
    """Run the command with ``sys.argv``; return its exit code."""
    return exit_code_of(with_rank_in_refusals(_command))


def _command() -> None:
    if "--version" in sys.argv[1:]:
        print(version())
        return
    arguments = read_arguments(sys.argv[1:])
    if not arguments or {"-h", "--help"} & set(arguments):
        print(_HELP.format(keys=keys_of("tracking"), train=" ".join(words_of("train"))))
        return
    check_one_process("p2be_exp.tracking")
    if arguments[0] != "workspace":
        raise BadInput(f"{arguments[0]}: not a command; available: workspace")
    if flags := [argument for argument in arguments[1:] if argument.startswith("-")]:
        raise BadInput(f"{flags[0]}: not a flag; the command takes KEY=VALUE (see --help)")
    config = typed(to_plain(compose_config("tracking", arguments[1:])), TrackingConfig)
    check_config("tracking", config)
    if config.dry_run:
        print_result(panel_table())
        return
    from p2be_exp.tracking.workspace import save_workspace

    print(save_workspace(config.project, config.entity, config.name))


def panel_table() -> str:
    """The panels as a table: section, title, kind, metrics and x axis."""
    from p2be_exp.tracking.panels import PANELS

    rows = [("section", "panel", "kind", "of", "against")]
    for panel in PANELS:
        against = panel.x or (f"grouped by {panel.group}" if panel.group else "")
        rows.append((panel.section, panel.title, panel.kind, _together(panel.metrics), against))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _together(metrics: tuple[str, ...]) -> str:
    """``name/1, name/2`` as ``name/{1,2}``."""
    firsts, lasts = {name.rpartition("/")[0] for name in metrics}, [name.rpartition("/")[2] for name in metrics]
    if len(metrics) == 1 or firsts == {""} or len(firsts) > 1:
        return ", ".join(metrics)
    return f"{firsts.pop()}/{{{','.join(lasts)}}}"
