"""``evaluate.py``: measure a trained run, from its own configuration."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from p2be_exp.commands.exit_codes import exit_code_of
from p2be_exp.commands.help import evaluate_help
from p2be_exp.config import check_config, compose_config, parse_overrides, to_plain
from p2be_exp.errors import BadInput, Interrupted
from p2be_exp.ranks import rank
from p2be_exp.runs import Run, find_run, load_checkpoint


def main() -> int:
    """Run the command with ``sys.argv``; return its exit code."""
    return exit_code_of(_command)


def _command() -> None:
    arguments = sys.argv[1:]
    if {"-h", "--help"} & set(arguments):
        print(evaluate_help())
        return
    flags = [argument for argument in arguments if argument.startswith("-")]
    if flags:
        raise BadInput(f"{flags[0]}: not a flag of evaluate.py, which takes KEY=VALUE (see --help)")
    if "run" not in parse_overrides(arguments):
        raise BadInput("run: which run to evaluate? run=FOLDER")
    settings = to_plain(compose_config("evaluate", arguments))
    check_config("evaluate", settings)
    if settings["name"] in (".", "..") or "/" in (settings["name"] or ""):
        raise BadInput(f"name={settings['name']}: allowed is the name of a folder, which will be in RUN/evaluations/")
    run = find_run(settings["run"])
    config = evaluation_config(run, settings)
    load_checkpoint(run, settings["checkpoint"])
    _evaluate(run, config, settings)


def evaluation_config(run: Run, settings: dict[str, Any]) -> dict[str, Any]:
    """The run's configuration with what an evaluation chooses for itself."""
    config = run.config()
    own = ("trainer", "corruption", "attack", "seed", "eval_batch_size", "limit_test")
    config |= {key: settings[key] for key in own}
    if settings["data_dir"] is not None:
        config["data_dir"] = settings["data_dir"]
    return config


def default_name(settings: dict[str, Any]) -> str:
    """A folder name that tells the settings: checkpoint, conditions, and what is not the default."""
    parts = [settings["checkpoint"], "clean"]
    parts += [settings[group]["name"] for group in ("corruption", "attack") if settings[group]["name"] != "none"]
    if settings["limit_test"] is not None:
        parts.append(f"first{settings['limit_test']}")
    if settings["seed"] != 0:
        parts.append(f"seed{settings['seed']}")
    return "_".join(parts)


def _evaluate(run: Run, config: dict[str, Any], settings: dict[str, Any]) -> None:
    from p2be_exp.callbacks import StopSignals
    from p2be_exp.jobs import build_data, evaluate, evaluation_settings
    from p2be_exp.runs import load_run
    from p2be_exp.trainer import check_devices

    with StopSignals(), _told_how_to_go_on():
        check_devices(config["trainer"])
        data = build_data(config)
        data.prepare_data()
        data.setup()
        which = settings["checkpoint"]
        decided = {
            **evaluation_settings(config),
            "checkpoint": which,
            "step": load_checkpoint(run, which)["global_step"],
        }
        name = settings["name"] or default_name(settings)
        if rank() == 0:
            print(f"evaluating {run.path} ({which} checkpoint, step {decided['step']:,})", flush=True)
        evaluate(load_run(run.path, which), data, config, run.path / "evaluations" / name, decided)


@contextmanager
def _told_how_to_go_on() -> Iterator[None]:
    try:
        yield
    except Interrupted:
        if rank() == 0:
            print("\nstopped; to go on: the same command again", file=sys.stderr, flush=True)
        raise
