"""The combined optimizer against its members stepped by hand, by itself and inside Lightning."""

import copy
import io

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import LearningRateMonitor
from torch import nn
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, TensorDataset

from p2be_exp.optim import CombinedOptimizer, clip_gradients

SGD_SETTINGS = {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}
ADAMW_SETTINGS = {"lr": 1e-2, "betas": (0.999, 0.999), "weight_decay": 1e-4}
FACTORS = (lambda step: 1 / (1 + step), lambda step: 0.9**step)


class TwoParts(nn.Module):
    """A network of one layer over a table."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.table = nn.Parameter(torch.randn(5, 4, generator=generator))
        self.network = nn.Linear(4, 3)
        for parameter in self.network.parameters():
            nn.init.normal_(parameter, generator=generator)

    def loss(self, levels: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(self.network(self.table[levels]), labels)


def batches(n: int, size: int = 6) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randint(5, (size,), generator=generator), torch.randint(3, (size,), generator=generator))
        for _ in range(n)
    ]


def combine(model: TwoParts) -> CombinedOptimizer:
    network, table = list(model.network.parameters()), [model.table]
    members = {"backbone": SGD(network, **SGD_SETTINGS), "encoding": AdamW(table, **ADAMW_SETTINGS)}
    return CombinedOptimizer(members, parameters=model.parameters())


def by_hand(model: TwoParts, data, accumulate: int = 1, clip: float | None = None) -> None:
    """Two optimizers and two schedules, in the order of the reference (spec/p2be.md 1.4)."""
    sgd, adamw = SGD(model.network.parameters(), **SGD_SETTINGS), AdamW([model.table], **ADAMW_SETTINGS)
    schedules = [LambdaLR(sgd, FACTORS[0]), LambdaLR(adamw, FACTORS[1])]
    for first in range(0, len(data), accumulate):
        sgd.zero_grad()
        adamw.zero_grad()
        for batch in data[first : first + accumulate]:
            (model.loss(*batch) / accumulate).backward()
        if clip is not None:
            for part in (list(model.network.parameters()), [model.table]):
                size = torch.cat([parameter.grad.flatten() for parameter in part]).norm()
                for parameter in part:
                    parameter.grad *= min(1.0, clip / (size.item() + 1e-6))
        sgd.step()
        schedules[0].step()
        adamw.step()
        schedules[1].step()


def assert_same(model: nn.Module, other: nn.Module) -> None:
    for (name, value), (_, expected) in zip(model.named_parameters(), other.named_parameters(), strict=True):
        assert torch.equal(value, expected), name


# -- by itself -----------------------------------------------------------------------------------------------------


def test_steps_are_bit_identical_to_those_by_hand():
    model, data = TwoParts(), batches(7)
    reference = copy.deepcopy(model)
    by_hand(reference, data)
    optimizer = combine(model)
    schedule = LambdaLR(optimizer, list(FACTORS))
    for batch in data:
        optimizer.zero_grad()
        model.loss(*batch).backward()
        optimizer.step()
        schedule.step()
    assert_same(model, reference)
    start = TwoParts()
    assert all((a - b).abs().max() > 1e-3 for a, b in zip(model.parameters(), start.parameters(), strict=True))


def test_groups_are_live_and_named():
    optimizer = combine(TwoParts())
    assert [group["name"] for group in optimizer.param_groups] == ["backbone", "encoding"]
    optimizer.param_groups[0]["lr"] = 0.123
    optimizer.param_groups[1]["weight_decay"] = 0.456
    assert optimizer.members["backbone"].param_groups[0]["lr"] == 0.123
    assert optimizer.members["encoding"].param_groups[0]["weight_decay"] == 0.456
    optimizer.members["encoding"].param_groups[0]["lr"] = 0.789
    assert optimizer.param_groups[1]["lr"] == 0.789


def step_once(model: TwoParts, optimizer: CombinedOptimizer) -> None:
    optimizer.zero_grad()
    model.loss(*batches(1)[0]).backward()
    optimizer.step()


def test_state_is_live():
    model = TwoParts()
    optimizer = combine(model)
    assert len(optimizer.state) == 0
    assert model.table not in optimizer.state
    step_once(model, optimizer)
    assert set(optimizer.state) == set(model.parameters())
    assert len(optimizer.state) == 3
    assert optimizer.state[model.table] is optimizer.members["encoding"].state[model.table]
    assert set(optimizer.state[model.table]) == {"step", "exp_avg", "exp_avg_sq"}
    assert set(optimizer.state[model.network.weight]) == {"momentum_buffer"}
    optimizer.state[model.table] = {"step": torch.tensor(5.0)}
    assert optimizer.members["encoding"].state[model.table]["step"] == 5
    del optimizer.state[model.network.weight]
    assert model.network.weight not in optimizer.members["backbone"].state
    with pytest.raises(KeyError):
        optimizer.state[torch.zeros(1)]


def test_groups_and_state_are_live_after_loading():
    model = TwoParts()
    optimizer = combine(model)
    step_once(model, optimizer)
    optimizer.load_state_dict(optimizer.state_dict())
    assert [group["name"] for group in optimizer.param_groups] == ["backbone", "encoding"]
    assert optimizer.param_groups[0] is optimizer.members["backbone"].param_groups[0]
    assert optimizer.state[model.table] is optimizer.members["encoding"].state[model.table]
    optimizer.param_groups[1]["lr"] = 0.0
    before = model.table.detach().clone()
    step_once(model, optimizer)
    assert torch.equal(model.table, before)


def test_groups_are_named_after_loading_a_state_without_names():
    optimizer = combine(TwoParts())
    state = optimizer.state_dict()
    for member in state["members"].values():
        del member["param_groups"][0]["name"]
    optimizer.load_state_dict(state)
    assert [group["name"] for group in optimizer.param_groups] == ["backbone", "encoding"]


def test_saved_state_continues_bit_identically():
    model, data = TwoParts(), batches(8)
    reference = copy.deepcopy(model)
    by_hand(reference, data)
    optimizer = combine(model)
    schedule = LambdaLR(optimizer, list(FACTORS))
    for number, batch in enumerate(data):
        if number == 4:  # another process: everything is built anew and loaded
            file = io.BytesIO()
            torch.save({"o": optimizer.state_dict(), "s": schedule.state_dict(), "m": model.state_dict()}, file)
            file.seek(0)
            saved = torch.load(file, weights_only=True)
            model = TwoParts()
            model.load_state_dict(saved["m"])
            optimizer = combine(model)
            schedule = LambdaLR(optimizer, list(FACTORS))
            optimizer.load_state_dict(saved["o"])
            schedule.load_state_dict(saved["s"])
        optimizer.zero_grad()
        model.loss(*batch).backward()
        optimizer.step()
        schedule.step()
    assert_same(model, reference)


def test_state_of_other_members_is_refused():
    optimizer = combine(TwoParts())
    state = optimizer.state_dict()
    with pytest.raises(ValueError, match=r"\['backbone'\].*\['backbone', 'encoding'\]"):
        optimizer.load_state_dict({"members": {"backbone": state["members"]["backbone"]}})


def test_the_closure_is_evaluated_once_with_gradients():
    model = TwoParts()
    reference = copy.deepcopy(model)
    by_hand(reference, batches(1))
    optimizer = combine(model)
    calls = []

    def closure():
        calls.append(torch.is_grad_enabled())
        optimizer.zero_grad()
        loss = model.loss(*batches(1)[0])
        loss.backward()
        return loss

    with torch.no_grad():
        returned = optimizer.step(closure)
    assert calls == [True]
    assert returned.item() == TwoParts().loss(*batches(1)[0]).item()
    assert_same(model, reference)


@pytest.mark.parametrize("set_to_none", [True, False])
def test_gradients_of_all_members_are_forgotten(set_to_none):
    model = TwoParts()
    optimizer = combine(model)
    model.loss(*batches(1)[0]).backward()
    optimizer.zero_grad(set_to_none=set_to_none)
    for parameter in model.parameters():
        assert parameter.grad is None if set_to_none else not parameter.grad.any()


# -- what is refused -----------------------------------------------------------------------------------------------


def test_no_member():
    with pytest.raises(ValueError, match="at least one member"):
        CombinedOptimizer({})


def test_a_parameter_in_two_members():
    model = TwoParts()
    members = {"backbone": SGD(model.parameters(), lr=0.1), "encoding": AdamW([model.table])}
    with pytest.raises(ValueError, match=r"\(5, 4\) is in backbone and in encoding"):
        CombinedOptimizer(members)


def test_a_parameter_in_none():
    model = TwoParts()
    members = {"backbone": SGD(model.network.parameters(), lr=0.1)}
    with pytest.raises(ValueError, match=r"in no optimizer.*\(5, 4\)"):
        CombinedOptimizer(members, parameters=model.parameters())


def test_adding_a_group():
    optimizer = combine(TwoParts())
    with pytest.raises(TypeError, match="one of the members"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(1))]})
    assert len(optimizer.param_groups) == 2


# -- clipping ------------------------------------------------------------------------------------------------------


def test_clipping_each_group_by_its_own_norm():
    model = TwoParts()
    optimizer = combine(model)
    for parameter in model.network.parameters():
        parameter.grad = torch.full_like(parameter, 100.0)
    model.table.grad = torch.full_like(model.table, 0.01)
    norms = clip_gradients(optimizer, 1.0)
    # 15 network gradients of 100 and 20 table gradients of 0.01.
    assert norms["backbone"].item() == pytest.approx(100 * 15**0.5)
    assert norms["encoding"].item() == pytest.approx(0.01 * 20**0.5)
    network = torch.cat([parameter.grad.flatten() for parameter in model.network.parameters()])
    torch.testing.assert_close(network, torch.full((15,), 15**-0.5))
    assert (model.table.grad == 0.01).all()  # a joint norm would have shrunk it to nothing


# -- inside Lightning ----------------------------------------------------------------------------------------------


class Module(pl.LightningModule):
    """Two optimizers as one, in automatic mode."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = TwoParts()
        self.steps: list[int] = []

    def training_step(self, batch, batch_idx):
        return self.parts.loss(*batch)

    def on_train_batch_end(self, *_) -> None:
        self.steps.append(self.trainer.global_step)

    def configure_optimizers(self):
        optimizer = combine(self.parts)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": LambdaLR(optimizer, list(FACTORS)), "interval": "step"},
        }

    def configure_gradient_clipping(self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None):
        if gradient_clip_val is not None:
            clip_gradients(optimizer, gradient_clip_val)


