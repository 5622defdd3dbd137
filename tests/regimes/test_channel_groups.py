"""Channel groups of many images at once: those of the method written out for one image, whatever is beside it."""

import pytest
import torch

from p2be_exp.randomness.draws import ImageRandom, Purpose
from p2be_exp.regimes import channel_groups as module
from p2be_exp.regimes.channel_groups import channel_groups, first_centres, membership
from rounding import OtherRounding
from tenet_by_image import slow_groups

K = 6


def slowly(maps: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    together = zip(maps.flatten(2).numpy(), centres.tolist(), strict=True)
    return torch.tensor([slow_groups(points, first) for points, first in together])


def random_maps(n: int, channels: int, side: int = 4, seed: int = 0) -> torch.Tensor:
    """Channels with something in common, as those of a network: mixtures of a few maps, and noise, after a ReLU."""
    generator = torch.Generator().manual_seed(seed)
    common = torch.randn(n, 8, side * side, generator=generator)
    shares = torch.randn(n, channels, 8, generator=generator)
    noise = torch.randn(n, channels, side * side, generator=generator)
    return (shares @ common + noise).relu().view(n, channels, side, side)


def dead(maps: torch.Tensor, which: range) -> torch.Tensor:
    maps[:, which] = 0
    return maps


def centres_of(maps: torch.Tensor, count: int = K) -> torch.Tensor:
    return first_centres(ImageRandom(3, 1, torch.arange(len(maps)), Purpose.TENET_GROUPS), maps.shape[1], count)


def equal_centres(maps: torch.Tensor, *equal: int) -> torch.Tensor:
    """The first centres of an image are these channels and others."""
    others = [c for c in range(maps.shape[1]) if c not in equal]
    return torch.tensor([*equal, *others][:K])[torch.tensor([1, 0, 3, 2, 5, 4])].expand(len(maps), -1)


def from_a_pool(n: int, channels: int) -> torch.Tensor:
    """Channels that are each one of seven, none of them zero."""
    generator = torch.Generator().manual_seed(1)
    choice = torch.randint(7, (channels,), generator=generator)
    return random_maps(n, 7)[:, choice] + 0.1


CASES = {
    "random": lambda: (random_maps(12, 40), None),
    "clusters": lambda: (random_maps(8, 4).repeat(1, 10, 1, 1) + 0.9 * random_maps(8, 40, seed=1), None),
    "below zero, far from it": lambda: (random_maps(6, 30) - 200 * random_maps(6, 1), None),
    "half the channels dead": lambda: (dead(random_maps(12, 40), range(0, 40, 2)), None),
    "equal channels": lambda: (from_a_pool(12, 40), None),
    "all channels equal": lambda: (random_maps(3, 1).repeat(1, 9, 1, 1) + 0.1, None),
    "all channels dead": lambda: (torch.zeros(2, 9, 4, 4), None),
    "dead first centres": lambda: (maps := dead(random_maps(6, 20), range(5, 15)), equal_centres(maps, 7, 9, 12)),
    "equal first centres": lambda: (maps := from_a_pool(6, 40), equal_centres(maps, *same(maps, 3))),
    "pairs": lambda: (random_maps(60, 13), None),
    "as many groups as channels": lambda: (random_maps(6, K), None),
    "two groups": lambda: (maps := random_maps(6, 20), centres_of(maps, 2)),
    "one group": lambda: (maps := random_maps(4, 20), centres_of(maps, 1)),
    "maps of one position": lambda: (random_maps(20, 24, side=1) + 10 * torch.arange(20.0).view(20, 1, 1, 1), None),
    "tiny": lambda: (1e-4 * random_maps(6, 40), None),
    "float64": lambda: (random_maps(6, 40).double() + 1 / 3, None),
}


def same(maps: torch.Tensor, n: int) -> list[int]:
    """The first n channels that equal channel 0."""
    return [c for c in range(maps.shape[1]) if torch.equal(maps[:, c], maps[:, 0])][:n]


def case(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    maps, centres = CASES[name]()
    return maps, centres_of(maps) if centres is None else centres


@pytest.mark.parametrize("name", CASES)
def test_groups_are_those_of_the_method_written_out(name):
    maps, centres = case(name)
    expected = slowly(maps, centres)
    assert torch.equal(channel_groups(maps, centres), expected)
    for seed in (1, 2):
        with OtherRounding(seed):
            assert torch.equal(channel_groups(maps, centres), expected)


def test_groups_of_a_large_map():
    maps = random_maps(2, 512, side=16)
    maps[1, torch.randperm(512, generator=torch.Generator().manual_seed(0))[:256]] = 0
    assert torch.equal(channel_groups(maps, centres_of(maps)), slowly(maps, centres_of(maps)))


@pytest.mark.parametrize(("i", "j", "k", "b"), [(0.0, 2.0, -3.0, -7.0), (0.1, 2.3, -3.1, -7.7)])
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_of_a_pair_the_lower_channel_becomes_the_centre(i, j, k, b, offset):
    """Channel 2 is nearer to channel 3 than to channel 1, the first centre of group 0, but nearest to channel 0."""
    direction = torch.linspace(0.3, 1.1, 9)
    places = torch.tensor([i, j, b, k])[:, None] * direction + offset * direction.flip(0)
    maps, centres = places.view(1, 4, 3, 3), torch.tensor([[1, 2]])
    assert channel_groups(maps, centres).tolist() == [[0, 0, 1, 0]] == slowly(maps, centres).tolist()


def test_channels_that_nearly_equal_each_other(monkeypatch):
    """Two of large values that differ in one last bit: the distance between them, as computed, may be below 0."""
    maps, centres = random_maps(10, 8) + 1000, torch.tensor([[6, 0, 1, 3, 4, 5]]).expand(10, -1)
    maps[:, 6] = maps[:, 2]
    maps[:, 6, 0, 0] = torch.nextafter(maps[:, 2, 0, 0], torch.tensor(torch.inf))
    rounds = count_rounds(monkeypatch)
    with OtherRounding(1):
        found = channel_groups(maps, centres)
    assert len(rounds) < 50
    assert torch.equal(found[:, 2], found[:, 6])


def test_groups_do_not_depend_on_the_other_images(monkeypatch):
    maps, centres = case("random")
    maps[3:6] = maps[3:6] * (maps[3:6] > 1)
    together = channel_groups(maps, centres)
    alone = [channel_groups(maps[n : n + 1], centres[n : n + 1]) for n in range(len(maps))]
    assert torch.equal(torch.cat(alone), together)
    order = torch.randperm(len(maps), generator=torch.Generator().manual_seed(0))
    assert torch.equal(channel_groups(maps[order], centres[order]), together[order])
    for numbers in (1, 5 * maps[0].numel()):  # one image and five at a time
        monkeypatch.setattr(module, "_NUMBERS_ON_A_CPU", numbers)
        assert torch.equal(channel_groups(maps, centres), together)
    assert channel_groups(maps[:0], centres[:0]).shape == (0, 40)


@pytest.mark.parametrize("where", [(1,), (1, 4), (1, 4, 2, 2)])
def test_nan_ends_after_fifty_rounds_and_leaves_other_images_alone(where, monkeypatch):
    maps, centres = case("random")
    expected, rounds = channel_groups(maps, centres), count_rounds(monkeypatch)
    maps[where] = torch.nan
    found = channel_groups(maps, centres)
    # Without a number left all groups take channel 0, and it ends sooner.
    assert len(rounds) < 50 if where == (1,) else len(rounds) == 50
    others = torch.arange(len(maps)) != 1
    assert torch.equal(found[others], expected[others])
    assert 0 <= found.min() <= found.max() < K


def test_there_are_as_many_rounds_as_the_slowest_image_needs(monkeypatch):
    maps, centres = case("clusters")
    alone = []
    for n in range(len(maps)):
        rounds = count_rounds(monkeypatch)
        channel_groups(maps[n : n + 1], centres[n : n + 1])
        alone.append(len(rounds))
    assert min(alone) < max(alone)
    rounds = count_rounds(monkeypatch)
    channel_groups(maps, centres)
    assert len(rounds) == max(alone)


def count_rounds(monkeypatch) -> list[int]:
    """A list that grows by one in each round from now on."""
    rounds: list[int] = []
    following = module._next_centres
    monkeypatch.setattr(module, "_next_centres", lambda *given: (rounds.append(1), following(*given))[1])
    return rounds


def test_small_moves_of_the_centres_end_it(monkeypatch):
    """The shift is not relative: the same maps on another scale need more rounds."""
    maps, centres = case("clusters")
    rounds = count_rounds(monkeypatch)
    tiny = channel_groups(1e-4 * maps, centres)
    assert len(rounds) == 1
    usual = channel_groups(maps, centres)
    assert not torch.equal(tiny, usual)
    together = channel_groups(torch.cat([maps, 1e-4 * maps]), centres.repeat(2, 1))
    assert torch.equal(together, torch.cat([usual, tiny]))  # those that are done stay, while the others go on


def test_negative_zero_is_zero():
    maps, centres = case("half the channels dead")
    signed = torch.where(torch.arange(maps.numel()).view(maps.shape) % 3 == 0, -maps, maps)
    maps[signed == 0] = 0.0
    signed = torch.where(signed == 0, signed, maps)
    assert signed[maps == 0].signbit().any()
    assert torch.equal(channel_groups(signed, centres), channel_groups(maps, centres))


def test_precision_and_gradients_stay_out_of_it():
    maps, centres = case("random")
    expected = channel_groups(maps, centres)
    with torch.autocast("cpu", torch.bfloat16):
        found = channel_groups(maps.clone().requires_grad_(), centres)
    assert torch.equal(found, expected)
    assert (found.dtype, found.requires_grad) == (torch.int64, False)
    assert torch.equal(channel_groups(maps.contiguous(memory_format=torch.channels_last), centres), expected)
    lowered = maps.bfloat16()
    assert torch.equal(channel_groups(lowered, centres), channel_groups(lowered.float(), centres))


def test_first_centres_are_the_channels_of_the_smallest_numbers():
    images = torch.tensor([5, 0, 49_999])
    random = ImageRandom(7, 2, images, Purpose.TENET_GROUPS)
    found = first_centres(random, 20, K)
    for draws, channels in zip(random.uniform(20).tolist(), found.tolist(), strict=True):
        assert channels == sorted(range(20), key=lambda c, draws=draws: draws[c])[:K]
    alone = first_centres(ImageRandom(7, 2, images[2:], Purpose.TENET_GROUPS), 20, K)
    assert torch.equal(alone, found[2:])
    every = first_centres(random, K, K)
    assert every.sort(1).values.tolist() == [list(range(K))] * 3


def test_first_centres_never_change():
    random = ImageRandom(7, 2, torch.tensor([5, 0, 49_999]), Purpose.TENET_GROUPS)
    assert Purpose.TENET_GROUPS == 8
    assert first_centres(random, 20, K).tolist() == [
        [12, 2, 10, 0, 6, 19],
        [13, 11, 8, 18, 9, 17],
        [10, 14, 9, 0, 12, 19],
    ]


@pytest.mark.parametrize("groups", [0, -1, 21])
def test_first_centres_are_among_the_channels(groups):
    random = ImageRandom(7, 2, torch.arange(2), Purpose.TENET_GROUPS)
    with pytest.raises(ValueError, match=rf"^groups={groups} is not in 1\.\.20, the number of channels$"):
        first_centres(random, 20, groups)


def test_membership():
    found = membership(torch.tensor([[0, 2, 0], [1, 1, 1]]), 3)
    assert found.int().tolist() == [[[1, 0, 1], [0, 0, 0], [0, 1, 0]], [[0, 0, 0], [1, 1, 1], [0, 0, 0]]]


@pytest.mark.gpu
def test_groups_on_a_gpu_are_those_of_the_cpu():
    for name in CASES:
        maps, centres = case(name)
        with torch.autocast("cuda", torch.bfloat16):
            found = channel_groups(maps.cuda(), centres.cuda())
        assert torch.equal(found.cpu(), channel_groups(maps, centres))
