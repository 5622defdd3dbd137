"""Means over an epoch by brute force."""

import pytest
import torch

from p2be_exp.errors import BadInput
from p2be_exp.training.meter import EpochMeter

CPU = torch.device("cpu")


def uneven_batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Values of single images for two names, in batches of uneven size."""
    generator = torch.Generator().manual_seed(0)
    return [tuple(torch.rand(2, size, generator=generator)) for size in (8, 8, 3, 1, 5)]


def fill(meter: EpochMeter, batches) -> EpochMeter:
    for loss, error in batches:
        meter.add({"loss": loss.mean(), "error": error.double().mean()}, len(loss))
    return meter


def brute_force(batches) -> dict[str, float]:
    losses, errors = (torch.cat(values).double() for values in zip(*batches, strict=True))
    return {"loss": losses.mean().item(), "error": errors.mean().item()}


def test_means_are_those_over_single_images():
    batches = uneven_batches()
    meter = fill(EpochMeter(), batches)
    assert meter.means() == pytest.approx(brute_force(batches), abs=1e-7)
    assert meter.local_means() == pytest.approx(brute_force(batches), abs=1e-7)
    of_batches = sum(loss.mean().item() for loss, _ in batches) / len(batches)
    assert abs(of_batches - meter.means()["loss"]) > 1e-3  # the mean of the batches' means is another number


def test_sums_are_in_float64():
    meter = EpochMeter()
    meter.add({"x": torch.tensor(1e8, dtype=torch.float32)}, 1)
    for _ in range(1000):
        meter.add({"x": torch.tensor(1.0, dtype=torch.bfloat16)}, 1)
    assert meter.means()["x"] == pytest.approx((1e8 + 1000) / 1001, rel=1e-12)


def test_batches_without_own_images_count_nothing():
    meter = EpochMeter()
    meter.add({"x": torch.tensor(5.0)}, 0)
    assert meter.local_means() == {"x": 0.0}
    meter.add({"x": torch.tensor(2.0)}, 3)
    assert meter.means() == {"x": 2.0}


def test_batches_without_any_image_have_no_mean():
    meter = EpochMeter("imagenet/train")
    meter.add({"x": torch.tensor(5.0)}, 0)
    with pytest.raises(BadInput, match=r"^imagenet/train: none of the images can be read$"):
        meter.means()


def test_values_keep_no_graph():
    meter = EpochMeter()
    value = torch.ones(1, requires_grad=True).sum()
    meter.add({"x": value}, 2)
    assert not meter.state_dict()["sums"].requires_grad
    assert meter.means() == {"x": 1.0}


def test_reset_and_nothing_yet():
    meter = fill(EpochMeter(), uneven_batches())
    meter.reset()
    assert meter.means() == meter.local_means() == {}
    meter.add({"other": torch.tensor(3.0)}, 1)
    assert meter.means() == {"other": 3.0}


def test_an_epoch_goes_on_after_a_checkpoint(tmp_path):
    batches = uneven_batches()
    torch.save(fill(EpochMeter(), batches[:2]).state_dict(), tmp_path / "meter")
    meter = EpochMeter()
    meter.load_state_dict(torch.load(tmp_path / "meter", weights_only=True), CPU)
    assert fill(meter, batches[2:]).means() == fill(EpochMeter(), batches).means()


def test_saved_sums_count_once_over_the_ranks():
    batches = uneven_batches()
    state = fill(EpochMeter(), batches[:3]).state_dict()
    ranks = []
    for rank, share in enumerate((batches[3:4], batches[4:])):
        meter = EpochMeter()
        meter.load_state_dict(state, CPU, rank)
        ranks.append(fill(meter, share).state_dict())
    together = sum(rank["sums"] for rank in ranks) / sum(rank["count"] for rank in ranks)
    assert dict(zip(ranks[0]["names"], together.tolist(), strict=True)) == pytest.approx(brute_force(batches), abs=1e-7)


def test_an_empty_meter_is_saved_and_loaded():
    meter = EpochMeter()
    meter.load_state_dict(EpochMeter().state_dict(), CPU)
    assert meter.means() == {}


# -- terms of some batches only ---------------------------------------------------------------------------------------


def test_each_name_has_a_count_of_its_own():
    meter = EpochMeter()
    meter.add({"ce": torch.tensor(2.0)}, 4)
    meter.add({"ce": torch.tensor(5.0)}, 2)
    meter.add({"second": torch.tensor(7.0)}, 1)
    assert meter.means() == meter.local_means() == {"ce": 3.0, "second": 7.0}
    meter.add({"second": torch.tensor(1.0)}, 2)
    assert meter.means() == {"ce": 3.0, "second": 3.0}


def test_a_name_that_no_image_counts_for_has_no_mean():
    meter = EpochMeter()
    meter.add({"ce": torch.tensor(2.0)}, 4)
    meter.add({"second": torch.tensor(7.0)}, 0)
    assert meter.means() == {"ce": 2.0}
    assert meter.local_means() == {"ce": 2.0, "second": 0.0}


def test_counts_by_name_survive_a_checkpoint(tmp_path):
    meter = fill(EpochMeter(), uneven_batches())
    equal = meter.state_dict()
    assert (equal["names"], equal["count"]) == (["loss", "error"], 25)
    assert "counts" not in equal  # as it was before there were counts by name
    meter.add({"second": torch.tensor(3.0)}, 5)
    torch.save(meter.state_dict(), tmp_path / "meter")
    loaded = EpochMeter()
    loaded.load_state_dict(torch.load(tmp_path / "meter", weights_only=True), CPU)
    for each in (meter, loaded):
        each.add({"second": torch.tensor(6.0)}, 10)
    assert loaded.means() == meter.means()
    assert loaded.means()["second"] == 5.0


def test_a_state_of_one_count_is_read_as_the_count_of_every_name():
    old = {"names": ["loss", "error"], "sums": torch.tensor([6.0, 30.0], dtype=torch.float64), "count": 3}
    meter = EpochMeter()
    meter.load_state_dict(old, CPU)
    assert meter.means() == {"loss": 2.0, "error": 10.0}
    meter.add({"second": torch.tensor(4.0)}, 1)
    assert meter.means() == {"loss": 2.0, "error": 10.0, "second": 4.0}
    other_rank = EpochMeter()
    other_rank.load_state_dict(old, CPU, rank=1)
    other_rank.add({"loss": torch.tensor(1.0), "error": torch.tensor(1.0)}, 1)
    assert other_rank.means() == {"loss": 1.0, "error": 1.0}
