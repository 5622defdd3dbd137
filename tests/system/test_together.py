"""Ranks of one job in the folder that they see: what each leaves there, and that it goes with the job."""

import os

import pytest

from p2be_exp.errors import Interrupted
from p2be_exp.system import together as module
from p2be_exp.system.peers import Peers
from p2be_exp.system.together import PEERS, together
from p2be_exp.system.watch import Watch

TWO = {"devices": 2, "num_nodes": 1}


@pytest.fixture
def peers(tmp_path, monkeypatch):
    """The view that rank 0 has of the folder of its own processes, of which this one is rank 1."""
    for name, value in {"P2BE_STARTED": "1", "LOCAL_RANK": "1", PEERS: str(tmp_path)}.items():
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
