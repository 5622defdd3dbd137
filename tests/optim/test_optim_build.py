"""What the optim group makes: the settings of both optimizers and the learning rates of every step."""

import math

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW

from p2be_exp.config import training_config
from p2be_exp.config.schema import OptimConfig
from p2be_exp.optim import build_optimizer, build_schedule


def config(*overrides: str) -> OptimConfig:
    return training_config(overrides).optim


def parts() -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    return [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))], [nn.Parameter(torch.ones(4))]


@pytest.mark.parametrize(("preset", "nesterov"), [("official", True), ("paper", False)])
def test_the_recipe(preset, nesterov):
    # spec/p2be.md 1.4, both columns.
    network, table = parts()
    optimizer = build_optimizer(network, table, config(f"preset={preset}"))
    assert list(optimizer.members) == ["backbone", "encoding"]
    sgd, adamw = optimizer.members.values()
    assert (type(sgd), type(adamw)) == (SGD, AdamW)
    (backbone,), (encoding,) = sgd.param_groups, adamw.param_groups
    assert backbone["params"] == network  # batch norms and biases decay like the rest
    assert encoding["params"] == table
    keys = ("lr", "momentum", "nesterov", "weight_decay", "dampening")
    assert tuple(backbone[key] for key in keys) == (0.1, 0.9, nesterov, 5e-4, 0)
    keys = ("lr", "betas", "weight_decay", "eps", "amsgrad")
    assert tuple(encoding[key] for key in keys) == (1e-4, (0.999, 0.999), 1e-4, 1e-8, False)


def test_keys_of_the_group():
    network, table = parts()
    changed = config(
        "optim.lr=0.3",
        "optim.momentum=0.5",
        "optim.nesterov=false",
        "optim.weight_decay=0.01",
        "optim.table_lr=0.02",
        "optim.table_betas=[0.7,0.8]",
        "optim.table_weight_decay=0.03",
    )
    backbone, encoding = build_optimizer(network, table, changed).param_groups
    assert [backbone[key] for key in ("lr", "momentum", "nesterov", "weight_decay")] == [0.3, 0.5, False, 0.01]
    assert [encoding[key] for key in ("lr", "betas", "weight_decay")] == [0.02, (0.7, 0.8), 0.03]


def test_without_a_table_that_learns_there_is_one_member():
    network, _ = parts()
    optimizer = build_optimizer(network, [], config())
    schedule = build_schedule(optimizer, config(), epochs=2, steps_per_epoch=5)
    assert list(optimizer.members) == ["backbone"]
    assert schedule.get_last_lr() == [0.1]


