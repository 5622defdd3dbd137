"""A run that is a mixture of two: complete in itself, and what is refused before data is read."""

import hashlib
import json
import shutil

import pytest
import torch
from omegaconf import OmegaConf

from commandline import QUICKSTART, evaluate, export, refusal, train
from p2be_exp import load_run
from p2be_exp.config import check_config, training_config
from p2be_exp.config.parts import as_asked, with_parts
from p2be_exp.config.typed import plain
from p2be_exp.errors import BadInput
from p2be_exp.runs.run import Run
from p2be_exp.training import part_runs

MIX = ("dataset=digits", "trainer=cpu", "trainer.progress=false", "limit_test=40", "limit_train=32", "model=mix")


@pytest.fixture(scope="module")
def parts(rgb_run, four_epochs, tmp_path_factory):
    """Folders of an accurate and a robust part, to be taken away."""
    folder = tmp_path_factory.mktemp("parts")
    return [shutil.copytree(run, folder / name) for run, name in ((rgb_run, "accurate"), (four_epochs, "robust"))]


@pytest.fixture(scope="module")
def mixed(parts, tmp_path_factory):
    """A mixture, whose parts' folders are gone since; and their models."""
    accurate, robust = parts
    folder = tmp_path_factory.mktemp("mixed") / "run"
    outcome = train(*MIX, f"model.accurate={accurate}", f"model.robust={robust}", f"hydra.run.dir={folder}")
    assert outcome.code == 0, outcome.err
    digests = {part.name: hashlib.sha256((part / "checkpoints/last.ckpt").read_bytes()).hexdigest() for part in parts}
    models = {part.name: load_run(part) for part in parts}
    for part in parts:
        part.rename(part.with_name(f"{part.name}_moved"))
    yield folder, models, digests, outcome
    for part in parts:
        part.with_name(f"{part.name}_moved").rename(part)


