"""Image sets go to a device that has room for them, and stay on the host otherwise."""

import pytest
import torch

from p2be_exp.data.images import ImageSet
from p2be_exp.data.placement import fits, place


@pytest.fixture
def data() -> ImageSet:
    return ImageSet(torch.zeros(8, 3, 4, 4, dtype=torch.uint8), torch.zeros(8, dtype=torch.int64), ("a",))


def test_a_quarter_of_the_free_memory_is_the_limit():
    assert fits(25, 100)
    assert not fits(26, 100)
    assert fits(50_000 * 3 * 32 * 32, 1024**3)
    assert not fits(1_281_167 * 3 * 224 * 224, 80 * 1024**3)


def test_on_the_host_nothing_is_copied(data):
    assert place(data, torch.device("cpu")) is data


def test_a_cuda_device_gets_a_set_that_fits(data, monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (4 * data.num_bytes, 100 * data.num_bytes))
    monkeypatch.setattr(ImageSet, "to", lambda self, device: f"moved to {device}")
    assert place(data, torch.device("cuda:1")) == "moved to cuda:1"


def test_a_cuda_device_without_room_leaves_the_set_on_the_host(data, monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (4 * data.num_bytes - 1, 100 * data.num_bytes))
    assert place(data, torch.device("cuda:1")) is data
