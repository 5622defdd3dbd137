"""Estimates of time: what is counted, and that the steps that are timed are real ones."""

import dataclasses

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from p2be_exp.config.parts import with_parts
from p2be_exp.data.digits import Digits
from p2be_exp.data.source import Size
from p2be_exp.errors import BadInput
from p2be_exp.sweeps import estimate, plan_jobs
from p2be_exp.sweeps.estimate import Estimator, Seconds, measure
from p2be_exp.sweeps.listing import duration, jobs_table, memory_lines
from p2be_exp.sweeps.operations import operations


def config_of(*arguments):
    (job,) = plan_jobs(arguments)
    return job.config


@pytest.fixture
def timed(monkeypatch):
    """Every image takes 1 s in a step, 10 in a prediction, 1000 with a gradient; the configurations that were asked."""
    asked = []
    monkeypatch.setattr(estimate, "measure", lambda config, size: asked.append(size) or Seconds(1, 10, 1000))
    return asked


@pytest.mark.parametrize(
    ("arguments", "seconds"),
    [
        (["epochs=2"], 2 * 50_000 + 10_000 * 10),
        (["epochs=3", "limit_train=100", "limit_test=5"], 3 * 100 + 5 * 10),
        (["epochs=1", "dataset.val_size=5000", "limit_test=5"], 45_000 + 5 * 10),
        (["epochs=1", "limit_train=1", "limit_test=5", "corruption=generated"], 1 + 5 * 10 * (1 + 75)),
        (
            ["epochs=1", "limit_train=1", "limit_test=5", "corruption=generated", "corruption.severities=[1,3]"],
            1 + 5 * 10 * (1 + 15 * 2),
        ),
        # LS-PGA: 7 steps with a gradient and the prediction at the end; beside it ten random tries and theirs
        (
            ["epochs=1", "limit_train=1", "limit_test=5", "attack=lspga"],
            1 + 5 * (10 + 7 * 1000 + 10 + 10 * 10 + 10),
        ),
        (
            ["epochs=1", "limit_train=1", "limit_test=5", "attack=square", "attack.queries=300"],
            1 + 5 * (10 + 10 * (300 + 1 + 1)),
        ),
        (
            ["epochs=1", "limit_train=1", "limit_test=5", "limit_attack=2", "attack=square", "attack.queries=300"],
            1 + 5 * 10 + 2 * 10 * (300 + 1 + 1),
        ),
    ],
)
def test_what_is_counted(timed, arguments, seconds):
    assert Estimator()(config_of("dataset=cifar10", *arguments)) == seconds
    assert timed == [Size(50_000, 10_000, 10, 32)]


def test_attacks_without_a_radius_are_counted(timed):
    pytest.importorskip("foolbox", reason="foolbox is not installed: pip install -e '.[attacks]'")
    few = ["dataset=cifar10", "epochs=1", "limit_train=1", "limit_test=5", "attack=foolbox", "attack.steps=3"]
    ddn = Estimator()(config_of(*few, "attack.method=ddn"))
    assert ddn == 1 + 5 * (10 + 3 * 1000 + 10)
    hopskipjump = Estimator()(config_of(*few, "attack.method=hopskipjump"))
    assert hopskipjump == 1 + 5 * (10 + 10 * (100 + 141 + 173 + 1))


def test_the_attack_on_outputs_that_hide_logits_is_counted(timed):
    few = ["dataset=cifar10", "encoding=rgb", "model=fpd", "epochs=1", "limit_train=1", "limit_test=5"]
    suite = ["attack=suite_short", "attack.steps=3", "attack.restarts=2"]
    without, more = Estimator()(config_of(*few, *suite, "model.tanh=false")), Estimator()(config_of(*few, *suite))
    assert more - without == 5 * (10 + 2 * 3 * 1000)


def test_each_kind_is_timed_once(timed):
    estimator = Estimator()
    for arguments in (["seed=0"], ["seed=1", "epochs=2"], ["encoding=rgb"], ["encoding=rgb", "limit_train=5"]):
        estimator(config_of("dataset=digits", *arguments))
    assert len(timed) == 2
    estimator(config_of("dataset=digits", "regime=standard"))
    assert len(timed) == 3


