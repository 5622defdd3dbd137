"""How many epochs fit, and on how many images is tested."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.gpu.rehearsal import Speed
from benchmarks.gpu.settings import Settings
from benchmarks.gpu.sizes import Size
from p2be_exp.errors import BadInput
from p2be_exp.system.atomic import write_json

PLAN = "plan.json"

RECIPE_EPOCHS, RECIPE_TABLE_LR = 200, 1.0e-4
"""The recipe's, with which the table's learning rate is scaled, so that a table moves as far in a short schedule."""

PUBLISHED_EPOCHS = (50, 100, 200)
"""Of Table VI: trainings of these lengths are made as the published ones, with the recipe's learning rate."""

STARTS = 3
"""Processes that an encoding starts one after another: training, corruptions, attack."""

SLACK = 1.1
"""Epochs take longer than the steps of a rehearsal: rows, checkpoints, the first one's search for convolutions."""

ATTACK_PASSES = 40
"""Predictions that LS-PGA costs an image: random tries, and seven steps forward and backward."""

FEWER_IMAGES = (5000, 2000, 1000, 500)

CELL_SECONDS = 0.4
"""Of a corruption beside its predictions: reading, rows, files."""

MOST_OF_IT = 0.35
"""Share of the time that evaluating may take before it is done on fewer images."""


@dataclass(frozen=True)
class TrainingPlan:
    """What is trained and tested.

    Attributes:
        size: name of the size.
        encodings: trained side by side.
        epochs, table_lr: of each training.
        test_images: of each corruption.
        start_seconds: that a process takes to start.
        evaluation_seconds: that evaluating takes, estimated.
        images_per_second: of each training in the rehearsal, side by side; 0 where it failed.
    """

    size: str
    encodings: tuple[str, ...]
    epochs: int
    table_lr: float
    test_images: int
    start_seconds: float
    evaluation_seconds: float
    images_per_second: float

    def write(self, work: Path) -> None:
        """Keep it in the work folder."""
        write_json(work / PLAN, asdict(self))


def read_plan(work: Path) -> TrainingPlan | None:
    """The plan of the trainings in a work folder; None where there are none.

    Raises:
        BadInput: it is damaged.
    """
    file = work / PLAN
    if not file.is_file():
        return None
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        return TrainingPlan(**{**kept, "encodings": tuple(kept["encodings"])})
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"work={work}: {PLAN} is damaged; remove the folder, or choose another") from error


def check_plan(plan: TrainingPlan | None, settings: Settings) -> None:
    """Check that a command goes on with what is there.

    Raises:
        BadInput: it asks for other trainings.
    """
    wanted = {"size": settings.size, "encodings": settings.encodings, "epochs": settings.epochs}
    for key, value in wanted.items():
        there = None if plan is None else getattr(plan, key)
        if there is not None and value is not None and value != there:
            found, asked = (",".join(each) if isinstance(each, tuple) else each for each in (there, value))
            raise BadInput(f"{key}={asked}: the trainings in work={settings.work} have {found}; choose another work=")


def plan_training(
    seconds: float,
    speed: Speed | None,
    size: Size,
    name: str,
    encodings: tuple[str, ...],
    epochs: int | None = None,
) -> TrainingPlan:
    """Fill the time.

    Args:
        seconds: for everything that is still to come.
        speed: measured side by side; None where that failed: then one epoch, and the fewest images.
        size: the numbers of everything.
        name: of the size.
        encodings: to be trained.
        epochs: of each; None for as many as fit, at least one.
    """
    known = speed or Speed(start_seconds=15.0, trained=1.0, predicted=1.0)
    most = MOST_OF_IT * seconds
    choices = (size.test_images, *(n for n in FEWER_IMAGES if n < size.test_images))
    images = next((n for n in choices if _evaluation_seconds(n, known, size) <= most), choices[-1])
    evaluating = min(_evaluation_seconds(images, known, size), most)
    training = 0.95 * seconds - evaluating - STARTS * known.start_seconds
    fit = int(training / (SLACK * size.train_images / known.trained)) if speed else 1
    chosen = epochs or max(1, min(fit, size.most_epochs))
    return TrainingPlan(
        size=name,
        encodings=encodings,
        epochs=chosen,
        table_lr=table_lr(chosen),
        test_images=images,
        start_seconds=round(known.start_seconds, 1),
        evaluation_seconds=round(evaluating, 1),
        images_per_second=round(speed.trained, 1) if speed else 0.0,
    )


def table_lr(epochs: int) -> float:
    """Of the learned table: the recipe's, larger where a training is shorter than any published."""
    return RECIPE_TABLE_LR if epochs in PUBLISHED_EPOCHS else round(RECIPE_TABLE_LR * RECIPE_EPOCHS / epochs, 8)


def departures(plan: TrainingPlan) -> str:
    """In what a plan's trainings depart from the recipe, in words."""
    length = f"{plan.epochs} of {RECIPE_EPOCHS} epochs"
    as_published = plan.table_lr == RECIPE_TABLE_LR
    return length if as_published else f"{length}, table_lr times {plan.table_lr / RECIPE_TABLE_LR:.4g}"


def _evaluation_seconds(images: int, speed: Speed, size: Size) -> float:
    """Of the cells and of the attack, without the starts of their processes."""
    passes = images * (size.cells + 1) + min(images, size.attack_images) * ATTACK_PASSES
    return SLACK * passes / speed.predicted + CELL_SECONDS * size.cells
