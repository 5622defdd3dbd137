"""How a run departs from the paper's recipe; a report says so for every run that is not at full scale."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from p2be_exp.config import compose_config, to_plain
from p2be_exp.config.schema import TrainConfig
from p2be_exp.config.typed import plain
from p2be_exp.corruptions.names import SEVERITIES, TEST
from p2be_exp.errors import BadInput
from p2be_exp.evaluation.measures import IMAGENET_IMAGES
from p2be_exp.report.comparable import NOT_THE_METHOD, flat, mean_over
from p2be_exp.report.paper.gather import Result
from p2be_exp.report.paper.inner_attack import inner_attack
from p2be_exp.report.paper.keys import format_value
from p2be_exp.report.paper.measures import LSPGA, WORST_RADIUS, corruptions, severities, worst_case
from p2be_exp.report.paper.published import ENCODINGS

_COMMON = {
    "limit_train": None,
    "dataset.val_size": 0,
    "optim.lr": 0.1,
    "optim.momentum": 0.9,
    "optim.clip_norm": None,
    "optim.accumulate": 1,
    "optim.table_lr": 1e-4,
    "optim.table_weight_decay": 1e-4,
    "regime.alpha_jsd": 12.0,
    "encoding.M": 64,
    "encoding.init": "normal",
    "encoding.table_from": None,
}
_CIFAR = {"epochs": 200, "batch_size": 128, "optim.weight_decay": 5e-4, "regime.magnitude": 3.0}
_IMAGENET = {"epochs": 180, "batch_size": 64, "optim.weight_decay": 1e-4}
"""What the paper gives for a recipe; the rest of the reference is this project's configuration without overrides."""

_NOT_COMPARED = NOT_THE_METHOD | {
    "plugins",
    "dataset.download",
    "dataset.dir",
    "dataset.workers",
}
_ROW = ("encoding.", "optim.table_", "regime.table_learns_from_adversarial")
"""Keys that concern an encoding only: a departure in them goes into the label of its row, and the other rows stay."""

METHOD_ROW = (*_ROW, "regime.", "model.")
"""The same of tables with a method in each row: its own settings, too."""

_TEST_IMAGES = {"cifar10": 10_000, "cifar100": 10_000, "imagenet": IMAGENET_IMAGES}
_FIRST = ("epochs", "limit_train", "batch_size")
_SHORT = {"encoding.M": "M", "encoding.lambda_smooth": "lambda", "encoding.init": "initial table"}


@dataclass(frozen=True)
class Recipe:
    """The paper's recipe that the runs of a table are compared with.

    Attributes:
        datasets: data sets of the published table; none: any.
        regimes: its regimes; none: any.
        free: keys, or groups of them, that vary within the table, besides encoding and backbone.
        measures: kinds of measures in the table: ``corruption``, ``lspga``.
        networks: its backbones, where the table does not name them; none: any.
        of_row: beginnings of the keys that concern a row only.
    """

    datasets: tuple[str, ...]
    regimes: tuple[str, ...]
    free: frozenset[str] = frozenset()
    measures: frozenset[str] = frozenset()
    networks: tuple[str, ...] = ()
    of_row: tuple[str, ...] = _ROW

    @property
    def imagenet(self) -> bool:
        """Whether it is the recipe of ImageNet."""
        return self.datasets == ("imagenet",)


@dataclass(frozen=True)
class Departures:
    """How a result departs from the paper.

    Attributes:
        all: what concerns every row, in words, the most important first.
        row: what concerns only the encoding, in words.
        remark: the run's own ``departs_from_paper``.
    """

    all: tuple[str, ...]
    row: tuple[str, ...]
    remark: str | None


def departures(result: Result, recipe: Recipe) -> Departures:
    """Compare a result with the recipe of a table.

    Args:
        result: of one run.
        recipe: the recipe.
    """
    config = result.config
    changed, row = training_departures(config, recipe)
    found = [*changed, *_evaluation(result, recipe)]
    remark = config.departs_from_paper
    if not found and not row and remark:
        found.append(remark)
    return Departures(tuple(found), row, remark)


