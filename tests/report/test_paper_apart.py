"""What is kept out of one mean though no departure: precision, processes, other test images, other steps."""

import pytest

from measured_runs import OFFICIAL, write_recipe
from p2be_exp.report.paper.apart import how_trained, kept_apart
from p2be_exp.report.paper.cells import fill_tables
from p2be_exp.report.paper.gather import gather
from p2be_exp.report.paper.grid import grids

FOLDER = "dataset=image_folder dataset.dir=/x"
BF16 = {"accelerator": "gpu", "precision": "bf16-mixed", "processes": 1}


def write(name, overrides="", seed=0, n=10_000, trained_on=None, classes=None, **settings):
    facts = {"trained_on": trained_on} if trained_on else {}
    facts |= {"classes": classes} if classes else {}
    errors = {"clean": 20.0} | ({"corruption": 30.0} if "corruption" in settings else {})
    return write_recipe(name, overrides, errors, seed, n=n, facts=facts, **settings)


def results(*folders):
    return gather([str(folder) for folder in folders])[0]


@pytest.mark.parametrize(
    ("overrides", "trained_on", "told"),
    [
        ("", None, ("a precision that is not known",)),
        ("trainer.precision=bf16", None, ("bf16",)),
        ("trainer.precision='32'", None, ("float32",)),
        ("trainer=cpu", None, ("float32",)),
        ("trainer.precision='32'", BF16, ("bf16",)),  # as it was, not as it was asked for
        ("", BF16 | {"precision": "32-true"}, ("float32",)),
        ("", BF16 | {"precision": "32-true, then bf16-mixed"}, ("float32, then bf16",)),
        ("trainer=ddp", BF16 | {"processes": 2}, ("bf16",)),
        ("trainer=ddp trainer.sync_batchnorm=false", BF16 | {"processes": 4},
         ("bf16", "batch norms of 4 processes apart")),
        ("trainer=ddp", BF16 | {"accelerator": "cpu", "precision": "32-true", "processes": 2},
         ("float32", "batch norms of 2 processes apart")),
        ("", BF16 | {"processes": "1, then 2"}, ("bf16", "batch norms of 1, then 2 processes apart")),
    ],
)  # fmt: skip
def test_how_a_run_was_trained(workdir, overrides, trained_on, told):
    write("run", overrides, trained_on=trained_on)
    assert how_trained(results("run")[0]) == told


def test_precisions_are_in_no_mean_together(workdir):
    write("a", trained_on=BF16, corruption=OFFICIAL)
    write("b", seed=1, trained_on=BF16 | {"precision": "32-true"}, corruption=OFFICIAL)
    tables = fill_tables(results("a", "b"))
    assert [(table.spec.id, table.full, len(table.results)) for table in tables] == [("table2", True, 1)] * 2
    first, second = grids(tables)
    assert (first.id, second.id) == ("table2", "table2-2")
    assert "trained in float32;" in first.sentence
    assert "trained in bf16 (the paper's code: float32);" in second.sentence
    assert second.heading.endswith("(trained in bf16)")
    assert not second.warning


def test_other_test_pictures_are_in_no_mean_together(workdir):
    ten, two = [str(each) for each in range(10)], ["cat", "dog"]
    digests = {"test_files": "a" * 64}, {"test_files": "b" * 64}
    write("a", FOLDER, 0, 300, classes=ten, **digests[0])
    write("b", FOLDER, 1, 300, classes=ten, **digests[0])
    write("c", FOLDER, 2, 300, classes=ten, **digests[1])
    write("d", FOLDER, 3, 300, classes=two, **digests[0])
    write("e", FOLDER, 4, 290, classes=ten, **digests[0])
    tables = [table for table in fill_tables(results(*"abcde")) if table.spec.id == "table2"]
    assert sorted(sorted(result.folder.name for result in table.results) for table in tables) == [
        ["a", "b"],
        ["c"],
        ["d"],
        ["e"],
    ]
    assert all(len(cell.runs) <= 2 for table in tables for cell in table.cells)
    assert len({grid.heading for grid in grids(tables)}) == 4
    assert kept_apart(results("a", "b")) == [(), ()]


@pytest.mark.parametrize(("change", "told"), [({"n": 180}, "180 test images"), ({"step": 2}, "2 steps")])
def test_other_numbers_of_images_and_steps_are_in_no_mean_together(workdir, change, told):
    small = {"n": 200}
    write("a", "dataset=digits", 0, **small)
    write("b", "dataset=digits", 1, **{**small, **change})
    write("c", "dataset=digits epochs=3", 2, **{**small, "step": 9})  # another length: a table of its own
    found = [table for table in fill_tables(results("a", "b", "c")) if table.spec.id == "table2"]
    assert [len(table.results) for table in found] == [1, 1, 1]
    assert sum((told,) == table.apart for table in found) == 1
    assert any(told in grid.heading and told in grid.sentence for grid in grids(found))


def test_lengths_of_training_stay_in_one_table(workdir):
    for epochs in (50, 200):
        write(f"e{epochs}", f"epochs={epochs}", corruption=OFFICIAL, step=epochs * 391)
    table = fill_tables(results("e50", "e200"))[-1]
    assert (table.spec.id, len(table.results), table.apart) == ("table6", 2, ())
