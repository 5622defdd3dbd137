"""The figure over alpha: both errors of every point in words, the radius, the parts, the knee."""

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest

from mixed_points import CURVE, pair, point
from p2be_exp.report.measured import Counts
from p2be_exp.report.paper.mixture_figure import mixture_picture
from p2be_exp.report.paper.mixtures import Pair

ALONE = {"accurate": point("accurate part alone", 8, 151), "robust": point("robust part alone", 9, 27)}


def told(picture):
    """By error, its values by point, from the words for those who do not see the figure."""
    _, words = picture.alt.split("intervals. ")
    found = {}
    for series in words.removesuffix(".").split("; "):
        name, _, values = series.partition(": ")
        found[name] = {label: float(value) for label, value in re.findall(r"([^,:]+): ([\d.]+)", values)}
    return {name: {label.strip(): value for label, value in of.items()} for name, of in found.items()}


def test_both_errors_of_every_weight():
    picture = mixture_picture(pair(), "mixing")
    assert ElementTree.fromstring(picture.svg).tag == "{http://www.w3.org/2000/svg}svg"
    assert told(picture) == {
        "clean": {f"alpha = {alpha}": clean / 2 for alpha, (clean, _) in CURVE.items()},
        "worst case of the attacks at 16 levels": {f"alpha = {a}": wrong / 2 for a, (_, wrong) in CURVE.items()},
    }


def test_parts_and_other_mixtures_are_in_it():
    picture = mixture_picture(pair([point("MixedNUTS", 8, 28)], ALONE), "mixing")
    clean, worst = told(picture).values()
    assert (clean["accurate part alone"], worst["accurate part alone"]) == (4, 75.5)
    assert (clean["MixedNUTS"], worst["MixedNUTS"]) == (4, 14)


@pytest.mark.parametrize(
    ("radii", "drawn"), [([16], 16), ([2, 8, 32], 8), ([2, 4], 4)], ids=["one", "the report's", "the largest"]
)
def test_one_radius_is_drawn(radii, drawn):
    two: Pair = pair()
    points = [replace(each, attacked=dict.fromkeys(radii, Counts(50, 200))) for each in two.points]
    assert f"at {drawn} levels" in mixture_picture(replace(two, points=tuple(points)), "mixing").alt


def test_no_figure_of_a_single_weight_or_without_an_attack():
    assert mixture_picture(pair(curve={0.5: (6, 60)}), "mixing") is None
    assert mixture_picture(pair(curve={0.5: (6, None), 0.6: (6, None)}), "mixing") is None


def test_the_same_numbers_give_the_same_picture():
    assert mixture_picture(pair(alone=ALONE), "mixing") == mixture_picture(pair(alone=ALONE), "mixing")
