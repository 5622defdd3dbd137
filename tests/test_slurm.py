"""Trainings as jobs of a real Slurm of one node: requeued, stopped, side by side, several processes, a sweep.

The job scripts are those of docs/slurm.md to the letter; the node says that it has what they ask for. Each test's jobs
are beside those of the others, in a thread that the test waits for: nearly all of their time is waited for Slurm.
"""

import contextlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from commandline import ROOT, TINY, assert_equal, checkpoint_of, finish, start_warm, trained, untimed, weights_of
from launcher_pages import commands, in_small
from p2be_exp.runs.run import Run
from slurm_cluster import SlurmCannotRun, SlurmCluster
from warm_python import WarmPython

pytestmark = [pytest.mark.slow, pytest.mark.slurm]

WAIT_HERE = '''
"""Waits for a signal, in the batches for which the folder RUN.marks has a file ``wait-EPOCH-BATCH``."""

import time
from pathlib import Path

from p2be_exp.training.callbacks import StopOnSignal
from p2be_exp.training.module import TrainingModule

step = TrainingModule.training_step


def training_step(self, batch, batch_idx):
    mark = Path(f"{self.trainer.default_root_dir}.marks", f"wait-{self.current_epoch}-{batch_idx}")
    if self.global_rank == 0 and mark.exists():
        mark.rename(mark.with_name(f"waits-{self.current_epoch}-{batch_idx}"))
        (stop,) = (each for each in self.trainer.callbacks if isinstance(each, StopOnSignal))
        end = time.monotonic() + 300
        while stop.signals.received is None and time.monotonic() < end:
            time.sleep(0.02)
    return step(self, batch, batch_idx)


TrainingModule.training_step = training_step
'''
ARGUMENTS = (*TINY, "trainer=cpu", "plugins=[wait_here]")
DDP = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.progress=false")


@pytest.fixture(scope="module")
def cluster():
    with contextlib.ExitStack() as entered:
        programs = Path(entered.enter_context(tempfile.TemporaryDirectory(prefix="python-")))
        try:
            cluster = entered.enter_context(SlurmCluster(programs))
        except SlurmCannotRun as reason:
            pytest.skip(f"no Slurm: {reason}")
        entered.enter_context(WarmPython(programs))  # what the jobs, and submitit, start as "python"
        yield cluster


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run of two epochs of four batches that nothing disturbed."""
    return trained(tmp_path_factory.mktemp("whole") / "run", "trainer=cpu")


@pytest.fixture(scope="module")
def scenarios(request, cluster, whole, tmp_path_factory):
    """Those of the tests that were chosen, at work from now on; by scenario."""
    tests = [item.function for item in request.session.items if item.module is request.module]
    folders = {test.scenario: _work_folder(tmp_path_factory.mktemp(test.__name__[:30])) for test in tests}
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("P2BE_PLUGINS", "wait_here")  # allowed in this way, as the page says
        with ThreadPoolExecutor(len(folders)) as pool:
            yield {each: pool.submit(each, cluster, folder, whole) for each, folder in folders.items()}
        cluster.clear()


def _work_folder(folder: Path) -> Path:
    """With train.py, the page's job script and the plug-in that waits."""
    shutil.copy(ROOT / "train.py", folder)
    (folder / "wait_here.py").write_text(WAIT_HERE)
    (folder / "train.sh").write_text(script_of("train.sh"))
    return folder


def beside_the_others(scenario: Callable[[SlurmCluster, Path, Path], None]) -> Callable:
    """The test that waits for a scenario and fails as it does."""

    def test(scenarios):
        scenarios[scenario].result()

    test.__name__, test.scenario = scenario.__name__, scenario
    return test


def script_of(name: str) -> str:
    """A script of docs/slurm.md, by the name above it."""
    (text,) = re.findall(rf"^`{name}`\n\n```bash\n(.*?)```$", (ROOT / "docs/slurm.md").read_text(), re.M | re.S)
    return text


def wait_at(run: Path, *places: str) -> None:
    """Let a run wait for a signal at some batches, each named EPOCH-BATCH."""
    marks = run.with_name(f"{run.name}.marks")
    marks.mkdir(parents=True, exist_ok=True)
    for place in places:
        (marks / f"wait-{place}").touch()


def until_it_waits(slurm: SlurmCluster, run: Path, place: str) -> None:
    """Wait until a run has come to a batch."""
    slurm.wait((run.with_name(f"{run.name}.marks") / f"waits-{place}").exists, f"{run.name} at {place}")


def assert_ends_as(run: Path, whole: Path) -> None:
    """A run has ended with the weights, optimizer states and rows of one that nothing disturbed."""
    assert Run(run).status()["state"] == "finished"
    for part in ("state_dict", "optimizer_states", "lr_schedulers"):
        assert_equal(checkpoint_of(run)[part], checkpoint_of(whole)[part], part)
    for file in ("metrics.csv", "results.csv"):
        assert untimed(run / file) == untimed(whole / file)
    assert not list(run.rglob("hpc_ckpt*"))


@beside_the_others
def test_a_requeued_job_goes_on_to_the_same_weights(slurm, workdir, whole):
    run = workdir / "run"
    wait_at(run, "0-2", "1-1")
    job = slurm.submit(workdir / "train.sh", "--job-name=it", run, *ARGUMENTS, cwd=workdir)

    until_it_waits(slurm, run, "0-2")
    slurm.run("scontrol", "requeue", job)
    slurm.wait(lambda: slurm.state(job) == "PENDING", "a pending job")
    slurm.wait(lambda: slurm.job(job)["Reason"] == "BeginTime", "the two minutes that the page speaks of")
    status = Run(run).status()
    assert (status["state"], status["exit_code"]) == ("interrupted", 143)
    assert checkpoint_of(run)["global_step"] == 3
    slurm.start_now(job)

    until_it_waits(slurm, run, "1-1")
    slurm.run("scancel", "--signal=TERM", job)  # as --signal=TERM@120 does
    slurm.wait(lambda: slurm.state(job) == "PENDING", "a pending job")
    assert checkpoint_of(run)["global_step"] == 6
    slurm.start_now(job)

    slurm.until_ended(job)
    log = (workdir / f"it-{job}.log").read_text()
    assert slurm.state(job) == "COMPLETED", log
    assert slurm.job(job)["Restarts"] == "2"
    assert "Traceback" not in log
    assert_ends_as(run, whole)


