"""Batch norm and ReLU in one function: its plain form; its kernels by Triton's interpreter, compiled, and on a GPU."""

import contextlib
import copy
from pathlib import Path

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from batch_norm_cases import SHAPES, drawn, errors_of, plain, results
from benchmarks.launches import Launches
from p2be_exp.backbones import batch_norm, build_backbone
from p2be_exp.backbones.batch_norm import fusible, norm_and_activation
from p2be_exp.backbones.fused_batch_norm import fused_batch_norm_relu
from p2be_exp.system.gpu_batch_norm import in_captured_step

GPU = torch.device("cuda")


@pytest.mark.slow
def test_the_kernels_give_pytorchs_values_gradients_and_running_statistics():
    pytest.importorskip("triton")
    from triton_interpreter import run_interpreted

    run_interpreted(Path(__file__).with_name("interpreted_fused_batch_norm.py"))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", SHAPES)
def test_the_operators_plain_forms(name, training):
    norm, features, above = drawn(SHAPES[name])
    errors = errors_of(fused_batch_norm_relu, norm.train(training), features, above)
    assert max(errors.values()) <= 1, errors


@pytest.mark.parametrize("training", [True, False])
def test_the_formulas_of_the_gradients(training):
    norm, features, _ = drawn(SHAPES["odd sizes"])
    norm.double().train(training)
    inputs = (features.double().requires_grad_(), norm.weight, norm.bias)
    assert torch.autograd.gradcheck(lambda features, weight, bias: fused_batch_norm_relu(norm, features), inputs)


@pytest.mark.parametrize("training", [True, False])
def test_bf16_is_rounded_at_the_end_alone(training):
    norm, features, above = drawn(SHAPES["as Wide ResNets have it"])
    norm.train(training)
    half, above = features.bfloat16(), above.bfloat16()
    found, wanted = (results(function, norm, half, above) for function in (fused_batch_norm_relu, plain))
    assert {name: each.dtype for name, each in found.items()} == {name: each.dtype for name, each in wanted.items()}
    for name, each in found.items():
        torch.testing.assert_close(
            each, wanted[name], rtol=2**-7, atol=0.01 * wanted[name].abs().max().item(), msg=name
        )


@pytest.mark.parametrize("wanted", [(True, False, False), (False, True, False), (False, False, True)])
def test_gradients_that_nobody_wants(wanted):
    for training in (True, False):
        norm, features, above = drawn(SHAPES["odd sizes"])
        expected = results(fused_batch_norm_relu, norm.train(training), features, above)
        leaves = [features, norm.weight, norm.bias]
        for leaf, needed in zip(leaves, wanted, strict=True):
            leaf.requires_grad_(needed)
        with Launches() as launches:
            fused_batch_norm_relu(norm, features).backward(above)
        for leaf, name, needed in zip(leaves, ("features", "weight", "bias"), wanted, strict=True):
            assert torch.equal(leaf.grad, expected[name]) if needed else leaf.grad is None
        # An attack on the features of a network in eval mode pays for no gradient of weights.
        assert launches.by_name["p2be_exp.batch_norm_relu_sums"] == (training or not wanted[0])


def test_a_nan_comes_through():
    norm, features, _ = drawn(SHAPES["odd sizes"])
    features[0, 1, 2, 0] = torch.nan
    out = fused_batch_norm_relu(norm, features)
    assert out[:, 1].isnan().all()
    assert not out[:, 2:].isnan().any()


def test_transforms_of_functions_get_pytorchs_operators(fusing):
    norm, features, _ = drawn(SHAPES["odd sizes"])
    norm.eval()

    def total(image):
        return norm_and_activation(norm, F.relu, image[None]).sum()

    found = torch.func.vmap(torch.func.grad(total))(features)
    wanted = torch.autograd.grad(plain(norm, features.requires_grad_()).sum(), features)[0]
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_in_inference_mode():
    norm, features, _ = drawn(SHAPES["odd sizes"])
    with torch.inference_mode():
        out = fused_batch_norm_relu(norm.eval(), features)
    torch.testing.assert_close(out, plain(norm, features).detach(), rtol=1e-5, atol=1e-5)


def test_running_statistics_that_changed_before_the_way_back_are_noticed():
    norm, features, above = drawn(SHAPES["odd sizes"])
    out = fused_batch_norm_relu(norm.eval(), features)
    fused_batch_norm_relu(norm.train(), features)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.backward(above)


@pytest.fixture
def fusing(monkeypatch):
    """The CPU takes the way of a GPU that is told to fuse."""
    monkeypatch.setattr(batch_norm, "_wanted", lambda device: True)


def step(network, features):
    """Logits, gradients and buffers of a network after a step in train mode, and logits in eval mode."""
    features = features.detach().requires_grad_()
    logits = network.train()(features)
    F.cross_entropy(logits, torch.arange(len(features))).backward()
    with torch.no_grad():
        evaluated = network.eval()(features)
    gradients = {name: each.grad for name, each in network.named_parameters()}
    found = {"logits": logits.detach(), "evaluated": evaluated, "features": features.grad}
    return {**found, **gradients, **dict(network.named_buffers())}


