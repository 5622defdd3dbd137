"""The files of an evaluation: one row per condition in ``results.csv``, the images behind it, a summary.

Attacks without a radius have their rows in ``distances.csv``.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, cast

import numpy as np

from p2be_exp.errors import BadInput
from p2be_exp.evaluation import measures
from p2be_exp.evaluation.broken import alone, growth
from p2be_exp.evaluation.condition import CLEAN, Condition
from p2be_exp.evaluation.distances import DistanceRow, check_distances, read_rows, table_of
from p2be_exp.evaluation.saved_results import MOVED, check_arrays, open_arrays, read_lines, read_settings
from p2be_exp.runs.provenance import now, versions
from p2be_exp.runs.run import FORMAT_VERSION, Run
from p2be_exp.statistics.calibration import calibration_errors
from p2be_exp.statistics.intervals import wilson_interval
from p2be_exp.system.atomic import is_full, write_bytes, write_json, write_text
from p2be_exp.system.forms import unusable

IMPORTED = "imported_"
"""Beginning of the names of attack rows whose images were made elsewhere, see :mod:`p2be_exp.evaluation.imported`."""


@dataclass(frozen=True)
class Row:
    """What was measured under one condition; errors and interval in percent."""

    condition: str
    kind: str
    name: str
    severity: int | None
    eps_levels: int | None
    gradient: str
    n: int
    n_wrong: int
    error: float
    ci_low: float
    ci_high: float
    seconds: float

    @classmethod
    def of(cls, condition: Condition, n: int, n_wrong: int, seconds: float) -> Row:
        """The row of a condition from its counts, with the Wilson interval."""
        low, high = wilson_interval(n_wrong, n)
        return cls(
            condition=condition.id,
            kind=condition.kind,
            name=condition.name,
            severity=condition.severity,
            eps_levels=condition.eps_levels,
            gradient=condition.gradient,
            n=n,
            n_wrong=n_wrong,
            error=round(100 * n_wrong / n, 4),
            ci_low=round(100 * low, 4),
            ci_high=round(100 * high, 4),
            seconds=round(seconds, 3),
        )


class Results:
    """The results of one evaluation in a folder, written row by row.

    Every row is written atomically as soon as it is known, after the images behind it; an evaluation that is started
    again with the same settings continues with the missing conditions.

    Args:
        folder: where ``results.csv``, ``results.json`` and ``per_image/`` are.
        settings: what determines the results; a folder with results of other settings is refused.
        key: the option that named the folder, for error messages.
        plan: the corrupted images that are measured, if any.
        attacks: the attack conditions that are measured, in their order.
        suite: the suite that they are of, which alone has a worst case; None for a single attack.
        run: the run that was evaluated, where the folder is outside its own.
        remarks: what a reader of an attack's rows should know, by its ID.
        corruptions: the summary of the corruptions, where it is not made from a plan.
        nearest: the conditions of attacks without a radius that are measured, in their order.
        writes: whether this process writes the files; those of several that only compute do not.

    Raises:
        BadInput: the folder has results of other settings, or cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        settings: dict[str, Any],
        key: str = "name",
        plan: measures.Plan | None = None,
        attacks: Sequence[Condition] = (),
        suite: str | None = None,
        run: Run | None = None,
        remarks: Mapping[str, str] | None = None,
        corruptions: dict[str, Any] | None = None,
        nearest: Sequence[Condition] = (),
        writes: bool = True,
    ) -> None:
        self.folder = Path(folder)
        self.run = run
        self.plan = plan
        self.planned = attacks
        self.nearest = nearest
        self.suite = suite
        self._summed_up = corruptions
        self.remarks = remarks or {}
        self.sanity: list[dict[str, Any]] | None = None
        self.settings = json.loads(json.dumps(settings))
        self._key = key
        exists = os.path.lexists(self.summary_file)
        if exists and (changed := _changed(self._earlier_settings(key), self.settings)):
            raise BadInput(
                f"{key}={self.folder.name}: holds results of other settings ({changed}); choose another name"
            )
        self.rows = self._read_rows()
        self.distances = self._read_distances()
        self._calibration: dict[str, dict[str, float]] = {}
        self._wrong: dict[str, np.ndarray] = {}
        self._zeros: dict[str, float | None] = {}
        self._growth: dict[str, list[list[int]]] = {}
        self._moved: dict[str, dict[str, int]] = {}
        for row in self.rows.values():
            self._read_images(row)
        for distances in self.distances.values():
            self._read_distance(distances)
        if not writes:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.write_summary()
        except OSError as error:
            if is_full(error):
                raise
            raise BadInput(f"{self.folder}: cannot be written ({error.strerror})") from error

    @property
    def table_file(self) -> Path:
        """``results.csv``."""
        return self.folder / "results.csv"

    @property
    def distances_file(self) -> Path:
        """``distances.csv``, where an attack without a radius was measured."""
        return self.folder / "distances.csv"

    @property
    def summary_file(self) -> Path:
        """``results.json``."""
        return self.folder / "results.json"

    @property
    def attacks(self) -> list[Condition]:
        """The attack conditions that are measured, then those of imported images."""
        rows = [row for row in self.rows.values() if row.name.startswith(IMPORTED)]
        return [*self.planned, *(Condition("attack", row.name, eps_levels=row.eps_levels) for row in rows)]

    def missing(self, conditions: list[Condition]) -> list[Condition]:
        """The conditions that have no row yet, in their order."""
        return [each for each in conditions if each.id not in self.rows and each.id not in self.distances]

    def add(self, row: Row, images: dict[str, np.ndarray]) -> None:
        """Write the results of a condition: first its images, then its row, then the summary.

        Args:
            row: the counts.
            images: arrays ``index``, ``label``, ``prediction``, ``confidence`` (the largest probability) and ``wrong``,
                one value per image, in data set order; for an attack also ``examples``, the first adversarial
                images, ``broken_at`` (see :class:`~p2be_exp.attacks.attack.Adversarial`), and ``zero_gradient``,
                ``clamped``, ``lost``, ``losses`` ``(N, trace)`` and ``adversarial`` ``(N, 3, H, W)`` where it has them.
        """
        self._write_images(row.condition, images)
        self._note(row.condition, images)
        self.rows = {**self._rows_of_others(), row.condition: row}
        text = io.StringIO()
        writer = csv.DictWriter(text, [field.name for field in fields(Row)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(each) for each in self.rows.values())
        write_text(self.table_file, text.getvalue())
        self.write_summary()

    def add_distance(self, condition: Condition, images: dict[str, np.ndarray], seconds: float) -> None:
        """Write the results of an attack without a radius, likewise: its images, its row, the summary.

        Args:
            condition: of the attack.
            images: as for :meth:`add`, without ``broken_at``, with ``distance``, that of the nearest wrong image in
                levels (see :class:`~p2be_exp.attacks.nearest.Nearest`); ``wrong`` is where it is finite.
            seconds: that it took.
        """
        row = DistanceRow.of(condition, images["distance"], seconds)
        self._write_images(condition.id, images)
        self._note_zeros(condition.id, images)
        others = self._read_distances()  # see _rows_of_others
        for name, other in others.items():
            if name not in self.distances:
                self._read_distance(other)
        self.distances = {**others, condition.id: row}
        write_text(self.distances_file, table_of(self.distances.values()))
        self.write_summary()

    def _write_images(self, condition: str, images: dict[str, np.ndarray]) -> None:
        compressed = io.BytesIO()
        np.savez_compressed(compressed, **cast("dict[str, Any]", images))
        write_bytes(self._images_file(condition), compressed.getbuffer())

    def _rows_of_others(self) -> dict[str, Row]:
        """The rows now in the file: where the file system has no locks, another process may have added some."""
        rows = self._read_rows()
        for name, row in rows.items():
            if name not in self._calibration:
                self._read_images(row)
        return rows

    def wrong(self) -> dict[str, np.ndarray]:
        """Which images were misclassified, ``(N,)`` bool in data set order, by condition."""
        return dict(self._wrong)

    def images(self, condition: str) -> dict[str, np.ndarray]:
        """The arrays behind a row."""
        with open_arrays(self._images_file(condition)) as images:
            return dict(images)

    def zero_gradient(self, condition: str) -> float | None:
        """Mean share of an image's values whose gradient was exactly 0 under an attack; None without a gradient."""
        return self._zeros.get(condition)

    def growth(self, condition: str) -> list[list[int]] | None:
        """How many images an attack broke after how much effort, see :func:`~p2be_exp.evaluation.broken.growth`."""
        return self._growth.get(condition)

    def add_sanity(self, checks: list[dict[str, Any]]) -> None:
        """Add the verdicts of the sanity panel to the summary."""
        self.sanity = checks
        self.write_summary()

    def write_summary(self) -> None:
        """Write ``results.json`` from the rows."""
        write_json(self.summary_file, self.summary())

    def summary(self) -> dict[str, Any]:
        """Everything in ``results.json``; what was not measured is null or empty."""
        clean = self.rows.get(CLEAN.id)
        return {
            "format_version": FORMAT_VERSION,
            "clean_error": clean.error if clean else None,
            **self._corruptions(clean),
            **self._attacks(),
            **self._distances(),
            "sanity": self.sanity,
            "conditions": {
                name: {key: getattr(row, key) for key in ("n", "n_wrong", "error", "ci_low", "ci_high")}
                | self._calibration[name]
                for name, row in self.rows.items()
            },
            "settings": self.settings,
            **({"run": str(self.run.path.absolute())} if self.run else {}),
            "versions": versions(),
            "written": now(),
        }

    def _corruptions(self, clean: Row | None) -> dict[str, Any]:
        if self._summed_up is not None:
            return self._summed_up
        if self.plan is None:
            return measures.nothing_measured()
        rows = [row for row in self.rows.values() if row.kind == "corruption"]
        cells: dict[str, dict[int, float]] = {}
        for row in rows:
            assert row.severity is not None  # a corruption has one
            cells.setdefault(row.name, {})[row.severity] = 100 * row.n_wrong / row.n
        clean_error = 100 * clean.n_wrong / clean.n if clean else None
        return measures.summarise(cells, self.plan, clean_error, min((row.n for row in rows), default=None))

    def _attacks(self) -> dict[str, Any]:
        """What each attack did at each radius, and the worst case; a radius is null until its attacks are measured."""
        attacks: dict[str, Any] = {}
        for condition in self.attacks:
            row, radius = self.rows.get(condition.id), str(condition.eps_levels)
            entry = attacks.setdefault(condition.name, {"gradient": condition.gradient or None, "error": {}})
            entry["error"][radius] = row.error if row else None
            if condition.gradient:
                entry.setdefault("zero_gradient", {})[radius] = self._zeros.get(condition.id)
            for name, count in self._moved.get(condition.id, {}).items():
                entry.setdefault(name, {})[radius] = count
            if condition.name in self.remarks:
                entry["remark"] = self.remarks[condition.name]
            if condition.id in self._growth:
                entry.setdefault("growth", {})[radius] = self._growth[condition.id]
        if self.suite is None:
            return {"attacks": attacks, "worst_case_error": None, "worst_case": None}
        errors, of_radius = self.worst_case(), self._of_radius()
        for radius in (each for each, error in errors.items() if error is not None):
            for condition_id, images in alone(of_radius[radius], self._wrong).items():
                attacks[condition_id.split("/")[1]].setdefault("alone", {})[radius] = images
        of = {
            "suite": self.suite,
            "attacks": {radius: [each.name for each in here] for radius, here in of_radius.items()},
        }
        return {"attacks": attacks, "worst_case_error": errors, "worst_case": of}

    def _distances(self) -> dict[str, Any]:
        """What each attack without a radius found, null until it is measured; nothing where there is none."""
        rows = dict.fromkeys(each.id for each in self.nearest) | self.distances
        found: dict[str, Any] = {}
        for condition, row in rows.items():
            found[condition.split("/")[1]] = entry = None if row is None else row.summary()
            if entry is not None and condition in self._zeros:
                entry["zero_gradient"] = self._zeros[condition]
        return {"distances": found} if found else {}

    def _of_radius(self) -> dict[str, list[Condition]]:
        radii = sorted({each.eps_levels for each in self.attacks if each.eps_levels is not None})
        return {str(radius): [each for each in self.attacks if each.eps_levels == radius] for radius in radii}

    def worst_case(self) -> dict[str, float | None]:
        """Percent of the images that are misclassified when clean or broken by an attack, by radius.

        An image broken at a radius is broken at every larger one: its adversarial image is inside the larger ball too.
        """
        broken, found = self._wrong.get(CLEAN.id), {}
        for radius, conditions in self._of_radius().items():
            here = [self._wrong.get(each.id) for each in conditions]
            known = [wrong for wrong in (broken, *here) if wrong is not None]
            broken = np.logical_or.reduce(known) if len(known) == 1 + len(here) else None
            found[radius] = None if broken is None else round(100 * float(broken.mean()), 4)
        return found

    def _images_file(self, condition: str) -> Path:
        return _images_file(self.folder, condition)

    def _note(self, condition: str, images: Mapping[str, np.ndarray]) -> None:
        """Keep what the summary needs from the images behind a row."""
        self._calibration[condition] = calibration_errors(images["confidence"], images["wrong"])
        self._wrong[condition] = images["wrong"]
        if "broken_at" in images:
            self._growth[condition] = growth(images["broken_at"])
        self._moved[condition] = {name: int(images[name].sum()) for name in MOVED if name in images}
        self._note_zeros(condition, images)

    def _note_zeros(self, condition: str, images: Mapping[str, np.ndarray]) -> None:
        if "zero_gradient" in images:
            measured = images["zero_gradient"][~np.isnan(images["zero_gradient"])]
            self._zeros[condition] = round(float(measured.mean(dtype=np.float64)), 4) if len(measured) else None

    def _earlier_settings(self, key: str) -> dict[str, Any]:
        with _explained(self.folder, self.summary_file.name, key):
            return read_settings(self.summary_file)

    def _read_rows(self) -> dict[str, Row]:
        with _explained(self.folder, self.table_file.name, self._key):
            return {name: Row(**line) for name, line in read_lines(self.table_file).items()}

    def _read_distances(self) -> dict[str, DistanceRow]:
        with _explained(self.folder, self.distances_file.name, self._key):
            return read_rows(self.distances_file)

    def _read_distance(self, row: DistanceRow) -> None:
        with _explained(self.folder, "per_image", self._key), open_arrays(self._images_file(row.condition)) as images:
            check_arrays(images, row.n, row.n_broken)
            check_distances(row, images["distance"])
            self._note_zeros(row.condition, images)

    def _read_images(self, row: Row) -> None:
        with _explained(self.folder, "per_image", self._key), open_arrays(self._images_file(row.condition)) as images:
            check_arrays(images, row.n, row.n_wrong)
            self._note(row.condition, images)


def _changed(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The settings that differ, with their earlier values, as text; empty where none does."""
    changed = [name for name in {**earlier, **now} if earlier.get(name) != now.get(name)]
    return ", ".join(f"{name}={earlier.get(name)}" for name in changed)


@contextmanager
def _explained(folder: Path, what: str, key: str) -> Iterator[None]:
    """Turn any error of reading a results file into one that names the file and the remedy."""
    try:
        yield
    except Exception as error:  # NumPy, zipfile and csv raise many kinds on a damaged file
        remove = "remove the folder, or choose another name"
        if (folder / "run.json").exists():  # the evaluation that ends a training, in the run's folder
            remove = "remove results.csv and results.json to measure again"
        raise BadInput(f"{key}={folder.name}: {what} {unusable(error)}; {remove}") from error


def check_results(folder: Path, key: str, settings: Mapping[str, Any]) -> None:
    """Check that the results in a folder, if there are any, can be continued.

    Args:
        folder: a run's folder.
        key: the option that named it, for error messages.
        settings: the settings that it would be measured with now, as far as they are known.

    Raises:
        BadInput: one of the files is damaged or cannot be read, or their settings differ.
    """
    if os.path.lexists(folder / "results.json"):
        with _explained(folder, "results.json", key):
            earlier = read_settings(folder / "results.json")
        if changed := _changed(earlier, {**earlier, **json.loads(json.dumps(settings))}):
            raise BadInput(f"{key}={folder}: holds results of other settings ({changed}); use the same settings")
    with _explained(folder, "results.csv", key):
        lines = read_lines(folder / "results.csv")
    for name, line in lines.items():
        with _explained(folder, "per_image", key), open_arrays(_images_file(folder, name)) as images:
            check_arrays(images, line["n"], line["n_wrong"])
    with _explained(folder, "distances.csv", key):
        distances = read_rows(folder / "distances.csv")
    for name, row in distances.items():
        with _explained(folder, "per_image", key), open_arrays(_images_file(folder, name)) as images:
            check_arrays(images, row.n, row.n_broken)
            check_distances(row, images["distance"])


def _images_file(folder: Path, condition: str) -> Path:
    return folder / "per_image" / (condition.replace("/", "-") + ".npz")
