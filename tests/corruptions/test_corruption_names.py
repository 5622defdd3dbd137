"""Names, groups and constants of the nineteen corruptions against what was published."""

import doctest
import re

import numpy as np
import pytest

from p2be_exp.corruptions import constants as constants_module
from p2be_exp.corruptions import names as names_module
from p2be_exp.corruptions.constants import CIFAR, FAMILIES, IMAGENET, constants_of, family_of
from p2be_exp.corruptions.names import ALL, CATEGORIES, EXTRA, TEST, category_of, select_names, select_severities
from p2be_exp.errors import BadInput

PUBLISHED_ORDER = re.findall(
    r"\w+",
    """
gaussian_noise shot_noise impulse_noise defocus_blur glass_blur motion_blur zoom_blur snow frost fog brightness contrast
elastic_transform pixelate jpeg_compression speckle_noise gaussian_blur spatter saturate
""",
)

# ---- names


def test_the_order_is_the_published_one():
    assert list(ALL) == PUBLISHED_ORDER
    assert list(TEST) == PUBLISHED_ORDER[:15]
    assert list(EXTRA) == PUBLISHED_ORDER[15:]


def test_the_categories_divide_the_fifteen():
    assert {category: len(names) for category, names in CATEGORIES.items()} == {
        "noise": 3,
        "blur": 4,
        "weather": 4,
        "digital": 4,
    }
    assert [category_of(name) for name in ALL] == (
        ["noise"] * 3 + ["blur"] * 4 + ["weather"] * 4 + ["digital"] * 4 + ["extra"] * 4
    )


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("fog", ["fog"]),
        (["saturate", "fog", "snow", "fog"], ["snow", "fog", "saturate"]),
        ("test", PUBLISHED_ORDER[:15]),
        ("extra", PUBLISHED_ORDER[15:]),
        ("all", PUBLISHED_ORDER),
        (["digital", "noise"], PUBLISHED_ORDER[:3] + PUBLISHED_ORDER[11:15]),
        (("weather", "fog"), PUBLISHED_ORDER[7:11]),
        ("blur", PUBLISHED_ORDER[3:7]),
        (["test", "extra"], PUBLISHED_ORDER),
    ],
)
def test_names_and_groups_select_in_the_published_order(wanted, expected):
    assert select_names(wanted) == tuple(expected)


def test_an_unknown_name_is_refused_with_what_is_allowed():
    with pytest.raises(BadInput) as caught:
        select_names(["fog", "mist"], key="corruption.names")
    line = str(caught.value)
    assert line.startswith(
        "corruption.names=mist: must be one of test, extra, all, noise, blur, weather, digital, gaussian_noise"
    )
    assert all(name in line for name in ALL)
    assert "\n" not in line


def test_an_empty_selection_is_refused():
    with pytest.raises(BadInput, match=r"^names=\[\]: at least one corruption is needed$"):
        select_names([])
    with pytest.raises(BadInput, match=r"^severities=\[\]: at least one severity is needed$"):
        select_severities([])


def test_severities_are_selected_in_ascending_order_once():
    assert select_severities(3) == (3,)
    assert select_severities([5, 1, 5, 2]) == (1, 2, 5)


@pytest.mark.parametrize("wanted", [0, 6, -1, [1, 7], "3"])
def test_a_severity_outside_one_to_five_is_refused(wanted):
    bad = wanted[-1] if isinstance(wanted, list) else wanted
    with pytest.raises(BadInput, match=f"^corruption.severities={bad}: must be between 1 and 5$"):
        select_severities(wanted, key="corruption.severities")


# ---- constants

