"""Ranks of one job in the folder that they see: what each leaves there, and that it goes with the job."""

import os
import signal
import threading

import pytest
import torch

from p2be_exp.config.schema import TrainerConfig
from p2be_exp.errors import Interrupted, ResourceError
from p2be_exp.system import together as module
from p2be_exp.system.peers import Peers
from p2be_exp.system.stop_signals import StopSignals
from p2be_exp.system.together import PEERS, is_exchange_error, together
from p2be_exp.system.watch import Watch

TWO = TrainerConfig(devices=2, num_nodes=1)


@pytest.fixture
def peers(tmp_path, monkeypatch):
    """The view that rank 0 has of the folder of its own processes, of which this one is rank 1."""
    for name, value in {"P2BE_STARTED": str(os.getppid()), "LOCAL_RANK": "1", PEERS: str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    rank_0 = Peers(tmp_path, 0, 2, "0", makes_folder=False)
    rank_0.register()
    return rank_0


def test_a_process_that_comes_late_removes_nothing_of_rank_0(peers, tmp_path):
    peers.announce()
    for file in tmp_path.iterdir():
        os.utime(file, (1e9, 1e9))  # its imports took long
    with together(TWO, tmp_path, "hydra.run.dir", Watch()):
        assert peers.is_open(0)
        assert [each.rank for each in peers.registered()] == [1]


def test_a_process_that_comes_after_the_end_makes_no_folder(peers, tmp_path):
    peers.remove()
    with together(TWO, tmp_path, "hydra.run.dir", Watch()):
        pass
    assert not tmp_path.exists()


def test_the_folder_goes_also_where_a_signal_ends_the_wait_for_the_others(tmp_path, monkeypatch):
    def wait():
        raise Interrupted(15)

    monkeypatch.setattr(module.children, "wait", wait)
    monkeypatch.setattr(module.tempfile, "mkdtemp", lambda prefix: str(tmp_path))
    monkeypatch.setenv(PEERS, "")
    with pytest.raises(Interrupted), together(TWO, tmp_path, "hydra.run.dir", Watch()):
        assert list(tmp_path.iterdir())
    assert not tmp_path.exists()


def test_a_stop_signal_that_was_held_is_the_reason_that_the_others_read(peers, tmp_path):
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # see Children.start
    try:
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        with (
            pytest.raises(SystemExit),
            StopSignals() as signals,
            together(TWO, tmp_path, "hydra.run.dir", signals.watch),
        ):
            raise AssertionError("it was not held any more")
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert peers.ended().signal == signal.SIGTERM


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer"), True),
        (RuntimeError("NCCL communicator was aborted on rank 1"), True),
        (torch.distributed.DistNetworkError("the server is gone"), True),
        (RuntimeError("/data/igloo/1.png: no picture"), False),
        (ResourceError("/home/gloo/last.ckpt: cannot be written"), False),
        (OSError("gloo"), False),
    ],
)
def test_what_says_that_an_exchange_failed(error, expected):
    assert is_exchange_error(error) is expected


def test_no_folder_for_temporary_files_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv(PEERS, "")
    monkeypatch.setattr(module.tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(ResourceError, match="TMPDIR"), together(TWO, tmp_path, "hydra.run.dir", Watch()):
        pass
