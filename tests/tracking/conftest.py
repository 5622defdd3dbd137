"""W&B without a home folder, a user or a network."""

import pytest
import wandb


@pytest.fixture
def wandb_dirs(workdir, monkeypatch):
    """Nothing of W&B's is read from, or written to, the home folder."""
    for variable in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR", "WANDB_ARTIFACT_DIR"):
        monkeypatch.setenv(variable, str(workdir / "home" / variable))
        (workdir / "home" / variable).mkdir(parents=True)
    monkeypatch.delenv("WANDB_DIR")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    wandb.teardown()  # what it has read of the environment
    yield
    wandb.teardown()
