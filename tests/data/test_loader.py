"""The loader: every image once an epoch over all ranks, exact means over ranks, exact resuming."""

import itertools

import pytest
import torch

from p2be_exp.data.batch import rank_share
from p2be_exp.data.images import ImageSet
from p2be_exp.data.loader import ResidentLoader
from p2be_exp.errors import BadInput
from p2be_exp.randomness.order import EPOCH, random_order

CASES = list(itertools.product((1, 2, 5, 12, 13, 24), (1, 2, 3, 4, 7, 12, 50), (1, 2, 3, 4, 8)))


def make(n: int) -> ImageSet:
    """n images of one pixel that shows the image's number; their published positions start at 100."""
    images = torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1).repeat(1, 3, 1, 1)
    return ImageSet(images, torch.arange(n) % 3, ("a", "b", "c"), indices=torch.arange(n) + 100)


def numbers(batches) -> list[list[int]]:
    """Published positions of the images that count, batch by batch."""
    return [batch.indices[: batch.count].tolist() for batch in batches]


def joined(lists) -> list[int]:
    return list(itertools.chain.from_iterable(lists))


def ranks(n: int, batch_size: int, world_size: int, shuffle_seed: int | None) -> list[list]:
    """The batches of every rank."""
    data = make(n)
    return [
        list(ResidentLoader(data, batch_size, shuffle_seed=shuffle_seed, rank=rank, world_size=world_size))
        for rank in range(world_size)
    ]


@pytest.mark.parametrize("shuffle_seed", [None, 0])
def test_ranks_together_serve_what_one_process_serves(shuffle_seed):
    for n, batch_size, world_size in CASES:
        alone = numbers(ranks(n, batch_size, 1, shuffle_seed)[0])
        together = [numbers(batches) for batches in ranks(n, batch_size, world_size, shuffle_seed)]
        batches = [joined(shares) for shares in zip(*together, strict=True)]
        assert batches == alone, (n, batch_size, world_size)
        assert sorted(joined(batches)) == list(range(100, 100 + n))


def test_counts_scales_and_sizes_in_every_case():
    for n, batch_size, world_size in CASES:
        full, rest = divmod(n, batch_size)
        sizes = [batch_size] * full + [rest] * (rest > 0)
        for shares, size in zip(zip(*ranks(n, batch_size, world_size, 0), strict=True), sizes, strict=True):
            counts = [batch.count for batch in shares]
            assert sum(counts) == size
            assert max(counts) - min(counts) <= 1
            assert all(batch.global_count == size for batch in shares)
            assert all(len(batch.images) == max(batch.count, 1) for batch in shares)
            assert [batch.scale for batch in shares] == [count * world_size / size for count in counts]
            members = {number for batch in shares for number in batch.indices[: batch.count].tolist()}
            assert all(set(batch.indices.tolist()) <= members for batch in shares)


def test_shares_are_contiguous_and_begin_inside_the_batch():
    for count, world_size in itertools.product(range(1, 40), range(1, 20)):
        shares = [rank_share(count, rank, world_size) for rank in range(world_size)]
        assert [begin for begin, _ in shares[1:]] == [end for _, end in shares[:-1]]
        assert (shares[0][0], shares[-1][1]) == (0, count)
        assert all(begin < count for begin, _ in shares)


def test_a_batch_holds_the_images_and_labels_of_its_indices():
    data = make(13)
    for batch in ResidentLoader(data, 4, shuffle_seed=5):
        positions = batch.indices - 100
        assert torch.equal(batch.images, data.images[positions])
        assert torch.equal(batch.labels, data.labels[positions])
        assert (batch.images.dtype, batch.indices.dtype) == (torch.uint8, torch.int64)


def test_evaluation_keeps_the_order_in_every_epoch():
    loader = ResidentLoader(make(10), 4, shuffle_seed=None)
    for epoch in range(2):
        loader.set_epoch(epoch)
        assert numbers(loader) == [[100, 101, 102, 103], [104, 105, 106, 107], [108, 109]]


