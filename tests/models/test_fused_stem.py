"""The stem's kernels for GPUs: by Triton's interpreter, compiled for GPUs that are not there, and on one that is."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from p2be_exp.encodings import kernels
from p2be_exp.models import stem_form
from p2be_exp.models.stem import EncodedConv2d
from p2be_exp.models.stem_form import chosen_form, fusible
from usual import P2BE

ROOT = Path(__file__).parents[2]
CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.slow
def test_the_kernels_give_the_plain_forms_values_and_gradients():
    """In a process of its own: the interpreter is chosen when Triton is imported."""
    pytest.importorskip("triton")
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "fused_stem_cases.py")],
        env={**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    errors = json.loads(done.stdout)
    assert len(errors) == 17
    above = {(case, of): error for case, found in errors.items() for of, error in found.items() if not error <= 1}
    assert not above


@dataclasses.dataclass
class Compiled:
    """What Triton makes of a kernel for a compute capability."""

    ptx: str
    shared: int


def compiled(kernel, pointers, constants, capability, folder, monkeypatch):
    from triton import compile
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    monkeypatch.setenv("TRITON_CACHE_DIR", str(folder))
    sizes = ("pixels", "height", "width")
    signature = {name: pointers.get(name) or ("i32" if name in sizes else "constexpr") for name in kernel.arg_names}
    found = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
    result = compile(ASTSource(kernel, signature, constexprs=found), target=GPUTarget("cuda", capability, 32))
    return Compiled(result.asm["ptx"], result.metadata.shared)


# What a GPU has to a block at least: compute capability 8.6 and 8.9.
SHARED = 99 * 1024
TENSOR_CORES = ("wgmma.mma_async", "mma.sync")


@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize(("kind", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
@pytest.mark.parametrize("channels", [16, 64])
def test_the_convolution_compiles(capability, kind, dtype, channels, tmp_path, monkeypatch):
    pytest.importorskip("triton")
    from p2be_exp.models import fused_stem

    pointers = {"images": "*u8"} | dict.fromkeys(("table", "weight", "out"), f"*{kind}")
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    constants = fused_stem.constants(3, 64, channels, 3, dtype)
    result = compiled(fused_stem._fused_convolution, pointers, constants, capability, tmp_path, monkeypatch)
    assert any(each in result.ptx for each in TENSOR_CORES) == (kind == "bf16")
    assert result.shared <= SHARED


@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize(("kind", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
@pytest.mark.parametrize(("colours", "columns", "kernel"), [(3, 16, 3), (1, 64, 1)])
def test_the_histogram_compiles(capability, kind, dtype, colours, columns, kernel, tmp_path, monkeypatch):
    pytest.importorskip("triton")
    from p2be_exp.encodings import level_sums

    pointers = {"levels": "*u8", "rows": f"*{kind}", "sums": "*fp32"}
    constants = level_sums.constants(colours, columns, kernel, dtype, "tf32x3")
    result = compiled(level_sums._level_sums, pointers, constants, capability, tmp_path, monkeypatch)
    assert any(each in result.ptx for each in TENSOR_CORES)
    assert result.shared <= SHARED


@pytest.mark.parametrize(("M", "form"), [(1, "lookup"), (15, "lookup"), (16, "folded"), (64, "folded")])
def test_the_cpus_rule_does_not_depend_on_what_gpus_do(monkeypatch, M, form):
    for said in ("lookup", "fused"):
        monkeypatch.setenv("P2BE_STEM", said)
        assert chosen_form(CPU, M) == form


def test_a_gpu_fuses_where_it_is_told_to_and_can(monkeypatch):
    monkeypatch.setattr(kernels, "usable", lambda device: True)
    monkeypatch.delenv("P2BE_STEM", raising=False)
    assert chosen_form(GPU, 64) == "lookup"
    monkeypatch.setenv("P2BE_STEM", "fused")
    assert chosen_form(GPU, 64) == "fused"
    monkeypatch.setattr(kernels, "usable", lambda device: False)
    assert chosen_form(GPU, 64) == "lookup"


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "more", "taken"),
    [
        (3, 1, 1, {}, True),
        (1, 1, 0, {}, True),
        (3, 2, 1, {}, False),
        (3, 1, 0, {}, False),
        (2, 1, 1, {}, False),
        (3, 1, 1, {"shifted": True}, False),
        (3, 1, 1, {"dtype": torch.float16}, False),
        (3, 1, 1, {"dtype": torch.float64}, False),
        (3, 1, 1, {"dtype": torch.bfloat16}, True),
    ],
)
def test_shapes_and_types_that_are_fused(monkeypatch, kernel, stride, padding, more, taken):
    monkeypatch.setattr(stem_form.kernels, "usable", lambda device: True)
    arguments = {"dtype": torch.float32} | more
    assert fusible(GPU, kernel=kernel, stride=stride, padding=padding, **arguments) == taken


def test_without_the_interpreter_a_cpu_looks_up(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    kernels.usable.cache_clear()
    encoding, images = P2BE(4), torch.arange(60, dtype=torch.uint8).view(1, 3, 4, 5)
    stem = EncodedConv2d(encoding, 2, form="fused")
    got, stem.form = stem(images, encoding.table()), "lookup"
    assert torch.equal(got, stem(images, encoding.table()))


def bf16_values(tensor):
    return tensor.bfloat16().float()


@pytest.mark.gpu
@pytest.mark.parametrize("exact", [True, False])
def test_float32_on_a_gpu(monkeypatch, exact):
    from fused_stem_cases import SHAPES, drawn, errors_of
    from p2be_exp.models.fused_stem import fused_conv2d

    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", not exact)
    for name, shape in SHAPES.items():
        tensors = [each.to(GPU) for each in drawn(shape)]
        # A histogram's float32 rows lose 2 ** -21 of themselves (8 terms' worth) in 3 products in TF32.
        more, unit = ((0, 8, 8), 2.0**-24) if exact else ((2, 2, 2), 2.0**-10)
        errors = errors_of(fused_conv2d, *tensors, more=more, unit=unit)
        assert max(errors.values()) <= 1, name


@pytest.mark.gpu
def test_bf16_on_a_gpu():
    """What bf16 holds goes in: sums are float32's, and the output alone is rounded, to 8 significant bits."""
    from fused_stem_cases import SHAPES, drawn, errors_of
    from p2be_exp.models.fused_stem import fused_conv2d

    def convolve(images, table, weight):
        return fused_conv2d(images, table, weight, torch.bfloat16)

    for name, shape in SHAPES.items():
        images, *others = drawn(shape)
        tensors = [images.to(GPU), *(bf16_values(each).to(GPU) for each in others)]
        errors = errors_of(convolve, *tensors, more=(2**16, 0, 0))
        assert max(errors.values()) <= 1, name