@beside_the_others
def test_sigusr1_saves_and_requeues_nothing(slurm, workdir, whole):
    run = workdir / "run"
    wait_at(run, "1-1")
    job = slurm.submit(workdir / "train.sh", "--job-name=it", run, *ARGUMENTS, cwd=workdir)
    until_it_waits(slurm, run, "1-1")
    slurm.run("scancel", "--signal=USR1", job)
    slurm.until_ended(job)
    log = (workdir / f"it-{job}.log").read_text()
    assert slurm.state(job) == "FAILED", log
    assert slurm.job(job)["ExitCode"] == "138:0"
    assert slurm.job(job)["Restarts"] == "0"
    status = Run(run).status()
    assert (status["state"], status["exit_code"]) == ("interrupted", 138)
    assert checkpoint_of(run)["global_step"] == 6
    assert not list(workdir.rglob("hpc_ckpt*"))
    assert "Traceback" not in log


@beside_the_others
def test_tasks_with_a_device_each_are_trainings_of_their_own(slurm, workdir, whole):
    script = workdir / "seeds.sh"
    script.write_text(script_of("seeds.sh"))
    job = slurm.submit(script, "--job-name=it", workdir, *TINY, "trainer=cpu", cwd=workdir)
    slurm.until_ended(job)
    assert slurm.state(job) == "COMPLETED", (workdir / f"it-{job}.log").read_text()
    assert_ends_as(workdir / "0", whole)
    assert Run(workdir / "1").status()["state"] == "finished"
    one, other = (weights_of(workdir / seed) for seed in "01")
    assert any(not one[name].equal(other[name]) for name in one)


@beside_the_others
def test_two_processes_of_one_training_are_requeued_together(slurm, workdir, whole):
    alone = [*ARGUMENTS[:-2], *DDP, "hydra.run.dir=alone"]
    outcome = finish(start_warm(ROOT / "train.py", *alone, cwd=workdir, spares=1))
    assert outcome.code == 0, outcome.err

    run = workdir / "run"
    wait_at(run, "0-2")
    program, *words = in_small(commands()["sbatch"], str(run))  # of docs/distributed.md, on one node
    asked = [word.replace("--nodes=2", "--nodes=1").replace("gpu:4", "gpu:1") for word in words]
    asked = [word for word in asked if word not in ("train.sh", "trainer.num_nodes=2")]
    assert program == "sbatch"
    job = slurm.submit(workdir / "train.sh", "--job-name=it", *asked, "plugins=[wait_here]", cwd=workdir)
    until_it_waits(slurm, run, "0-2")
    slurm.run("scontrol", "requeue", job)
    slurm.start_now(job)
    slurm.until_ended(job)
    log = (workdir / f"it-{job}.log").read_text()
    assert slurm.state(job) == "COMPLETED", log
    assert slurm.job(job)["Restarts"] == "1"
    assert Run(run).info()["trained_on"]["processes"] == 2
    assert log.count("results in ") == 1
    assert "Traceback" not in log
    assert_ends_as(run, workdir / "alone")


@beside_the_others
def test_the_jobs_of_a_sweep_are_requeued(slurm, workdir, whole):
    sweep = workdir / "sweep"
    for number in "01":
        wait_at(sweep / number, "1-1")
    command = ["python", "train.py", "--multirun", *ARGUMENTS, "seed=0,0", "hydra.sweep.dir=sweep"]
    slurm_options = ["hydra/launcher=submitit_slurm", "hydra.launcher.name=sweep", "hydra.launcher.timeout_min=60"]
    with (workdir / "launcher.log").open("w") as log:
        environment = slurm.environment
        command[0] = shutil.which("python", path=environment["PATH"])
        launcher = subprocess.Popen([*command, *slurm_options], cwd=workdir, env=environment, stdout=log, stderr=log)
    try:
        for number in "01":
            until_it_waits(slurm, sweep / number, "1-1")
        (array,) = set(slurm.run("squeue", "--noheader", "--name=sweep", "--array", "--format=%F").split())
        jobs = [f"{array}_{number}" for number in (0, 1)]
        slurm.run("scontrol", "requeue", jobs[0])
        slurm.run("scancel", "--signal=USR2", jobs[1])  # submitit's own, which it asks Slurm for before the time limit
        for number, job in enumerate(jobs):
            slurm.wait(lambda job=job: slurm.state(job) == "PENDING", "a pending job")
            assert Run(sweep / str(number)).status()["state"] == "interrupted"
            assert checkpoint_of(sweep / str(number))["global_step"] == 6
            slurm.start_now(job)
        slurm.until_ended(*jobs)
    finally:
        # Without Slurm's accounting submitit looks for results at longer and longer intervals.
        launcher.kill()
        launcher.wait()
    logs = [file.read_text() for file in (sweep / ".submitit").glob("*/*_log.*")]
    assert len(logs) == 4
    assert sum(log.count("Job completed successfully") for log in logs) == 2
    assert "Traceback" not in "".join(logs)
    for number in "01":
        assert_ends_as(sweep / number, whole)
