"""The cases that two commits are compared on: commands of the project on small data, and what is read of their results.

Every case runs in the same folder, by the same commands, on both commits. Cases may need others, which are named in
``after``; those of ``old`` read run folders that the base has trained, on both.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from readings import described, flat, read_numbers, read_results, read_run, read_steps, read_table
from worker import Checkout

Found = dict[str, Any]

STEPS = ("logger=tensorboard", "logger.tensorboard.log_every_n_steps=1", "trainer.progress=false")
SMALL = ("experiment=quickstart", "epochs=2", "limit_train=256", "limit_test=60", *STEPS)
"""Training on 256 digits by wrn16_1: 16 steps."""
TINY = ("limit_train=32", "limit_test=20", "batch_size=16", "epochs=1", "encoding.M=8", "regime=standard", *STEPS)
"""Two steps."""
DIGITS = ("dataset=digits", "backbone=wrn16_1")
NONE = ("corruption=none", "attack=none")
SHORT = ("attack=suite_short", "attack.steps=3", "attack.queries=6")
SETS, OWN, FROST, PICTURES = "sets", "own", "frost", "pictures"
CORRUPTED = ("corruption=generated", "corruption.names=all", f"corruption.dir={SETS}", f"corruption.frost_dir={FROST}")
"""All nineteen, of the set that the case ``corruptions/make`` has made."""

ENCODINGS = ("rgb", "onehot", "thermometer", "p2be")
REGIMES = ("standard", "augmix", "contrain", "advtrain")
BACKBONES = (
    "wrn40_2",
    "densenet_bc_100_12",
    "densenet40_12",
    "densenet40_24",
    "resnext29_4x32d",
    "resnext29_32x4d",
    "allconv",
    "resnet18",
)


class Skipped(Exception):  # noqa: N818
    """A case that a checkout or a machine does not have; the message says why."""


@dataclass(frozen=True)
class Case:
    """One thing to compare.

    Attributes:
        run: does it on a checkout, in the current folder; what was found, by key, the earliest first.
        after: cases whose files it needs.
        old: it reads what the base's cases ``after`` have left.
        quick: part of the small grid.
    """

    run: Callable[[Checkout], Found]
    after: tuple[str, ...] = ()
    old: bool = False
    quick: bool = False


CASES: dict[str, Case] = {}


def case(name: str, *after: str, old: bool = False, quick: bool = False) -> Callable[[Callable], Callable]:
    """Register a function as a case."""

    def register(function: Callable[[Checkout], Found]) -> Callable[[Checkout], Found]:
        CASES[name] = Case(function, after, old, quick)
        return function

    return register


# -- trainings --------------------------------------------------------------------------------------------------------


def training(name: str, *arguments: str, after: Sequence[str] = (), quick: bool = False, small: bool = True) -> None:
    """A case that trains in the folder of its name and reads the whole run folder."""

    def run(checkout: Checkout) -> Found:
        shutil.rmtree(name, ignore_errors=True)
        checkout.run("train.py", *(SMALL if small else TINY), *arguments, f"hydra.run.dir={name}", log=name)
        return checkout.collect(lambda: read_run(name, name))

    CASES[name] = Case(run, tuple(after), quick=quick)


def inner(encoding: str, regime: str) -> tuple[str, ...]:
    """The regime, with an inner attack of three steps that serves the encoding."""
    if regime in ("standard", "augmix"):
        return (f"regime={regime}",)
    attack = ("attack@regime.attack=pgd",) if encoding == "rgb" else ()
    return (f"regime={regime}", *attack, "regime.attack.steps=3")


@case("corruptions/make", quick=True)
def _make(checkout: Checkout) -> Found:
    make_frost(Path(FROST))
    shutil.rmtree(SETS, ignore_errors=True)
    checkout.run("p2be_exp.corruptions", "make", *made(SETS), "names=all", log="make")
    shutil.rmtree(OWN, ignore_errors=True)
    shutil.copytree(SETS, OWN, ignore=shutil.ignore_patterns("manifest.json", ".*"))  # as if they were anybody's
    return checkout.collect(lambda: by_severity(Path(SETS)))


def made(out: str) -> tuple[str, ...]:
    """Keys of a set of corrupted digits."""
    return ("dataset=digits", f"out={out}", "limit_test=60", f"frost_dir={FROST}", "workers=1")


def by_severity(folder: Path) -> Found:
    """The images of a set, described for each corruption and severity."""
    import numpy as np

    return {
        f"{file.name}: severity {number}": described(block)
        for file in sorted(folder.glob("*.npy"))
        for number, block in enumerate(np.split(np.load(file), 5) if len(np.load(file)) == 300 else [np.load(file)], 1)
    }


def make_frost(folder: Path) -> None:
    """Five textures that are nobody's: noise at two scales."""
    import numpy as np
    from PIL import Image

    folder.mkdir(exist_ok=True)
    draws = np.random.RandomState(0)
    for name in ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg"):
        coarse = np.kron(draws.randint(0, 256, (24, 30, 3)), np.ones((12, 12, 1)))
        image = (0.7 * coarse + 0.3 * draws.randint(0, 256, coarse.shape)).astype(np.uint8)
        Image.fromarray(image).save(folder / name)


