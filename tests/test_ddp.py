"""Two processes on the CPU: the same weights, every image once, the batches of one process, stop and resume."""

import json
import shlex
import signal
from pathlib import Path

import numpy as np
import pytest

from commandline import (
    ROOT,
    TINY,
    Outcome,
    assert_equal,
    checkpoint_of,
    copy_of,
    evaluate,
    finish,
    rows_of,
    start_warm,
    trained,
    untimed,
)
from p2be_exp.runs.run import Run

pytestmark = pytest.mark.slow

# 41 training and test images in batches of 10: in the last batch one of the two processes has no image of its own.
ARGUMENTS = [*TINY, "limit_train=41", "limit_test=41", "batch_size=10", "eval_batch_size=10", "epochs=3"]
DDP = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.progress=false"]

DRIVER = """
import hashlib, json, os, signal, sys
from p2be_exp.commands.train import main
from p2be_exp.training.module import TrainingModule

step, seen = TrainingModule.training_step, []

def training_step(self, batch, batch_idx):
    place = [self.current_epoch, batch_idx]
    seen.append([*place, batch.indices[: batch.count].tolist()])
    if place == json.loads(os.environ.get("STOP_AT", "null")) and self.global_rank == 0:
        os.kill(os.getpid(), signal.SIGTERM)
    return step(self, batch, batch_idx)

def digest_of(values):
    return hashlib.sha256(b"".join(value.numpy().tobytes() for value in values.values())).hexdigest()

def on_train_end(self):
    digest = digest_of(self.state_dict())
    average = self.average and digest_of(self.average.state_dict()["weights"])
    with open(f"rank{self.global_rank}.json", "w") as file:
        json.dump({"weights": digest, "average": average, "seen": seen, "world_size": self.trainer.world_size}, file)

TrainingModule.training_step, TrainingModule.on_train_end = training_step, on_train_end
if __name__ == "__main__":
    raise SystemExit(main())
"""


def run_driver(folder: Path, *arguments, stop_at=None) -> Outcome:
    """A training by the driver above in a folder; its files ``rank0.json`` and ``rank1.json`` are left there."""
    script = folder / "driver.py"
    script.write_text(DRIVER)
    with pytest.MonkeyPatch.context() as patch:
        if stop_at is not None:
            patch.setenv("STOP_AT", json.dumps(stop_at))
        return finish(start_warm(script, *arguments, cwd=folder, spares=1))


def ranks(folder: Path) -> list[dict]:
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(2)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with a run by two processes in one go, and what each of them saw."""
    folder = tmp_path_factory.mktemp("ddp")
    outcome = run_driver(folder, *ARGUMENTS, *DDP, "trainer.progress=true", "watch_every=1", "hydra.run.dir=run")
    assert outcome.code == 0, outcome.err
    assert outcome.out.count("results in run") == 1
    (folder / "out.txt").write_text(outcome.out)
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The same training by one process."""
    return trained(tmp_path_factory.mktemp("alone") / "run", *ARGUMENTS)


def test_both_processes_have_the_same_weights_at_the_end(whole):
    first, second = ranks(whole)
    assert first["world_size"] == second["world_size"] == 2
    assert first["weights"] == second["weights"]
    assert {path.name for path in whole.iterdir()} == {"run", "driver.py", "rank0.json", "rank1.json", "out.txt"}


def test_every_image_is_trained_on_once_an_epoch(whole):
    first, second = (rank["seen"] for rank in ranks(whole))
    for epoch in range(3):
        shares = [[indices for place, _, indices in seen if place == epoch] for seen in (first, second)]
        assert [len(share) for share in shares] == [5, 5]
        every = [image for share in shares for indices in share for image in indices]
        assert len(every) == len(set(every)) == 41
        sizes = [len(one) + len(other) for one, other in zip(*shares, strict=True)]
        assert sizes == [10, 10, 10, 10, 1]


def test_every_image_counts_once_in_the_rows(whole):
    rows = rows_of(whole / "run" / "metrics.csv")
    assert len(rows) == 3
    for row in rows:
        wrong = float(row["train/error"]) * 41 / 100
        assert wrong == pytest.approx(round(wrong), abs=1e-9)
        assert 0 < wrong <= 41


def test_an_epoch_ends_with_the_numbers_of_its_row(whole):
    lines = [line for line in (whole / "out.txt").read_text().splitlines() if line.startswith("epoch ")]
    done = [line for line in lines if " done: " in line]
    rows = rows_of(whole / "run" / "metrics.csv")
    assert len(done) == len(rows) == 3
    for line, row in zip(done, rows, strict=True):
        means = " ".join(f"{name} {float(row[f'train/{name}']):.3f}" for name in ("loss", "ce", "smoothness", "error"))
        assert line.startswith(f"epoch {row['epoch']}/3 done: {means} | lr/")
    assert all("(first process)" in line for line in lines if line not in done)  # where the machine is slow


def test_what_is_watched_is_what_the_evaluation_finds(whole):
    (clean,) = rows_of(whole / "run" / "results.csv")
    watched = float(rows_of(whole / "run" / "metrics.csv")[-1]["test/error"])
    assert watched * 41 / 100 == pytest.approx(int(clean["n_wrong"]), abs=1e-9)


def test_every_test_image_counts_once(whole):
    (row,) = rows_of(whole / "run" / "results.csv")
    images = np.load(whole / "run" / "per_image" / "clean.npz")
    assert row["n"] == "41"
    assert len(images["index"]) == 41
    assert (np.diff(images["index"]) > 0).all()
    assert int(row["n_wrong"]) == images["wrong"].sum()


