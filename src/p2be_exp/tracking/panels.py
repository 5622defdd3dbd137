"""The panels of a W&B workspace: which metrics to compare, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

RADII = (2, 4, 8, 16, 32)
"""Radii of ``attack=suite``, in levels."""

CATEGORIES = ("noise", "blur", "weather", "digital")

Kind = Literal["bars", "scatter", "lines", "parallel", "images", "table"]


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        section: heading of its section.
        title: what is shown.
        kind: of chart. ``bars`` are means over the runs of a group with standard errors; ``lines`` follow the training.
        metrics: names that a run logs: numbers of the summary (for ``parallel`` also columns of the configuration), for
            ``lines`` of the history, for ``images`` of figures, for ``table`` that of the table.
        x: the x axis: for ``scatter`` a column of the configuration or a number of the summary, for ``lines`` a metric;
            empty for the step.
        group: column by whose values ``bars`` are grouped.
        why: its purpose.
    """

    section: str
    title: str
    kind: Kind
    metrics: tuple[str, ...]
    x: str = ""
    group: str = ""
    why: str = ""


PANELS = (
    Panel("Results", "Clean error by encoding", "bars", ("clean_error",), group="encoding_name",
          why="what an encoding costs, over the seeds"),
    Panel("Results", "Corruption error by encoding", "bars", ("mean_corruption_error",), group="encoding_name",
          why="what it gains where images are damaged"),
    Panel("Results", "Corruption error by regime", "bars", ("mean_corruption_error",), group="regime_name",
          why="how much of that is due to the augmentation"),
    Panel("Results", "Worst case at 8 levels by encoding", "bars", ("worst_case_error/8",), group="encoding_name",
          why="robustness is this, not the error under one attack"),
    Panel("Results", "Clean against corruption error", "scatter", ("mean_corruption_error",), x="clean_error",
          why="whether robustness is bought with clean accuracy"),
    Panel("Length of the code and smoothness", "Clean error by M", "scatter", ("clean_error",), x="M",
          why="how long a code must be"),
    Panel("Length of the code and smoothness", "Corruption error by M", "scatter", ("mean_corruption_error",), x="M",
          why="the same under corruptions"),
    Panel("Length of the code and smoothness", "Corruption error by lambda", "scatter", ("mean_corruption_error",),
          x="lambda_smooth", why="what smoothness of the table does"),
    Panel("Length of the code and smoothness", "M, lambda and the errors", "parallel",
          ("M", "lambda_smooth", "clean_error", "mean_corruption_error"), why="the whole sweep in one picture"),
    Panel("Attacks and corruptions", "Worst case by radius", "bars", tuple(f"worst_case_error/{r}" for r in RADII),
          group="encoding_name", why="an error that does not grow to 100 % is an attack that fails"),
    Panel("Attacks and corruptions", "LS-PGA by radius", "bars", tuple(f"lspga_error/{r}" for r in RADII),
          group="encoding_name", why="the paper's attack: far below the worst case it says nothing about robustness"),
    Panel("Attacks and corruptions", "Error by kind of corruption", "bars",
          tuple(f"corruption_error/{category}" for category in CATEGORIES), group="encoding_name",
          why="where the mean comes from"),
    Panel("Training", "Loss", "lines", ("train/loss", "train/ce"), x="epoch", why="whether it is still falling"),
    Panel("Training", "Error on training images", "lines", ("train/error",), x="epoch",
          why="on augmented images: not to be compared with the test error"),
    Panel("Training", "Held-out error", "lines", ("val/error", "test/error"), x="epoch",
          why="where there is a validation split, or watch_every"),
    Panel("Training", "Smoothness", "lines", ("train/smoothness",), x="epoch", why="before weighting by lambda"),
    Panel("Training", "Bits changed", "lines", ("table/bits_changed",), x="epoch",
          why="a table that does not move is a random table"),
    Panel("Training", "Cosine of neighbouring rows", "lines", ("table/neighbour_cosine",), x="epoch",
          why="near 1: neighbouring levels have similar codes"),
    Panel("Training", "Learning rates", "lines", ("lr/backbone", "lr/encoding"), x="epoch", why="the two schedules"),
    Panel("Training", "Images per second", "lines", ("images_per_second",), x="epoch", why="what a run costs"),
    Panel("Training", "Loss of single steps", "lines", ("step/loss",), why="the first minutes, and spikes"),
    Panel("Figures", "Similarity of the codes", "images", ("figures/table_similarity",),
          why="the paper's picture of what was learned"),
    Panel("Figures", "Error by corruption and severity", "images", ("figures/corruption_heatmap",),
          why="one run in detail"),
    Panel("Figures", "Results of every condition", "table", ("results",), why="with the intervals"),
)  # fmt: skip
