"""Where the gradient points: the steps equal a plain transcription, and the verdicts follow from the counts."""

import dataclasses
import doctest
import math

import pytest
import torch
from torch import nn

from models_of_readers import OnCodes, images, net, two_nets
from p2be_exp.attacks.attack import predict
from p2be_exp.attacks.lspga import LSPGA
from p2be_exp.attacks.transfer import Transfer
from p2be_exp.encodings import RGB, Thermometer
from p2be_exp.evaluation.sanity import directional
from p2be_exp.evaluation.sanity.directional import (
    Kind,
    Steps,
    gradient_points_uphill,
    gradient_reaches_the_image,
    kinds_of,
    right_places,
    sign_test,
    steps_of,
)
from p2be_exp.models.classifier import Classifier
from p2be_exp.models.surrogate import slopes
from usual import P2BE, PGD, RandomInBall, Square

RADIUS = 6


def test_doctests():
    assert doctest.testmod(directional).failed == 0


@pytest.mark.parametrize(("won", "untied"), [(20, 20), (15, 20), (10, 20), (0, 20), (61, 100), (63, 100), (7, 25)])
def test_the_sign_test_is_a_sum_of_binomials(won, untied):
    plain = sum(math.comb(untied, k) for k in range(won, untied + 1)) / 2**untied
    assert sign_test(won, untied) == pytest.approx(plain, rel=1e-12)


# -- the steps, against a plain transcription ------------------------------------------------------------------------


def codes_of(encoding, levels):
    """Codes ``(B, 3M, H, W)`` by a look-up."""
    rows = encoding.table().detach()[levels.long()]  # (B, 3, H, W, M)
    return rows.permute(0, 1, 4, 2, 3).flatten(1, 2)


def margin_of(logits, labels):
    """Highest wrong logit minus the right one, image by image."""
    found = []
    for row, label in zip(logits, labels.tolist(), strict=True):
        wrong = torch.cat([row[:label], row[label + 1 :]])
        found.append(wrong.max() - row[label])
    return torch.stack(found)


def plain_gradient(model, levels, labels, name, radius):
    """By autograd to the codes, then value by value with the slopes."""
    codes = [codes_of(reader.encoding, levels).requires_grad_() for reader in model.readers]
    features = [reader.of_codes(each) for reader, each in zip(model.readers, codes, strict=True)]
    behind = torch.autograd.grad(margin_of(model.climbed(*features), labels).sum(), codes)
    total = torch.zeros(levels.shape, dtype=torch.float64)
    for reader, gradient in zip(model.readers, behind, strict=True):
        slope = slopes(reader.encoding, name, radius)[levels.long()]  # (B, 3, H, W, M)
        total += (gradient.unflatten(1, (3, -1)).permute(0, 1, 3, 4, 2) * slope).sum(-1)
    return total


MODELS = {
    "rgb": lambda: net(RGB()),
    "thermometer": lambda: net(Thermometer(16)),
    "p2be": lambda: net(P2BE(8).double()),
    "two readers": lambda: two_nets(Thermometer(16), RGB()),
    "climbs what a tanh hides": lambda: OnCodes(net(RGB()), 3.0).eval(),
}


def correct(model, n=6):
    given = images(n, size=4, seed=1)
    given[0], given[1, :, :2] = 2, 254  # where the ball is cut
    return given, predict(model, given)