def rates(settings: OptimConfig, total_steps: int, epochs: int = 1) -> dict[str, list[float]]:
    """The learning rate of every step and the one after the last, by group."""
    optimizer = build_optimizer(*parts(), settings)
    schedule = build_schedule(optimizer, settings, epochs, total_steps // epochs)
    seen = {group["name"]: [] for group in optimizer.param_groups}
    for _ in range(total_steps + 1):
        for group in optimizer.param_groups:
            seen[group["name"]].append(group["lr"])
        optimizer.step()
        schedule.step()
    return seen


def cosine(first: float, last: float, total_steps: int) -> list[float]:
    m = last / first
    return [first * (m + (1 - m) * 0.5 * (1 + math.cos(math.pi * t / total_steps))) for t in range(total_steps + 1)]


def test_the_official_schedule_is_a_cosine_for_both():
    seen = rates(config("preset=official"), 20)
    assert seen["backbone"] == pytest.approx(cosine(0.1, 1e-6, 20), rel=1e-9)
    assert seen["encoding"] == pytest.approx(cosine(1e-4, 1e-6, 20), rel=1e-9)


def test_the_papers_schedule_leaves_the_table_alone():
    seen = rates(config("preset=paper"), 20)
    assert seen["backbone"] == pytest.approx(cosine(0.1, 1e-5, 20), rel=1e-9)
    assert seen["encoding"] == [1e-4] * 21


def test_a_floor_above_the_first_rate_does_not_raise_it():
    seen = rates(config("optim.lr_end=1e-3"), 5)
    assert seen["encoding"] == [1e-4] * 6
    assert seen["backbone"] == pytest.approx(cosine(0.1, 1e-3, 5), rel=1e-9)


def test_the_length_is_epochs_times_steps():
    assert rates(config(), 20, epochs=4) == rates(config(), 20)


@pytest.mark.parametrize(("preset", "last"), [("official", 1e-6), ("paper", None)])
def test_the_recipe_for_imagenet(preset, last):
    # spec/p2be.md 1.9: rate 0.1, a tenth after epochs 60 and 120 of 180, weight decay 1e-4; AugMix's code: no Nesterov.
    settings = config("optim=imagenet", f"preset={preset}")
    network, table = parts()
    (backbone,) = build_optimizer(network, table, settings).members["backbone"].param_groups
    assert [backbone[key] for key in ("momentum", "nesterov", "weight_decay")] == [0.9, False, 1e-4]
    seen = rates(settings, 180 * 2, epochs=180)
    assert seen["backbone"][:-1] == pytest.approx([0.1] * 120 + [0.01] * 120 + [0.001] * 120, rel=1e-12)
    expected = [1e-4] * 361 if last is None else cosine(1e-4, last, 360)
    assert seen["encoding"] == pytest.approx(expected, rel=1e-9)


def test_steps_change_at_the_beginning_of_an_epoch():
    seen = rates(config("optim.schedule=steps", "optim.milestones=[1,3]", "optim.gamma=0.5"), 8, epochs=4)
    assert seen["backbone"] == pytest.approx([0.1, 0.1, 0.05, 0.05, 0.05, 0.05, 0.025, 0.025, 0.025])


def test_a_gate_has_adamw_alone():
    """Adaptive Smoothing's settings for two ResNet-18."""
    network, table = parts()
    settings = config("model=adaptive_mix")
    optimizer = build_optimizer(network, [], settings)
    assert [type(each) for each in optimizer.members.values()] == [AdamW]
    (group,) = optimizer.param_groups
    assert (group["name"], group["params"]) == ("backbone", network)
    keys = ("lr", "betas", "weight_decay", "eps", "amsgrad")
    assert tuple(group[key] for key in keys) == (1e-4, (0.9, 0.999), 1e-5, 1e-8, False)
    assert settings.clip_norm == 10
    with pytest.raises(ValueError, match="parameters in no optimizer"):
        build_optimizer(network, table, settings)


@pytest.mark.parametrize(("total_steps", "epochs", "time"), [(100, 4, 4), (12, 1, 1), (74, 2, 2)])
def test_the_rate_of_a_gate_warms_up_over_a_25th_of_all_steps(total_steps, epochs, time):
    settings = config("model=adaptive_mix")
    optimizer = build_optimizer(parts()[0], [], settings)
    schedule = build_schedule(optimizer, settings, epochs, total_steps // epochs)
    for t in range(total_steps + 1):
        warm = 1 - math.exp(-(t + 1) / time)
        expected = 1e-4 * warm * 0.5 * (1 + math.cos(math.pi * t / total_steps))
        assert schedule.get_last_lr() == pytest.approx([expected], rel=1e-9, abs=1e-18)
        optimizer.step()
        schedule.step()


def test_a_gate_may_do_without_a_warm_up():
    settings = config("model=adaptive_mix", "optim.warmup=0", "optim.lr_end=1e-6")
    optimizer = build_optimizer(parts()[0], [], settings)
    schedule = build_schedule(optimizer, settings, epochs=1, steps_per_epoch=5)
    seen = []
    for _ in range(6):
        seen += schedule.get_last_lr()
        optimizer.step()
        schedule.step()
    assert seen == pytest.approx(cosine(1e-4, 1e-6, 5), rel=1e-9)


def test_feature_pyramid_decoder_has_adam_beside_the_tables_adamw():
    """The authors' code: Adam at 1e-3 or 1e-4, a clipped norm of 5, a decay of 1e-50, which is none."""
    network, table = parts()
    settings = config("model=fpd")
    assert config("optim=adam") == settings
    assert settings.clip_norm == 5
    optimizer = build_optimizer(network, table, settings)
    assert [type(each) for each in optimizer.members.values()] == [Adam, AdamW]
    backbone, encoding = optimizer.param_groups
    assert (backbone["params"], encoding["params"]) == (network, table)
    keys = ("lr", "betas", "weight_decay", "eps", "amsgrad")
    assert tuple(backbone[key] for key in keys) == (1e-3, (0.9, 0.999), 0.0, 1e-8, False)
    assert tuple(encoding[key] for key in keys) == (1e-4, (0.999, 0.999), 1e-4, 1e-8, False)
    assert list(build_optimizer(network, [], settings).members) == ["backbone"]


def test_keys_of_adam():
    network, table = parts()
    changed = config(
        "optim=adam", "optim.lr=0.3", "optim.betas=[0.5,0.6]", "optim.weight_decay=0.01", "optim.table_lr=0.02"
    )
    backbone, encoding = build_optimizer(network, table, changed).param_groups
    assert [backbone[key] for key in ("lr", "betas", "weight_decay")] == [0.3, (0.5, 0.6), 0.01]
    assert encoding["lr"] == 0.02


@pytest.mark.parametrize(("schedule", "table_schedule"), [("cosine", "constant"), ("constant", "cosine")])
def test_the_schedules_of_adam(schedule, table_schedule):
    settings = config("optim=adam", f"optim.schedule={schedule}", f"optim.table_schedule={table_schedule}")
    seen = rates(settings, 20)
    for name, first, which in (("backbone", 1e-3, schedule), ("encoding", 1e-4, table_schedule)):
        expected = cosine(first, 1e-6, 20) if which == "cosine" else [first] * 21
        assert seen[name] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["optim.schedule=cosine"], cosine(0.1, 1e-6, 20)),
        (["optim.schedule=steps", "optim.milestones=[2]"], [0.1] * 10 + [0.01] * 11),
        (["optim=adam", "optim.schedule=constant"], [1e-3] * 21),
        (["model=adaptive_mix", "optim.warmup=0", "optim.lr_end=1e-6"], cosine(1e-4, 1e-6, 20)),
    ],
)
def test_the_network_warms_up_over_epochs_and_the_table_does_not(overrides, expected):
    """Two epochs of five steps: the n-th of the first ten at n tenths of what the schedule says."""
    settings = config(*overrides, "optim.warmup_epochs=2")
    gate = "model=adaptive_mix" in overrides
    optimizer = build_optimizer(parts()[0], [] if gate else parts()[1], settings)
    schedule = build_schedule(optimizer, settings, epochs=4, steps_per_epoch=5)
    seen = []
    for _ in range(21):
        seen.append(schedule.get_last_lr())
        optimizer.step()
        schedule.step()
    ramp = [min(1.0, (t + 1) / 10) for t in range(21)]
    network = [rates[0] for rates in seen]
    assert network == pytest.approx([factor * rate for factor, rate in zip(ramp, expected, strict=True)], rel=1e-9)
    if not gate:
        assert [rates[1] for rates in seen] == pytest.approx(cosine(1e-4, 1e-6, 20), rel=1e-9)
