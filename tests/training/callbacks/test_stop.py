"""Signals: noted inside a training step, raised elsewhere, and given back at the end."""

import os
import signal

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from p2be_exp.errors import Interrupted
from p2be_exp.runs.run import Run
from p2be_exp.system.stop_signals import StopSignals
from p2be_exp.training.callbacks import stop
from p2be_exp.training.callbacks.stop import MOST_STEPS, Pace, StopOnSignal

ALL = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.fixture(autouse=True)
def harmless_handlers():
    """A signal that is not caught fails the test instead of ending it."""

    def escaped(number, frame):
        raise AssertionError(f"signal {number} was not taken")

    before = {number: signal.signal(number, escaped) for number in ALL}
    yield escaped
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", ALL)
def test_outside_of_a_step_a_signal_raises_at_once(number):
    with StopSignals() as signals, pytest.raises(Interrupted) as caught:
        send(number)
    assert caught.value.signal == number
    assert signals.received is None


@pytest.mark.parametrize("number", ALL)
def test_inside_a_step_a_signal_is_noted_and_the_second_raises(number, capfd):
    with StopSignals() as signals:
        signals.deferred = True
        send(number)
        assert signals.received == number
        assert signal.Signals(number).name in capfd.readouterr().out
        with pytest.raises(Interrupted):
            send(signal.SIGINT)
        assert signals.received == number


@pytest.mark.parametrize("first", ALL)
def test_a_hangup_comes_twice_and_is_no_second_signal(first):
    """A shell passes on the one that it got, and the system sends another where the terminal is gone."""
    with StopSignals() as signals:
        signals.deferred = True
        send(first)
        send(signal.SIGHUP)
        assert signals.received == first


def test_a_hangup_does_not_disturb_the_end_of_a_job():
    with StopSignals():
        with pytest.raises(Interrupted) as caught:
            send(signal.SIGHUP)
        send(signal.SIGHUP)  # while the status is written, and so on
        with pytest.raises(Interrupted):
            send(signal.SIGTERM)
    assert caught.value.signal == signal.SIGHUP