@pytest.mark.parametrize(
    ("name", "settings", "norms"),
    [
        ("wrn16_1", {"activation": "relu"}, 13),
        ("resnet18", {"activation": "relu"}, 9),  # of 20; the others are added before the ReLU
        ("resnext29_4x32d", {"activation": "relu"}, 19),  # of 31
        ("densenet40_12", {}, 39),
    ],
)
def test_networks_are_the_same(name, settings, norms, fusing, monkeypatch):
    """In float64, which no kernel takes, so that no ReLU cuts at another place."""
    torch.manual_seed(0)
    usual = build_backbone(name, 10, **settings).to(memory_format=torch.channels_last).double()
    features = torch.randn(2, usual.stem.out_channels, 16, 16, dtype=torch.float64)
    features = features.contiguous(memory_format=torch.channels_last)
    other = copy.deepcopy(usual)
    wanted = step(usual, features)
    monkeypatch.setattr(batch_norm, "fusible", lambda norm, activation, features: True)
    with Launches() as launches:
        found = step(other, features)
    for operator in ("batch_norm_statistics", "batch_norm_relu_sums", "batch_norm_relu_backward"):
        assert launches.by_name[f"p2be_exp.{operator}"] == norms
    assert launches.by_name["p2be_exp.batch_norm_relu"] == 2 * norms  # eval mode, too
    assert list(found) == list(wanted)
    for key, value in found.items():
        torch.testing.assert_close(value, wanted[key], rtol=1e-8, atol=1e-10, msg=key)


def test_under_autocast_convolutions_get_what_they_would_cast_to(fusing):
    norm, features, _ = drawn(SHAPES["as Wide ResNets have it"])
    with torch.autocast("cpu", torch.bfloat16):
        convolved = norm_and_activation(norm, F.relu, features, convolved=True)
        added = norm_and_activation(norm, F.relu, features)
    assert convolved.dtype == torch.bfloat16
    assert added.dtype == torch.float32
    assert norm_and_activation(norm, F.relu, features, convolved=True).dtype == torch.float32


def test_a_convolution_in_bf16_casts_nothing_more(fusing):
    torch.manual_seed(0)
    network = build_backbone("wrn16_1", 10, activation="relu").to(memory_format=torch.channels_last)
    features = torch.randn(2, 16, 8, 8).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16), Launches() as launches:
        network(features)
    assert launches.by_name["aten._to_copy"] == sum(each.dim() > 1 for each in network.parameters()) + 1  # a bias


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda norm, features: (nn.SyncBatchNorm(norm.num_features), features), "statistics over ranks"),
        (lambda norm, features: (nn.BatchNorm2d(norm.num_features, momentum=None), features), "a mean of all batches"),
        (lambda norm, features: (nn.BatchNorm2d(norm.num_features, affine=False), features), "no weight"),
        (lambda norm, features: (nn.BatchNorm2d(norm.num_features, track_running_stats=False), features), "no running"),
        (lambda norm, features: (norm.double(), features.double()), "float64"),
        (lambda norm, features: (norm, features.half()), "float16"),
        (lambda norm, features: (norm, features.contiguous()), "channels first"),
        (lambda norm, features: (norm, features[:1, :, :1, :1]), "one value a channel"),
        (lambda norm, features: (norm, features[:0]), "no image"),
    ],
)
def test_what_pytorchs_operators_serve(change, what):
    norm, features, _ = drawn(SHAPES["odd sizes"])
    assert fusible(norm, F.relu, features)
    assert fusible(norm, F.relu, features.bfloat16())
    assert not fusible(*(change(norm, features)[:1]), F.relu, change(norm, features)[1]), what


def test_another_activation_and_a_hook_are_served_by_pytorchs_operators():
    norm, features, _ = drawn(SHAPES["odd sizes"])
    assert not fusible(norm, F.elu, features)
    norm.register_forward_hook(lambda *_: None)
    assert not fusible(norm, F.relu, features)


def test_one_value_of_a_channel_is_refused_as_by_pytorch(fusing):
    norm = nn.BatchNorm2d(3)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        norm_and_activation(norm, F.relu, torch.zeros(1, 3, 1, 1))
    assert norm_and_activation(norm.eval(), F.relu, torch.ones(1, 3, 1, 1)).shape == (1, 3, 1, 1)


def test_a_compiler_gets_pytorchs_operators_which_it_fuses(fusing):
    norm, features, _ = drawn(SHAPES["odd sizes"])
    operators = []

    def backend(graph, inputs):
        operators.extend(str(node.target) for node in graph.graph.nodes if node.op == "call_function")
        return graph

    call = torch.compile(lambda features: norm_and_activation(norm, F.relu, features), backend=backend, fullgraph=True)
    assert torch.equal(call(features), plain(copy.deepcopy(norm), features))
    assert operators
    assert not any("p2be" in name or "Fused" in name for name in operators)


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace")
def test_a_trace_gets_pytorchs_operators(fusing):
    norm, features, _ = drawn(SHAPES["odd sizes"])
    norm.requires_grad_(False).eval()
    traced = torch.jit.trace(lambda features: norm_and_activation(norm, F.relu, features), features)
    assert "relu" in str(traced.graph)


