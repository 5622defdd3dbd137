"""``status.json`` is true also where another rank fails at the very end."""

import pytest

from p2be_exp.config.schema import TrainConfig, TrainerConfig
from p2be_exp.runs.run import Run
from p2be_exp.system.peers import Ending, PeerFailed
from p2be_exp.system.watch import Watch
from p2be_exp.training import recording as module
from p2be_exp.training.recording import recorded

CONFIG = TrainConfig(trainer=TrainerConfig(devices=1, num_nodes=1), plugins=[], epochs=1)


def test_a_rank_that_fails_while_this_one_comes_out_is_recorded(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "build_loggers", lambda *arguments: [])
    watch, found = Watch(), [PeerFailed(Ending(1, 1, "RuntimeError: boom"))]
    monkeypatch.setattr(watch, "is_coming_out", lambda: _raise(found.pop()) if found else None)
    with pytest.raises(PeerFailed), recorded(Run(tmp_path), CONFIG, None, watch):
        pass
    status = Run(tmp_path).status()
    assert (status["state"], status["error"]) == ("failed", "rank 1: RuntimeError: boom")


def _raise(error):
    raise error
