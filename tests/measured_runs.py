"""Run folders with results, as training and evaluation leave them, without either having happened."""

import copy
import csv
import functools
import json
from pathlib import Path

import numpy as np
import yaml
from omegaconf import OmegaConf

from p2be_exp.config import compose_config, to_plain
from p2be_exp.config.schema import GROUP_SCHEMAS
from p2be_exp.corruptions.names import SEVERITIES, TEST
from p2be_exp.runs.run import FORMAT_VERSION, Run

HEADER = "condition,kind,name,severity,eps_levels,gradient,n,n_wrong,error,ci_low,ci_high,seconds"
CELLS = tuple(f"corruption/{name}/{severity}" for name in TEST for severity in SEVERITIES)


@functools.cache
def _composed():
    return to_plain(compose_config("train", ["experiment=quickstart"]))


def config_of(seed=0, **changes):
    """The quickstart's configuration with other values; ``encoding__M=8`` sets a key of a group."""
    config = copy.deepcopy(_composed()) | {"seed": seed}
    for key, value in changes.items():
        *groups, name = key.split("__")
        node = functools.reduce(lambda node, group: node[group], groups, config)
        node[name] = value
    return config


def settings_of(seed=0, **changes):
    """The settings of an evaluation under generated corruptions."""
    corruption = {"name": "generated", "names": "test", "severities": [1, 2, 3, 4, 5], "seed": 0}
    corruption["generator_version"] = 1
    settings = {"dataset": "digits", "split_seed": 0, "limit_test": None, "corruption": corruption}
    settings |= {"attack": {"name": "none"}, "seed": seed, "precision": "32", "checkpoint": "last", "step": 540}
    return settings | changes


def wrong_images(conditions, n=200, rate=0.2, seed=0):
    """By condition, which of ``n`` images are classified wrongly: some images are hard under every condition."""
    generator = np.random.default_rng(seed)
    hard = generator.random(n)
    return {name: (hard + generator.random(n)) / 2 < rate for name in conditions}


