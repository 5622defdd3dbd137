"""Compiled loops, also where nothing can be cached: a shared installation, a container whose user has no home."""

import os
import subprocess
import sys

import numpy as np
import pytest
from numba.core.caching import CompileResultCacheImpl

from commandline import ROOT, TINY, finish
from p2be_exp.compiled import compiled


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


def test_what_else_is_wrong_is_not_hidden(monkeypatch):
    def fail(*arguments, **settings):
        raise RuntimeError("something else")

    monkeypatch.setattr("p2be_exp.compiled.njit", fail)
    with pytest.raises(RuntimeError, match="something else"):
        compiled(doubled)


READ_ONLY = """
mount --bind "$ROOT" "$ROOT" && mount -o remount,bind,ro "$ROOT" || exit 99
HOME=/proc/none exec "$@"
"""


@pytest.mark.slow
def test_training_and_corruptions_from_a_read_only_installation_without_a_home(tmp_path):
    arguments = [*TINY, "epochs=1", "corruption=generated", "corruption.names=[gaussian_noise,fog]", "attack=lspga",
                 "corruption.severities=[1]", "hydra.run.dir=run"]  # fmt: skip
    command = ["unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), "--mount", "sh", "-c", READ_ONLY, "sh"]
    keep = {key: value for key, value in os.environ.items() if key != "NUMBA_CACHE_DIR"}
    process = subprocess.Popen(
        [*command, sys.executable, str(ROOT / "train.py"), *arguments],
        cwd=tmp_path,
        env={**keep, "ROOT": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    outcome = finish(process)
    if outcome.code == 99 or "unshare failed" in outcome.err:
        pytest.skip("no file system can be mounted here (unshare --mount)")
    assert outcome.code == 0, outcome.err
    assert "no locator available" not in outcome.err
    assert "results in run" in outcome.out