@pytest.mark.parametrize("name", ["secant", "smooth"])
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_a_step_of_the_radius_along_the_sign_and_back(make, name):
    torch.manual_seed(0)
    model = make()
    given, labels = correct(model)
    found = steps_of(model, Kind(name), given, labels, RADIUS)
    sign = plain_gradient(model, given, labels, name, RADIUS).sign()
    for step, got in ((sign, found.ahead), (-sign, found.back)):
        moved = (given.double() + RADIUS * step).clamp(0, 255).to(torch.uint8)
        with torch.no_grad():
            torch.testing.assert_close(got, margin_of(model(moved), labels), rtol=0, atol=1e-9)
    # The ball around level 2 is in a single bucket.
    assert found.blind.tolist() == (sign == 0).flatten(1).all(1).tolist()
    assert not found.blind[1:].any()


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_the_relaxed_step_goes_to_the_best_choice_and_to_the_worst(make):
    """Each choice's slope by autograd through its share, of all choices alike."""
    torch.manual_seed(0)
    model = make()
    given, labels = correct(model)
    bucket = torch.arange(256)
    for encoding in model.encodings:
        if encoding.buckets() is not None and len(model.encodings) == 1:
            bucket = encoding.buckets()
    columns = []  # of each value: which level stands for each choice
    for level in given.flatten().tolist():
        inside = [k for k in range(256) if abs(k - level) <= RADIUS]
        nearest = {}
        for k in sorted(inside, key=lambda k: abs(k - level)):
            nearest.setdefault(int(bucket[k]), k)
        columns.append([nearest[b] for b in sorted(nearest)])

    def mixed_features(weights):
        for reader in model.readers:
            table = reader.encoding.table().detach()
            mixed = torch.stack([share @ table[levels] for share, levels in zip(weights, columns, strict=True)])
            yield reader.of_codes(mixed.view(*given.shape, -1).permute(0, 1, 4, 2, 3).flatten(1, 2))

    u = [torch.zeros(len(levels), dtype=torch.float64, requires_grad=True) for levels in columns]
    weights = [each.softmax(0) for each in u]
    margin = margin_of(model.climbed(*mixed_features(weights)), labels).sum()
    found_slopes = torch.autograd.grad(margin, weights, retain_graph=True)
    uphill = torch.autograd.grad(margin, u)
    # On a line the middle one of an odd number of choices has the mean code: the sign of its gradient is rounding.
    rounding = any((each.abs() < 1e-12).any() for each in uphill if len(each) > 1)
    found = steps_of(model, Kind("relaxed"), given, labels, RADIUS)
    for choose, got in ((torch.argmax, found.ahead), (torch.argmin, found.back)):
        chosen = [levels[int(choose(slope))] for levels, slope in zip(columns, found_slopes, strict=True)]
        flat = [len(levels) == 1 for levels in columns]
        moved = torch.where(torch.tensor(flat), given.flatten(), torch.tensor(chosen, dtype=torch.uint8))
        with torch.no_grad():
            torch.testing.assert_close(got, margin_of(model(moved.view(given.shape)), labels), rtol=0, atol=1e-9)
    for way, got in ((1, found.mixed.ahead), (-1, found.mixed.back)):
        with torch.no_grad():
            moved = list(mixed_features([(way * each.sign()).softmax(0) for each in uphill]))
            expected = margin_of(model.body(*moved), labels)
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-3 if rounding else 1e-9)
    assert (found.mixed.ahead[1:] - found.mixed.back[1:] > 2e-3).all()
    assert found.blind.tolist() == torch.tensor(flat).view(len(given), -1).all(1).tolist()
    assert not found.blind[1:].any()


def test_a_few_images_at_a_time(monkeypatch):
    model = net(RGB())
    given, labels = correct(model, 7)
    whole = steps_of(model, Kind("secant"), given, labels, RADIUS)
    monkeypatch.setattr(directional, "_AT_ONCE", 3)
    relaxed = steps_of(model, Kind("relaxed"), given[:3], labels[:3], RADIUS)
    parts = steps_of(model, Kind("secant"), given, labels, RADIUS)
    for name in ("ahead", "back", "blind"):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name))
    two = steps_of(model, Kind("relaxed"), given[[0, 1, 2, 0, 1]], labels[[0, 1, 2, 0, 1]], RADIUS).mixed
    torch.testing.assert_close(two.ahead[:3], relaxed.mixed.ahead)
    torch.testing.assert_close(two.back[3:], relaxed.mixed.back[:2])
    assert parts.mixed is None
    labels[[1, 4]] = (labels[[1, 4]] + 1) % 4
    assert right_places(model, given, labels).tolist() == [0, 2, 3, 5, 6]
    assert right_places(model, given, labels, 2).tolist() == [0, 2]
    nothing = steps_of(model, Kind("secant"), given[:0], labels[:0], RADIUS)
    assert (len(nothing.blind), nothing.untied) == (0, 0)


class Detached(Classifier):
    """Some images' features have no way back."""

    def __init__(self, model: Classifier, blind: list[int]) -> None:
        super().__init__()
        self.model, self.blind, self.scale = model, blind, nn.Parameter(torch.ones(1))

    @property
    def readers(self):
        return self.model.readers

    def body(self, *features):
        (read,) = features
        way = torch.ones(len(read), 1, 1, 1, dtype=torch.bool)
        way[self.blind] = False
        return self.model.body(torch.where(way, read, read.detach()))


@pytest.mark.parametrize("gradient", ["secant", "relaxed"])
def test_images_without_a_gradient_stay_where_they_are(gradient):
    model = Detached(net(RGB()), [0, 3])
    given, labels = correct(model)
    found = steps_of(model, Kind(gradient), given, labels, RADIUS)
    assert found.blind.tolist() == [True, False, False, True, False, False]
    assert torch.equal(found.ahead[found.blind], found.back[found.blind])
    assert found.untied == 4
    assert model.scale.requires_grad, "as it was"


# -- kinds and verdicts ----------------------------------------------------------------------------------------------