def training_departures(config: TrainConfig, recipe: Recipe) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """How a configuration departs from a recipe, however it was measured.

    Args:
        config: of a run.
        recipe: the recipe.

    Returns:
        What concerns every row, and what concerns only the encoding, in words.
    """
    expected = _expected(config, recipe)
    here = {key: value for key, value in flat(plain(config)) if not _is_free(key, recipe)}
    changed = {
        key: value
        for key, value in here.items()
        if key not in expected or not _same(*(_in_effect(key, each, config) for each in (value, expected[key])))
    }
    of_row = [key for key in changed if _is_row(key, config, recipe)]
    named = [key for key in of_row if _has_effect(key, config)]
    row: tuple[str, ...] = ()
    if "regime." in recipe.of_row:
        named = [key for key in named if not key.startswith("regime.attack.")]
        row = inner_attack(here, expected)
    row += tuple(f"{_SHORT.get(key, key)} = {format_value(changed[key])}" for key in named)
    general = [key for key in _FIRST if key in changed]
    general += sorted(set(changed) - set(general) - set(of_row))
    found = [
        *_option("data set", config.dataset.name, recipe.datasets),
        *_option("network", config.backbone.name, recipe.networks),
        *_option("regime", config.regime.name, recipe.regimes),
        *(_instead(key, changed[key], expected) for key in general),
        *([] if config.preset.name == "official" else [f"preset {config.preset.name}"]),
    ]
    return tuple(found), row


def smooth_weight(config: TrainConfig, recipe: Recipe) -> float:
    """The paper's lambda for a run's data set and regime."""
    if recipe.imagenet:
        return 10.0
    adversarial = config.regime.name in ("contrain", "advtrain")
    return 0.1 if adversarial and config.dataset.name == "cifar100" else 1.0


def _expected(config: TrainConfig, recipe: Recipe) -> dict[str, Any]:
    names = tuple(getattr(config, group).name for group in ("dataset", "regime", "preset", "backbone", "encoding"))
    model = config.model.name if config.model.brings is None else "plain"  # which has no keys that are compared
    given = {**_COMMON, **(_IMAGENET if recipe.imagenet else _CIFAR)}
    given["encoding.lambda_smooth"] = smooth_weight(config, recipe)
    expected = {**_composed(*names, model, recipe.imagenet), **given}
    return {key: value for key, value in expected.items() if not _is_free(key, recipe)}


def _is_free(key: str, recipe: Recipe) -> bool:
    if key.endswith(".name"):  # of options; those that matter are reported separately
        return not key.startswith("regime.attack.")
    # What a preset sets is compared where it is used.
    group = key.split(".")[0]
    return bool({key, group} & recipe.free) or key in _NOT_COMPARED or group in {*_NOT_COMPARED, "preset"}


@functools.cache
def _composed(
    dataset: str, regime: str, preset: str, backbone: str, encoding: str, model: str, imagenet: bool
) -> dict[str, Any]:
    """This project's configuration of some options; empty where one of them is not its own."""
    options = [f"dataset={dataset}", f"regime={regime}", f"preset={preset}"]
    chosen = f"backbone={backbone}", f"encoding={encoding}", f"model={model}"
    experiment = ["experiment=imagenet"] if imagenet else []
    # A network, an encoding or a model of the user's own may have no configuration here.
    for number in range(len(chosen), -1, -1):
        for own in combinations(chosen, number):
            with suppress(BadInput):
                return dict(flat(to_plain(compose_config("train", [*experiment, *options, *own]))))
    return {}


def _is_row(key: str, config: TrainConfig, recipe: Recipe) -> bool:
    """Whether a key concerns a row only; RGB cannot be trained against LS-PGA and needs another attack."""
    return key.startswith(recipe.of_row) or (key.startswith("regime.attack.") and config.encoding.name == "rgb")


def _has_effect(key: str, config: TrainConfig) -> bool:
    """Whether a key has an effect: the table's optimizer has none where no table is learned."""
    fixed = config.encoding.name in ENCODINGS and config.encoding.name != "p2be"
    return not (fixed and key.startswith(("optim.table_", "regime.table_")))


def _instead(key: str, value: Any, expected: Mapping[str, Any]) -> str:
    text = f"{_SHORT.get(key, key)} = {format_value(value)}"
    return f"{text} instead of {format_value(expected[key])}" if expected.get(key) is not None else text


def _in_effect(key: str, value: Any, config: TrainConfig) -> Any:
    """A value as it takes effect: ``reference`` stands for another rounding with a learned table and with RGB."""
    if key == "regime.view_rounding" and value == "reference":
        return {"p2be": "floor", "rgb": "nearest"}.get(config.encoding.name, value)
    return value or None if key == "optim.ema" else value  # a decay of 0 is no average