def test_a_hangup_that_is_ignored_stays_so():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup leaves it
    with StopSignals() as signals:
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        signals.listen()
        send(signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_a_signal_is_noted_where_nobody_reads_what_is_printed(monkeypatch):
    def write(descriptor, text):
        raise BrokenPipeError

    with StopSignals() as signals:
        signals.deferred = True
        with monkeypatch.context() as patched:
            patched.setattr(os, "write", write)
            send(signal.SIGTERM)
        assert signals.received == signal.SIGTERM


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_the_signals_of_job_scripts_are_taken_under_slurm_alone(monkeypatch, number):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    before = signal.getsignal(number)
    with StopSignals():
        assert signal.getsignal(number) == before
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with StopSignals():
        assert signal.getsignal(number) != before  # or the next lines would end this process
    with pytest.raises(Interrupted) as caught, StopSignals():
        send(number)
    assert caught.value.signal == number
    assert signal.getsignal(number) == before


def test_no_handler_of_failures_takes_it():
    assert not issubclass(Interrupted, Exception)


def test_the_handlers_of_before_come_back(harmless_handlers):
    with StopSignals() as signals:
        assert all(signal.getsignal(number) == signals._note for number in ALL)
    assert all(signal.getsignal(number) is harmless_handlers for number in ALL)


def test_the_handlers_of_before_come_back_after_an_error(harmless_handlers):
    with pytest.raises(Interrupted), StopSignals():
        send(signal.SIGTERM)
    assert all(signal.getsignal(number) is harmless_handlers for number in ALL)


def test_signals_are_taken_again_after_a_library_took_them(harmless_handlers):
    with StopSignals() as signals:
        signal.signal(signal.SIGTERM, lambda number, frame: None)
        signals.listen()
        with pytest.raises(Interrupted):
            send(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is harmless_handlers  # not the library's


# -- in a training -------------------------------------------------------------------------------------------------


class Module(pl.LightningModule):
    """Sends itself a signal in one of its steps."""

    def __init__(self, epoch: int, step: int, number: int) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.at, self.number = (epoch, step), number
        self.done: list[tuple[int, int]] = []

    def training_step(self, batch, batch_idx):
        if (self.current_epoch, batch_idx) == self.at:
            send(self.number)
        self.done.append((self.current_epoch, batch_idx))
        return self.layer(batch).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("at", "accumulate", "last", "saved_step"),
    [
        ((0, 1), 1, (0, 1), 2),  # in the middle of an epoch: saved after that very step
        ((0, 2), 2, (0, 3), 2),  # between two optimizer steps there is nothing to save
        ((0, 4), 1, (0, 4), None),  # the epoch's last step: its own checkpoint has been saved
        ((1, 4), 1, (1, 4), None),  # the very last step
    ],
)
def test_the_step_is_finished_and_saved(tmp_path, at, accumulate, last, saved_step):
    run = Run(tmp_path)
    module = Module(*at, signal.SIGTERM)
    with StopSignals() as signals:
        trainer = pl.Trainer(
            accelerator="cpu",
            max_epochs=2,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            accumulate_grad_batches=accumulate,
            callbacks=[StopOnSignal(run, signals)],
            default_root_dir=tmp_path,
        )
        with pytest.raises(Interrupted) as caught:
            trainer.fit(module, DataLoader(torch.ones(5, 1)))
        assert not signals.deferred
    assert caught.value.signal == signal.SIGTERM
    assert module.done[-1] == last
    if saved_step is None:
        assert not run.checkpoint().exists()
    else:
        saved = torch.load(run.checkpoint(), weights_only=True)
        assert saved["global_step"] == saved_step
        assert torch.equal(saved["state_dict"]["layer.weight"], module.layer.weight.detach())


# -- several ranks -----------------------------------------------------------------------------------------------------


def test_ranks_agree_after_as_many_steps_as_take_a_second(monkeypatch):
    now = 100.0
    monkeypatch.setattr(stop.time, "monotonic", lambda: now)
    pace = Pace()
    pace.begin(pace.seconds())
    pace.steps += 1
    assert pace.due  # after the very first step, of whose time nothing is known
    now += 0.25
    assert pace.seconds() == 0.25
    pace.begin(0.5)  # another rank is slower
    waited = []
    for _ in range(4):
        pace.steps += 1
        waited.append(pace.due)
    assert waited == [False, True, True, True]  # late where gradients are accumulated meanwhile


@pytest.mark.parametrize(("seconds", "steps"), [(0.0, MOST_STEPS), (0.001, MOST_STEPS), (0.01, 100), (3.0, 1)])
def test_slow_steps_are_looked_at_one_by_one_and_fast_ones_rarely(seconds, steps):
    pace = Pace()
    pace.steps = 1
    pace.begin(seconds)
    pace.steps = steps - 1
    assert not pace.due
    pace.steps = steps
    assert pace.due


class ToldRanks:
    """A trainer of two ranks on a device, of which the other one has got a signal."""

    world_size, num_training_batches, accumulate_grad_batches = 2, 1000, 1

    def __init__(self, device, monkeypatch):
        self.strategy = self
        self.root_device = torch.device(device)
        self.asked, self.other = 0, 0.0
        make = torch.tensor
        monkeypatch.setattr(stop.torch, "tensor", lambda values, device=None: make(values))
        monkeypatch.setattr(torch.distributed, "all_reduce", self.all_reduce)

    def all_reduce(self, told, op):
        self.asked += 1
        told.copy_(torch.maximum(told, torch.tensor([self.other, 0.1])))  # a step takes the other rank 0.1 s

    def save_checkpoint(self, path):
        self.saved = path


def batches(callback, trainer, numbers):
    for number in numbers:
        callback.on_train_batch_end(trainer, None, None, None, number)


@pytest.mark.parametrize(("device", "asked"), [("cpu", 25), ("cuda", 3)])
def test_on_gpus_an_agreement_is_no_part_of_every_step(tmp_path, monkeypatch, device, asked):
    monkeypatch.setattr(stop.time, "monotonic", lambda: 0.0)
    trainer, callback = ToldRanks(device, monkeypatch), StopOnSignal(Run(tmp_path), StopSignals())
    callback.on_train_epoch_start(trainer, None)
    trainer.asked = 0
    batches(callback, trainer, range(25))  # after the first, and then after every tenth
    assert trainer.asked == asked
    trainer.other = float(signal.SIGTERM)
    with pytest.raises(Interrupted) as caught:
        batches(callback, trainer, range(25, 35))
    assert caught.value.signal == signal.SIGTERM
    assert trainer.saved == Run(tmp_path).checkpoint("last")
