"""The configuration of an evaluation of anybody's network. Nothing here imports torch."""

from __future__ import annotations

import dataclasses

from p2be_exp.config.checks import check_source
from p2be_exp.config.compose import compose_config, to_plain
from p2be_exp.config.schema import EvaluateModelConfig, ModuleConfig, TrainConfig
from p2be_exp.config.typed import typed
from p2be_exp.corruptions.official import resolved
from p2be_exp.system.paths import user_path


def module_evaluation_config(settings: EvaluateModelConfig) -> TrainConfig:
    """What an evaluation reads of a run's configuration, for a network without a run.

    Backbone, regime and optimizer have their defaults and mean nothing.

    Args:
        settings: checked.

    Raises:
        BadInput: a source of corrupted images that does not cover the data set.
    """
    config = typed(to_plain(compose_config("train", ["encoding=rgb"])))
    own = (
        *("dataset", "trainer", "corruption", "attack", "seed", "eval_batch_size", "limit_test", "data_dir", "plugins"),
        "figures",
    )
    config = dataclasses.replace(config, **{key: getattr(settings, key) for key in own}, model=ModuleConfig())
    config.corruption = resolved(config.corruption, config.dataset.name, user_path("data_dir", config.data_dir))
    check_source(config.corruption.name, config.dataset.name)
    return config