def write_results(folder, wrong, settings=None):
    """``results.csv``, ``results.json`` and ``per_image/`` for the images that were wrong, by condition."""
    per_image = Path(folder) / "per_image"
    per_image.mkdir(parents=True, exist_ok=True)
    with (Path(folder) / "results.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, HEADER.split(","), restval="", lineterminator="\n")
        writer.writeheader()
        for name, images in wrong.items():
            kind, *rest = name.split("/")
            n, n_wrong = len(images), int(images.sum())
            row = {"condition": name, "kind": kind, "n": n, "n_wrong": n_wrong, "error": round(100 * n_wrong / n, 4)}
            parts = ("name", "eps_levels" if kind == "attack" else "severity")
            writer.writerow(row | dict(zip(parts, rest, strict=False)))
            where = np.arange(n) * 2
            arrays = {"index": where, "label": where % 10, "wrong": images, "confidence": np.full(n, 0.5)}
            arrays["prediction"] = (where + images) % 10
            np.savez(per_image / f"{name.replace('/', '-')}.npz", **arrays)
    (Path(folder) / "results.json").write_text(json.dumps({"settings": settings or settings_of()}))


def write_run(folder, wrong=None, seed=0, settings=None, status="finished", **changes):
    """A finished run; with ``wrong``, what it has measured at its end; the folder."""
    run = Run(folder)
    run.path.mkdir(parents=True, exist_ok=True)
    # Not by Run.create, which asks git for the commit and waits for the disk.
    run.config_file.write_text(OmegaConf.to_yaml(OmegaConf.create(config_of(seed, **changes))))
    run.run_file.write_text(json.dumps({"format_version": FORMAT_VERSION, "seed": seed}))
    run.status_file.write_text(json.dumps({"state": status}))
    if wrong is not None:
        write_results(folder, wrong, settings or settings_of(seed))
    return Path(folder)


def write_group(folder, rates, conditions=("clean", *CELLS), n=200, first=0, **changes):
    """A folder of runs, a seed and an error rate each; the folder."""
    for number, rate in enumerate(rates):
        seed = first + number
        write_run(Path(folder) / str(number), wrong_images(conditions, n, rate, seed + 100), seed, **changes)
    return Path(folder)


# -- runs of the paper's recipes --------------------------------------------------------------------------------------

OFFICIAL = {"name": "cifar_c", "names": list(TEST), "severities": list(SEVERITIES), "verified": "md5"}
GENERATED = {"name": "generated", "names": ["fog"], "severities": [3], "seed": 0, "generator_version": 1}
INFO = {"format_version": FORMAT_VERSION, "command": ["train.py", "a"], "git_commit": "0123456789abcdef"}


@functools.cache
def _recipe(*overrides):
    return to_plain(compose_config("train", overrides))


def write_counts(folder, errors, n=10_000, **settings):
    """``results.csv`` and ``results.json`` of errors in percent by condition, without the images behind them.

    An error of ``corruption`` stands for every cell of the asked corruptions and severities, a little easier at low
    severities than at high ones.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    settings = {"dataset": "cifar100", "split_seed": 0, "limit_test": None, "corruption": {"name": "none"}} | settings
    settings = {"attack": {"name": "none"}, "seed": 0, "precision": "32", "checkpoint": "last", "step": 1} | settings
    asked = settings["corruption"]
    rows = []
    for condition, error in errors.items():
        cells = [(condition, error)]
        if condition == "corruption":
            pairs = [(name, severity) for name in asked["names"] for severity in asked["severities"]]
            cells = [
                (f"corruption/{name}/{severity}", error * (1 + (severity - 3) / 10 + TEST.index(name) / 100))
                for name, severity in pairs
            ]
        rows += [(name, round(n * error / 100)) for name, error in cells]
    with (Path(folder) / "results.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, HEADER.split(","), restval="", lineterminator="\n")
        writer.writeheader()
        for name, n_wrong in rows:
            kind, *rest = name.split("/")
            row = {"condition": name, "kind": kind, "n": n, "n_wrong": n_wrong, "error": round(100 * n_wrong / n, 4)}
            writer.writerow(row | dict(zip(("name", "severity"), rest, strict=False)))
    section = {"identical": asked["names"]} if "verified" in asked else {}
    (Path(folder) / "results.json").write_text(json.dumps({"settings": settings, "corruptions": section}))


def recipe_of(overrides):
    """The configuration that a command line gives; single keys are set in it, which is quicker than composing them."""
    words = overrides.split()
    keys = [word for word in words if word.partition("=")[0] not in (*GROUP_SCHEMAS, "experiment")]
    keys = [word for word in keys if not word.startswith("preset.") and "@" not in word]
    config = copy.deepcopy(_recipe(*(word for word in words if word not in keys)))
    for word in keys:
        key, _, value = word.partition("=")
        *groups, name = key.split(".")
        node = functools.reduce(lambda node, group: node[group], groups, config)
        assert name in node, word
        node[name] = yaml.safe_load(value)
    return config


def write_recipe(
    folder,
    overrides,
    errors=None,
    seed=0,
    n=10_000,
    sweep=None,
    status="finished",
    evaluation_seed=None,
    facts=None,
    worst_case=None,
    **settings,
):
    """A run of a recipe as the command line gives it, ``"encoding=rgb epochs=50"``; errors as :func:`write_counts`.

    ``facts`` are further entries of ``run.json``; ``worst_case`` is the error at 8 levels over its attacks.
    """
    run = Run(folder)
    run.path.mkdir(parents=True, exist_ok=True)
    config = recipe_of(overrides) | {"seed": seed}
    run.config_file.write_text(json.dumps(config))  # JSON is YAML, and quicker
    info = INFO | {"seed": seed, "versions": {"torch": "2.15.0"}} | ({"sweep": sweep} if sweep else {}) | (facts or {})
    run.run_file.write_text(json.dumps(info))
    run.status_file.write_text(json.dumps({"state": status}))
    if errors is not None:
        dataset = config["dataset"]["name"]
        settings |= {"seed": seed if evaluation_seed is None else evaluation_seed}
        write_counts(folder, errors, n, **{"dataset": dataset} | settings)
        if worst_case is not None:
            summary = json.loads((Path(folder) / "results.json").read_text())
            (Path(folder) / "results.json").write_text(json.dumps(summary | {"worst_case_error": {"8": worst_case}}))
    return Path(folder)


# -- filled tables ----------------------------------------------------------------------------------------------------


def cell_at(table, *place):
    """The cell of a filled table, by block, row and column as they are written in the CSV file."""
    (cell,) = (each for each in table.cells if texts((each.key.block, each.key.row, each.key.column)) == place)
    return cell


def texts(keys):
    """Keys as they are written in the CSV file."""
    return tuple(map(str, keys))
