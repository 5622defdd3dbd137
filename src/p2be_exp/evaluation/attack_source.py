"""The run, or the shared network, that an attack makes its images on. Nothing here imports torch."""

from __future__ import annotations

from p2be_exp.config.schema import TrainConfig
from p2be_exp.errors import BadInput
from p2be_exp.runs.run import Run


def attack_source(config: TrainConfig) -> Run | None:
    """The run that attacks transfer from; None where the configuration names none.

    Raises:
        BadInput: no such run, or one on another data set or image size.
    """
    source = config.attack.source
    if source is None:
        return None
    run = Run.open(source, key="attack.source", or_shared=True)
    other = run.config()
    if other.dataset.name != config.dataset.name:
        raise BadInput(
            f"attack.source={source}: trained on {other.dataset.name}; "
            f"must be a run on {config.dataset.name}, with the same classes and image size"
        )
    sizes = [each.dataset.image_size for each in (other, config)]
    if sizes[0] != sizes[1]:
        raise BadInput(f"attack.source={source}: trained with dataset.image_size={sizes[0]}; must be {sizes[1]}")
    return run
