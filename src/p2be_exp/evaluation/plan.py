"""The plan of an evaluation: what it will measure, made from its configuration before any heavy work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from p2be_exp.attacks import Attack
from p2be_exp.attacks.nearest import NearestAttack
from p2be_exp.config.checks import check_climbs_gate
from p2be_exp.config.joined import check_installed, joined
from p2be_exp.config.plugin_digests import digests_of_attack
from p2be_exp.config.schema import TrainConfig
from p2be_exp.config.typed import plain
from p2be_exp.data import ImageDataModule
from p2be_exp.evaluation.agreement import check_images, check_source_classes
from p2be_exp.evaluation.attack_plan import Source, check_serves, gradient_name, plan_attacks, plan_nearest, suite_of
from p2be_exp.evaluation.attack_source import attack_source
from p2be_exp.evaluation.condition import Condition
from p2be_exp.evaluation.corrupted.images import CorruptedImages
from p2be_exp.evaluation.corrupted.source import corrupted_images
from p2be_exp.evaluation.module import attack_condition, distance_condition, list_conditions
from p2be_exp.runs.load import load_checkpoint, model_of
from p2be_exp.runs.run import Run
from p2be_exp.system.trainer import evaluation_precision


@dataclass(frozen=True)
class EvaluationPlan:
    """The conditions of an evaluation, and the settings that determine their results besides the weights.

    Attributes:
        config: the run's configuration, with the groups ``trainer``, ``corruption`` and ``attack`` and the seed for
            the attacks of the evaluation.
        corrupted: the corrupted test images, if any.
        attacks: in the order in which they are run.
        nearest: those without a radius, which are run after them.
        source: the run that they transfer from, if any.
    """

    config: TrainConfig
    corrupted: CorruptedImages | None = None
    attacks: Sequence[Attack] = ()
    nearest: Sequence[NearestAttack] = ()
    source: Run | None = None

    @classmethod
    def of(cls, config: TrainConfig, source: Run | None = None) -> EvaluationPlan:
        """The plan of a configuration.

        Args:
            config: resolved and checked.
            source: the run that its attacks transfer from, if it is already open.

        Raises:
            BadInput: an attack's library is not installed; corrupted images that are not what they should be; no such
                run to transfer from, or one on another data set or image size; an attack that does not serve the
                encodings.
        """
        check_installed(config.attack)
        corrupted, source = corrupted_images(config), source or attack_source(config)
        attacks = _attacks(config, source)
        return cls(config, corrupted, attacks, plan_nearest(config.attack), source)

    @cached_property
    def conditions(self) -> list[Condition]:
        """Clean images, then corruption by corruption, then the attacks, then those without a radius."""
        return list_conditions(self.corrupted, [*self.attack_of, *self.nearest_of])

    @cached_property
    def attack_of(self) -> dict[Condition, Attack]:
        """The attacks by their conditions, in their order."""
        names, parts = self.config.encoding_names, self.config.model.part_encodings()
        return {attack_condition(each, gradient_name(each, names, parts)): each for each in self.attacks}

    @cached_property
    def nearest_of(self) -> dict[Condition, NearestAttack]:
        """The attacks without a radius by their conditions, in their order."""
        names, parts = self.config.encoding_names, self.config.model.part_encodings()
        return {distance_condition(each, gradient_name(each, names, parts)): each for each in self.nearest}

    @property
    def suite(self) -> str | None:
        """The suite that the attacks are of, which alone has a worst case; None for a single attack."""
        return suite_of(self.config.attack)

    def settings(self) -> dict[str, Any]:
        """The settings that determine the results, apart from the weights (and the plug-ins that these need)."""
        config, plugins = self.config, digests_of_attack(self.config.attack.name)
        for each in joined(config.attack):
            plugins |= digests_of_attack(each.name)
        return {
            "dataset": config.dataset.name,
            "split_seed": config.dataset.split_seed,
            **{key: value for key, value in plain(config.dataset).items() if key in ("image_size", "resized")},
            "limit_test": config.limit_test,
            "corruption": self.corrupted.settings() if self.corrupted else {"name": "none"},
            "attack": {key: value for key, value in plain(config.attack).items() if key != "save_images"},
            "seed": config.seed,
            "precision": "bf16" if evaluation_precision(config.trainer).startswith("bf16") else "32",
            **({"calibrated_on": calibrated} if (calibrated := config.model.calibrated_on) else {}),
            **({"plugins": plugins} if plugins else {}),
        }

    def check(self, data: ImageDataModule) -> None:
        """Check that a data set that has been set up matches the plan, before anything is computed.

        Raises:
            BadInput: the run that an attack transfers from has other classes; corrupted images that are not those of
                the test set.
        """
        check_source_classes(data, self.source)
        check_images(data, self.corrupted)


def _attacks(config: TrainConfig, source: Run | None) -> list[Attack]:
    wanted, encodings, parts = config.attack, config.encoding_names, config.model.part_encodings()
    gated, hides_logits = config.model.gated, config.model.hides_logits
    check_climbs_gate("attack", wanted, gated)
    if config.regime.attack is not None:
        check_serves("regime.attack", config.regime.attack, encodings, parts)
    if source is None:
        return plan_attacks(wanted, encodings, parts=parts, gated=gated, hides_logits=hides_logits)
    other, key = source.config(), "attack.source"
    name = f"{other.encoding.name}_{other.network}"
    model = model_of(source, load_checkpoint(source, key=key), key=key)
    return plan_attacks(wanted, encodings, Source(name, model), parts, gated, hides_logits)
