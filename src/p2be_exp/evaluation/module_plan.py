"""The plan of an evaluation of anybody's network, which may have a surrogate of its own."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property

from p2be_exp.attacks import Attack
from p2be_exp.attacks.nearest import NearestAttack
from p2be_exp.config.schema import ModuleConfig, TrainConfig
from p2be_exp.evaluation.condition import Condition
from p2be_exp.evaluation.plan import EvaluationPlan
from p2be_exp.models.module_classifier import ModuleClassifier
from p2be_exp.runs.run import Run


@dataclass(frozen=True)
class SurrogatePlan(EvaluationPlan):
    """The plan for a network with a surrogate of its own, which the rows of the attacks that climb it name."""

    @cached_property
    def attack_of(self) -> dict[Condition, Attack]:
        """See :class:`~p2be_exp.evaluation.plan.EvaluationPlan`."""
        return {_renamed(condition, attack): attack for condition, attack in super().attack_of.items()}

    @cached_property
    def nearest_of(self) -> dict[Condition, NearestAttack]:
        """See :class:`~p2be_exp.evaluation.plan.EvaluationPlan`."""
        return {_renamed(condition, attack): attack for condition, attack in super().nearest_of.items()}


def _renamed(condition: Condition, attack: Attack | NearestAttack) -> Condition:
    """The condition of an attack that climbs the surrogate, if it does, with a gradient that says so."""
    if attack.kind != "white-box":
        return condition
    named = {"relaxed": "relaxed surrogate"}
    return dataclasses.replace(condition, gradient=named.get(attack.gradient, "surrogate"))


def module_plan(config: TrainConfig, model: ModuleClassifier, source: Run | None = None) -> EvaluationPlan:
    """The plan of an evaluation of a network.

    Args:
        config: of :func:`p2be_exp.config.module_evaluation.module_evaluation_config`.
        model: the network.
        source: the run that its attacks transfer from, if it is already open.

    Raises:
        BadInput: see :meth:`~p2be_exp.evaluation.plan.EvaluationPlan.of`.
    """
    names = tuple(encoding.name for encoding in model.encodings)
    config = dataclasses.replace(config, model=ModuleConfig(encodings=names))
    return (EvaluationPlan if model.own_surrogate is None else SurrogatePlan).of(config, source)


def climbs(plan: EvaluationPlan) -> bool:
    """Whether an attack of a plan follows the attacked network's gradient."""
    attacks: list[Attack | NearestAttack] = [*plan.attacks, *plan.nearest]
    return any(attack.kind == "white-box" for attack in attacks)
