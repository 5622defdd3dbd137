"""Filled tables: every cell against the rows of results.csv, what is kept apart, what is missing."""

import csv
import io
import json
import random
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev

import pytest

from measured_runs import GENERATED, OFFICIAL, cell_at, texts, write_recipe, write_results, wrong_images
from p2be_exp.config.schema import ModelConfig
from p2be_exp.errors import BadInput
from p2be_exp.report.paper.as_csv import as_csv
from p2be_exp.report.paper.cells import fill_tables
from p2be_exp.report.paper.gather import gather
from p2be_exp.report.paper.grid import grids
from p2be_exp.report.paper.keys import Key
from p2be_exp.report.paper.tables import TABLES, takes

ALEXNET = {"gaussian_noise": 88.6428, "fog": 81.9324}  # two of AugMix's normalisers, imagenet.py


def errors_in(folder, measure):
    """The measure of a run from the rows of its file, without any of the report's code."""
    with (Path(folder) / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    kind, _, name = measure.partition(":")
    wanted = {"clean": "clean", "lspga": "attack/lspga/8", "corruption": "corruption/", "error": f"corruption/{name}/"}
    found = [100 * int(r["n_wrong"]) / int(r["n"]) for r in rows if r["condition"].startswith(wanted[kind])]
    return fmean(found) if found else None


def lines(table, name="x"):
    return list(csv.DictReader(io.StringIO(as_csv(table, name))))


def test_every_cell_is_what_the_rows_of_its_runs_say(tables):
    checked = 0
    for name, table in tables.items():
        for line in lines(table, name):
            runs = line["runs"].split(";") if line["runs"] else []
            values = [errors_in(run, line["measure"]) for run in runs]
            assert int(line["n_seeds"]) == len(values) == len(line["seeds"].split())
            if not values:
                assert (line["mean"], line["sd"]) == ("", "")
                continue
            assert float(line["mean"]) == pytest.approx(fmean(values), abs=1e-9)
            assert [float(value) for value in line["values"].split()] == pytest.approx(values, abs=1e-9)
            assert (line["sd"] == "") == (len(values) == 1)
            if len(values) > 1:
                assert float(line["sd"]) == pytest.approx(stdev(values), abs=1e-9)
            checked += 1
    assert checked == 6 + 4 + 4


def test_every_run_is_where_its_configuration_says(tables):
    for name, table in tables.items():
        for line in lines(table, name):
            for run in filter(None, line["runs"].split(";")):
                config = json.loads((Path(run) / "config.yaml").read_text())
                assert config["encoding"]["name"] == line["row"]
                assert config["backbone"]["name"] == line["block"] or name == "table4"
                small = config["dataset"]["name"] == "digits"
                assert small == (line["full_scale"] == "false")


def test_published_numbers_stand_beside_and_are_subtracted_at_full_scale_alone(tables):
    for name, table in tables.items():
        for line in lines(table, name):
            full = line["full_scale"] == "true"
            gap = line["ours_minus_published"]
            if full and line["mean"] and line["published"] not in ("", "N/A"):
                assert float(gap) == pytest.approx(float(line["mean"]) - float(line["published"]))
            else:
                assert gap == ""
    assert any(line["published"] and line["full_scale"] == "false" for line in lines(tables["table2-departing-1"]))


def test_the_shape_of_table_2(tables):
    table = tables["table2"]
    assert texts(table.blocks) == ("wrn40_2", "densenet", "resnext")
    assert set(map(texts, table.blocks.values())) == {("rgb", "onehot", "thermometer", "p2be")}
    assert texts(table.columns) == ("corruption", "clean")
    assert {str(cell.key.row) for cell in table.cells if cell.runs} == {"rgb", "onehot", "p2be"}


def test_images_of_two_versions_of_the_generator_are_in_no_mean_together(tmp_path):
    cells = {"names": ["fog"], "severities": [3]}
    for seed, version in enumerate((1, 1, 2)):
        corruption = GENERATED | cells | {"generator_version": version}
        write_recipe(
            tmp_path / str(seed),
            "dataset=cifar100 regime=augmix",
            {"corruption": 30 + seed},
            seed,
            corruption=corruption,
        )
    results, _ = gather([str(tmp_path)])
    found = {}
    for table in fill_tables(results):
        for cell in table.cells:
            if cell.runs:
                versions = {run.settings["corruption"]["generator_version"] for run, _ in cell.runs.values()}
                assert len(versions) == 1
                told = [line for line in table.departures if "generator" in line]
                found.setdefault(versions.pop(), set()).update((*told, len(cell.runs)))
    assert found == {
        1: {"corruptions made here (generator 1, seed 0)", 2},
        2: {"corruptions made here (generator 2, seed 0)", 1},
    }


def test_intervals_over_seeds(tables):
    table = tables["table2"]
    kinds = {row: cell_at(table, "wrn40_2", row, "corruption").compared.kind for row in ("onehot", "p2be")}
    assert kinds == {"onehot": "paired", "p2be": "paired"}
    assert cell_at(table, "wrn40_2", "onehot", "corruption").compared.seeds == ((0, 1), (0, 1))  # RGB has a third
    assert cell_at(table, "wrn40_2", "rgb", "corruption").compared is None
    assert cell_at(tables["table4"], "cifar10/contrain", "p2be", "lspga").compared.kind == "paired"
    assert cell_at(tables["table2-departing-1"], "wrn16_1", "p2be", "clean").compared.kind == "networks"


def test_the_order_of_the_runs_plays_no_part(report, tables):
    turned = list(report.results)
    random.Random(5).shuffle(turned)
    assert turned != list(report.results)
    again = fill_tables(turned)
    assert [as_csv(table, "x") for table in again] == [as_csv(table, "x") for table in tables.values()]


def filled(*folders):
    results, _ = gather([str(folder) for folder in folders])
    return {(table.spec.id, table.full): table for table in fill_tables(results)}


def write(name, overrides, seed=0, corrupted=35.0, **more):
    more = {"corruption": OFFICIAL} | more
    return write_recipe(name, overrides, {"clean": 20.0, "corruption": corrupted}, seed, **more)


def test_scales_are_in_no_mean_together(workdir):
    write("a", "", 0, 30.0)
    write("b", "", 1, 32.0, corruption=GENERATED | {"names": ["fog"]})
    write("c", "epochs=3", 2, 60.0)
    found = fill_tables(gather(["a,b,c"])[0])
    assert [table.spec.id for table in found] == ["table2"] * 3
    assert [len(cell_at(table, "wrn40_2", "p2be", "clean").runs) for table in found] == [1, 1, 1]
    assert [table.full for table in found] == [True, False, False]


def test_a_run_measured_twice_is_one_seed(workdir):
    write("a", "", 0)
    write_results(
        "a/evaluations/mine", wrong_images(["clean"]), json.loads(Path("a/results.json").read_text())["settings"]
    )
    table = filled("a", "a/evaluations/mine")["table2", True]
    other = filled("a/evaluations/mine", "a")["table2", True]
    for each in (table, other):
        assert len(cell_at(each, "wrn40_2", "p2be", "clean").runs) == 1
        assert cell_at(each, "wrn40_2", "p2be", "clean").mean == 20.0


def test_two_runs_of_one_seed_are_one_seed(workdir):
    write("a", "", 0)
    write("b", "", 0, 36.0)
    table = filled("b", "a")["table2", True]
    assert len(cell_at(table, "wrn40_2", "p2be", "corruption").runs) == 1
    assert [str(other.folder) for _, other in table.doubles] == ["b"]
    results, _ = gather(["a", "b"])
    assert as_csv(fill_tables(results[::-1])[0], "x") == as_csv(table, "x")  # whichever is read first


def test_a_mean_that_is_not_complete_is_missing(workdir):
    write("a", "")
    lines = (workdir / "a" / "results.csv").read_text().splitlines()
    (workdir / "a" / "results.csv").write_text("\n".join(lines[:-1]) + "\n")
    table = filled("a")["table2", True]
    assert cell_at(table, "wrn40_2", "p2be", "corruption").mean is None
    assert cell_at(table, "wrn40_2", "p2be", "clean").mean == 20.0


def test_lengths_of_training(workdir):
    for epochs in (50, 200):
        write(f"p{epochs}", f"epochs={epochs}", 0, 30 + epochs / 100)
        write(f"r{epochs}", f"encoding=rgb epochs={epochs}", 1, 31.0)
    found = filled("p50,p200,r50,r200")
    table = found["table6", True]
    assert texts(table.columns) == ("50", "100", "200")
    assert [bool(cell_at(table, "wrn40_2", "p2be", str(column)).runs) for column in table.columns] == [
        True,
        False,
        True,
    ]
    assert len(found["table2", True].results) == 2  # the shorter ones are in Table VI alone
    assert ("table2", False) not in found


def test_lengths_of_codes_and_smoothness(workdir):
    for M in (16, 64):
        for weight in (0, 1.0):
            write(f"m{M}_{weight}", f"encoding.M={M} encoding.lambda_smooth={weight}", 0, 30 + M / 100 + weight)
    found = filled(*workdir.iterdir())
    along = found["figure3", True]
    assert [texts(rows) for rows in along.blocks.values()] == [("M = 16", "M = 64")] * 2
    assert texts(along.columns) == ("corruption", "clean")  # no attack was measured
    both = found["m_lambda", True]
    assert len(both.blocks) == 2
    assert set(map(texts, both.blocks.values())) == {("lambda = 0", "lambda = 1")}
    table = found["table2", True]
    assert texts(table.blocks[Key("wrn40_2")]) == (
        "rgb",
        "onehot",
        "thermometer",
        "p2be",
    )  # the published M and lambda alone
    assert len(table.results) == 1


def test_a_variant_alone_has_a_row_of_its_own(workdir):
    write("a", "encoding.M=16")
    table = filled("a")["table2", True]
    cell = cell_at(table, "wrn40_2", "p2be|M = 16", "clean")
    assert (cell.mean, cell.published, cell.minus_published) == (20.0, None, None)


def test_smoothness_off_and_on(workdir):
    for weight in (0, 1.0):
        recipe = f"experiment=adversarial_cifar10 encoding.lambda_smooth={weight}"
        write_recipe(f"w{weight}", recipe, {"clean": 12.0, "attack/lspga/8": 50.0 + weight}, attack={"name": "lspga"})
    table = filled("w0", "w1.0")["table5", True]
    assert cell_at(table, "cifar10", "on", "lspga").mean == 51.0
    assert cell_at(table, "cifar10", "off", "lspga").mean == 50.0
    assert cell_at(table, "cifar10", "on", "lspga").minus_published == pytest.approx(5.7)


@pytest.mark.parametrize(
    ("source", "row"),
    [
        ("experiment=imagenet", "fixed"),
        ("dataset=digits", "fixed|learned on digits"),
        ("experiment=imagenet epochs=3", "fixed|learned on ImageNet, epochs = 3 instead of 180"),
        ("experiment=imagenet backbone=resnet18", "fixed|learned on ImageNet, network resnet18"),
        ("experiment=imagenet encoding.lambda_smooth=1", "fixed|learned on ImageNet, lambda = 1"),
        ("experiment=imagenet status=running", "fixed|learned on ImageNet, not finished"),
    ],
)
def test_a_fixed_table(workdir, source, row):
    recipe, _, status = source.partition(" status=")
    first = write_recipe("first", recipe, None, status=status or "finished")
    write("own", "dataset=cifar10")
    write("fixed", f"dataset=cifar10 encoding.table_from={first}", corrupted=34.0)
    table = filled("own", "fixed")["table7", True]
    cell = cell_at(table, "cifar10", row, "corruption")
    assert cell.runs
    assert cell.comparable is (row == "fixed")
    assert (cell.published is not None) == (row == "fixed")
    (grid,) = [grid for grid in grids([table]) if grid.id == "table7"]
    assert any(note.startswith("All seeds of the fixed rows share one table") for note in grid.notes)
    assert ("table2", True) not in filled("own", "fixed")


def test_the_run_that_a_small_sweep_learns_its_table_from(workdir):
    small, sweep = "backbone=wrn16_1 dataset=digits", {"name": "table7", "scale": "small"}
    write("first", f"{small} epochs=2", n=200, corruption=GENERATED, sweep=sweep)
    assert list(filled("first")) == [("table7", False)]  # alone: the rest is missing
    write("own", f"{small} epochs=3", n=200, corruption=GENERATED, sweep=sweep)
    write("fixed", f"{small} epochs=3 encoding.table_from=first", n=200, corruption=GENERATED, sweep=sweep)
    table = filled("first", "own", "fixed")["table7", False]
    assert texts(table.blocks[Key("digits")]) == ("learned", "fixed|learned on digits")
    assert len(table.results) == 2


def test_a_table_7_of_another_network_is_none_of_the_papers(workdir):
    write("own", "backbone=densenet40_12")
    write("fixed", "backbone=densenet40_12 encoding.table_from=/nowhere")
    assert filled("own", "fixed")["table7", False].departures == ("network densenet40_12",)


@pytest.mark.parametrize(("encoding", "level"), [("rgb", 40), ("p2be", 36)])
def test_imagenet(workdir, encoding, level):
    source = {"name": "imagenet_c", "names": OFFICIAL["names"], "severities": [1, 2, 3, 4, 5], "crop": "center"}
    recipe = f"experiment=imagenet encoding={encoding}"
    write_recipe("a", recipe, {"clean": 23.0, "corruption": level}, n=50_000, corruption=source)
    found = filled("a")
    ces = found["table3_ce", True]
    for name, reference in ALEXNET.items():
        error = errors_in("a", f"error:{name}")
        assert cell_at(ces, "resnet50", name, encoding).mean == pytest.approx(100 * error / reference)
    means = [cell_at(ces, "resnet50", name, encoding).mean for name in OFFICIAL["names"]]
    assert cell_at(found["table3", True], "resnet50", encoding, "mce").mean == pytest.approx(fmean(means))


def test_a_mean_over_what_there_were_images_of(workdir):
    write("a", "", corruption=OFFICIAL | {"names": ["snow", "fog"]})
    lines = (workdir / "a" / "results.csv").read_text().splitlines()
    (workdir / "a" / "results.csv").write_text("\n".join(line for line in lines if "/snow/" not in line) + "\n")
    assert cell_at(filled("a")["table2", False], "wrn40_2", "p2be", "corruption").mean is None
    summary = json.loads((workdir / "a" / "results.json").read_text())
    summary["corruptions"] = {"left_out": {"snow": "why"}}
    (workdir / "a" / "results.json").write_text(json.dumps(summary))
    mean = cell_at(filled("a")["table2", False], "wrn40_2", "p2be", "corruption").mean
    assert mean == pytest.approx(errors_in("a", "error:fog"))


@pytest.mark.parametrize("part", [{"names": ["fog"]}, {"severities": [3]}])
def test_imagenet_in_part_has_no_mce(workdir, part):
    whole = {"name": "imagenet_c", "names": OFFICIAL["names"], "severities": [1, 2, 3, 4, 5], "crop": "center"}
    source = whole | part
    write_recipe("a", "experiment=imagenet", {"clean": 23.0, "corruption": 40.0}, n=50_000, corruption=source)
    found = filled("a")
    assert texts(found["table3", False].columns) == ("clean", "corruption")
    cell = cell_at(found["table3_ce", False], "resnet50", "fog", "p2be")
    assert (str(cell.key.measure), cell.minus_published) == ("error:fog", None)
    assert cell.mean == pytest.approx(errors_in("a", "error:fog"))


def test_imagenet_without_corruptions(workdir):
    write_recipe("a", "experiment=imagenet", {"clean": 23.0}, n=50_000)
    found = filled("a")
    assert list(found) == [("table3", True)]  # a table of nothing but missing cells is not shown
    assert cell_at(found["table3", True], "resnet50", "p2be", "mce").mean is None


def test_a_small_sweep_is_in_its_own_table(workdir):
    small = "backbone=wrn16_1 dataset=digits epochs=2"
    for epochs in (1, 2):
        sweep = {"name": "table6", "scale": "small"}
        write(f"a{epochs}", f"{small} epochs={epochs}", n=200, corruption=GENERATED, sweep=sweep)
    found = filled("a1", "a2")
    assert list(found) == [("table6", False)]
    assert texts(found["table6", False].columns) == ("1", "2")


def test_runs_of_no_table_are_not_lost(workdir):
    write("a", "regime=standard")
    table = filled("a")["other", True]
    assert cell_at(table, "cifar100/standard/wrn40_2", "p2be", "clean").mean == 20.0


def test_runs_of_no_table_are_shown_with_what_was_measured_of_any(workdir):
    """Worst cases, too; no column in which nothing was measured."""
    for number, encoding in enumerate(("rgb", "p2be")):
        recipe = f"regime=standard encoding={encoding} limit_train=100"
        measured = {"clean": 20.0} | ({"attack/lspga/8": 50.0} if number else {})
        write_recipe(encoding, recipe, measured, attack=SUITE, worst_case=60.0)
    table = filled("rgb", "p2be")["other", False]
    assert texts(table.columns) == ("clean", "lspga", "worst")
    place = "cifar100/standard/wrn40_2"
    assert [cell_at(table, place, "rgb", kind).mean for kind in ("clean", "lspga", "worst")] == [20.0, None, 60.0]
    assert [cell_at(table, place, "p2be", kind).mean for kind in ("clean", "lspga", "worst")] == [20.0, 50.0, 60.0]


@pytest.mark.parametrize("regime", ["trades", "tenet", "noisymix", "mart"])
def test_another_method_is_in_none_of_the_papers_tables(workdir, regime):
    """Not even where a sweep of the paper is asked for it."""
    sweep = {"name": "table2", "scale": "full"}
    for number, recipe in enumerate(("", "dataset=cifar10", "dataset=cifar10 attack=lspga", "experiment=imagenet")):
        recipe = f"{recipe} backbone=resnet18 regime={regime}"
        write_recipe(f"{number}", recipe, {"clean": 20.0, "attack/lspga/8": 50.0}, sweep=sweep)
    tables = fill_tables(gather(["0", "1", "2", "3"])[0])
    assert {table.spec.id for table in tables} == {"other_methods"}
    rows = {cell.key.row for table in tables for cell in table.cells if cell.runs}
    assert {str(row.published) for row in rows} == {f"{regime}/p2be"}


def test_another_model_is_in_none_of_the_papers_tables(workdir):
    write("a", "")
    results, _ = gather(["a"])
    (other,) = [replace(each, config=replace(each.config, model=ModelConfig("mine"))) for each in results]
    papers = [spec for spec in TABLES if spec.id.startswith("table")]
    assert len(papers) == 7
    assert not any(takes(spec, other) for spec in papers)
    assert all(takes(spec, results[0]) for spec in TABLES)


SUITE = {"name": "suite", "eps_levels": [2, 4, 8, 16, 32], "steps": 40, "restarts": 1, "queries": 500, "source": None}
METHOD = "backbone=resnet18 dataset=cifar10"


def methods(**errors):
    """The tables of methods with two seeds each, by ID; the clean errors of the first seeds by method."""
    for name, clean in errors.items():
        regime, encoding = name.split("_")
        for seed in (0, 1):
            recipe = f"{METHOD} regime={regime} encoding={encoding}"
            shown = {"clean": clean + seed, "attack/pgd/8": 70.0}
            write_recipe(f"{name}_{seed}", recipe, shown, seed, attack=SUITE, worst_case=80.0 + 2 * seed)
    return {table.spec.id: table for table in fill_tables(gather([f"{n}_{s}" for n in errors for s in (0, 1)])[0])}


def test_other_methods_by_method_and_encoding(workdir):
    found = methods(standard_rgb=10.0, mart_p2be=20.0, tenet_rgb=9.0)
    table = found["other_methods"]
    assert (list(found), table.full) == (["other_methods"], True)
    assert texts(table.blocks[Key("cifar10", within=("resnet18",))]) == ("standard/rgb", "tenet/rgb", "mart/p2be")
    assert table.spec.row_label(Key("tenet", within=("rgb",))) == "TENET, RGB"
    place = "cifar10/resnet18"
    cell = cell_at(table, place, "mart/p2be", "clean")
    assert (cell.mean, cell.compared.difference, cell.compared.kind) == (20.5, 10.0, "paired")
    worst = cell_at(table, place, "tenet/rgb", "worst")
    assert (worst.mean, worst.compared.difference) == (81.0, 0.0)
    assert all(each.published is None for each in table.cells)  # never in one column with ours


def test_a_feature_pyramid_decoder_has_rows_of_its_own(workdir):
    """However it is trained; what is switched off is said. With another optimizer it has a table of its own."""
    recipes = {
        "plain": "regime=standard",
        "decoder": "model=fpd",
        "off": "model=fpd model.tanh=false",
        "attacked": "model=fpd regime=advtrain attack@regime.attack=pgd",
        "apart": "model=fpd regime=advtrain attack@regime.attack=pgd model.statistics=by_pass",
    }
    for name, recipe in recipes.items():
        write_recipe(name, f"{METHOD} encoding=rgb {recipe}", {"clean": 20.0})
    tables = [table for table in fill_tables(gather(list(recipes))[0]) if table.spec.id == "other_methods"]
    rows = {cell.key.row for table in tables for cell in table.cells if cell.runs}
    assert {str(row.published) for row in rows} == {"fpd/rgb", "advtrain/fpd/rgb"}
    variants = {row.variant for row in rows}
    assert "model.tanh = false" in variants
    assert sum("model.statistics = by_pass" in each for each in variants) == 1, variants
    assert all("optim.clip_norm = 5" in table.departures for table in tables)
    assert tables[0].spec.row_label(Key("advtrain", within=("fpd", "rgb"))) == "AdvTrain, FPD, RGB"


def test_a_worst_case_is_over_a_suite_and_compared_over_seeds(workdir):
    for name, attack in (("standard", SUITE), ("mart", SUITE), ("trades", {"name": "lspga"})):
        recipe = f"{METHOD} regime={name} encoding=rgb"
        write_recipe(name, recipe, {"clean": 20.0, "attack/lspga/8": 70.0}, attack=attack, worst_case=70.0)
    (table,) = fill_tables(gather(["standard", "mart", "trades"])[0])
    cells = {row: cell_at(table, "cifar10/resnet18", f"{row}/rgb", "worst") for row in ("standard", "mart", "trades")}
    assert {row: cell.mean for row, cell in cells.items()} == {"standard": 70.0, "mart": 70.0, "trades": None}
    assert cells["mart"].compared.why_not == "a worst case over attacks is compared over seeds alone"


def test_the_papers_regimes_alone_make_no_table_of_methods(workdir):
    assert "other_methods" not in methods(standard_rgb=10.0, augmix_rgb=12.0)


def test_what_cannot_be_used_is_told(workdir):
    write("sweep/0", "")
    write_recipe("sweep/1", "", None, status="failed")
    write_recipe("sweep/2", "", None)
    results, not_used = gather(["sweep"])
    assert [str(each.folder) for each in results] == ["sweep/0"]
    assert [(str(each.folder), each.reason.partition(";")[0]) for each in not_used] == [
        ("sweep/1", "not finished (its status is 'failed')"),
        ("sweep/2", "no results.json"),
    ]
    with pytest.raises(BadInput, match="no run has results to report"):
        gather(["sweep/1"])


def test_a_run_that_is_named_twice_is_there_once(workdir):
    write("sweep/0", "")
    assert len(gather(["sweep", "sweep/0", "./sweep/../sweep/0"])[0]) == 1


def test_columns(tables):
    assert list(lines(tables["table2"])[0]) == [
        *("table", "full_scale", "departures", "trained_in", "kept_apart", "block", "row", "column", "measure"),
        *("mean", "sd", "n_seeds", "seeds", "values", "against", "difference", "ci_low", "ci_high", "interval"),
        *("interval_seeds_reference", "interval_seeds", "no_interval_since", "published", "published_sd"),
        *("published_source", "ours_minus_published", "runs"),
    ]