def images():
    return torch.randint(256, (6, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def test_the_folder_is_complete_without_its_parts(mixed):
    folder, models, digests, outcome = mixed
    g, h = (models[role](images()) for role in ("accurate", "robust"))
    expected = torch.log(0.3 * g.softmax(1) + 0.7 * h.softmax(1))
    torch.testing.assert_close(load_run(folder)(images()), expected, rtol=1e-4, atol=1e-5)
    facts = json.loads((folder / "run.json").read_text())["parts"]
    assert {role: each["checkpoint_sha256"] for role, each in facts.items()} == digests
    assert "mix of two runs" in outcome.out
    assert "the robust part was not trained on adversarial images: are the roles as you want them?" in outcome.out
    results = json.loads((folder / "results.json").read_text())
    assert results["clean_error"] is not None


def test_it_is_evaluated_and_exported(mixed, tmp_path):
    folder, *_ = mixed
    attack = ("attack=suite_short", "attack.steps=1", "attack.queries=1", "attack.eps_levels=8")
    outcome = evaluate(f"run={folder}", "name=suite", *attack, "limit_test=4", "corruption=none", "trainer=cpu")
    assert outcome.code == 0, outcome.err
    rows = json.loads((folder / "evaluations/suite/results.json").read_text())["conditions"]
    assert {"attack/lspga/8", "attack/transfer_robust/8", "attack/transfer_accurate/8"} <= set(rows)
    assert "a mixture is no more robust than its robust part" in outcome.out
    outcome = export(f"run={folder}", f"out={tmp_path / 'mixed.pt2'}")
    assert outcome.code == 0, outcome.err
    assert "agree with the run's" in outcome.out


def test_a_stopped_one_goes_on_to_its_results(mixed, tmp_path):
    folder = shutil.copytree(mixed[0], tmp_path / "run")
    for name in ("results.csv", "results.json"):
        (folder / name).unlink()
    shutil.rmtree(folder / "per_image")
    outcome = train(f"resume={folder}")
    assert outcome.code == 0, outcome.err
    of = [json.loads((each / "results.json").read_text())["clean_error"] for each in (folder, mixed[0])]
    assert of[0] == of[1]


def test_one_that_was_killed_before_its_checkpoint_takes_its_parts_again(rgb_run, four_epochs, mixed, tmp_path):
    folder = shutil.copytree(mixed[0], tmp_path / "run")
    (folder / "checkpoints/last.ckpt").unlink()
    for name in ("results.csv", "results.json"):
        (folder / name).unlink()
    stored = OmegaConf.load(folder / "config.yaml")
    stored.model.accurate, stored.model.robust = str(rgb_run), str(four_epochs)
    OmegaConf.save(stored, folder / "config.yaml")
    outcome = train(f"resume={folder}")
    assert outcome.code == 0, outcome.err
    assert torch.equal(load_run(folder)(images()), load_run(mixed[0])(images()))
    (folder / "checkpoints/last.ckpt").unlink()
    stored.model.robust = str(shutil.copytree(rgb_run, tmp_path / "other"))
    OmegaConf.save(stored, folder / "config.yaml")
    assert "checkpoints/last.ckpt has changed since" in refusal(train(f"resume={folder}"))


def test_the_same_command_asks_for_the_same_configuration_before_and_after_its_parts_are_filled_in(mixed):
    stored = Run.open(mixed[0]).config()
    given = [f"model.{role}={getattr(stored.model, role)}" for role in ("accurate", "robust")]
    fresh = training_config([*MIX, *given])
    assert as_asked(stored) == as_asked(fresh)
    assert as_asked(stored) != as_asked(training_config([*MIX, *given, "model.alpha=0.6"]))


# -- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "model.accurate: required by model=mix; a run, model.accurate=RUN"),
        (["model.accurate=A"], "model.robust: required by model=mix; a run, model.robust=RUN"),
        (["model.accurate=A", "model.robust=nowhere"], "model.robust=nowhere: no such folder"),
        (["model.accurate=A", "model.robust=A"], "model.accurate=A model.robust=A: the same run; a mixture needs two"),
        (["model.accurate=A", "model.robust=LINK"], "the same run; a mixture needs two"),
        (["model.accurate=MIX", "model.robust=B"], "model=mix; a part must not be a mixture itself"),
        (["model.accurate=EMPTY", "model.robust=B"], "no checkpoints/last.ckpt (no epoch was finished)"),
        (["model.accurate=DAMAGED", "model.robust=B"], "checkpoints/last.ckpt is damaged"),
        (["model.accurate=A", "model.robust=PLUGIN"], "model.robust=PLUGIN: needs the plug-in nowhere_to_be_found"),
        (["model.accurate=A", "model.robust=OTHER"], "trained on cifar10; this job has dataset=digits"),
        (["model.accurate=A", "model.robust=CLASSES"], "both parts must have the same, in the same order"),
        (["model.accurate=A", "model.robust=B", "model.alpha=1.5"], "model.alpha=1.5: must be between 0 and 1"),
        (["model.accurate=A", "model.robust=B", "model.robust_scale=0"], "model.robust_scale=0.0: must be above 0"),
        (["model.accurate=A", "model.robust=B", "regime=standard"], "regime=standard: must be none with model=mix"),
        (["model.accurate=A", "model.robust=B", "encoding=rgb"], "encoding=rgb: not beside model=mix, whose"),
        (["model.accurate=A", "model.robust=B", "backbone=resnet18"], "backbone=resnet18: not beside model=mix"),
        (["model.accurate=A", "model.robust=B", "encoding.M=4"], "encoding.M=4: not beside model=mix, whose"),
        (["model.accurate=A", "model.robust=B", "model.parts={a: 1}"], "model.parts: filled in by model=mix"),
    ],
)
def test_what_cannot_be_mixed_is_refused(rgb_run, four_epochs, mixed_copy, workdir, monkeypatch, given, said):
    folders = {"A": rgb_run, "B": four_epochs, "MIX": mixed_copy}
    for name, run in folders.items():
        (workdir / name).symlink_to(run)
    (workdir / "LINK").symlink_to(rgb_run)
    made = [word.partition("=")[2] for word in given]
    for name in {"EMPTY", "DAMAGED", "PLUGIN", "OTHER", "CLASSES"} & set(made):
        _changed(name, shutil.copytree(four_epochs, workdir / name))
    monkeypatch.setattr("p2be_exp.training.job.build_data", None)  # data is not read
    assert said in refusal(train(*MIX, *given, "hydra.run.dir=run"))
    assert not (workdir / "run").exists()