PUBLISHED = {
    "cifar": """
gaussian_noise .04 .06 .08 .09 .10
shot_noise 500 250 100 75 50
impulse_noise .01 .02 .03 .05 .07
speckle_noise .06 .1 .12 .16 .2
gaussian_blur .4 .6 .7 .8 1
glass_blur (.05,1,1) (.25,1,1) (.4,1,1) (.25,1,2) (.4,1,2)
defocus_blur (.3,.4) (.4,.5) (.5,.6) (1,.2) (1.5,.1)
motion_blur (6,1) (6,1.5) (6,2) (8,2) (9,2.5)
snow (.1,.2,1,.6,8,3,.95)(.1,.2,1,.5,10,4,.9)(.15,.3,1.75,.55,10,4,.9)(.25,.3,2.25,.6,12,6,.85)(.3,.3,1.25,.65,14,12,.8)
frost (1,.2) (1,.3) (.9,.4) (.85,.4) (.75,.45)
fog (.2,3) (.5,3) (.75,2.5) (1,2) (1.5,1.75)
brightness .05 .1 .15 .2 .3
contrast .75 .5 .4 .3 .15
saturate (.3,0) (.1,0) (1.5,0) (2,.1) (2.5,.2)
elastic_transform (0,0,.08) (.05,.2,.07) (.08,.06,.06) (.1,.04,.05) (.1,.03,.03)
pixelate .95 .9 .85 .75 .65
jpeg_compression 80 65 58 50 40
spatter (.62,.1,.7,.7,.5,0) (.65,.1,.8,.7,.5,0) (.65,.3,1,.69,.5,0) (.65,.1,.7,.69,.6,1) (.65,.1,.5,.68,.6,1)
""",
    "imagenet": """
gaussian_noise .08 .12 .18 .26 .38
shot_noise 60 25 12 5 3
impulse_noise .03 .06 .09 .17 .27
brightness .1 .2 .3 .4 .5
contrast .4 .3 .2 .1 .05
jpeg_compression 25 18 15 10 7
pixelate .6 .5 .4 .3 .25
speckle_noise .15 .2 .35 .45 .6
gaussian_blur 1 2 3 4 6
saturate (.3,0) (.1,0) (2,0) (5,.1) (20,.2)
glass_blur (.7,1,2) (.9,2,1) (1,2,3) (1.1,3,2) (1.5,4,2)
defocus_blur (3,.1) (4,.5) (6,.5) (8,.5) (10,.5)
motion_blur (10,3) (15,5) (15,8) (15,12) (20,15)
snow (.1,.3,3,.5,10,4,.8)(.2,.3,2,.5,12,4,.7)(.55,.3,4,.9,12,8,.7)(.55,.3,4.5,.85,12,8,.65)(.55,.3,2.5,.85,12,12,.55)
frost (1,.4) (.8,.6) (.7,.7) (.65,.7) (.6,.75)
fog (1.5,2) (2,2) (2.5,1.7) (2.5,1.5) (3,1.4)
spatter (.65,.3,4,.69,.6,0) (.65,.3,3,.68,.6,0) (.65,.3,2,.68,.5,0) (.65,.3,1,.65,1.5,1) (.67,.4,1,.65,1.5,1)
elastic_transform (2,.7,.1) (2,.08,.2) (.05,.01,.02) (.07,.01,.02) (.12,.01,.02)
""",
}

# Each severity's numpy.arange(1, stop, step), as the generators call it.
ZOOM_RANGES = {
    "cifar": [(1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)],
    "imagenet": [(1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)],
}


def parsed(text):
    """Name to its five tuples."""
    table = {}
    for line in text.strip().splitlines():
        name, numbers = line.split(maxsplit=1)
        words = numbers.replace(")(", ") (").split()
        table[name] = tuple(tuple(map(float, re.findall(r"[\d.]+", word))) for word in words)
    return table


@pytest.mark.parametrize("family", ["cifar", "imagenet"])
def test_the_constants_are_the_published_ones(family):
    table = parsed(PUBLISHED[family])
    assert set(FAMILIES[family]) == {*table, "zoom_blur"} == set(ALL)
    assert {name: constants for name, constants in FAMILIES[family].items() if name != "zoom_blur"} == table


@pytest.mark.parametrize("family", ["cifar", "imagenet"])
def test_the_zoom_factors_are_the_published_ranges(family):
    for factors, (stop, step) in zip(FAMILIES[family]["zoom_blur"], ZOOM_RANGES[family], strict=True):
        np.testing.assert_allclose(factors, np.arange(1, stop, step), rtol=0, atol=1e-12)
    assert [len(factors) for factors in CIFAR["zoom_blur"]] == [7, 12, 16, 21, 26]


@pytest.mark.parametrize("family", ["cifar", "imagenet"])
def test_the_zoom_factors_are_the_published_ranges_to_the_bit(family):
    """The last bit decides how 26 * 1.25 = 32.5 is rounded."""
    for factors, (stop, step) in zip(FAMILIES[family]["zoom_blur"], ZOOM_RANGES[family], strict=True):
        assert factors == tuple(np.arange(1, stop, step).tolist())


@pytest.mark.parametrize(
    ("height", "width", "family"),
    [
        (8, 8, "cifar"),
        (32, 32, "cifar"),
        (64, 64, "cifar"),
        (64, 300, "cifar"),
        (300, 64, "cifar"),
        (65, 65, "imagenet"),
        (65, 64, "cifar"),
        (65, 300, "imagenet"),
        (224, 224, "imagenet"),
    ],
)
def test_the_shorter_side_decides_on_the_family(height, width, family):
    assert family_of(height, width) == family
    for severity in (1, 5):
        assert constants_of("fog", severity, height, width) == FAMILIES[family]["fog"][severity - 1]


def test_all_but_elastic_keep_their_constants_at_every_size():
    for name in ALL:
        if name == "elastic_transform":
            continue
        for severity in (1, 2, 3, 4, 5):
            assert constants_of(name, severity, 50, 40) == CIFAR[name][severity - 1]
            assert constants_of(name, severity, 400, 500) == IMAGENET[name][severity - 1]


@pytest.mark.parametrize(
    ("height", "width", "unit"), [(32, 32, 32), (40, 24, 24), (64, 64, 64), (224, 224, 244), (448, 500, 488)]
)
def test_elastics_constants_grow_with_the_shorter_side(height, width, unit):
    table = parsed(PUBLISHED["cifar" if min(height, width) <= 64 else "imagenet"])["elastic_transform"]
    for severity in (1, 2, 3, 4, 5):
        expected = [unit * constant for constant in table[severity - 1]]
        np.testing.assert_allclose(constants_of("elastic_transform", severity, height, width), expected, rtol=1e-12)


@pytest.mark.parametrize(
    "module",
    [
        names_module,
        constants_module,
    ],
)
def test_the_examples_of_the_documentation_hold(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