for _encoding in ENCODINGS:
    for _regime in REGIMES:
        training(
            f"train/{_encoding}-{_regime}",
            f"encoding={_encoding}",
            *inner(_encoding, _regime),
            *CORRUPTED,
            *SHORT,
            after=["corruptions/make"],
            quick=(_encoding, _regime) in {("p2be", "augmix"), ("rgb", "standard"), ("onehot", "contrain")},
        )
for _encoding in ENCODINGS:
    training(f"train/{_encoding}-augmix-paper", f"encoding={_encoding}", "regime=augmix", "preset=paper", *NONE)
for _regime in ("standard", "contrain", "advtrain"):
    training(f"train/p2be-{_regime}-paper", "encoding=p2be", *inner("p2be", _regime), "preset=paper", *NONE)
for _name, _arguments in {
    "recipe": ("encoding=p2be", "preset.init=normal", "optim.table_lr=0.0001", "regime=augmix"),
    "onehot-init": ("encoding=p2be", "encoding.init=onehot", "encoding.M=16", "encoding.lambda_smooth=0.1"),
    "one-bit": ("encoding=p2be", "encoding.M=1"),
    "floor": ("encoding=thermometer", "encoding.M=32", "regime=augmix", "regime.view_rounding=floor"),
    "nearest": ("encoding=p2be", "regime=augmix", "regime.view_rounding=nearest", "regime.magnitude=1"),
    "pgd-inside": ("regime=contrain", "attack@regime.attack=pgd", "regime.attack.steps=3"),
    "random-inside": ("regime=advtrain", "attack@regime.attack=random_in_ball"),
    "square-inside": ("regime=advtrain", "attack@regime.attack=square", "regime.attack.queries=5"),
    "fixed-codes": (*inner("p2be", "contrain"), "regime.table_learns_from_adversarial=false", "regime.attack.xi=0.5"),
    "steps": ("optim=imagenet", "optim.milestones=[1]", "optim.table_schedule=constant"),
    "accumulate": ("optim.accumulate=3", "optim.clip_norm=0.5", "regime=augmix", "batch_size=20"),
    "validation": ("dataset.val_size=60", "dataset.split_seed=3", "watch_every=1", "seed=7"),
    "crop": ("dataset.augmentation=crop", "batch_size=50", "eval_batch_size=7"),
    "none": ("dataset.augmentation=none", "encoding=onehot", "encoding.M=256"),
}.items():
    training(f"train/other-{_name}", *_arguments, *NONE, quick=_name == "accumulate")
training("train/other-table-from", "encoding.table_from=train/other-recipe", *NONE, after=["train/other-recipe"])
training("train/other-two-processes", *DIGITS, *NONE, "trainer=ddp", "trainer.accelerator=cpu", small=False)

for _backbone in BACKBONES:
    training(
        f"backbone/{_backbone}",
        f"backbone={_backbone}",
        "dataset=digits",
        *NONE,
        "trainer=cpu",
        small=False,
        quick=_backbone == "allconv",
    )


