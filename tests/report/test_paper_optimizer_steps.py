"""Optimizer steps of runs, counted; and the table of decoders, whose lengths differ so that these do not."""

import json

import pytest

from measured_runs import cell_at, write_recipe
from p2be_exp.report.paper.cells import fill_tables
from p2be_exp.report.paper.gather import gather
from p2be_exp.report.paper.grid import grids
from p2be_exp.report.paper.optimizer_steps import optimizer_steps
from p2be_exp.report.paper.write import make_report

FPD = {"name": "fpd", "scale": "full"}
SUITE = {"name": "suite", "eps_levels": [2, 4, 8, 16, 32], "steps": 40, "restarts": 1, "queries": 500, "source": None}
RECIPES = {
    "plain": ("regime=standard optim=adam epochs=4", 20.0, 80.0),
    "decoder": ("model=fpd epochs=2", 21.0, 81.0),
    "no_tanh": ("model=fpd model.tanh=false epochs=2", 22.0, 82.0),
    "adversarial": ("regime=advtrain attack@regime.attack=pgd_fixed optim=adam epochs=4", 25.0, 60.0),
}


def write_metrics(folder, shares, batches=10):
    """Of an epoch each, the share of images in batches with a second step."""
    rows = [f"{number},{number * batches},{share}" for number, share in enumerate(shares, 1)]
    (folder / "metrics.csv").write_text("\n".join(["epoch,step,train/joint", *rows, ""]))


def write_sweep(sweep=FPD):
    for name, (recipe, clean, worst) in RECIPES.items():
        fpd = "model=fpd" in recipe
        settings = {"attack": SUITE, "worst_case": worst, "step": 20 if fpd else 40, "sweep": sweep}
        errors = {"clean": clean, "attack/pgd/8": 50.0}
        folder = write_recipe(name, f"backbone=resnet18 dataset=cifar10 encoding=rgb {recipe}", errors, **settings)
        if fpd:
            write_metrics(folder, [0.7 if name == "decoder" else 1.0, 1.0])


@pytest.fixture
def sweep(workdir):
    """What the jobs of ``sweeps=fpd`` leave."""
    write_sweep()
    return {each.folder.name: each for each in gather(list(RECIPES))[0]}


def test_a_batch_with_a_second_step_counts_twice(sweep):
    steps = {name: optimizer_steps(each) for name, each in sweep.items()}
    assert steps == {"plain": 40, "decoder": 37, "no_tanh": 40, "adversarial": 40}


@pytest.mark.parametrize("text", [None, "epoch,step\n1,20\n", "epoch,step,train/joint\n1,10,1.0\n", "nothing\x00"])
def test_steps_that_no_file_tells_are_not_known(sweep, text):
    file = sweep["decoder"].folder / "metrics.csv"
    file.unlink() if text is None else file.write_text(text)
    assert optimizer_steps(sweep["decoder"]) is None


def test_lengths_and_optimizers_do_not_part_the_table_of_decoders(sweep):
    (table,) = (each for each in fill_tables(list(sweep.values())) if each.spec.id == "fpd")
    assert (table.spec.id, table.departures) == ("fpd", ())
    rows = {
        "standard/rgb": (20.0, 80.0),
        "fpd/rgb": (21.0, 81.0),
        "fpd|model.tanh = false/rgb": (22.0, 82.0),
        "advtrain|attack pgd_fixed/rgb": (25.0, 60.0),
    }
    for row, errors in rows.items():
        cells = [cell_at(table, "cifar10/resnet18", row, measure) for measure in ("clean", "worst")]
        assert tuple(cell.mean for cell in cells) == errors
    assert [str(row) for row in table.blocks[next(iter(table.blocks))]] == list(rows)
    (grid,) = grids([table])
    assert "Optimizer steps (optim=adam, lr 0.001): 40; 37 to 40 with regime=fpd" in " ".join(grid.notes)
    assert make_report(list(RECIPES)).sections[0].published is None


def test_decoders_of_no_such_sweep_are_among_the_other_methods(workdir):
    write_sweep(None)
    ids = {table.spec.id for table in fill_tables(gather(list(RECIPES))[0])}
    assert "other_methods" in ids
    assert "fpd" not in ids


def test_a_small_sweep_says_what_its_full_scale_is(workdir):
    write_sweep({"name": "fpd", "scale": "small"})
    folder = next(iter(RECIPES))
    config = json.loads((workdir / folder / "config.yaml").read_text())
    (workdir / folder / "config.yaml").write_text(json.dumps({**config, "batch_size": 32}))
    table = next(each for each in fill_tables(gather([folder])[0]))
    assert "depart from the full scale of sweeps=fpd in: batch_size = 32" in grids([table])[0].warning
