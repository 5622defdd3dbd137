"""Switches that do not go with the rest of a configuration: one line with the key, the value and what is allowed."""

import pytest

from p2be_exp.config import check_config, training_config
from p2be_exp.errors import BadInput


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["epochs=3", "optim.warmup_epochs=4"], "optim.warmup_epochs=4: must be at most 3 (epochs)"),
        (
            ["model=adaptive_mix", "model.accurate=a", "model.robust=b", "optim.warmup_epochs=1"],
            "optim.warmup_epochs=1: a warm-up beside optim.warmup=0.04; set one to 0",
        ),
        (
            ["early_stop=3"],
            "early_stop=3: requires dataset.val_size above 0, the number of training images held out to decide by; "
            "test images decide nothing",
        ),
        (
            ["model=mix", "model.accurate=a", "model.robust=b", "dataset.val_size=10", "early_stop=3"],
            "early_stop=3: must be 0 with regime=none, which trains nothing",
        ),
        (["limit_attack=5"], "limit_attack=5: requires attack=NAME; with attack=none nothing is attacked"),
        (["attack=suite", "limit_test=9", "limit_attack=10"], "limit_attack=10: must be at most limit_test=9"),
        (["optim.ema=1"], "optim.ema=1: must be a decay, at least 0 and below 1, or constant, or null"),
        (["optim.ema=true"], "optim.ema=True: must be a decay, at least 0 and below 1, or constant, or null"),
        (["optim.ema=swa"], "optim.ema=swa: must be a decay, at least 0 and below 1, or constant, or null"),
        (["optim.ema_from=3"], "optim.ema_from=3: requires optim.ema"),
        (["epochs=3", "optim.ema=constant", "optim.ema_from=3"], "optim.ema_from=3: must be below 3 (epochs)"),
        (
            ["model=mix", "model.accurate=a", "model.robust=b", "optim.ema=0.9"],
            "optim.ema=0.9: must be null with regime=none, which trains nothing",
        ),
    ],
)
def test_switches_that_do_not_fit_are_refused(overrides, message):
    with pytest.raises(BadInput) as error:
        check_config("train", training_config(overrides))
    assert str(error.value) == message
