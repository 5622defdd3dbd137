"""Mixtures as levels: by themselves and, for one-hot and thermometer codes, such that the code is the reference's."""

from dataclasses import replace

import pytest
import torch

from p2be_exp.augment import AugMix
from p2be_exp.augment.view_rounding import Rounding
from p2be_exp.encodings import RGB, OneHot, Thermometer
from p2be_exp.encodings.buckets import bucket_of_level
from p2be_exp.randomness.draws import ImageRandom, Purpose
from p2be_exp.regimes.augmix import reference_rounding
from usual import P2BE

TIE = 2e-4  # levels: closer to where a code changes, float32 error and the guard for whole levels decide

# -- the rule ------------------------------------------------------------------------------------------------------


def mixtures(M: int) -> torch.Tensor:
    """Mixtures in levels, float64: everywhere, at every whole level, and beside every begin of a bucket and level."""
    anywhere = torch.rand(20_000, generator=torch.Generator().manual_seed(M), dtype=torch.float64) * 255
    whole = torch.arange(256, dtype=torch.float64)
    begins = 255 * torch.arange(M + 1, dtype=torch.float64) / M
    beside = torch.cat([begins, whole])[:, None] + torch.tensor([-1e-2, -2 * TIE, 2 * TIE, 1e-2])
    return torch.cat([anywhere, whole, beside.clamp(0, 255).flatten()])


def test_a_level_is_the_floor_or_the_next_one_and_its_bucket_that_of_the_mixture():
    for M in range(1, 257):
        mixture = mixtures(M)
        level = Rounding("floor", M).levels(mixture.float()).long()
        up = level - mixture.floor().long()
        assert set(up.unique().tolist()) <= {0, 1}
        x = mixture / 255
        bucket = torch.clamp(x * M, 0, M - 1).trunc().long()
        off_ties = (x * M - (x * M).round()).abs() * 255 / M > TIE
        assert off_ties.double().mean() > 0.8
        assert torch.equal(bucket_of_level(M)[level][off_ties], bucket[off_ties])
        whole = mixture == mixture.floor()
        assert torch.equal(level[whole].double(), mixture[whole])


@pytest.mark.parametrize("M", [3, 64, 255, 256])
def test_a_whole_level_up_to_float_error_stays_that_level(M):
    whole = torch.arange(256, dtype=torch.float32)
    for error in (0, 8e-5, -8e-5):
        assert torch.equal(Rounding("floor", M).levels(whole + error).float(), whole)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ceil",), "rounding='ceil': must be one of floor, nearest"),
        (("nearest", 64), "buckets=64: must be between 1 and 256, with rounding='floor'"),
        (("floor", 0), "buckets=0: must be between"),
        (("floor", 257), "buckets=257: must be between"),
    ],
)
def test_what_is_no_rule_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Rounding(*arguments)


# -- against the reference's codes ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mixed(photographs):
    """Photographs, the parameters of two views of them, and these views unrounded: float64 (2, 64, 3, 32, 32), 0 to 1.

    What a chain makes of an image is whole levels, which AugMix gives when it is the chain alone that is mixed in.
    """
    augmix = AugMix(magnitude=3.0, rounding="nearest")
    parameters = augmix.sample(ImageRandom(seed=0, epoch=0, images=torch.arange(64), purpose=Purpose.AUGMIX))
    alone = replace(parameters, mix_weight=torch.ones_like(parameters.mix_weight))
    mixture = torch.zeros(2, 64, 3, 32, 32, dtype=torch.float64)
    for chain in range(3):
        weight = torch.zeros_like(parameters.chain_weight)
        weight[..., chain] = 1
        augmented = augmix.apply(photographs, replace(alone, chain_weight=weight))
        mixture += parameters.chain_weight[..., chain, None, None, None] * (augmented / 255.0).double()
    m = parameters.mix_weight[..., None, None, None]
    return photographs, parameters, (1 - m) * (photographs / 255.0).double() + m * mixture


def reference_code(name: str, x: torch.Tensor, M: int) -> torch.Tensor:
    """One-hot and thermometer codes of values in [0, 1], as the reference code makes them."""
    bucket = torch.clamp(x * M, 0, M - 1).long()
    if name == "onehot":
        return torch.nn.functional.one_hot(bucket, M)
    return (torch.arange(M) >= bucket[..., None]).long()


def views_under(encoding, mixed, rounding=None):
    images, parameters, _ = mixed
    chosen, buckets = (rounding, None) if rounding else reference_rounding(encoding)
    return AugMix(magnitude=3.0, rounding=chosen, buckets=buckets).apply(images, parameters)


@pytest.mark.parametrize("M", [5, 16, 32, 64, 100, 128, 256])
@pytest.mark.parametrize("made", [OneHot, Thermometer], ids=lambda made: made.name)
def test_codes_of_buckets_are_the_references(mixed, made, M):
    encoding, x = made(M), mixed[2]
    expected = reference_code(encoding.name, x[:, :16], M)
    codes = encoding.table()[views_under(encoding, mixed)[:, :16].long()]
    differ = (codes != expected).any(-1)
    ties = ((x * M - (x * M).round()).abs() * 255 / M < TIE)[:, :16]
    assert not (differ & ~ties).any()
    assert (differ & ties).double().mean() < 1e-4  # the ties, apart


@pytest.mark.parametrize(("M", "share"), [(16, 0.01), (32, 0.03), (64, 0.06), (128, 0.12)])
def test_floor_would_put_many_a_bucket_lower(mixed, M, share):
    x = mixed[2]
    bucket = torch.clamp(x * M, 0, M - 1).long()
    floored = bucket_of_level(M)[views_under(None, mixed, "floor").long()]
    assert (floored < bucket).double().mean() > share
    assert (floored <= bucket).all()


def test_the_row_of_a_table_is_the_references(mixed):
    row = (mixed[2] * 255).long()
    views = views_under(P2BE(8), mixed).long()
    ties = (mixed[2] * 255 - (mixed[2] * 255).round()).abs() < TIE
    assert torch.equal(views[~ties], row[~ties])


def test_rgb_is_the_level_nearest_to_what_the_reference_leaves_unrounded(mixed):
    views = views_under(RGB(), mixed).double()
    assert (views / 255 - mixed[2]).abs().max() <= (0.5 + TIE) / 255
