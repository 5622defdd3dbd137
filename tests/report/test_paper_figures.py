"""The report's figures: what is drawn is what the tables say."""

import re
import xml.etree.ElementTree as ElementTree

import pytest
import torch

from measured_runs import GENERATED, OFFICIAL, cell_at, write_recipe
from p2be_exp.report.paper.cells import fill_tables
from p2be_exp.report.paper.code_maps import LEARNED, code_maps
from p2be_exp.report.paper.figures import picture, table_pictures
from p2be_exp.report.paper.gather import gather
from p2be_exp.report.paper.grid import grids


def drawn(*folders):
    tables = fill_tables(gather([str(folder) for folder in folders])[0])
    pairs = zip(tables, grids(tables), strict=True)
    return {picture.name: picture for table, grid in pairs for picture in table_pictures(table, grid)}


def test_every_picture_is_svg_with_words(report):
    pictures = [picture for section in report.sections for picture in section.pictures]
    assert {picture.name for picture in pictures} == {
        "table2-differences", "table2-corruptions", "table2-departing-1-differences",
        "table2-departing-1-corruptions", "table4-differences",
    }  # fmt: skip
    for each in pictures:
        assert ElementTree.fromstring(each.svg).tag == "{http://www.w3.org/2000/svg}svg"
        assert each.alt.startswith(each.title)
        assert ("small scale" in each.title) == ("departing" in each.name)


def test_differences_in_words(report, tables):
    (shown,) = [p for section in report.sections for p in section.pictures if p.name == "table4-differences"]
    compared = cell_at(tables["table4"], "cifar10/contrain", "p2be", "lspga").compared
    assert f"error under LS-PGA: ▼ −{-compared.difference:.2f} [" in shown.alt


def test_the_same_numbers_give_the_same_picture(tables, words, report):
    again = table_pictures(tables["table4"], words["table4"])
    assert again == [p for section in report.sections for p in section.pictures if section.grid.id == "table4"]


@pytest.mark.parametrize(("inches", "width"), [(3.6, 3.3), (8.0, 6.9)])
def test_a_picture_as_pdf_is_a_column_or_a_page_wide(inches, width):
    def draw(drawing, axes):
        axes[0, 0].plot([0, 1], [1, 0])
        return ["a line"]

    made = picture("line", "A line", (1, 1), (inches, 3), draw)
    pdf = made.as_file("pdf")
    assert pdf == made.as_file("pdf")
    (size,) = re.findall(rb"/MediaBox \[ ?0 0 ([\d.]+) [\d.]+ ?\]", pdf)
    assert float(size) / 72 == pytest.approx(width, abs=0.01)
    assert made.as_file("png").startswith(b"\x89PNG")
    assert made.svg == picture("line", "A line", (1, 1), (inches, 3), draw).svg  # as it was before


def test_long_names_leave_a_figure_of_one_corruption_its_room(workdir, recwarn):
    """Matplotlib gives a figure up whose legend is wider than itself, with a warning."""
    for encoding in ("rgb", "onehot", "thermometer", "p2be preset.init=thermometer optim.table_lr=0.03"):
        folder = workdir / encoding.split()[0]
        recipe = f"encoding={encoding} backbone=wrn16_1 dataset=digits regime=augmix epochs=2"
        write_recipe(folder, recipe, {"clean": 3, "corruption/fog/3": 40}, corruption=GENERATED)
    (shown,) = [each for name, each in drawn(*workdir.iterdir()).items() if name.endswith("corruptions")]
    assert "P2BE, initial table = thermometer, optim.table_lr = 0.03" in shown.alt
    assert not recwarn.list


@pytest.fixture
def lengths(workdir):
    for M in (16, 64):
        for weight in (0, 1.0):
            for seed in (0, 1):
                errors = {"clean": 22 + seed / 4, "corruption": 30 + M / 100 + weight}
                recipe = f"encoding.M={M} encoding.lambda_smooth={weight}"
                write_recipe(f"m{M}_{weight}_{seed}", recipe, errors, seed, corruption=OFFICIAL)
    return sorted(workdir.iterdir())


def test_along_m_and_lambda(lengths):
    pictures = drawn(*lengths)
    assert {"figure3", "m_lambda-1"} <= set(pictures)
    along = pictures["figure3"].alt
    assert re.search(r"P2BE, wrn40_2, CIFAR-100, AugMix, clean error: M = 16: 22.12, M = 64: 22.12", along)
    both = pictures["m_lambda-1"].alt
    assert len(re.findall(r"clean error at M = \d+, lambda = [01]: 22.12", both)) == 4


def table_of(workdir, name, weight, **more):
    folder = write_recipe(name, "", {"clean": 22.0}, **more)
    (folder / "checkpoints").mkdir()
    weights = {"model.encoding.weight": weight, "model.trunk.classifier.bias": torch.zeros(100)}
    saved = {"state_dict": weights, "hyper_parameters": {"num_classes": 100}, "global_step": 1}
    torch.save(saved, folder / "checkpoints" / "last.ckpt")
    return gather([name])[0][0]


def test_maps_of_codes(workdir):
    alike = table_of(workdir, "a", torch.ones(256, 64), seed=1)
    (picture,), notes = code_maps([alike])
    assert notes == []
    told = dict(re.findall(r"(RGB|one-hot|thermometer|random|learned)[^:;]*: ([\d.]+) of neighbours", picture.alt))
    assert told == {
        "RGB": "1.00",
        "one-hot": "0.75",
        "thermometer": "0.99",
        "random": told["random"],
        "learned": "1.00",
    }
    assert 0.4 < float(told["random"]) < 0.6  # half of the bits are ones, a quarter are ones in both
    assert "learned on CIFAR-100, M = 64, wrn40_2, AugMix, 200 epochs, lambda = 1, seed 1" in picture.alt


def test_no_map_without_a_table(workdir):
    write_recipe("a", "encoding=rgb", {"clean": 22.0})
    write_recipe("b", "", {"clean": 22.0})
    assert code_maps(gather(["a"])[0]) == ([], [])
    pictures, (note,) = code_maps(gather(["a", "b"])[0])
    assert pictures == []
    assert note.endswith("without a checkpoint that can be read: b.")


def test_not_every_table_is_drawn(workdir):
    results = []
    for number in range(LEARNED + 1):
        result = table_of(workdir, f"r{number}", torch.randn(256, 64))
        result.config.epochs = number + 1
        results.append(result)
    (picture,), (note,) = code_maps(results)
    assert picture.alt.count("learned on") == LEARNED
    assert note.startswith("Learned tables of more than 4 recipes")
