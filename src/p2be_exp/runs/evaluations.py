"""Where in a run folder the results of the evaluations behind its training are, beside the run's own."""

from __future__ import annotations

from pathlib import Path

from p2be_exp.config.schema import TrainConfig

AVERAGE = Path("evaluations", "ema")
"""Those of the average of the weights (``optim.ema``)."""

ATTACKED = {Path(): Path("evaluations", "attacks"), AVERAGE: Path("evaluations", "ema_attacks")}
"""Those of attacks on fewer images than the others (``limit_attack``), by where the others are."""


def attacked_apart(config: TrainConfig, run: Path, results: Path) -> Path | None:
    """The folder with the attacks that belong to results; None where they are not apart.

    Args:
        config: of the run.
        run: its folder.
        results: the folder of the results, the run's own or one in it.
    """
    place = next((each for each in ATTACKED if run / each == results), None)
    return None if config.limit_attack is None or place is None else run / ATTACKED[place]
