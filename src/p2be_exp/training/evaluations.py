"""The evaluations behind a training: one of everything or, with ``limit_attack``, the attacks apart on fewer images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger

from p2be_exp.config.schema import NoAttackConfig, NoCorruptionConfig
from p2be_exp.data import ImageDataModule
from p2be_exp.errors import BadInput
from p2be_exp.evaluation.data import build_data
from p2be_exp.evaluation.job import Output, evaluate
from p2be_exp.evaluation.plan import EvaluationPlan
from p2be_exp.models.classifier import Classifier
from p2be_exp.runs.evaluations import ATTACKED, AVERAGE
from p2be_exp.runs.run import Run
from p2be_exp.system.ranks import rank
from p2be_exp.tracking import log_results


@dataclass(frozen=True)
class Evaluations:
    """What is measured behind a training, in one folder or two.

    Attributes:
        own: clean and corrupted images; the attacks as well where they are on as many images.
        attacked: the attacks and their own clean images, on the first ``limit_attack`` images of the same random order
            that ``limit_test`` takes; None where there is no such limit.
    """

    own: EvaluationPlan
    attacked: EvaluationPlan | None

    @classmethod
    def of(cls, plan: EvaluationPlan) -> Evaluations:
        """The evaluations of a plan of everything."""
        config = plan.config
        if config.limit_attack is None:
            return cls(plan, None)
        own = replace(config, attack=NoAttackConfig())
        fewer = replace(config, corruption=NoCorruptionConfig(), limit_test=config.limit_attack)
        return cls(
            replace(plan, config=own, attacks=(), nearest=(), source=None), replace(plan, config=fewer, corrupted=None)
        )

    def check(self, data: ImageDataModule) -> None:
        """Check, before anything is computed, that there are as many test images as are to be attacked.

        Raises:
            BadInput: there are fewer.
        """
        limit, there = self.attacked.config.limit_attack if self.attacked else None, data.total_test
        if limit is not None and limit > there:
            raise BadInput(f"limit_attack={limit}: must be between 1 and {there} (there are {there} test images)")

    def folders(self, average: bool) -> dict[Path, EvaluationPlan]:
        """The plans by the folders of their results in that of the run.

        Args:
            average: those of the average of the weights as well.
        """
        found: dict[Path, EvaluationPlan] = {}
        for place in (Path(), AVERAGE) if average else (Path(),):
            found[place] = self.own
            if self.attacked is not None:
                found[ATTACKED[place]] = self.attacked
        return found

    def run(
        self,
        model: Classifier,
        data: ImageDataModule,
        weights: dict[str, Any],
        run: Run,
        key: str,
        place: Path = Path(),
        loggers: Sequence[Logger] = (),
        figures: Sequence[Path] = (),
    ) -> dict[str, Any]:
        """Measure a model (see :func:`~p2be_exp.evaluation.job.evaluate`) and send what was found to loggers, at once.

        Args:
            model: images in, logits out.
            data: gives the test images of ``own``; set up.
            weights: ``checkpoint`` and ``step`` of the model.
            run: the folder.
            key: the option that named it, for messages.
            place: in it, for the results.
            loggers: of the run.
            figures: drawn earlier, to be sent as well.

        Returns:
            The content of the first ``results.json``.
        """
        if self.attacked is None:
            return evaluate(self.own, model, data, weights, Output(run.path / place, key, None, loggers, figures))
        summary = evaluate(self.own, model, data, weights, Output(run.path / place, key))
        fewer, main = build_data(self.attacked.config), rank(self.attacked.config.trainer) == 0
        fewer.prepare_data()
        fewer.setup()
        if main:
            print(f"\nattacks, on {self.attacked.config.limit_attack:,} images (limit_attack):", flush=True)
        folder = run.path / ATTACKED[place]
        attacked = evaluate(self.attacked, model, fewer, weights, Output(folder, key))
        if main:
            both = _together(summary, attacked)
            rows = [{"condition": name, **row} for name, row in both["conditions"].items()]
            config = replace(self.own.config, attack=self.attacked.config.attack)
            log_results(loggers, config, both, rows, _pictures([folder, run.path / place], figures))
        return summary


def _pictures(folders: Sequence[Path], more: Sequence[Path]) -> list[Path]:
    """The figures of evaluations, and others; of two with one name the later, which is of more images."""
    drawn = {each.stem: each for folder in folders for each in sorted((folder / "figures").glob("*.png"))}
    return [*(drawn | {each.stem: each for each in more}).values()]


def _together(own: dict[str, Any], attacked: dict[str, Any]) -> dict[str, Any]:
    """One summary for loggers, in which clean images are those of ``own``, of which there are more."""
    keys = ("attacks", "worst_case_error", "worst_case", "distances", "sanity")
    of_attacks = {name: row for name, row in attacked["conditions"].items() if name not in own["conditions"]}
    both = {key: attacked[key] for key in keys if key in attacked}
    return {**own, **both, "conditions": own["conditions"] | of_attacks}