def _same(one: Any, other: Any) -> bool:
    number = isinstance(one, (int, float)) and isinstance(other, (int, float))
    return float(one) == float(other) if number else one == other


def _option(what: str, name: str, wanted: tuple[str, ...]) -> list[str]:
    return [] if name in wanted or not wanted else [f"{what} {name}"]


# -- how it was measured ----------------------------------------------------------------------------------------------


def _evaluation(result: Result, recipe: Recipe) -> list[str]:
    settings, counts, found = result.settings, result.counts, []
    expected = _TEST_IMAGES.get(settings["dataset"])
    images = counts["clean"].n if "clean" in counts else None
    if expected and images and images != expected:
        found.append(f"{images:,} of {expected:,} test images")
    elif not expected and settings.get("limit_test"):
        found.append(f"{settings['limit_test']:,} test images")
    if settings.get("precision", "32") != "32":
        found.append(f"measured in {settings['precision']}")
    if settings.get("checkpoint", "last") != "last":
        found.append(f"the {settings['checkpoint']} checkpoint")
    if "corruption" in recipe.measures and any(name.startswith("corruption/") for name in counts):
        found += _corrupted(result)
    if "lspga" in recipe.measures and LSPGA in counts:
        found += _attacked(result)
    if "worst" in recipe.measures and worst_case(result) is not None:
        found += _suite(result)
    return found


def _corrupted(result: Result) -> list[str]:
    settings, found = result.settings["corruption"], []
    if settings["name"] == "own":
        files = json.dumps(settings.get("files"), sort_keys=True)
        found.append(f"own files as corruptions (digest {hashlib.sha256(files.encode()).hexdigest()[:8]})")
    elif settings["name"] not in ("cifar_c", "imagenet_c"):
        # Images of another generator, or drawn with another seed, are other images.
        version, seed = settings.get("generator_version"), settings.get("seed")
        found.append(f"corruptions made here (generator {version}, seed {seed})")
    names, levels = corruptions(result), severities(result)
    if len(names) < len(TEST) or levels != SEVERITIES:
        which = ", ".join(names) if len(names) <= 3 else f"all but {', '.join(n for n in TEST if n not in names)}"
        which = "" if len(names) == len(TEST) else f" ({which.replace('_', ' ')})"
        found.append(f"{over(result)}{which}, severity {' '.join(map(str, levels))}")
    if settings.get("crop", "center") != "center":
        found.append(f"ImageNet-C by {settings['crop']}")
    return found


def _attacked(result: Result) -> list[str]:
    attack, seed = result.settings.get("attack") or {}, result.settings.get("seed")
    found = []
    usual = {"steps": 7, "delta": 1.2, "restarts": 1}  # the rest is part of the condition's name
    for key in usual if attack.get("name") == "lspga" else ("restarts",):
        if key in attack and attack[key] != usual[key]:
            found.append(f"LS-PGA with {key} = {format_value(attack[key])}")
    if seed not in (None, 0, result.seed):  # 0 is what evaluate.py draws with
        found.append(f"attacked under seed {seed}")
    return found


def _suite(result: Result) -> list[str]:
    """How a suite of attacks departs from that of ``attack=suite``; radii above that of the worst case play no part."""
    attack = result.settings["attack"]
    expected = _suite_keys()
    found = [
        f"attacks with {key} = {format_value(attack[key])} instead of {format_value(expected[key])}"
        for key in sorted(expected)
        if key in attack and attack[key] != expected[key] and key not in ("name", "save_images", "eps_levels")
    ]
    radii = attack.get("eps_levels", expected["eps_levels"])
    usual, here = ([each for each in _listed(of) if each <= WORST_RADIUS] for of in (expected["eps_levels"], radii))
    return found if here == usual else [*found, f"attacks at {', '.join(map(str, here))} levels"]


@functools.cache
def _suite_keys() -> dict[str, Any]:
    return to_plain(compose_config("train", ["attack=suite"]))["attack"]


def _listed(radii: Any) -> list[int]:
    return sorted(radii) if isinstance(radii, list) else [radii]


def over(result: Result) -> str:
    """What the mean over corruptions is over."""
    return mean_over(corruptions(result), TEST, severities(result))
