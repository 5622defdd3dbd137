"""The sanity panel of an evaluation: its checks, and one verdict over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from p2be_exp.report.leaderboard.checked import Checked

VERDICTS = ("failed", "suspicious", "ok", "not measured")
"""The worst first: the first that a check has is the panel's. (Those of :mod:`p2be_exp.evaluation.sanity.checks`, whose
import takes seconds.)"""


@dataclass(frozen=True)
class Check:
    """One line of the panel: what was looked at, the verdict, and one sentence with the numbers."""

    name: str
    verdict: str
    detail: str


@dataclass(frozen=True)
class Panel:
    """The checks of a panel; none where it was not run.

    Attributes:
        checks: in their order.
    """

    checks: Sequence[Check] = ()

    @property
    def verdict(self) -> str:
        """Over all checks."""
        return next((each for each in VERDICTS if self.having(each)), "not measured")

    def having(self, verdict: str) -> list[Check]:
        """The checks of a verdict."""
        return [check for check in self.checks if check.verdict == verdict]

    @property
    def counts(self) -> dict[str, int]:
        """How many checks have each verdict, the worst first; without the verdicts that none has."""
        found = {verdict: len(self.having(verdict)) for verdict in VERDICTS}
        return {verdict: number for verdict, number in found.items() if number}


def read_panel(summary: Checked) -> Panel:
    """The panel.

    Raises:
        BadInput: a check has another form, or a verdict that is none.
    """
    listed = summary["sanity"]
    return Panel([_check(each) for each in listed.entries()] if listed.given else ())


def _check(check: Checked) -> Check:
    return Check(check["name"].text(), check["verdict"].one_of(*VERDICTS), check["detail"].text())
