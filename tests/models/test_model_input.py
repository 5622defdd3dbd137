"""What a model refuses to look at, with which advice; and that its own images cost it nothing."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode

from grids import in_turn
from p2be_exp.backbones import Backbone, StemShape
from p2be_exp.encodings import RGB, OneHot
from p2be_exp.errors import BadInput
from p2be_exp.models.model import EncodedClassifier
from usual import P2BE


class Mean(Backbone):
    stem = StemShape(out_channels=5)

    def forward(self, features):
        return features.mean(dim=(2, 3))


def small(encoding=None) -> EncodedClassifier:
    torch.manual_seed(0)
    return EncodedClassifier(encoding or P2BE(4), Mean()).eval()


def levels(batch: int = 2, size: int = 6) -> torch.Tensor:
    images = torch.randint(256, (batch, 3, size, size), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    images[:, :, 0, 0], images[:, :, 0, 1] = 0, 255
    return images


def with_one(value: float) -> torch.Tensor:
    """Floats in [0, 1] but for one value."""
    images = levels() / 255
    images[1, 2, 3, 4] = value
    return images


def of_model(images):
    return small()(images)


def of_twin(images):
    return small().surrogate("secant")(images)


def of_twin_for_a_gradient(images):
    return small().surrogate("secant")(images.requires_grad_())


# -- values --------------------------------------------------------------------------------------------------------

IMAGENET = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
BAD = {
    "levels as floats": (levels().float(), "from 0 to 255"),
    "levels as doubles": (levels().double(), "from 0 to 255"),
    "levels as bf16": (levels().bfloat16(), "from 0 to 255"),
    "normalised by ImageNet's": ((levels() / 255 - IMAGENET[0]) / IMAGENET[1], r"from -2\.\d+ to 2\.\d+"),
    "normalised to -1 to 1": (levels() / 127.5 - 1, "from -1 to 1"),
    "one NaN": (with_one(float("nan")), "not finite"),
    "one inf": (with_one(float("inf")), "not finite"),
    "one -inf": (with_one(float("-inf")), "not finite"),
    "a little above": (with_one(1.0011), "from 0 to 1\\.0011"),
    "a little below": (with_one(-0.0011), "from -0.0011 to"),
}


@pytest.mark.parametrize(("name", "call"), in_turn([*BAD], [of_model, of_twin, of_twin_for_a_gradient]))
def test_values_that_are_no_share_of_255_are_refused_with_advice(name, call):
    images, found = BAD[name]
    with pytest.raises(BadInput, match=found) as refused:
        call(images.clone())
    told = str(refused.value)
    assert "\n" not in told
    for advice in ("levels as uint8", "divide them by 255", "do not normalise"):
        assert advice in told


@pytest.mark.parametrize("call", [of_model, of_twin, of_twin_for_a_gradient])
def test_a_hair_outside_is_the_nearest_level(call):
    lowest, highest = with_one(-0.0009), with_one(1.0009)
    assert torch.equal(call(lowest), of_model(with_one(0.0)))
    assert torch.equal(call(highest), of_model(with_one(1.0)))


def test_the_gradient_reaches_values_a_hair_outside():
    images = with_one(1.0009).requires_grad_()
    small().surrogate("secant")(images).square().sum().backward()
    assert images.grad[1, 2, 3, 4] != 0


def test_a_batch_of_none_is_none():
    assert of_model(levels()[:0]).shape == (0, 5)
    assert of_model(levels()[:0] / 255).shape == (0, 5)


# -- types and shapes ----------------------------------------------------------------------------------------------

KINDS = {
    "numpy": (levels().numpy(), r"numpy\.ndarray of uint8 \(2, 3, 6, 6\).*torch\.from_numpy"),
    "numpy floats": (np.zeros((6, 6, 3)), r"numpy\.ndarray of float64 \(6, 6, 3\).*torch\.from_numpy"),
    "pillow": (Image.new("L", (7, 5)), r"PIL\.Image\.Image of L 7x5.*pil_to_tensor"),
    "list": ([levels()[0], levels()[1]], r"list of 2.*torch\.stack"),
    "none": (None, "NoneType"),
    "path": ("cat.png", "str"),
    "int64": (levels().long(), r"torch\.int64 \(2, 3, 6, 6\)"),
    "bool": (levels() > 99, r"torch\.bool \(2, 3, 6, 6\)"),
    "sparse": ((levels() / 255).to_sparse(), r"torch\.sparse_coo torch\.float32 \(2, 3, 6, 6\)"),
    "complex": (levels() / 255 + 0j, r"torch\.complex64 \(2, 3, 6, 6\)"),
}
SHAPES = {
    "one image": (levels()[0], r"\(3, 6, 6\).*images\[None\]"),
    "one image, channels last": (levels()[0].permute(1, 2, 0), r"\(6, 6, 3\).*permute\(2, 0, 1\)\[None\]"),
    "channels last": (levels().permute(0, 2, 3, 1), r"\(2, 6, 6, 3\).*permute\(0, 3, 1, 2\)"),
    "one channel": (levels()[:, :1], r"\(2, 1, 6, 6\).*expand\(-1, 3, -1, -1\)"),
    "four channels": (levels().repeat(1, 2, 1, 1)[:, :4], r"\(2, 4, 6, 6\).*images\[:, :3\]"),
    "grey": (levels()[:, 0], r"\(2, 6, 6\)"),
    "flat": (levels().flatten(1), r"\(2, 108\)"),
    "video": (levels()[None], r"\(1, 2, 3, 6, 6\)"),
}


@pytest.mark.parametrize(("name", "call"), [*in_turn([*KINDS], [of_model]), ("list", of_twin), ("int64", of_twin)])
def test_what_is_no_tensor_of_levels_or_floats_is_named(name, call):
    images, told = KINDS[name]
    with pytest.raises(TypeError, match=told) as refused:
        call(images)
    assert isinstance(refused.value, BadInput)
    assert "(B, 3, H, W)" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "call", "scaled"), in_turn([*SHAPES], [of_model, of_model, of_twin], [False, True, True, False])
)
def test_another_shape_is_named_with_the_way_out(name, call, scaled):
    images, told = SHAPES[name]
    with pytest.raises(BadInput, match=told):
        call(images / 255 if scaled else images)


def test_the_way_out_is_one():
    whole = levels()
    expected = of_model(whole)
    assert torch.equal(of_model(whole[0][None]), of_model(whole[:1]))
    assert torch.equal(of_model(torch.from_numpy(whole.numpy())), expected)
    assert torch.equal(of_model(whole.permute(0, 2, 3, 1).permute(0, 3, 1, 2)), expected)
    assert torch.equal(of_model(torch.stack(list(whole))), expected)
    assert of_model(whole[:, :1].expand(-1, 3, -1, -1)).shape == expected.shape


# -- what must go on as it did -------------------------------------------------------------------------------------


class Reads(TorchFunctionMode):
    """Counts how often a value is brought to the host, for which a device would have to be waited for."""

    NAMES = ("tolist", "item", "__bool__", "__float__", "__int__", "__index__", "cpu", "numpy")
    count = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.count += getattr(func, "__name__", "") in self.NAMES
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("encoding", [RGB(), OneHot(8), P2BE(16)], ids=lambda e: e.name)
def test_levels_are_never_looked_at(encoding):
    model = small(encoding).train()
    with Reads() as reads:
        model(levels()).sum().backward()
    assert reads.count == 0
    with Reads() as reads:
        model(levels() / 255)
    assert reads.count  # so it is what it counts


@pytest.mark.parametrize("options", [{}, {"fullgraph": True}], ids=str)
def test_a_compiled_model_refuses_values_too(options):
    torch._dynamo.reset()
    model, images = small(), levels() / 255
    compiled = torch.compile(model, backend="aot_eager", **options)
    with torch.no_grad():
        torch.testing.assert_close(compiled(images), model(images))
        for bad in (images * 255, images * float("nan"), images - 0.5):
            with pytest.raises(RuntimeError, match="divide them by 255"):
                compiled(bad)


@pytest.mark.parametrize("given", [levels(), levels() / 255], ids=["levels", "floats"])
def test_an_exported_model_gives_the_same_logits(given):
    model, shapes = small(), ({0: torch.export.Dim("batch")},)
    program = torch.export.export(model, (given,), dynamic_shapes=shapes, strict=False).module()
    more = given.repeat(3, 1, 1, 1)
    torch.testing.assert_close(program(more), model(more))


@pytest.mark.parametrize("encoding", [RGB(), OneHot(8)], ids=lambda e: e.name)  # P2BE's sign has no rule for vmap
def test_vmap_reads_the_values_of_all_samples(encoding):
    model, images = small(encoding), levels() / 255
    logits = torch.vmap(lambda image: model(image[None])[0])
    torch.testing.assert_close(logits(images), model(images))
    with pytest.raises(BadInput, match=r"from 0 to 1\.5"):
        logits(with_one(1.5))


def test_a_shape_alone_can_be_asked_for():
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        assert small()(mode.from_tensor(levels() / 255)).shape == (2, 5)