# -- mixtures ---------------------------------------------------------------------------------------------------------

MIXTURE = ("dataset=digits", "model=mix", "model.accurate=sweep/resnet18", "model.robust=sweep/wrn16_1", "limit_test=5")


@pytest.fixture(scope="module")
def parts():
    """Jobs of two networks, which a mixture may be made of."""
    common = ("dataset=digits", "encoding=rgb")
    return [
        plan_jobs([*common, f"backbone={each}", f"hydra.sweep.subdir={each}"])[0] for each in ("resnet18", "wrn16_1")
    ]


def test_a_mixture_takes_the_time_of_both_parts_and_of_no_step(timed, parts):
    config = with_parts(
        config_of(*MIXTURE, "attack=square", "attack.queries=300"),
        {role: job.config for role, job in zip(("accurate", "robust"), parts, strict=True)},
    )
    assert Estimator()(config) == 2 * 5 * (10 + 10 * (300 + 1 + 1))
    assert Estimator().memory(config) is None
    assert Estimator()(config_of(*MIXTURE)) is None  # its parts are not known


def test_the_parts_of_a_mixture_are_jobs_of_the_sweep_or_runs(timed, parts, workdir):
    mixtures = plan_jobs([*MIXTURE, "model.alpha=0.5,0.6"])
    table = jobs_table([parts, mixtures], folder=workdir / "sweep")
    assert [line.split()[-2:] for line in table.splitlines()[2:4]] == [
        ["1.7", "minutes"]
    ] * 2  # 5 images, 10 s, two parts
    with pytest.raises(BadInput, match=r"model.accurate=sweep/resnet18: no such folder"):
        jobs_table([mixtures], folder=workdir / "sweep")


def test_nothing_is_stepped_where_nothing_is_trained():
    config = config_of("dataset=digits", "backbone=wrn16_1", "encoding=rgb", "regime=standard", "trainer=cpu")
    nothing = config_of(*MIXTURE, "trainer=cpu").regime
    found = measure(dataclasses.replace(config, regime=nothing, batch_size=2), Digits.published)
    assert found.step == found.per_image == 0
    assert found.gradient > 0


def test_the_sizes_are_those_of_the_data():
    from p2be_exp.data import load_dataset

    train, test = load_dataset("digits", "nowhere")
    assert Digits.published == Size(len(train), len(test), train.num_classes, train.images.shape[2])