@case("data/pictures")
def _pictures(checkout: Checkout) -> Found:
    cases = {
        "wrn16_1": ("dataset.image_size=32", "regime=augmix", "batch_size=6"),
        "resnet18": ("dataset.image_size=48", "dataset.augmentation=flip_crop", "dataset.val_size=6", "batch_size=9"),
    }
    return of_pictures(checkout, cases)


@case("backbone/large")
def _large(checkout: Checkout) -> Found:
    large = ("dataset.image_size=224", "limit_train=8", "batch_size=4", "optim=imagenet")
    return of_pictures(checkout, {"resnet50": large, "alexnet": large})


def of_pictures(checkout: Checkout, cases: dict[str, tuple[str, ...]]) -> Found:
    """Short trainings on picture files, by their backbones."""
    make_pictures(Path(PICTURES))
    found: Found = {}
    for name, arguments in cases.items():
        folder = f"pictures-{name}"
        shutil.rmtree(folder, ignore_errors=True)
        data = ("dataset=image_folder", f"dataset.dir={PICTURES}", "dataset.workers=1", "trainer=cpu")
        common = (*TINY, "limit_train=18", "limit_test=8", *data, f"backbone={name}", *NONE)
        checkout.run("train.py", *common, *arguments, f"hydra.run.dir={folder}", log=folder)
        found |= prefixed(name, checkout.collect(lambda folder=folder: read_run(folder, folder)))
    return found


def make_pictures(folder: Path) -> None:
    """Small pictures of two classes, PNG and JPEG, of several sizes."""
    import numpy as np
    from PIL import Image

    draws = np.random.RandomState(1)
    for part, count in {"train": 12, "test": 4}.items():
        for number, label in enumerate(("dark", "light")):
            place = folder / part / label
            place.mkdir(parents=True, exist_ok=True)
            for index in range(count):
                size = (6 + index % 3, 7, 3)
                image = np.kron(draws.randint(0, 128, size) + 127 * number, np.ones((9, 9, 1))).astype(np.uint8)
                Image.fromarray(image).save(place / f"{index}.{'png' if index % 2 else 'jpg'}")


# -- evaluations ------------------------------------------------------------------------------------------------------

SOURCES = ("train/rgb-standard", "train/p2be-augmix", "train/onehot-contrain")
"""Runs whose networks are looked at from outside."""


def evaluation(name: str, run: str, *arguments: str, after: Sequence[str] = (), quick: bool = False) -> None:
    """A case that evaluates a run and reads the rows, the summary and the images behind them."""

    def evaluate(checkout: Checkout) -> Found:
        out = Path(run, "evaluations", name.rpartition("/")[2])
        shutil.rmtree(out, ignore_errors=True)
        common = ("trainer=cpu", "trainer.progress=false", "limit_test=60", f"name={out.name}")
        checkout.run("evaluate.py", f"run={run}", *common, *arguments, log=name)
        return checkout.collect(lambda: read_results(out))

    CASES[name] = Case(evaluate, (run, *after), quick=quick)


SUITE = ("attack=suite", "attack.eps_levels=[2,16]", "attack.steps=4", "attack.queries=8", "attack.save_images=true")
for _encoding in ENCODINGS:
    evaluation(
        f"evaluate/{_encoding}-suite",
        f"train/{_encoding}-standard",
        *SUITE,
        "attack.source=train/rgb-augmix",
        "corruption=none",
        after=["train/rgb-augmix"],
    )
ATTACKS = {
    "lspga": ("attack=lspga", "attack.restarts=2", "attack.init=zero"),
    "lspga-buckman": ("attack=lspga", "attack.anneal=sharpen", "attack.step_rule=raw", "attack.xi=0.3"),
    "pgd-smooth": ("attack=pgd", "attack.gradient=smooth", "attack.loss=ce", "attack.steps=5", "attack.restarts=2"),
    "random": ("attack=random_in_ball", "attack.restarts=4", "attack.eps_levels=[1,32]"),
    "square": ("attack=square", "attack.queries=40", "attack.restarts=2"),
    "transfer": ("attack=transfer", "attack.source=train/rgb-standard", "attack.steps=4", "attack.restarts=2"),
}
for _name, _arguments in ATTACKS.items():
    evaluation(
        f"evaluate/attack-{_name}",
        "train/p2be-augmix",
        *_arguments,
        "corruption=none",
        "attack.save_images=true",
        "seed=3",
        after=["train/rgb-standard"] if _name == "transfer" else [],
        quick=_name == "square",
    )