def test_corrupted_and_attacked_images_count_once_and_are_those_of_one_process(whole, tmp_path):
    run = copy_of(whole / "run", tmp_path / "run")
    arguments = ["run=run", "limit_test=41", "eval_batch_size=10", "corruption.names=[shot_noise,fog]", "attack=lspga"]
    outcome = finish(start_warm(ROOT / "evaluate.py", *arguments, *DDP, "name=two", cwd=tmp_path, spares=1))
    assert outcome.code == 0, outcome.err
    assert outcome.out.count("results in run") == 1
    assert evaluate(*arguments[1:], f"run={run}", "trainer=cpu", "name=one").code == 0
    two, one = (run / "evaluations" / name for name in ("two", "one"))
    assert len(rows_of(two / "results.csv")) == 13
    for ours, theirs in zip(rows_of(two / "results.csv"), rows_of(one / "results.csv"), strict=True):
        if ours["condition"] == "attack/lspga/8":
            assert abs(int(ours["n_wrong"]) - int(theirs["n_wrong"])) <= 2
        else:
            assert {**ours, "seconds": ""} == {**theirs, "seconds": ""}
        assert ours["n"] == "41"
    for file in (two / "per_image").iterdir():
        with np.load(file) as ours, np.load(one / "per_image" / file.name) as theirs:
            assert np.array_equal(ours["index"], theirs["index"])
            assert np.array_equal(ours["label"], theirs["label"])
            differ = np.abs(ours["confidence"] - theirs["confidence"])
            if file.name == "attack-lspga-8.npz":
                # It goes by the signs of millions of gradients in float32, some of which are sums that cancel: in a
                # batch of another size an image or two may come out otherwise, but not most of them.
                assert np.median(differ) < 1e-5
                assert (ours["prediction"] != theirs["prediction"]).sum() <= 2
            else:
                assert differ.max() < 1e-5
                assert np.array_equal(ours["prediction"], theirs["prediction"])
                assert np.array_equal(ours["wrong"], theirs["wrong"])


def test_both_processes_run_the_deciding_attack_again(whole, tmp_path):
    run = copy_of(whole / "run", tmp_path / "run")
    arguments = ["run=run", "limit_test=41", "eval_batch_size=10", "corruption=none", "attack=suite_short",
                 "attack.eps_levels=1", "attack.steps=2", "attack.queries=2"]  # fmt: skip
    outcome = finish(start_warm(ROOT / "evaluate.py", *arguments, *DDP, "name=two", cwd=tmp_path, spares=1))
    assert outcome.code == 0, outcome.err
    rows = rows_of(run / "evaluations" / "two" / "results.csv")
    assert {row["n"] for row in rows} == {"41"}
    assert rows[-1]["name"].endswith("_twice")
    assert rows[-1]["name"].removesuffix("_twice") in [row["name"] for row in rows[:-2]]


def test_the_batch_size_is_that_of_all_processes(whole, alone):
    ours, one = (rows_of(run / "metrics.csv") for run in (whole / "run", alone))
    assert [row["step"] for row in ours] == [row["step"] for row in one] == ["5", "10", "15"]
    assert [row["lr/backbone"] for row in ours] == [row["lr/backbone"] for row in one]
    images = [np.load(run / "per_image" / "clean.npz")["index"] for run in (whole / "run", alone)]
    assert np.array_equal(*images)
    # The batch norms of each process see its own share alone, so the first loss is only nearly that of one process.
    assert float(ours[0]["train/ce"]) == pytest.approx(float(one[0]["train/ce"]), rel=0.1)
    assert float(ours[0]["train/smoothness"]) == pytest.approx(float(one[0]["train/smoothness"]), abs=1e-3)


def test_sigterm_to_one_process_stops_both_and_the_run_can_be_gone_on_with(tmp_path, whole):
    """Also with an average of the weights and checkpoints that stay, which change nothing of the training."""
    kept = ["optim.ema=0.9", "checkpoint_every=2"]
    outcome = run_driver(tmp_path, *ARGUMENTS, *DDP, *kept, "hydra.run.dir=run", stop_at=[1, 2])
    assert outcome.code == 143, outcome.err
    run = tmp_path / "run"
    status = Run(run).status()
    assert (status["state"], status["signal"]) == ("interrupted", signal.SIGTERM)
    assert checkpoint_of(run)["global_step"] == 8
    said = outcome.err.splitlines()[-1]
    assert outcome.err.count("stopped; to continue:") == 1
    assert said == "stopped; to continue: python train.py resume=run"

    outcome = run_driver(tmp_path, *shlex.split(said.partition(": ")[2])[2:])
    assert outcome.code == 0, outcome.err
    first, second = ranks(tmp_path)
    assert first["weights"] == second["weights"] == ranks(whole)[0]["weights"]
    assert [place[:2] for place in first["seen"]] == [[1, 3], [1, 4], [2, 0], [2, 1], [2, 2], [2, 3], [2, 4]]
    for part in ("state_dict", "optimizer_states", "lr_schedulers"):
        assert_equal(checkpoint_of(run)[part], checkpoint_of(whole / "run")[part], part)
    watched = untimed(whole / "run" / "metrics.csv")  # the only difference: the training is the same
    assert untimed(run / "metrics.csv") == [
        {name: value for name, value in row.items() if name != "test/error"} for row in watched
    ]
    assert untimed(run / "results.csv") == untimed(whole / "run" / "results.csv")
    assert first["average"] == second["average"] is not None
    assert checkpoint_of(run)["ema"]["count"] == 15
    assert rows_of(run / "evaluations" / "ema" / "results.csv")[0]["n"] == "41"
    assert checkpoint_of(run, "epoch_002")["global_step"] == 10
