"""How much each part does: in full, or tiny, to see on any machine that the program runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """Numbers of everything.

    Attributes:
        dataset, train_images, test_images: what is trained and tested on.
        backbone: of all parts.
        batch_size, eval_batch_size: images.
        rounds: of a timing, at most.
        seconds: after which a timing begins no further round.
        round_steps: steps of a round, where a training is timed by part.
        attack_images: that LS-PGA is measured on.
        names, severities: of the corruptions, as ``corruption.names`` and ``corruption.severities`` take them.
        cells: how many corruptions at a severity these are.
        most_epochs: of a training.
        stored_images, stored_cells: of the -C set of random images whose evaluation is timed.
        plain_batch_size: of the plain form of LS-PGA, which holds all 256 levels of every pixel.
    """

    dataset: str
    train_images: int
    test_images: int
    backbone: str
    batch_size: int
    eval_batch_size: int
    rounds: int
    seconds: float
    round_steps: int
    attack_images: int
    names: str
    severities: str
    cells: int
    most_epochs: int
    stored_images: int
    stored_cells: int
    plain_batch_size: int


SIZES = {
    "full": Size(
        dataset="cifar100",
        train_images=50_000,
        test_images=10_000,
        backbone="wrn40_2",
        batch_size=128,
        eval_batch_size=1000,
        rounds=15,
        seconds=4.0,
        round_steps=5,
        attack_images=1000,
        names="test",
        severities="[1,2,3,4,5]",
        cells=75,
        most_epochs=200,
        stored_images=10_000,
        stored_cells=5,
        plain_batch_size=4,
    ),
    "test": Size(
        dataset="digits",
        train_images=32,
        test_images=40,
        backbone="wrn16_1",
        batch_size=4,
        eval_batch_size=40,
        rounds=3,
        seconds=0.3,
        round_steps=1,
        attack_images=10,
        names="[fog,contrast]",
        severities="[1,5]",
        cells=4,
        most_epochs=2,
        stored_images=40,
        stored_cells=2,
        plain_batch_size=1,
    ),
}