for _name in ("lspga", "pgd-interpolate"):
    _arguments = ATTACKS.get(_name, ("attack=pgd", "attack.gradient=interpolate", "attack.steps=5"))
    for _encoding in ("onehot", "thermometer"):
        evaluation(f"evaluate/{_encoding}-{_name}", f"train/{_encoding}-augmix", *_arguments, "corruption=none")
evaluation(
    "evaluate/on-the-fly",
    "train/thermometer-augmix",
    "corruption=generated",
    "corruption.names=all",
    "corruption.severities=[2,5]",
    f"corruption.frost_dir={FROST}",
    "corruption.seed=1",
    "corruption.workers=1",
    "attack=none",
)
evaluation(
    "evaluate/own-files",
    "train/p2be-standard",
    "corruption=own",
    f"corruption.dir={OWN}",
    "attack=none",
    "eval_batch_size=13",
    after=["corruptions/make"],
)
evaluation("evaluate/best", "train/other-validation", *NONE, "checkpoint=best")


@case("evaluate/greedy", "train/onehot-standard")
def _greedy(checkout: Checkout) -> Found:
    folder = Path("train/onehot-standard/evaluations/greedy")
    shutil.rmtree(folder, ignore_errors=True)
    plugin: list[str] = []
    if not checkout.has("conf/attack/greedy.yaml"):
        places = [file.parents[2] for file in (checkout.tree / "examples").rglob("conf/attack/greedy.yaml")]
        modules = [file for place in places for file in place.glob("*.py") if '"greedy"' in file.read_text()]
        if not modules:
            raise Skipped("no conf/attack/greedy.yaml, and no example of that name")
        shutil.copytree(modules[0].parent, ".", dirs_exist_ok=True)  # plug-ins are found in the current folder
        plugin = [f"plugins=[{modules[0].stem}]"]
    common = ("trainer=cpu", "trainer.progress=false", "limit_test=20", "corruption=none", "name=greedy")
    arguments = ("run=train/onehot-standard", "attack=greedy", "attack.queries=40", *common, *plugin)
    checkout.run("evaluate.py", *arguments, log="evaluate/greedy")
    found = checkout.collect(lambda: read_results(folder))
    return {key: value for key, value in found.items() if "plugin" not in key}


# -- from Python ------------------------------------------------------------------------------------------------------


@case("library", *SOURCES, quick=True)
def _library(checkout: Checkout) -> Found:
    return checkout.collect(lambda: {key: value for run in SOURCES for key, value in of_model(run).items()})


def of_model(run: str) -> Found:
    """Logits of the model of a run, those of its differentiable twins and their gradients."""
    import torch

    from p2be_exp import load_run

    model, images = load_run(run), some_images()
    found = {f"{run}: logits": described(model(images)), f"{run}: of floats": described(model(images / 255))}
    for name in ("secant", "smooth", *["interpolate"] * ("onehot" in run)):
        floats = (images / 255).requires_grad_()
        logits = model.surrogate(name)(floats)
        (gradient,) = torch.autograd.grad(logits.logsumexp(dim=1).sum(), floats)
        found |= {f"{run}: {name}: logits": described(logits), f"{run}: {name}: gradient": described(gradient)}
    return found


