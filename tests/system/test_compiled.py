"""Compiled loops, also where nothing can be cached: a shared installation, a container whose user has no home."""

import errno
import os

import numpy as np
import pytest
from numba.core.caching import CompileResultCacheImpl, FunctionCache

from commandline import ROOT, TINY
from p2be_exp.system.compiled import compiled
from small_disk import with_mounts


def doubled(values):
    for place in range(len(values)):
        values[place] *= 2


@pytest.mark.parametrize("writable", [True, False])
def test_it_compiles_and_keeps_what_it_can(monkeypatch, tmp_path, writable):
    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(tmp_path))
    if not writable:
        monkeypatch.setattr(CompileResultCacheImpl, "_locator_classes", [])
    function, values = compiled(doubled), np.arange(3)
    function(values)
    assert values.tolist() == [0, 2, 4]
    assert function.signatures  # not Python's own loop
    assert bool(list(tmp_path.rglob("*.nbi"))) == writable


def test_a_full_disk_costs_the_cache_alone(monkeypatch, tmp_path):
    def full(*arguments):
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(FunctionCache, "_save_overload", full)
    function, values = compiled(doubled), np.arange(3)
    function(values)
    assert values.tolist() == [0, 2, 4]


def test_what_else_is_wrong_is_not_hidden(monkeypatch):
    def fail(*arguments, **settings):
        raise RuntimeError("something else")

    monkeypatch.setattr("p2be_exp.system.compiled.njit", fail)
    with pytest.raises(RuntimeError, match="something else"):
        compiled(doubled)


READ_ONLY = 'mount --bind "$ROOT" "$ROOT" && mount -o remount,bind,ro "$ROOT"'


@pytest.mark.slow
def test_training_and_corruptions_from_a_read_only_installation_without_a_home(tmp_path, monkeypatch):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    arguments = [*TINY, "epochs=1", "corruption=generated", "corruption.names=[gaussian_noise,fog]", "attack=lspga",
                 "corruption.severities=[1]", "hydra.run.dir=run"]  # fmt: skip
    outcome = with_mounts(
        READ_ONLY, ROOT / "train.py", *arguments, cwd=tmp_path, warm=True, ROOT=str(ROOT), HOME="/proc/none"
    )
    assert outcome.code == 0, outcome.err
    assert "no locator available" not in outcome.err
    assert "results in run" in outcome.out
