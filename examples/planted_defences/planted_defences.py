"""Six defences that defend nothing, planted on a trained network: what attacks say of each, and what the panel says.

python examples/planted_defences/planted_defences.py RUN
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from p2be_exp.commands.evaluate import evaluation_config
from p2be_exp.config import compose_config, to_plain
from p2be_exp.config.schema import EvaluateConfig
from p2be_exp.config.typed import typed
from p2be_exp.data import ImageDataModule
from p2be_exp.evaluation.data import build_data
from p2be_exp.evaluation.job import Output, evaluate
from p2be_exp.evaluation.plan import EvaluationPlan
from p2be_exp.models.classifier import Classifier
from p2be_exp.models.readers import Reader
from p2be_exp.runs.load import load_checkpoint, model_of
from p2be_exp.runs.run import Run

# -- the defences ----------------------------------------------------------------------------------------------------


class Planted(Classifier):
    """A trained network as it is: its logits, and what attacks climb. The defences derive from it.

    Args:
        model: the trained network, whose weights stay as they are.
    """

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.model = model

    @property
    def readers(self) -> tuple[Reader, ...]:
        """Those of the network."""
        return self.model.readers

    def body(self, *features: Tensor) -> Tensor:
        """Features to logits ``(B, classes)``."""
        return self.model.body(*features)


class SaturatedLogits(Planted):
    """Probabilities at a temperature of 1/10,000 instead of logits: each is 0 or 1, and its gradient 0."""

    def body(self, *features: Tensor) -> Tensor:
        """See :class:`Planted`."""
        return torch.softmax(10_000 * super().body(*features), 1)


class RoundedLogits(Planted):
    """Whole numbers instead of logits, whose gradient is 0."""

    def body(self, *features: Tensor) -> Tensor:
        """See :class:`Planted`."""
        return super().body(*features).round()


class Noise(Planted):
    """A small, steep wave on each logit, in a direction that every forward pass draws anew.

    It moves a logit by a quarter at most, which changes few predictions, but its slope drowns the network's.
    """

    height, steepness, waves = 0.25, 100.0, 64

    def body(self, *features: Tensor) -> Tensor:
        """See :class:`Planted`."""
        logits = super().body(*features)
        read = torch.cat([each.flatten(1) for each in features], 1)
        draws = torch.Generator().manual_seed(0)
        directions = torch.randn(self.waves, read.shape[1], generator=draws).to(read)
        which = self.choose(read.detach(), logits.shape[1])
        return logits + self.height * torch.sin(self.steepness * read @ directions.T).gather(1, which)

    def choose(self, read: Tensor, classes: int) -> Tensor:
        """Which of the waves each image's logits get, ``(B, classes)``."""
        return torch.randint(self.waves, (len(read), classes), device=read.device)


class HashNoise(Noise):
    """The same wave, in a direction that is a hash of what the network reads: random, but always the same."""

    def choose(self, read: Tensor, classes: int) -> Tensor:
        """See :class:`Noise`."""
        draws = torch.Generator().manual_seed(1)
        factors = torch.randint(1 << 40, (read.shape[1], classes), generator=draws).to(read.device)
        rounded = (16 * read).round().long()
        mixed = torch.stack([(rounded * factor).sum(1) for factor in factors.T], 1)
        return (mixed >> 20) % self.waves


class RandomGradients(Planted):
    """The logits to the bit; the way back returns noise."""

    def body(self, *features: Tensor) -> Tensor:
        """See :class:`Planted`."""
        return super().body(*(_NoiseBehind.apply(each) for each in features))


class _NoiseBehind(torch.autograd.Function):
    """The features as they are, and noise for their gradient."""

    @staticmethod
    def forward(ctx: Any, features: Tensor) -> Tensor:
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return torch.randn_like(gradient)


class DetachedFeatures(Planted):
    """The logits to the bit, without a graph that leads to them."""

    def body(self, *features: Tensor) -> Tensor:
        """See :class:`Planted`."""
        return super().body(*(each.detach() for each in features))


DEFENCES: dict[str, type[Planted]] = {
    "saturated logits": SaturatedLogits,
    "rounded logits": RoundedLogits,
    "noise": Noise,
    "hash noise": HashNoise,
    "random gradients": RandomGradients,
    "detached features": DetachedFeatures,
}

