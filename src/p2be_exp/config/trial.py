"""A trial of a configuration, from its data to its results, in seconds: ``trainer.fast_dev_run``."""

from __future__ import annotations

import dataclasses

from p2be_exp.config.schema import TrainConfig

BATCHES = 2
IMAGES = 8
"""In a batch at most, and the number of test and of held-out images."""

REMARK = "trainer.fast_dev_run=true: a trial of two small batches"


def as_trial(config: TrainConfig) -> TrainConfig:
    """The configuration of one epoch of two small batches, with a few test images; the rest is as it is.

    What is stored, reported and compared is this configuration, so that nobody takes a trial for a training.

    Args:
        config: checked; it is not changed, and given back where no trial is asked for.
    """
    trainer, optim = config.trainer, config.optim
    if not trainer.fast_dev_run:
        return config
    # Each process has images of its own in every batch.
    batch_size = max(min(config.batch_size, IMAGES), trainer.devices * trainer.num_nodes)
    images = BATCHES * batch_size
    return dataclasses.replace(
        config,
        epochs=1,
        batch_size=batch_size,
        limit_train=min(config.limit_train or images, images),
        limit_test=min(config.limit_test or IMAGES, IMAGES),
        limit_attack=config.limit_attack and min(config.limit_attack, IMAGES),
        dataset=dataclasses.replace(config.dataset, val_size=min(config.dataset.val_size, IMAGES)),
        optim=dataclasses.replace(optim, warmup_epochs=min(optim.warmup_epochs, 1), ema_from=0),
        departs_from_paper=REMARK,
    )
