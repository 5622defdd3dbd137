"""The stem in one operator: its plain form; its kernels by Triton's interpreter, compiled without a GPU, and on one."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks.hardware import set_precision
from benchmarks.launches import Launches
from fused_stem_cases import SHAPES, drawn, errors_of
from p2be_exp.encodings import Thermometer, encode, table
from p2be_exp.encodings.look_up import look_up
from p2be_exp.models import stem, stem_form
from p2be_exp.models.fused_stem import fused_conv2d
from p2be_exp.models.stem import EncodedConv2d
from p2be_exp.models.stem_form import chosen_form, fusible
from usual import P2BE

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.slow
def test_the_kernels_give_the_plain_forms_values_and_gradients():
    pytest.importorskip("triton")
    from triton_interpreter import run_interpreted

    run_interpreted(Path(__file__).with_name("interpreted_stem.py"))


@pytest.mark.parametrize("name", SHAPES)
def test_the_operators_plain_form_and_both_gradients(name):
    errors = errors_of(fused_conv2d, *drawn(SHAPES[name]))
    assert max(errors.values()) <= 1


@pytest.mark.parametrize("wanted", [(True, False), (False, True), (False, False)])
def test_gradients_that_nobody_wants(wanted):
    images, *tensors, above = drawn(SHAPES["odd sizes"])
    everything = [each.clone().requires_grad_() for each in tensors]
    expected = torch.autograd.grad(fused_conv2d(images, *everything), everything, above)
    some = [each.requires_grad_(needed) for each, needed in zip(tensors, wanted, strict=True)]
    out = fused_conv2d(images, *some)
    assert out.requires_grad == any(wanted)
    if any(wanted):
        out.backward(above)
    for each, gradient, needed in zip(some, expected, wanted, strict=True):
        assert torch.equal(each.grad, gradient) if needed else each.grad is None


def outputs_and_gradients(module, encoding, images, in_autocast=False):
    encoding.zero_grad(), module.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        out = module(images, encoding.table())
        if in_autocast:
            out.float().square().sum().backward()
    if not in_autocast:
        out.float().square().sum().backward()
    return [out.detach(), *(each.grad for each in (encoding.weight, module.weight, module.bias))]


@pytest.mark.parametrize("in_autocast", [False, True])
def test_under_autocast_it_is_bf16_with_gradients_from_float32_sums(in_autocast):
    encoding, images = P2BE(16), drawn((4, 3, 9, 8, 1, 1, 1))[0]
    module = EncodedConv2d(encoding, 4, bias=True, form="fused")
    found = outputs_and_gradients(module, encoding, images, in_autocast)
    assert [each.dtype for each in found] == [torch.bfloat16] + 3 * [torch.float32]
    module.form = "lookup"
    for got, want in zip(found, outputs_and_gradients(module, encoding, images), strict=True):
        # Weights, features and their gradient have 8 significant bits in both.
        torch.testing.assert_close(got, want, rtol=0, atol=0.02 * want.abs().max().item())


def test_codes_that_are_not_binary_stay_float32_under_autocast():
    encoding, images = Thermometer(4), drawn((1, 3, 4, 5, 1, 1, 1))[0]
    module = EncodedConv2d(encoding, 4, form="fused")
    module.binary = False
    with torch.autocast("cpu", torch.bfloat16):
        assert module(images, encoding.table()).dtype == torch.float32


def test_images_that_are_no_levels_are_refused():
    with pytest.raises(TypeError, match="uint8"):
        fused_conv2d(torch.zeros(1, 3, 4, 4), torch.zeros(256, 2), torch.zeros(1, 6, 3, 3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_look_up_by_the_way_of_a_gpu(monkeypatch, dtype):
    """The same codes, in the type that they are cast to, and the table's gradient as the look-up of a CPU has it."""
    images, codes_of, _, _ = drawn((2, 3, 9, 10, 7, 1, 1))
    codes_of = (codes_of > 0).float().requires_grad_()
    expected = encode(images, codes_of)
    above = torch.randn(expected.shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    (wanted,) = torch.autograd.grad(expected, codes_of, above.float())
    monkeypatch.setattr(table, "products_serve", lambda device: True)
    with Launches() as launches:
        codes = encode(images, codes_of, dtype)
        (found,) = torch.autograd.grad(codes, codes_of, above)
    assert codes.dtype == dtype
    assert torch.equal(codes.float(), expected)
    assert codes.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    assert launches.by_name["p2be_exp.level_sums"] == 1


@pytest.mark.parametrize(
    ("said", "operators"), [("", ["p2be_exp.fused_convolution"]), ("lookup", ["aten.embedding", "aten.convolution"])]
)
def test_a_gpu_takes_this_way(monkeypatch, said, operators):
    """On tensors that say they are on a GPU and have no values: whatever has to read one back fails."""
    pytest.importorskip("triton")
    monkeypatch.setenv("P2BE_STEM", said)
    with FakeTensorMode(), torch.device("cuda"), Launches() as launches:
        encoding = P2BE(64)
        module = EncodedConv2d(encoding, 16)
        images = torch.empty(4, 3, 32, 32, dtype=torch.uint8)
        out = module(images, encoding.table())
    assert out.shape == (4, 16, 32, 32)
    assert out.is_contiguous(memory_format=torch.channels_last)
    ways = ("p2be_exp.fused_convolution", "aten.embedding", "aten.convolution")
    assert [name for name in ways if launches.by_name[name]] == operators


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
    from p2be_exp.models import fused_stem_kernel

    pointers = {"images": "*u8"} | dict.fromkeys(("table", "weight", "out"), f"*{kind}")
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    constants = fused_stem_kernel.constants(3, 64, channels, 3, dtype)
    result = compiled(fused_stem_kernel._fused_convolution, pointers, constants, capability, tmp_path, monkeypatch)
    assert any(each in result.ptx for each in TENSOR_CORES) == (kind == "bf16")
    assert result.shared <= SHARED


@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize(("kind", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
@pytest.mark.parametrize(("colours", "columns", "kernel"), [(3, 16, 3), (1, 64, 1)])
def test_the_histogram_compiles(capability, kind, dtype, colours, columns, kernel, tmp_path, monkeypatch):
    pytest.importorskip("triton")
    from p2be_exp.encodings import level_sums_kernel

    pointers = {"levels": "*u8", "rows": f"*{kind}", "sums": "*fp32"}
    constants = level_sums_kernel.constants(colours, columns, kernel, dtype, "tf32x3")
    result = compiled(level_sums_kernel._level_sums, pointers, constants, capability, tmp_path, monkeypatch)
    assert any(each in result.ptx for each in TENSOR_CORES)
    assert result.shared <= SHARED


@pytest.mark.parametrize(("M", "form"), [(1, "lookup"), (15, "lookup"), (16, "folded"), (64, "folded")])
def test_the_cpus_rule_does_not_depend_on_what_gpus_do(monkeypatch, M, form):
    for said in ("lookup", "fused"):
        monkeypatch.setenv("P2BE_STEM", said)
        assert chosen_form(CPU, M) == form


def test_a_gpu_fuses_unless_it_is_told_to_look_up(monkeypatch):
    for said, form in (("", "fused"), ("lookup", "lookup"), ("fused", "fused")):
        monkeypatch.setenv("P2BE_STEM", said)
        assert chosen_form(GPU, 64) == form


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
    monkeypatch.setattr(stem_form, "products_serve", lambda device: True)
    arguments = {"dtype": torch.float32} | more
    assert fusible(GPU, kernel=kernel, stride=stride, padding=padding, **arguments) == taken


@pytest.mark.parametrize("settings", [{"stride": 2}, {"padding": 0}, {"shift": torch.full((12,), 0.5)}], ids=str)
def test_other_shapes_are_looked_up(monkeypatch, settings):
    monkeypatch.setattr(stem, "fused_conv2d", lambda *arguments: pytest.fail("fused"))
    encoding, images = P2BE(4), torch.arange(60, dtype=torch.uint8).view(1, 3, 4, 5)
    module = EncodedConv2d(encoding, 2, **settings, form="fused")
    got, module.form = module(images, encoding.table()), "lookup"
    assert torch.equal(got, module(images, encoding.table()))


def test_a_gpu_without_kernels_looks_up(monkeypatch):
    monkeypatch.setattr(stem_form, "products_serve", lambda device: False)
    assert not fusible(GPU, torch.float32, 3, 1, 1)


def bf16_values(tensor):
    return tensor.bfloat16().float()


@pytest.mark.gpu
@pytest.mark.parametrize("exact", [True, False])
def test_float32_on_a_gpu(exact):
    set_precision("32" if exact else "bf16", GPU)  # of cuDNN, and of the products that both gradients end with
    for name, shape in SHAPES.items():
        tensors = [each.to(GPU) for each in drawn(shape)]
        # A histogram's float32 rows lose 2 ** -21 of themselves (8 terms' worth) in 3 products in TF32.
        more, unit = ((0, 8, 8), 2.0**-24) if exact else ((2, 2, 2), 2.0**-10)
        errors = errors_of(fused_conv2d, *tensors, more=more, unit=unit)
        assert max(errors.values()) <= 1, name


@pytest.mark.gpu
def test_bf16_on_a_gpu():
    """What bf16 holds goes in: sums are float32's, and the output alone is rounded, to 8 significant bits."""

    def convolve(images, table, weight):
        return fused_conv2d(images, table, weight, torch.bfloat16)

    for name, shape in SHAPES.items():
        images, *others = drawn(shape)
        tensors = [images.to(GPU), *(bf16_values(each).to(GPU) for each in others)]
        errors = errors_of(convolve, *tensors, more=(2**16, 0, 0))
        assert max(errors.values()) <= 1, name


@pytest.mark.gpu
def test_the_histogram_on_a_gpu_and_twice_the_same():
    levels = torch.randint(256, (50_000,), device=GPU).to(torch.uint8)
    above = torch.randn(50_000, 64, device=GPU)
    rows = torch.rand(256, 64, device=GPU, requires_grad=True)
    first, second = (torch.autograd.grad(look_up(levels, rows, torch.float32), rows, above)[0] for _ in range(2))
    assert torch.equal(first, second)
    zeros = torch.zeros(256, 64, dtype=torch.float64, device=GPU)
    wanted, absolute = (zeros.index_add(0, levels.long(), each.double()) for each in (above, above.abs()))
    assert bool(((first - wanted).abs() <= 2.0**-20 * absolute).all())


@pytest.mark.gpu
def test_auto_fuses_on_a_gpu(monkeypatch):
    encoding = P2BE(16).to(GPU)
    stem = EncodedConv2d(encoding, 4).to(GPU)
    images = torch.randint(256, (2, 3, 8, 8), device=GPU, dtype=torch.uint8)
    monkeypatch.setenv("P2BE_STEM", "lookup")
    expected = stem(images, encoding.table())
    called = []
    monkeypatch.delenv("P2BE_STEM")
    fused = EncodedConv2d._fused
    monkeypatch.setattr(EncodedConv2d, "_fused", lambda *arguments: called.append(1) or fused(*arguments))
    torch.testing.assert_close(stem(images, encoding.table()), expected, rtol=0, atol=1e-2)  # TF32 in either
    assert called
