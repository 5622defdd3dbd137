"""The views of a GPU: kernels equal to the plain forms to the bit, compiled without a GPU, and few launches."""

import sys
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks.launches import Launches
from p2be_exp.augment import AugMix, augmix, random_flip_crop
from p2be_exp.randomness import draws
from p2be_exp.randomness.draws import ImageRandom, Purpose

MOST_LAUNCHES = 60


def views(images, ids, buckets):
    """The clean view and two mixtures, and the launches of all."""
    # Both before the count: on the CPU alone they look at the image numbers.
    to_crop, to_mix = (ImageRandom(0, 1, ids, purpose) for purpose in (Purpose.FLIP_CROP, Purpose.AUGMIX))
    mix = AugMix(magnitude=3.0, buckets=buckets)
    with Launches() as launches:
        clean = random_flip_crop(images, to_crop)
        result = torch.cat([clean[None], mix(clean, to_mix)])
    return result, launches


@pytest.mark.parametrize("buckets", [None, 64])
def test_the_way_of_a_gpu_gives_the_same_in_few_launches(monkeypatch, photographs, buckets):
    ids = torch.arange(64) * 11
    expected, _ = views(photographs, ids, buckets)
    for module in (augmix, sys.modules[random_flip_crop.__module__], draws):
        monkeypatch.setattr(module, "kernels_serve", lambda device: True)
    result, launches = views(photographs, ids, buckets)
    assert torch.equal(result, expected)
    assert launches.total <= MOST_LAUNCHES, launches.by_name
    assert launches.waits == 0
    assert {name: n for name, n in launches.by_name.items() if name.startswith("p2be_exp")} == {
        "p2be_exp.uniform_of_images": 2,
        "p2be_exp.flip_crop": 1,
        "p2be_exp.augmix_tables": 3,
        "p2be_exp.augmix_step": 3,
        "p2be_exp.augmix_mix": 1,
    }


def test_a_gpu_takes_this_way():
    """On tensors that say they are on a GPU and have no values: whatever has to read one back fails."""
    pytest.importorskip("triton")
    with FakeTensorMode():
        images = torch.empty(4, 3, 32, 32, dtype=torch.uint8, device="cuda")
        ids = torch.arange(4, device="cuda")
        views(images, ids, 64)  # constants go to the device once
        mixed, launches = views(images, ids, 64)
    assert mixed.shape == (3, 4, 3, 32, 32)
    assert mixed.device.type == "cuda"
    assert launches.by_name["p2be_exp.augmix_step"] == 3
    assert launches.total <= MOST_LAUNCHES, launches.by_name


def test_without_kernels_a_gpu_gives_the_same(noise, photographs):
    """The form for GPUs without Triton, whose operators run on any device, against the compiled one of the CPU."""
    images = torch.cat([noise, photographs])
    for rounding, buckets in (("floor", None), ("nearest", None), ("floor", 64)):
        mix = AugMix(magnitude=10.0, rounding=rounding, buckets=buckets)
        parameters = mix.sample(ImageRandom(1, 2, torch.arange(len(images)), Purpose.AUGMIX))
        steps = augmix._steps(parameters, (32, 32))
        chains = augmix._chains(images, *steps)
        mixture = augmix.mix_plain(images, chains, augmix._weights(parameters), mix.rounding)
        assert torch.equal(mix.apply(images, parameters), mixture.unflatten(0, (2, -1)))


@pytest.mark.slow
def test_the_kernels_give_the_same():
    pytest.importorskip("triton")
    from triton_interpreter import run_interpreted

    run_interpreted(Path(__file__).with_name("interpreted_views.py"))
