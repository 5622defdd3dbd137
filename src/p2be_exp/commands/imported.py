"""``python -m p2be_exp.evaluation import``: adversarial images that somebody made elsewhere, in an evaluation."""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path
from typing import Any

from p2be_exp.commands.exit_codes import exit_code_of
from p2be_exp.commands.help import version
from p2be_exp.commands.refusals import with_rank_in_refusals
from p2be_exp.config import parse_overrides
from p2be_exp.config.plugin_trust import allow_requested
from p2be_exp.config.schema import TrainConfig
from p2be_exp.config.typed import typed_group
from p2be_exp.errors import BadInput
from p2be_exp.evaluation.saved_results import read_settings
from p2be_exp.runs.load import load_checkpoint, model_of
from p2be_exp.runs.locations import locate
from p2be_exp.runs.run import Run
from p2be_exp.system.forms import read_json
from p2be_exp.system.ownership import owned
from p2be_exp.system.paths import check_path, user_path
from p2be_exp.system.torchrun import check_one_process

_HELP = """\
Add adversarial images that were made elsewhere to an evaluation of a run, as the row attack/imported_NAME/EPS_LEVELS.

  python -m p2be_exp.evaluation import RUN images.npz eps_levels=8 [name=NAME] [evaluation=NAME]

The file has images, uint8 levels or floats in [0, 1] (taken to the nearest level), (N, 3, H, W), one for each test
image of the evaluation, in the order of the data set; or in any order with index (N,), their positions in the data set.
An image outside the ball is refused. The row belongs to the worst case of its radius.

Keys, set with KEY=VALUE:
  eps_levels   the radius in levels, 0 to 255; required
  name         of the row; default: the file's name
  evaluation   the evaluation of the run, RUN/evaluations/NAME; default: that at the end of its training
  out          the folder of the evaluation, where it is not in the run
  plugins      [NAME,NAME]: the plug-ins that the run needs, which are code; default: those of P2BE_PLUGINS

Exit codes: 0 done, 1 failed, 2 bad input."""

_KEYS = ("eps_levels", "name", "evaluation", "out", "plugins", "strict_plugins")


def main() -> int:
    """Run the command with ``sys.argv``; return its exit code."""
    return exit_code_of(with_rank_in_refusals(_command))


def _command() -> None:
    arguments = sys.argv[1:]
    if "--version" in arguments:
        print(version())
        return
    if not arguments or {"-h", "--help"} & set(arguments):
        print(_HELP)
        return
    check_one_process("p2be_exp.evaluation")
    places = [each for each in arguments if "=" not in each]
    if len(places) != 3 or places[0] != "import":
        raise BadInput("p2be_exp.evaluation: takes import RUN FILE.npz and KEY=VALUE (see --help)")
    given = [each for each in arguments if "=" in each]
    keys = parse_overrides(given)
    if unknown := [key for key in keys if key not in _KEYS]:
        raise BadInput(f"{unknown[0]}: unknown key; the keys are {', '.join(_KEYS)}")
    radius = _radius(keys.get("eps_levels"))
    file = user_path("images", places[2])
    name = keys.get("name", file.stem)
    if not re.fullmatch(r"[A-Za-z0-9_.+-]+", name):
        raise BadInput(f"name={name}: must consist of letters, digits and _ . + -")
    allow_requested(given)
    run = Run.open(places[1])
    folder, key = _folder(run, keys)
    earlier = _earlier(folder, key)
    if not file.is_file():
        raise BadInput(f"{file}: no such file")
    _import(run, folder, key, earlier, file, name, radius)


def _radius(text: str | None) -> int:
    if text is None:
        raise BadInput("eps_levels: required; the radius of the ball in levels")
    if not text.isdecimal() or int(text) > 255:
        raise BadInput(f"eps_levels={text}: must be a whole number of levels between 0 and 255")
    return int(text)


def _folder(run: Run, keys: dict[str, str]) -> tuple[Path, str]:
    """The folder of the evaluation, and the key that named it with its value."""
    if "out" in keys:
        if "evaluation" in keys:
            raise BadInput(f"out={keys['out']}: replaces evaluation={keys['evaluation']}; give only one of them")
        return user_path("out", keys["out"]), f"out={keys['out']}"
    if "evaluation" not in keys:
        return run.path, f"{run.path}"
    name = keys["evaluation"]
    if name in (".", "..") or "/" in name:
        raise BadInput(f"evaluation={name}: must be the name of a folder in RUN/evaluations/")
    check_path("evaluation", name)
    return run.path / "evaluations" / name, f"evaluation={name}"


def _earlier(folder: Path, key: str) -> dict[str, Any]:
    file = folder / "results.json"
    if not file.is_file():
        raise BadInput(f"{key}: has no results.json; evaluate first")
    try:
        return read_json(file) | {"settings": read_settings(file)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{key}: results.json cannot be read ({type(error).__name__})") from error


def _config(run: Run, settings: dict[str, Any]) -> TrainConfig:
    """The run's configuration with the settings of the evaluation."""
    config = run.config()
    stored = settings["attack"]
    attack = typed_group("attack", {"attack": stored if stored["name"] == "none" else stored | {"save_images": False}})
    config = dataclasses.replace(config, attack=attack, seed=settings["seed"], limit_test=settings["limit_test"])
    locate(config, run.info())
    return config


def _import(run: Run, folder: Path, key: str, earlier: dict[str, Any], file: Path, name: str, radius: int) -> None:
    from p2be_exp.evaluation.imported import Given, import_images
    from p2be_exp.evaluation.table import results_table

    settings = earlier["settings"]
    config = _config(run, settings)
    saved = load_checkpoint(run, settings["checkpoint"])
    if saved["global_step"] != settings["step"]:
        raise BadInput(f"{key}: is of step {settings['step']}; the run is now at step {saved['global_step']}")
    model = model_of(run, saved, settings["checkpoint"])
    with owned(folder, key.partition("=")[0]):
        summary = import_images(run, model, config, folder, earlier, Given(file, name, radius))
    print(f"{results_table(summary)}\n\nresults in {folder}")