def fit(data, tmp_path, callbacks=(), **settings) -> Module:
    module = Module()
    levels, labels = (torch.cat(parts) for parts in zip(*data, strict=True))
    loader = DataLoader(TensorDataset(levels, labels), batch_size=len(data[0][0]))
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=settings.pop("logger", False),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        callbacks=list(callbacks),
        log_every_n_steps=1,
        **settings,
    )
    trainer.fit(module, loader)
    return module


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("settings", "accumulate", "clip"),
    [
        ({}, 1, None),
        ({"gradient_clip_val": 0.05}, 1, 0.05),
        ({"accumulate_grad_batches": 2}, 2, None),
        ({"accumulate_grad_batches": 2, "gradient_clip_val": 0.05}, 2, 0.05),
    ],
    ids=["plain", "clipped", "accumulated", "both"],
)
def test_a_trainer_in_automatic_mode(tmp_path, settings, accumulate, clip):
    data = batches(6)
    reference = TwoParts()
    by_hand(reference, data, accumulate, clip)
    if clip is not None:
        unclipped = TwoParts()
        by_hand(unclipped, data, accumulate)
        assert not torch.equal(unclipped.network.weight, reference.network.weight)
    module = fit(data, tmp_path, **settings)
    for value, expected in zip(module.parts.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-6 if clip else 0, atol=0)
    assert module.steps == [(batch + 1) // accumulate for batch in range(6)]  # optimizer steps, not twice as many


@pytest.mark.filterwarnings("ignore")
def test_learning_rates_are_monitored_by_group(tmp_path):
    class Logger(pl.loggers.CSVLogger):
        seen: list[dict] = []  # noqa: RUF012

        def log_metrics(self, metrics, step=None):
            self.seen.append(dict(metrics))

    fit(batches(4), tmp_path, [LearningRateMonitor("step")], logger=Logger(tmp_path))
    rates = {key: [row[key] for row in Logger.seen if key in row] for row in Logger.seen for key in row if "lr" in key}
    assert rates == {
        "lr-CombinedOptimizer/backbone": pytest.approx([0.1 * FACTORS[0](step) for step in range(4)]),
        "lr-CombinedOptimizer/encoding": pytest.approx([1e-2 * FACTORS[1](step) for step in range(4)]),
    }


@pytest.mark.filterwarnings("ignore")
def test_bf16_mixed_with_clipping_keeps_float32_weights(tmp_path):
    data = batches(6)
    module = fit(data, tmp_path, precision="bf16-mixed", gradient_clip_val=1.0)
    reference = TwoParts()
    by_hand(reference, data, clip=1.0)
    for value, expected in zip(module.parts.parameters(), reference.parameters(), strict=True):
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, expected, rtol=0, atol=0.02)
        assert not torch.equal(value, expected)
