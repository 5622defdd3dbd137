"""What a model is tested on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Condition:
    """One thing that a model is tested on.

    Attributes:
        kind: ``clean``, ``corruption``, ``attack``, or ``distance``: an attack without a radius.
        name: of the corruption, or the attack's ID; empty for clean images.
        severity: 1 to 5, of a corruption.
        eps_levels: radius in levels, of an attack.
        gradient: the gradient that an attack used.
    """

    kind: str
    name: str = ""
    severity: int | None = None
    eps_levels: int | None = None
    gradient: str = ""

    @property
    def id(self) -> str:
        """``clean``, ``corruption/NAME/SEVERITY``, ``attack/ID/EPS_LEVELS`` or ``distance/ID``."""
        if self.kind == "clean":
            return "clean"
        if self.kind == "distance":
            return f"distance/{self.name}"
        return f"{self.kind}/{self.name}/{self.severity if self.kind == 'corruption' else self.eps_levels}"


CLEAN = Condition("clean")