def test_each_kind_once():
    model, source = net(Thermometer(16)), net(RGB())
    inner = PGD(8, steps=2, stop_when_wrong=False)
    attacks = [
        RandomInBall(8), PGD(8), PGD(16, loss="margin"), PGD(8, gradient="smooth", width=4.0), Square(8, 5),
        LSPGA(8, 2, 1.0, 1.2, "soften", "sign", "normal", 1), PGD(8, gradient="interpolate"),
        Transfer(8, source, "rgb", inner, 1), Transfer(16, source, "rgb", PGD(16, stop_when_wrong=False), 1),
    ]  # fmt: skip
    found = kinds_of(model, attacks)
    assert [str(each) for each in found] == [
        "secant gradient", "smooth of width 4 gradient", "relaxed gradient", "interpolate gradient",
        "exact gradient of the source of transfer_rgb",
    ]  # fmt: skip
    assert found[-1].source is source
    assert [str(each) for each in kinds_of(source, attacks[1:3])] == ["exact gradient"]
    attacks[0].gradient = "of its own"
    assert kinds_of(model, attacks[:1]) == []


def made_up(won, lost, tied=0, blind=0):
    """Steps on so many images."""
    ahead = torch.cat([torch.ones(won), -torch.ones(lost), torch.zeros(tied)])
    no_way = torch.zeros(won + lost + tied, dtype=torch.bool)
    no_way[len(no_way) - blind :] = True
    return Steps(ahead, torch.zeros_like(ahead), no_way)


@pytest.mark.parametrize(
    ("steps", "verdict", "detail"),
    [
        # p = 0.0105 and 0.006, by the binomial distribution.
        (made_up(62, 38), "failed", "on 62 of 100 images, with steps of 8 levels (p = 0.01)."),
        (made_up(63, 37), "ok", "on 63 of 100 images, with steps of 8 levels (p = 0.006)."),
        (made_up(16, 4, 80), "ok", "on 16 of 20 images, with steps of 8 levels (p = 0.0059)."),
        (made_up(0, 100), "failed", "on 0 of 100 images, with steps of 8 levels (p = 1)."),
        (made_up(19, 0, 81), "not measured", "the two differ on 19 of 100 images; 20 are needed."),
        (made_up(0, 0), "not measured", "the two differ on 0 of 0 images; 20 are needed."),
        (made_up(0, 0, 9, 9), "failed", "the gradient of each of 9 images is 0 everywhere."),
        (made_up(0, 0, 9, 8), "not measured", "the two differ on 0 of 9 images; 20 are needed."),
    ],
)
def test_the_verdict_on_a_direction(steps, verdict, detail):
    found = gradient_points_uphill(Kind("secant"), steps, 8)
    assert (found.verdict, found.detail) == (verdict, f"secant gradient: {detail}")


def test_a_relaxed_gradient_that_leads_on_among_mixtures_alone_is_suspicious():
    """On a random table a mixture of codes says little of each of them."""

    def verdict(whole, mixed):
        return gradient_points_uphill(Kind("relaxed"), dataclasses.replace(whole, mixed=mixed), 8)

    found = verdict(made_up(45, 55), made_up(98, 2))
    assert (found.verdict, found.detail) == (
        "suspicious",
        "relaxed gradient: on 45 of 100 images, with steps of 8 levels (p = 0.86). "
        "Among mixtures of codes, on 98 of 100.",
    )
    assert verdict(made_up(45, 55), made_up(62, 38)).verdict == "failed"
    assert verdict(made_up(45, 55), made_up(19, 0)).verdict == "failed"
    assert verdict(made_up(80, 20), made_up(50, 50)).verdict == "ok"


def test_nothing_is_known_of_logits_that_are_not_numbers():
    steps = Steps(torch.full((30,), torch.nan), torch.zeros(30), torch.zeros(30, dtype=torch.bool))
    assert gradient_points_uphill(Kind("secant"), steps, 8).verdict == "not measured"


@pytest.mark.parametrize(
    ("blind", "verdict"), [(0, "ok"), (50, "ok"), (51, "suspicious"), (89, "suspicious"), (90, "failed")]
)
def test_whether_a_gradient_reaches_the_image(blind, verdict):
    steps = [(Kind("smooth"), made_up(100, 0)), (Kind("secant"), made_up(100 - blind, 0, blind, blind))]
    found = gradient_reaches_the_image(steps)
    assert found.verdict == verdict
    assert f"is 0 everywhere at {blind} of 100 images." in found.detail
    assert found.detail.startswith("No gradient reaches the image: ") == (verdict == "failed")
    assert gradient_reaches_the_image([(Kind("secant"), made_up(0, 0))]).verdict == "not measured"
