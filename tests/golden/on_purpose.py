"""What commits changed on purpose, and why: ``compare.py`` counts these differences apart, with their reasons.

A change is let pass where nothing stood before, where a word replaces a word, or where a value can only be as the
change makes it. So no entry hides a number of a training, a prediction, an adversarial image or an error that both
sides have.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


class Missing:
    """That a side does not have a key."""

    def __repr__(self) -> str:
        return "missing"


MISSING = Missing()


def new(before: Any, after: Any) -> bool:
    """Nothing stood there before."""
    return before is MISSING


def gone(before: Any, after: Any) -> bool:
    """Nothing stands there any more."""
    return after is MISSING


def any_value(before: Any, after: Any) -> bool:
    """Whatever they are: for text."""
    return True


def renamed(old: str, now: str) -> Callable[[Any, Any], bool]:
    """One word for another."""
    return lambda before, after: (before, after) == (old, now)


def grown(before: Any, after: Any) -> bool:
    """A number that is not smaller."""
    return before is not MISSING and after is not MISSING and after >= before


def same_but_for_the_last_bits(before: Any, after: Any) -> bool:
    """Two numbers, or texts of numbers, that agree in twelve digits."""
    try:
        return math.isclose(float(before), float(after), rel_tol=1e-12)
    except (TypeError, ValueError):
        return False


def names_new_settings(before: Any, after: Any) -> bool:
    """A label that also names the settings that PGD has got since, and that it departs from LS-PGA's loss."""
    known = re.sub(r"[,;] regime\.attack\.(start|adaptive|step_size|climb) = \w+", "", str(after))
    return known.replace("loss = margin instead of ce", "loss = margin") == before


def has_the_new_step_size(before: Any, after: Any) -> bool:
    """The numbers of such a label's row: the step size of 2 levels stands behind the 3 steps."""
    return str(after).startswith("3 2 ") and str(after).replace("3 2 ", "3 ", 1) == before


@dataclass(frozen=True)
class Change:
    """A change made on purpose.

    Attributes:
        reason: what it is, for the last lines of ``compare.py``.
        keys: an expression for all of a key, without a case's prefix such as ``resnet18:``.
        values: whether the value before and the value after are those of the change; :data:`MISSING` where a side has
            none.
    """

    reason: str
    keys: str
    values: Callable[[Any, Any], bool]

    def explains(self, key: str, before: Any, after: Any) -> bool:
        """Whether a difference is of this change."""
        return bool(re.fullmatch(rf"((job )?\S+: )*?{self.keys}", key)) and self.values(before, after)


CONFIG = r"(config\.yaml|results\.json: settings)"
ROW = r"(results\.csv: attack/|results\.json: conditions: attack/|results\.json: attacks: |per_image/attack-)"

CHANGES = (
    Change(
        "keys of the configuration that older commits do not have",
        rf"{CONFIG}: (strict_plugins|checkpoint_every|early_stop|model: name|backbone: activation"
        r"|regime: awp_(gamma|warmup)|trainer: (compile|deterministic|fast_dev_run|profile)"
        r"|optim: (warmup_epochs|ema|ema_from)"
        r"|(regime: )?attack: (start|adaptive|step_size|climb|loss|also: length))",
        new,
    ),
    Change("keys of a logger stand under its name", r"config\.yaml: logger: (name|log_every_n_steps)", gone),
    Change("keys of a logger stand under its name", r"config\.yaml: logger: tensorboard: \w+", new),
    Change("suites run LS-PGA along the margin", rf"{ROW}lspga_margin\W.*", new),
    Change("the attack that decides runs with half and twice its effort", rf"{ROW}\w+_(half|twice)\W.*", new),
    Change("PGD with half its steps runs where it decides alone", rf"{ROW}pgd_margin_\w+_half\W.*", gone),
    Change("the number of steps after which an image was broken", r"per_image/attack-\S+\.npz: broken_at", new),
    Change(
        "growth with the effort, images that one attack alone broke",
        r"results\.json: attacks: [\w.]+: (growth|alone)\W.*",
        new,
    ),
    Change("which attacks a worst case is over", r"results\.json: worst_case(: .*)?", new),
    Change("a worst case that has one more attack", r"results\.json: worst_case_error: \d+", grown),
    Change("no worst case of one attack alone", r"results\.json: worst_case_error: \d+", gone),
    Change(
        "no worst case of one attack alone", r"results\.json: worst_case_error", lambda before, after: after is None
    ),
    Change(
        "the gradient of RGB is called exact",
        rf"{ROW}[\w.]+(/\d+)?: gradient",
        renamed("secant", "exact"),
    ),
    Change(
        "statistics of reports by SciPy, in their last bits",
        r"(compare|table\S+)\.(csv|json): .*",
        same_but_for_the_last_bits,
    ),
    Change("what an interval is made of, in comparisons", r"compare\.json: (interval|settings): .*", new),
    Change("rows that a comparison leaves out, in their order", r"compare\.json: left_out: .*", any_value),
    Change("labels of reports name PGD's new settings", r"table\S+\.csv: \d+: (row|departures)", names_new_settings),
    Change(
        "labels of reports name PGD's new settings",
        r"(table\S+\.tex|report\.md): numbers of row \d+",
        has_the_new_step_size,
    ),
    Change("more checks in the panel, other words in their details", r"results\.json: sanity: .*", any_value),
)


def reason(key: str, before: Any, after: Any) -> str | None:
    """Why two values differ on purpose; None where they do not."""
    return next((change.reason for change in CHANGES if change.explains(key, before, after)), None)