@pytest.mark.gpu
def test_the_histogram_on_a_gpu_and_twice_the_same():
    from p2be_exp.encodings.look_up import look_up

    levels = torch.randint(256, (50_000,), device=GPU).to(torch.uint8)
    above = torch.randn(50_000, 64, device=GPU)
    table = torch.rand(256, 64, device=GPU, requires_grad=True)
    first, second = (torch.autograd.grad(look_up(levels, table), table, above)[0] for _ in range(2))
    assert torch.equal(first, second)
    zeros = torch.zeros(256, 64, dtype=torch.float64, device=GPU)
    wanted, absolute = (zeros.index_add(0, levels.long(), each.double()) for each in (above, above.abs()))
    assert bool(((first - wanted).abs() <= 2.0**-20 * absolute).all())


@pytest.mark.gpu
def test_auto_fuses_on_a_gpu_that_is_told_to(monkeypatch):
    encoding = P2BE(16).to(GPU)
    stem = EncodedConv2d(encoding, 4).to(GPU)
    images = torch.randint(256, (2, 3, 8, 8), device=GPU, dtype=torch.uint8)
    expected = stem(images, encoding.table())
    called = []
    monkeypatch.setenv("P2BE_STEM", "fused")
    fused = EncodedConv2d._fused
    monkeypatch.setattr(EncodedConv2d, "_fused", lambda *arguments: called.append(1) or fused(*arguments))
    torch.testing.assert_close(stem(images, encoding.table()), expected, rtol=0, atol=1e-2)  # TF32 in either
    assert called