def some_images() -> Any:
    """Eight images of noise, uint8 ``(8, 3, 32, 32)``."""
    import torch

    return torch.randint(0, 256, (8, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@case("export", *SOURCES)
def _export(checkout: Checkout) -> Found:
    return exported(checkout, SOURCES)


def exported(checkout: Checkout, runs: Sequence[str]) -> Found:
    """Logits of the exported files of runs, by PyTorch and by ONNX Runtime where it is installed."""
    import importlib.util

    forms = {"torch_export": "pt2"}
    if all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime")):
        forms["onnx"] = "onnx"
    found: Found = {}
    for run in runs:
        for form, suffix in forms.items():
            file = f"export/{run.replace('/', '-')}.{suffix}"
            Path("export").mkdir(exist_ok=True)
            arguments = (f"run={run}", f"format={form}", f"out={file}", "overwrite=true")
            checkout.run("p2be_exp.export", *arguments, log=f"export/{run.replace('/', '-')}-{suffix}")
            found |= checkout.collect(lambda file=file: {f"{file}: logits": described(logits_of(file))})
    return found


def logits_of(file: str) -> Any:
    """What an exported file makes of some images."""
    import torch

    if file.endswith(".pt2"):
        return torch.export.load(file).module()(some_images())
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"images": some_images().numpy()})[0]


# -- stopping, sweeps, reports ----------------------------------------------------------------------------------------


@case("resume")
def _resume(checkout: Checkout) -> Found:
    shutil.rmtree("resume", ignore_errors=True)
    stopped(checkout, "resume")
    return prefixed("stopped", read_steps_of(checkout, "resume/stopped")) | resumed(checkout, "resume")


def stopped(checkout: Checkout, folder: str) -> None:
    """Train for one epoch and a half of two."""
    arguments = (*SMALL, "encoding=p2be", "regime=augmix", *NONE, f"hydra.run.dir={folder}")
    checkout.run("train.py", *arguments, log=f"{folder}/stopped", code=143, stop=12)


def resumed(checkout: Checkout, folder: str) -> Found:
    """What the rest of such a training gives."""
    checkout.run("train.py", f"resume={folder}", log=f"{folder}/resumed")
    return checkout.collect(lambda: read_run(folder, f"{folder}/resumed"))


def read_steps_of(checkout: Checkout, log: str) -> Found:
    """The steps of a command."""
    return checkout.collect(lambda: read_steps(Path("logs", f"{log}.jsonl")))


def prefixed(name: str, found: Found) -> Found:
    """The same under a name."""
    return {f"{name}: {key}": value for key, value in found.items()}


@case("sweep")
def _sweep(checkout: Checkout) -> Found:
    shutil.rmtree("sweep", ignore_errors=True)
    keys = ("epochs=1", "limit_train=64", "limit_test=60", "corruption.severities=[3]", "corruption.workers=1")
    jobs = ("encoding=rgb,p2be", "seed=0,1", "hydra.sweep.dir=sweep", "trainer.progress=false")
    checkout.run("train.py", "sweeps=table2", "scale=small", *jobs, *keys, log="sweep")
    runs = sorted(path.parent.name for path in Path("sweep").glob("*/run.json"))
    found = {key: value for run in runs for key, value in checkout.collect(partial(of_job, run)).items()}
    return found | checkout.collect(lambda: of_report(next(Path("sweep").glob("report*"))))


def of_job(run: str) -> Found:
    """The run folder of one job."""
    return prefixed(f"job {run}", read_run(Path("sweep", run)))


@case("report", *(f"train/{encoding}-{regime}" for encoding in ENCODINGS for regime in REGIMES))
def _report(checkout: Checkout) -> Found:
    shutil.rmtree("reports", ignore_errors=True)
    checkout.run("p2be_exp.report", "train", "out=reports/all", log="report/all")
    for name, one, other in (
        ("networks", "train/rgb-augmix", "train/p2be-augmix"),
        ("regimes", "train/p2be-standard", "train/p2be-augmix"),
    ):
        checkout.run("p2be_exp.report", "compare", one, other, f"out=reports/{name}", log=f"report/{name}")
    return checkout.collect(
        lambda: (
            prefixed("networks", of_comparison(Path("reports/networks")))
            | prefixed("regimes", of_comparison(Path("reports/regimes")))
            | of_report(Path("reports/all"))
        )
    )


