"""Where Triton kernels serve, and that they can be built for a GPU, which needs none."""

import re
import warnings

import pytest
import torch

from p2be_exp.system import device_kernels
from p2be_exp.system.device_kernels import kernels_serve

GPU = torch.device("cuda")


@pytest.fixture(autouse=True)
def asked_anew():
    device_kernels._triton_works.cache_clear()
    yield
    device_kernels._triton_works.cache_clear()


def test_other_devices_have_no_kernels():
    assert not kernels_serve(torch.device("cpu"))
    assert not kernels_serve(torch.device("meta"))


def test_without_triton_there_are_none(monkeypatch):
    monkeypatch.setattr(device_kernels, "find_spec", lambda name: None)
    assert not kernels_serve(GPU)


def test_a_triton_that_fails_is_told_once(monkeypatch):
    runtime = pytest.importorskip("triton.runtime")

    class Driver:
        @property
        def active(self):
            raise RuntimeError("Failed to find C compiler.\nSet CC.")

    monkeypatch.setattr(runtime, "driver", Driver())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.warns(UserWarning, match=r"Triton does not work here \(Failed to find C compiler\.\): slower"):
        assert not kernels_serve(GPU)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not kernels_serve(GPU)


def kernels():
    """Each kernel with the types of its arguments and its constants, as a batch of CIFAR has them."""
    from p2be_exp.augment import augmix_kernels, flip_crop_kernel
    from p2be_exp.randomness import uniform_kernel

    words = dict.fromkeys(["total", "blocks", "n", "start", "stream", "purpose", "key0", "key1"], "i32")
    image = {"CHANNELS": 3, "HEIGHT": 32, "WIDTH": 32, "SIZE": 1024}
    factors = dict.fromkeys(["offset", "buckets_a_level", "levels_a_bucket", "guard"], "fp32")
    chains = {"images": "*u8", "operation": "*i64", "out": "*u8", "batch": "i32"}
    mixture = {"images": "*u8", "chains": "*u8", "weights": "*fp32", "out": "*u8", "batch": "i32", **factors}
    return [
        (uniform_kernel._uniform, {"images": "*i64", "out": "*fp64", **words}, {"SIZE": 128, "held": None}),
        (uniform_kernel._uniform, {"images": "*i64", "out": "*fp64", "held": "*i64", **words}, {"SIZE": 128}),
        (
            uniform_kernel._uniform,
            {"images": "*i64", "out": "*fp64", **words, "start": "i64", "key0": "i64", "key1": "i64"},
            {"SIZE": 128, "held": None},
        ),
        (
            flip_crop_kernel._flip_crop,
            {"images": "*u8", "flip": "*i1", "top": "*i64", "left": "*i64", "out": "*u8", "padding": "i32"},
            image,
        ),
        (augmix_kernels._tables, {**chains, "argument": "*fp64"}, {"CHAINS": 3, "PIXELS": 1024, "SIZE": 1024}),
        (augmix_kernels._step, {**chains, "table": "*u8", "maps": "*fp64"}, {"CHAINS": 3, **image}),
        (augmix_kernels._mix, mixture, {"TERMS": 4, "BUCKETS": True, "LEVELS": 3072, "SIZE": 1024}),
    ]


@pytest.mark.parametrize("number", range(7))
def test_kernels_are_built_without_fused_arithmetic(number, monkeypatch, tmp_path):
    """A fused multiplication and addition would round once where the plain forms round twice."""
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kernel, types, constants = kernels()[number]
    signature = {name: types.get(name, "constexpr") for name in kernel.arg_names}
    source = ASTSource(kernel, signature, constexprs=constants)
    built = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"enable_fp_fusion": False})
    assert not re.search(r"fma\.rn\.f(32|64)", built.asm["ptx"])
    assert built.asm["cubin"]
