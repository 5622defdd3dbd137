"""Durations as a person reads them, and the lines where there is no terminal."""

import math
import re
import sys
from datetime import timedelta
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import TorchElasticEnvironment
from pytorch_lightning.strategies import DDPStrategy

from p2be_exp.data import ImageSet, ResidentLoader
from p2be_exp.system.pace import duration
from p2be_exp.training.callbacks import progress
from p2be_exp.training.callbacks.progress import Progress
from p2be_exp.training.meter import EpochMeter
from two_ranks import on_two_ranks


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00"),
        (0.4, "0:00"),
        (42, "0:42"),
        (59.6, "1:00"),
        (725, "12:05"),
        (3599.4, "59:59"),
        (3599.6, "1:00:00"),
        (3 * 3600 + 7 * 60, "3:07:00"),
        (86_399, "23:59:59"),
        (86_400, "1 day 0:00:00"),
        (86_400 + 65, "1 day 0:01:05"),
        (2 * 86_400 + 3 * 3600 + 7 * 60, "2 days 3:07:00"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_durations_from_an_hour_to_a_day_are_those_of_timedelta():
    for seconds in range(3600, 86_400, 997):
        assert duration(seconds) == str(timedelta(seconds=seconds))


class Module(pl.LightningModule):
    """What the progress needs of a training module."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.train_meter = EpochMeter()

    def training_step(self, batch, batch_idx):
        loss = 0 * self.layer(torch.ones(1, 1)).sum() + 2.5 + self.global_rank
        self.train_meter.add({"loss": loss}, batch.count)
        return loss

    def learning_rates(self):
        return {"backbone": 0.1, "encoding": 1e-4}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(tmp_path, epochs: int, rank: int = 0, world_size: int = 1) -> None:
    images = torch.zeros(20, 3, 2, 2, dtype=torch.uint8)
    where = {"shuffle_seed": None, "rank": rank, "world_size": world_size}
    loader = ResidentLoader(ImageSet(images, torch.zeros(20).long(), ("a",)), 4, **where)
    several = {"strategy": DDPStrategy(cluster_environment=TorchElasticEnvironment())} if world_size > 1 else {}
    pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        callbacks=[Progress(SimpleNamespace(means={"loss": 1.25}))],
        default_root_dir=tmp_path,
        devices=world_size,
        use_distributed_sampler=False,
        **several,
    ).fit(Module(), loader)


class Clock:
    """Ten seconds pass at every look."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 10.0
        return self.now


@pytest.mark.filterwarnings("ignore")
def test_without_a_terminal_there_is_a_line_an_epoch(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: False)
    monkeypatch.setattr(progress, "FIRST_LINE", math.inf)  # however slow the machine is
    fit(tmp_path, epochs=2)
    lines = [line for line in capsys.readouterr().out.splitlines() if "epoch" in line]
    assert len(lines) == 2
    assert lines[0].startswith("epoch 1/2 done: loss 1.250 | lr/backbone 0.1 lr/encoding 0.0001 | ")
    assert lines[1].startswith("epoch 2/2 done: ")
    assert re.search(r"\| \d+ images/s, 0:00 left$", lines[1])


@pytest.mark.filterwarnings("ignore")
def test_in_a_long_epoch_there_is_a_first_line_after_20_seconds_and_then_one_a_minute(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: False)
    monkeypatch.setattr(progress, "time", Clock())
    fit(tmp_path, epochs=3)
    said = [line for line in capsys.readouterr().out.splitlines() if "epoch" in line]
    lines = [line.split(":")[0] for line in said]
    # The clock: start 10; steps 20, 30 (20 s after the start: a line, said at 40), 50, 60, 70; the epoch at 80; steps
    # 90 to 130; the epoch at 140 and so on: no second minute passes without the line that ends an epoch.
    assert lines == ["epoch 1/3 step 2/5", "epoch 1/3 done", "epoch 2/3 done", "epoch 3/3 done"]
    assert said[0].startswith("epoch 1/3 step 2/5: loss 2.500 | lr/")
    assert said[1].startswith("epoch 1/3 done: loss 1.250 | lr/")  # its row's


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("terminal", [False, True])
def test_among_several_processes_what_one_of_them_has_is_called_so(tmp_path, monkeypatch, terminal):
    monkeypatch.setattr("sys.stderr.isatty", lambda: False)
    monkeypatch.setattr(progress, "time", Clock())

    def train(rank: int) -> None:
        sys.stderr.isatty = lambda: terminal
        fit(tmp_path, epochs=1, rank=rank, world_size=2)

    first, second = on_two_ranks(tmp_path, train)
    assert "epoch" not in second.out + second.err
    said = first.err.replace("\r", "\n") if terminal else first.out
    shown = re.findall(r"loss [\d.]+.*?(?= \|)", said)
    assert dict.fromkeys(shown) == {"loss 2.500 (first process)": None, "loss 1.250": None}
    assert shown[-1] == "loss 1.250"


@pytest.mark.filterwarnings("ignore")
def test_speed_and_time_left_count_the_whole_run(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: False)
    monkeypatch.setattr(progress, "time", Clock())
    fit(tmp_path, epochs=2)
    first = next(line for line in capsys.readouterr().out.splitlines() if "epoch 1/2 done" in line)
    # 70 seconds since the start (see above), 20 images, 5 of 10 steps.
    assert first.endswith("| 0 images/s, 1:10 left")