def of_report(folder: Path) -> Found:
    """The tables of a report, and the numbers in its text."""
    found: Found = {}
    for file in sorted((folder / "tables").glob("*.csv")):
        found |= read_table(file)
    for file in sorted((folder / "tables").glob("*.tex")):
        found |= read_numbers(file)
    return found | read_numbers(folder / "report.md")


def of_comparison(folder: Path) -> Found:
    """A comparison's table and its summary."""
    summary = json.loads((folder / "compare.json").read_text())
    found = {key: summary[key] for key in summary if key not in ("written", "versions")}
    return read_table(folder / "compare.csv") | dict(flat(found, "compare.json"))


# -- what the base has left -------------------------------------------------------------------------------------------


def copied(checkout: Checkout, name: str) -> str:
    """A copy of a run folder that the base has trained; where it is."""
    target = Path("old", name)
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(checkout.old / name, target)
    return str(target)


@case("old/stopped")
def _old_stopped(checkout: Checkout) -> Found:
    shutil.rmtree("half", ignore_errors=True)
    stopped(checkout, "half")
    return read_steps_of(checkout, "half/stopped")


@case("old/resume", "old/stopped", old=True, quick=True)
def _old_resume(checkout: Checkout) -> Found:
    return resumed(checkout, copied(checkout, "half"))


@case("old/evaluate", "train/p2be-augmix", "corruptions/make", old=True, quick=True)
def _old_evaluate(checkout: Checkout) -> Found:
    run = copied(checkout, "train/p2be-augmix")
    common = ("trainer=cpu", "trainer.progress=false", "limit_test=60", "name=again")
    checkout.run("evaluate.py", f"run={run}", *common, *CORRUPTED, *SHORT, log="old/evaluate")
    return checkout.collect(lambda: read_results(Path(run, "evaluations/again")) | of_model(run))


@case("old/continue", "evaluate/p2be-suite", old=True)
def _old_continue(checkout: Checkout) -> Found:
    """An evaluation that lost its last row goes on, by the settings that the base has written."""
    run = copied(checkout, "train/p2be-standard")
    copied(checkout, "train/rgb-augmix")
    folder = Path(run, "evaluations/p2be-suite")
    lines = (folder / "results.csv").read_text().splitlines(keepends=True)
    (folder / "results.csv").write_text("".join(lines[:-1]))
    common = ("trainer=cpu", "trainer.progress=false", "limit_test=60", "name=p2be-suite", "corruption=none")
    suite = (*SUITE, "attack.source=train/rgb-augmix")
    checkout.run("evaluate.py", f"run={run}", *common, *suite, log="old/continue")
    return checkout.collect(lambda: read_results(folder))


@case("old/export", "train/p2be-standard", old=True)
def _old_export(checkout: Checkout) -> Found:
    return exported(checkout, [copied(checkout, "train/p2be-standard")])


@case("old/table", "train/p2be-standard", old=True)
def _old_table(checkout: Checkout) -> Found:
    """A table that the base has learned, taken over and kept fixed."""
    table = copied(checkout, "train/p2be-standard")
    shutil.rmtree("old/table", ignore_errors=True)
    arguments = (*TINY, *DIGITS, "encoding.M=64", *NONE, f"encoding.table_from={table}")
    checkout.run("train.py", *arguments, "trainer=cpu", "hydra.run.dir=old/table", log="old/table")
    return checkout.collect(lambda: read_run("old/table", "old/table"))


@case("old/report", "report", old=True)
def _old_report(checkout: Checkout) -> Found:
    copied(checkout, "train")
    shutil.rmtree("reports/old", ignore_errors=True)
    checkout.run("p2be_exp.report", "old/train", "out=reports/old", log="old/report")
    return checkout.collect(lambda: of_report(Path("reports/old")))


def in_order(names: Sequence[str]) -> list[str]:
    """Cases with those that they need before them, in the order of the grid; those of old run folders last."""
    needed: set[str] = set()

    def need(name: str) -> None:
        if name not in needed:
            needed.add(name)
            for each in CASES[name].after:
                need(each)

    for name in names:
        need(name)
    return sorted(needed, key=lambda name: (CASES[name].old, list(CASES).index(name)))