@pytest.mark.parametrize("captured", [False, True])
@pytest.mark.parametrize("said", ["fused", "plain", ""])
def test_a_gpu_takes_this_way(monkeypatch, said, captured):
    """On tensors that say they are on a GPU and have no values: whatever has to read one back fails."""
    pytest.importorskip("triton")
    monkeypatch.setenv("P2BE_BATCH_NORM", said)
    inside = in_captured_step() if captured else contextlib.nullcontext()
    fused = said == "fused" or (captured and not said)
    with FakeTensorMode(), torch.device("cuda"), Launches() as launches, inside:
        network = build_backbone("wrn16_1", 10, activation="relu")
        features = torch.empty(4, 16, 32, 32, memory_format=torch.channels_last)
        logits = network(features)
    assert logits.shape == (4, 10)
    assert launches.by_name["aten.relu"] == (0 if fused else 13)
    for name in ("p2be_exp.batch_norm_statistics", "p2be_exp.batch_norm_relu"):
        assert launches.by_name[name] == (13 if fused else 0)
    assert launches.waits == 0


POINTERS = {
    **dict.fromkeys(
        ("means", "variances", "weights", "biases", "sums", "partial", "running_mean", "running_var"), "*fp32"
    ),
    "batches": "*i64",
    "eps": "fp32",
    "momentum": "fp32",
    **dict.fromkeys(("count", "channels", "steps", "columns", "parts"), "i32"),
}
SHARED = 99 * 1024  # what a GPU has to a block at least: compute capability 8.6 and 8.9
KERNELS = {
    "_moments": {},
    "_statistics": {"PARTS": 256, "CHANNELS": 16, "out": "*fp32"},
    "_normalised": {},
    "_part_sums": {},
    "_joined_sums": {"PARTS": 256, "CHANNELS": 16, "out": "*fp32"},
    "_gradient": {"OF_BATCH": True},
}


@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("kind", ["bf16", "fp32"])
@pytest.mark.parametrize("name", KERNELS)
def test_the_kernels_compile(name, kind, capability, tmp_path, monkeypatch):
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from p2be_exp.backbones import fused_batch_norm_kernel

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kernel = getattr(fused_batch_norm_kernel, name)
    given = {"rows": f"*{kind}", "grads": f"*{kind}", "out": f"*{kind}", **POINTERS}
    constants = {**fused_batch_norm_kernel.tiles(32), **KERNELS[name]}
    given |= {each: constants.pop(each) for each in ("out",) if each in constants}
    constants = {each: value for each, value in constants.items() if each in kernel.arg_names}
    signature = {each: given.get(each, "constexpr") for each in kernel.arg_names}
    source = ASTSource(kernel, signature, constexprs=constants)
    built = triton.compile(source, target=GPUTarget("cuda", capability, 32))
    assert built.asm["cubin"]
    assert built.metadata.shared <= SHARED


@pytest.mark.gpu
@pytest.mark.parametrize("training", [True, False])
def test_float32_on_a_gpu(training):
    for name, shape in SHAPES.items():
        norm, features, above = drawn(shape)
        norm = norm.to(GPU).train(training)
        errors = errors_of(fused_batch_norm_relu, norm, features.to(GPU), above.to(GPU), terms=2)
        assert max(errors.values()) <= 1, (name, errors)


@pytest.mark.gpu
@pytest.mark.parametrize("training", [True, False])
def test_bf16_on_a_gpu_is_as_near_as_pytorchs_own(training):
    for name, shape in SHAPES.items():
        norm, features, above = (each.to(GPU) for each in drawn(shape))
        norm.train(training)
        half, above = features.bfloat16(), above.bfloat16()
        wanted = results(plain, copy.deepcopy(norm).double(), half.double(), above.double())
        for key, each in results(fused_batch_norm_relu, norm, half, above).items():
            most = wanted[key].abs().max().item()
            # A gradient is cut or not where the ReLU's argument rounds to 0, which a sum of few values notices.
            torch.testing.assert_close(
                each.double(), wanted[key].double(), rtol=2**-7, atol=0.02 * most, msg=f"{name}: {key}"
            )


@pytest.mark.gpu
def test_twice_the_same_and_captured_in_a_graph():
    norm, features, above = (each.to(GPU) for each in drawn(SHAPES["as Wide ResNets have it"]))
    first, second = (results(fused_batch_norm_relu, norm, features, above) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    features.requires_grad_()
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    before = int(norm.num_batches_tracked)
    with torch.cuda.graph(graph, stream=stream):
        out = fused_batch_norm_relu(norm, features)
        (gradient,) = torch.autograd.grad(out, features, above)
    graph.replay()
    graph.replay()
    assert torch.equal(out, first["output"])
    assert torch.equal(gradient, first["features"])
    assert int(norm.num_batches_tracked) == before + 2