class Convolutions(TorchDispatchMode):
    """A clock by which the convolution of an image takes a second, and the way back through it two."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        seconds = {"convolution": 1, "convolution_backward": 2}.get(operation.overloadpacket.__name__, 0)
        self.now += seconds * len(args[0]) if seconds else 0
        return operation(*args, **(kwargs or {}))


def test_steps_are_real_and_leave_the_random_state_alone(monkeypatch):
    config = config_of("dataset=digits", "backbone=wrn16_1", "encoding.M=8", "batch_size=4", "trainer=cpu")
    torch.manual_seed(3)
    before = torch.get_rng_state()
    with Convolutions() as clock:
        monkeypatch.setattr(estimate, "time", clock)
        seconds = measure(config, Digits.published)
    assert torch.get_rng_state().equal(before)
    convolutions = 15  # of WRN-16-1: its stem, twelve in the blocks, two in shortcuts
    assert seconds.forward == pytest.approx(convolutions)
    assert seconds.gradient == pytest.approx(3 * convolutions)
    assert seconds.step == pytest.approx(3 * 3 * convolutions)  # augmix has three views


def test_both_steps_of_a_batch_are_timed(monkeypatch):
    """Of a Feature Pyramid Decoder, which restores too badly at first for a second one."""
    small = ("backbone=wrn16_1", "encoding=rgb", "batch_size=2", "trainer=cpu")
    config = config_of("dataset=digits", "model=fpd", "model.width=8", "regime.threshold=1e-9", *small)
    with Convolutions() as clock:
        monkeypatch.setattr(estimate, "time", clock)
        seconds = measure(config, Digits.published)
    convolutions = 15 + 7 + 15  # two passes through the network; three laterals, one behind them, three in the decoder
    assert seconds.forward == pytest.approx(convolutions)
    assert seconds.gradient == pytest.approx(3 * convolutions)
    assert seconds.step == pytest.approx(2 * 3 * convolutions)


def test_the_list_of_jobs(timed, tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    jobs = plan_jobs(["dataset=digits", "encoding=rgb,p2be", "epochs=1", "limit_train=100", "limit_test=2"])
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "status.json").write_text('{"state": "finished"}')
    lines = jobs_table([jobs], title="A title", folder=tmp_path).splitlines()
    assert lines[0] == "A title"
    assert [line.split() for line in lines[2:4]] == [
        ["0", "encoding=rgb", "finished"],
        ["1", "encoding=p2be", "2.0", "minutes"],
    ]
    assert lines[5].startswith("2 jobs, one after another: about 2.0 minutes on this machine (CPU, 1 thread)")
    assert lines[6].startswith("estimated from one step of each kind of network here; reading and ")


@pytest.fixture
def held(monkeypatch):
    """A training keeps 1 GiB and needs a quarter of one for each image of its batch; libraries and malloc take none."""
    monkeypatch.setattr(estimate, "measure", lambda config, size: Seconds(1, 10, 1000, 2**30, 2**28))
    monkeypatch.setattr(estimate, "process_bytes", lambda gpu: 0)
    monkeypatch.setattr(estimate, "_ON_HOST", 1.0)


def test_the_memory_of_a_training(held):
    config = config_of("dataset=cifar10", "batch_size=8", "limit_train=100", "limit_test=28", "trainer=cpu")
    assert Estimator().memory(config) == 2**30 + 8 * 2**28 + 3 * 32 * 32 * 128  # with the images, which are resident
    pictures = config_of("dataset=imagenet", "backbone=resnet50", "batch_size=8", "trainer=cpu")
    assert Estimator().memory(pictures) == 2**30 + 8 * 2**28
    folder = config_of("dataset=image_folder", "dataset.dir=.", "backbone=resnet50", "trainer=cpu")
    assert Estimator().memory(folder) is None  # nor is its time known


GRID = (
    "dataset=digits",
    "batch_size=4,12",
    "seed=0,1",
    "encoding=rgb",
    "backbone=wrn16_1",
    "trainer=cpu",
    "limit_train=1",
    "limit_test=1",
)


@pytest.mark.parametrize(
    ("gib", "gpu", "told"),
    [
        (3, True, "3.0 GiB are free here: the largest does not fit"),
        (5, True, "5.0 GiB are free here: one training at a time"),
        (17, True, "17.0 GiB are free here: 4 side by side (hydra/launcher=joblib hydra.launcher.n_jobs=4)"),
        (
            17,
            False,
            "17.0 GiB are free here: 3 side by side (hydra/launcher=joblib hydra.launcher.n_jobs=3), one a core",
        ),
    ],
)
def test_what_fits_beside_one_another(held, monkeypatch, gib, gpu, told):
    """Each kind of training once; the largest decides, on a CPU the cores, too."""
    monkeypatch.setattr("p2be_exp.sweeps.listing.usable_cpus", lambda: 3)
    lines = memory_lines(plan_jobs(GRID), Estimator(), gib * 2**30, gpu)
    assert [line.split()[-3:] for line in lines[2:4]] == [
        ["batch_size=4", "2.00", "GiB"],
        ["batch_size=12", "4.00", "GiB"],
    ]
    assert lines[4:] == [told]


def test_more_at_a_time_than_fit_is_said(held):
    asked = plan_jobs([*GRID, "hydra/launcher=joblib", "hydra.launcher.n_jobs=5"])
    assert memory_lines(asked, Estimator(), 17 * 2**30, gpu=True)[-1] == (
        "hydra.launcher.n_jobs=5 is more than fits: choose at most 4"
    )
    assert memory_lines(asked, Estimator(), 21 * 2**30, gpu=True)[-1].startswith(
        "21.0 GiB are free here: 5 side by side"
    )


def test_no_memory_is_listed_where_nothing_is_known_of_it(held):
    jobs = plan_jobs(GRID)
    assert [line.split()[0] for line in memory_lines(jobs, Estimator(), None, gpu=False)[2:]] == ["encoding=rgb"] * 2
    assert (
        memory_lines(plan_jobs(["dataset=image_folder", "dataset.dir=.", "backbone=resnet50"]), Estimator(), 1, False)
        == []
    )
    assert memory_lines([], Estimator(), 1, False) == []


def test_the_bytes_of_a_step_grow_with_the_batch_and_those_that_stay_do_not():
    found = [measure(config_of("dataset=digits", "backbone=wrn16_1", "encoding=rgb", "regime=standard", "trainer=cpu",
                               f"batch_size={each}"), Digits.published) for each in (4, 16)]  # fmt: skip
    assert found[0].kept == found[1].kept > 0
    assert found[0].per_image == pytest.approx(found[1].per_image, rel=0.25)
    assert found[1].per_image > 4 * 32 * 32 * 16 * 13  # a map of 16 channels or its equal for each convolution


def test_durations():
    seconds = (0, 89, 90, 5400, 86400 * 2, 86400 * 730, 86400 * 731, 7.7 * 365.25 * 86400)
    told = ["0 s", "89 s", "1.5 minutes", "1.5 hours", "2.0 days", "730.0 days", "2.0 years", "7.7 years"]
    assert [duration(each) for each in seconds] == told


# -- operations in the place of measurements --------------------------------------------------------------------------


def test_tables_that_nothing_learns_are_measured_once_for_each_length(timed):
    estimator = Estimator()
    for encoding in ("thermometer", "onehot", "p2be", "rgb"):
        estimator(config_of("dataset=digits", f"encoding={encoding}"))
    estimator(config_of("dataset=digits", "encoding=onehot", "encoding.M=32"))
    assert len(timed) == 4


def test_when_the_patience_is_over_operations_tell(monkeypatch):
    asked = []
    monkeypatch.setattr(estimate, "measure", lambda config, size: asked.append(config) or Seconds(1, 10, 1000, 2, 3))
    estimator = Estimator(patience=0)
    few = ("dataset=digits", "trainer=cpu", "epochs=1", "limit_train=7", "limit_test=5", "batch_size=2")
    first = config_of(*few, "encoding=rgb", "backbone=wrn16_1")
    seconds = 7 * 1 + 5 * 10
    assert estimator(first) == seconds
    assert estimator.derived == 0
    larger = config_of(*few, "encoding=rgb", "backbone=resnet18")
    ratio = operations(larger, Digits.published) / operations(first, Digits.published)
    assert ratio > 10
    assert estimator(larger) == pytest.approx(ratio * seconds)
    assert estimator.memory(larger) is None
    beside = config_of(*few, "encoding=p2be", "backbone=wrn16_1")
    assert estimator.memory(beside) == estimator.memory(first)
    assert estimator.derived == 2
    assert len(asked) == 1
    estimator(config_of(*few, "encoding=rgb", "backbone=wrn16_1", "regime=standard"))  # nothing tells what it costs
    assert len(asked) == 2


def test_what_was_not_measured_is_said(monkeypatch):
    monkeypatch.setattr(estimate, "measure", lambda config, size: Seconds(1, 10, 1000, 2, 3))
    monkeypatch.setattr(estimate, "_PATIENCE", 0.0)
    monkeypatch.setattr("p2be_exp.sweeps.listing.Estimator", lambda: Estimator(0.0))
    jobs = plan_jobs(["dataset=digits", "trainer=cpu", "backbone=wrn16_1", "encoding=rgb,p2be,onehot"])
    assert "network here (2 kinds: from the number of operations alone); reading" in jobs_table([jobs])


def test_long_trainings_are_told_on_an_h100(monkeypatch):
    monkeypatch.setattr(estimate, "measure", lambda config, size: Seconds(1, 10, 1000))
    grid = ["dataset=cifar100", "trainer=cpu", "encoding=p2be", "seed=0,1"]
    assert "their training on one H100: about 22.7 minutes, if" in jobs_table([plan_jobs(grid)])
    assert "H100" not in jobs_table([plan_jobs([*grid, "limit_train=50", "limit_test=5"])])
    assert "H100" not in jobs_table([plan_jobs([*grid, "regime=contrain"])])