def _changed(name, run):
    checkpoint, facts, config = run / "checkpoints/last.ckpt", run / "run.json", run / "config.yaml"
    if name == "EMPTY":
        checkpoint.unlink()
    elif name == "DAMAGED":
        content = bytearray(checkpoint.read_bytes())
        content[len(content) // 2] ^= 255
        checkpoint.write_bytes(content)
    elif name == "PLUGIN":
        stored = OmegaConf.load(config)
        stored.plugins = ["nowhere_to_be_found"]
        OmegaConf.save(stored, config)
    elif name == "OTHER":
        stored = OmegaConf.load(config)
        stored.dataset = OmegaConf.create({**stored.dataset, "name": "cifar10", "download": False})
        OmegaConf.save(stored, config)
    else:
        info = json.loads(facts.read_text())
        facts.write_text(json.dumps({**info, "classes": info["classes"][::-1]}))


@pytest.fixture(scope="module")
def mixed_copy(mixed, tmp_path_factory):
    """The mixture's folder."""
    return mixed[0]


def test_parts_of_other_image_sizes_are_refused():
    small, large = (training_config(["dataset=image_folder", f"dataset.image_size={size}"]) for size in (64, 96))
    with pytest.raises(BadInput) as raised:
        part_runs._check_data("model.accurate=a", small, "model.robust=b", large)
    assert str(raised.value) == "model.accurate=a: dataset.image_size=64; model.robust=b has 96"


@pytest.mark.parametrize(
    ("accurate", "robust", "said"),
    [
        ("standard", "trades", None),
        ("standard", "augmix", "the accurate part was not trained on adversarial images and the robust part was not "),
        ("trades", "trades", "the accurate part was trained on adversarial images and the robust part was trained on "),
    ],
)
def test_roles_that_look_swapped_are_told(accurate, robust, said):
    regimes = {"accurate": accurate, "robust": robust}
    facts = {role: {"regime": plain(training_config([f"regime={name}"]).regime)} for role, name in regimes.items()}
    told = part_runs.roles_swapped(facts)
    assert told is None if said is None else told.startswith(said)


def test_nothing_is_for_a_mixture_alone(workdir):
    said = refusal(train(*QUICKSTART, "regime=none"))
    assert said.startswith("regime=none: only with model=mix or nuts_mix")
    assert "; with model=plain it must be one of advtrain, augmix, contrain" in said
    parts = ("model.accurate=a", "model.robust=b")
    said = refusal(train("dataset=digits", "model=adaptive_mix", *parts, "regime=none"))
    assert said == "regime=none: must be mixing with model=adaptive_mix"


def test_a_stored_configuration_with_other_parts_is_refused():
    pair = {role: training_config(["dataset=digits", "encoding=rgb"]) for role in ("accurate", "robust")}
    asked = training_config([*MIX, "model.accurate=a", "model.robust=b"])
    config = with_parts(asked, pair)
    check_config("train", config)
    assert config.encoding.name == "rgb"
    mixtures = {**config.model.parts, "robust": {**config.model.parts["robust"], "model": vars(asked.model)}}
    for parts, said in [
        (3, "model.parts=3: must be null, or have accurate and robust"),
        ({**config.model.parts, "third": {}}, "must be null, or have accurate and robust"),
        ({**config.model.parts, "robust": {"encoding": {}}}, "must have encoding, backbone, model"),
        (mixtures, "model.parts.robust.model=mix: a part must not be a mixture itself"),
    ]:
        config.model.parts = parts
        with pytest.raises(BadInput, match=said):
            check_config("train", config)