# -- their evaluation ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What an evaluation says of one network: errors in percent by radius, and the panel.

    Attributes:
        clean: error on the images as they are.
        white_box, worst: error under the best white-box attack, and under all attacks together.
        checks: the panel: ``name``, ``verdict`` and ``detail`` of each check.
    """

    clean: float
    white_box: dict[int, float]
    worst: dict[int, float]
    checks: Sequence[dict[str, str]]

    def with_verdict(self, verdict: str) -> list[str]:
        """Names of the checks with a verdict, each once."""
        return list(dict.fromkeys(check["name"] for check in self.checks if check["verdict"] == verdict))


@dataclass(frozen=True)
class Evaluation:
    """A trained run, ready to be evaluated with one defence after the other."""

    model: Classifier
    plan: EvaluationPlan
    data: ImageDataModule
    weights: dict[str, Any]

    @classmethod
    def of(cls, run: str, *overrides: str) -> Evaluation:
        """An evaluation as ``evaluate.py run=RUN OVERRIDES...`` would make it.

        Raises:
            BadInput: no such run, or a wrong option.
        """
        opened = Run.open(run)
        words = [f"run={run}", "corruption=none", *overrides]
        settings = typed(to_plain(compose_config("evaluate", words)), EvaluateConfig)
        config = evaluation_config(opened, settings)
        saved = load_checkpoint(opened, settings.checkpoint)
        data = build_data(config)
        data.prepare_data()
        data.setup()
        weights = {"checkpoint": settings.checkpoint, "step": saved["global_step"]}
        return cls(model_of(opened, saved, settings.checkpoint), EvaluationPlan.of(config), data, weights)

    def outcome(self, defence: type[Planted]) -> Outcome:
        """The network with a defence, evaluated afresh; nothing is printed or kept."""
        torch.manual_seed(0)
        planted = defence(self.model).eval()
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            results = evaluate(self.plan, planted, self.data, self.weights, Output(Path(folder) / "results", "out"))
        return outcome_of(results, self.plan)


def outcome_of(results: dict[str, Any], plan: EvaluationPlan) -> Outcome:
    """What matters here of a ``results.json``."""
    white_box: dict[int, float] = {}
    for attack in plan.attacks:
        if attack.kind == "white-box":
            error = results["attacks"][attack.id]["error"][str(attack.eps_levels)]
            white_box[attack.eps_levels] = max(error, white_box.get(attack.eps_levels, 0.0))
    worst = {int(radius): error for radius, error in results["worst_case_error"].items()}
    return Outcome(results["clean_error"], white_box, worst, results["sanity"])


def table(outcomes: Iterable[tuple[str, Outcome]], radius: int) -> str:
    """A Markdown table: a row a network, with its errors at one radius and what the panel holds against it."""
    lines = ["| network | clean | best white-box | worst case | failed | suspicious |", "|---|---|---|---|---|---|"]
    for name, each in outcomes:
        errors = [f"{error:.1f}" for error in (each.clean, each.white_box[radius], each.worst[radius])]
        verdicts = ["; ".join(each.with_verdict(verdict)) or "none" for verdict in ("failed", "suspicious")]
        lines.append(f"| {' | '.join([name, *errors, *verdicts])} |")
    return "\n".join(lines)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="a run folder")
    parser.add_argument("overrides", nargs="*", help="keys of evaluate.py, such as attack.eps_levels=[8,16]")
    parser.add_argument("--images", type=int, default=200, help="how many test images")
    parser.add_argument("--suites", nargs="+", default=["suite_short", "suite"], help="of attacks")
    given = parser.parse_intermixed_args()
    for suite in given.suites:
        evaluation = Evaluation.of(given.run, f"attack={suite}", f"limit_test={given.images}", *given.overrides)
        networks = {"as it is": Planted, **DEFENCES}
        outcomes = [(name, evaluation.outcome(defence)) for name, defence in networks.items()]
        for radius in outcomes[0][1].worst:
            print(f"\nattack={suite}, {radius} levels, error in percent of {given.images} images\n")
            print(table(outcomes, radius), flush=True)


if __name__ == "__main__":
    main()