def test_the_order_is_a_function_of_seed_and_epoch():
    loader = ResidentLoader(make(20), 20, shuffle_seed=3)
    for epoch in (0, 1, 7):
        loader.set_epoch(epoch)
        assert numbers(loader) == [(random_order(20, 3, EPOCH, epoch) + 100).tolist()]
        assert numbers(loader) == [(random_order(20, 3, EPOCH, epoch) + 100).tolist()]


def test_the_last_odd_batch_is_kept():
    assert len(ResidentLoader(make(10), 4, shuffle_seed=0)) == 3
    assert len(ResidentLoader(make(8), 4, shuffle_seed=0)) == 2
    assert [batch.count for batch in ResidentLoader(make(10), 4, shuffle_seed=0)] == [4, 4, 2]
    big = torch.zeros(1, dtype=torch.uint8).expand(50_000, 3, 1, 1)
    recipe = ImageSet(big, torch.zeros(50_000, dtype=torch.int64), ("a",))
    assert len(ResidentLoader(recipe, 128, shuffle_seed=0)) == 391


@pytest.mark.parametrize("shuffle_seed", [None, 0])
def test_writing_into_a_batch_leaves_the_set_alone(shuffle_seed):
    data = make(6)
    before = data.images.clone(), data.labels.clone(), data.indices.clone()
    for batch in ResidentLoader(data, 6, shuffle_seed=shuffle_seed):
        for tensor in (batch.images, batch.labels, batch.indices):
            tensor.fill_(77)
    assert all(map(torch.equal, before, (data.images, data.labels, data.indices)))


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
def test_scaled_gradients_average_to_the_gradient_of_the_global_batch(world_size):
    data = ImageSet(
        torch.randint(0, 256, (22, 3, 2, 2), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)),
        torch.arange(22) % 3,
        ("a", "b", "c"),
    )
    weight = torch.randn(3, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def gradient(batch) -> torch.Tensor:
        leaf = weight.clone().requires_grad_()
        logits = (batch.images.double() / 255).flatten(1) @ leaf.T
        (batch.scale * torch.nn.functional.cross_entropy(logits, batch.labels)).backward()
        return leaf.grad

    loaders = [ResidentLoader(data, 7, shuffle_seed=0, rank=rank, world_size=world_size) for rank in range(world_size)]
    alone = ResidentLoader(data, 7, shuffle_seed=0)  # 7, 7, 7 and 1 images: the last has ranks without any
    for whole, *shares in zip(alone, *loaders, strict=True):
        assert whole.scale == 1.0
        average = sum(gradient(share) for share in shares) / world_size
        assert (average - gradient(whole)).abs().max() < 1e-12


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_resuming_after_every_batch_serves_exactly_the_rest(world_size):
    for rank, stop in itertools.product(range(world_size), range(5)):
        arguments = {"shuffle_seed": 0, "rank": rank, "world_size": world_size}
        whole = ResidentLoader(make(22), 5, **arguments)
        whole.set_epoch(2)
        expected = numbers(whole)
        stopped = ResidentLoader(make(22), 5, **arguments)
        stopped.set_epoch(2)
        served = numbers(itertools.islice(stopped, stop))
        resumed = ResidentLoader(make(22), 5, **arguments)
        resumed.load_state_dict(stopped.state_dict())
        assert resumed.state_dict() == stopped.state_dict()
        resumed.set_epoch(2 + (stop == 5))
        assert served + numbers(resumed) == expected
        resumed.set_epoch(3)
        whole.set_epoch(3)
        assert numbers(resumed) == numbers(whole)


def test_the_state_counts_a_batch_while_it_is_in_use():
    loader = ResidentLoader(make(12), 4, shuffle_seed=0)
    loader.set_epoch(6)
    seen = [loader.state_dict()] + [loader.state_dict() for _ in loader] + [loader.state_dict()]
    # After the last batch the state is clean: the first batch of the next epoch comes next.
    assert [(s["epoch"], s["next_batch"]) for s in seen] == [(6, 0), (6, 1), (6, 2), (7, 0), (7, 0)]


def test_a_clean_state_continues_with_a_whole_epoch():
    loader = ResidentLoader(make(12), 4, shuffle_seed=0)
    list(loader)
    resumed = ResidentLoader(make(12), 4, shuffle_seed=0)
    resumed.load_state_dict(loader.state_dict())
    loader.set_epoch(1)
    assert numbers(resumed) == numbers(loader)
    assert len(numbers(resumed)) == 3


def test_another_number_of_ranks_may_continue():
    alone = ResidentLoader(make(22), 5, shuffle_seed=0)
    served = numbers(itertools.islice(alone, 2))
    rest = []
    for rank in range(3):
        loader = ResidentLoader(make(22), 5, shuffle_seed=0, rank=rank, world_size=3)
        loader.load_state_dict(alone.state_dict())
        rest.append(numbers(loader))
    batches = [joined(shares) for shares in zip(*rest, strict=True)]
    assert served + batches == numbers(ResidentLoader(make(22), 5, shuffle_seed=0))


def test_asking_for_an_iterator_early_consumes_nothing():
    loader = ResidentLoader(make(12), 4, shuffle_seed=0)
    list(itertools.islice(loader, 1))
    resumed = ResidentLoader(make(12), 4, shuffle_seed=0)
    resumed.load_state_dict(loader.state_dict())
    iter(resumed)  # Lightning checks that a loader is iterable, and throws the iterator away
    iterator = iter(resumed)
    resumed.sampler.set_epoch(0)  # and it sets the epoch after it asked for the iterator
    assert numbers(iterator) == numbers(ResidentLoader(make(12), 4, shuffle_seed=0))[1:]


def test_a_new_epoch_forgets_where_the_last_one_stopped():
    loader = ResidentLoader(make(12), 4, shuffle_seed=0)
    list(itertools.islice(loader, 1))
    resumed = ResidentLoader(make(12), 4, shuffle_seed=0)
    resumed.load_state_dict(loader.state_dict())
    resumed.set_epoch(1)
    assert resumed.state_dict()["next_batch"] == 0
    assert len(list(resumed)) == 3


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (ResidentLoader(make(13), 4, shuffle_seed=0), "num_images=13: must be 12"),
        (ResidentLoader(make(12), 5, shuffle_seed=0), "batch_size=5: must be 4"),
        (ResidentLoader(make(12), 4, shuffle_seed=1), "shuffle_seed=1: must be 0"),
    ],
)
def test_a_state_of_other_batches_is_refused(other, message):
    state = ResidentLoader(make(12), 4, shuffle_seed=0).state_dict()
    with pytest.raises(BadInput, match=message):
        other.load_state_dict(state)


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_holds_at_least_one_image(batch_size):
    with pytest.raises(BadInput, match=f"batch_size={batch_size}: must be 1 or more"):
        ResidentLoader(make(3), batch_size, shuffle_seed=None)


def test_batches_go_to_the_device_that_asks_for_them():
    # "meta" stands for a device without room for the set: shapes travel, values do not.
    batch = next(iter(ResidentLoader(make(6), 4, shuffle_seed=0, device=torch.device("meta"))))
    assert {t.device.type for t in batch[:3]} == {"meta"}
    assert batch.images.shape == (4, 3, 1, 1)


@pytest.mark.gpu
def test_a_set_on_the_host_and_one_on_the_device_give_the_same_batches():
    data, device = make(22), torch.device("cuda", 0)
    near = ResidentLoader(data.to(device), 5, shuffle_seed=0)
    far = ResidentLoader(data, 5, shuffle_seed=0, device=device)
    for a, b in zip(near, far, strict=True):
        assert all(map(torch.equal, a[:3], b[:3]))
        assert a.images.device == b.images.device == device
