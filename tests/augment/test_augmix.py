"""AugMix against a loop over images with Pillow, what it draws, and what a view depends on."""

import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

from p2be_exp.augment import AugMix, AugMixParameters, Operation
from p2be_exp.randomness.draws import ImageRandom, Purpose


def random_of(images, epoch=0):
    return ImageRandom(seed=0, epoch=epoch, images=images, purpose=Purpose.AUGMIX)


def take(parameters, index):
    """The parameters of some of the images."""
    return AugMixParameters(**{field.name: getattr(parameters, field.name)[:, index] for field in fields(parameters)})


def plain_augmix(image, parameters, view, index, rounding, pillow_operation):
    """One view of one image (3, H, W): Pillow's operations, mixed in float64."""
    pixels = image.permute(1, 2, 0).numpy()
    mixed = np.zeros(pixels.shape)
    for chain in range(3):
        augmented = Image.fromarray(pixels)
        for step in range(int(parameters.depth[view, index, chain])):
            at = (view, index, chain, step)
            augmented = pillow_operation(
                augmented,
                int(parameters.operation[at]),
                float(parameters.magnitude[at]),
                bool(parameters.negative[at]),
            )
        mixed += float(parameters.chain_weight[view, index, chain]) * np.asarray(augmented, dtype=np.float64)
    weight = float(parameters.mix_weight[view, index])
    result = (1 - weight) * pixels + weight * mixed
    # 2**-13: what is a whole level but for the float32 error of the code under test is that level.
    whole = np.floor(result + (2**-13 if rounding == "floor" else 0.5))
    return torch.from_numpy(whole.astype(np.uint8)).permute(2, 0, 1)


@pytest.mark.parametrize("rounding", ["floor", "nearest"])
@pytest.mark.parametrize("kind", ["noise", "photographs", "not square", "large"])
def test_equals_a_loop_over_images(kind, rounding, noise, photographs, pillow_operation):
    images = {
        "noise": noise,
        "photographs": photographs,
        "not square": noise[:16, :, :20].contiguous(),
        "large": photographs[:56].unflatten(0, (4, 14)).permute(0, 2, 3, 1, 4).flatten(3).repeat(1, 1, 6, 1),
    }[kind]
    augmix = AugMix(magnitude=3.0, rounding=rounding)
    parameters = augmix.sample(random_of(torch.arange(len(images))))
    expected = torch.stack(
        [
            torch.stack(
                [
                    plain_augmix(image, parameters, view, index, rounding, pillow_operation)
                    for index, image in enumerate(images)
                ]
            )
            for view in range(2)
        ]
    )
    result = augmix.apply(images, parameters)
    difference = (result.int() - expected.int()).abs()
    assert result.dtype == torch.uint8
    assert difference.max() <= 1
    assert (difference == 0).float().mean() > 0.9998  # a mixture within float32 error of where it is rounded


@pytest.fixture(scope="module")
def drawn():
    """The parameters of two views of 4000 images."""
    return AugMix(magnitude=3.0).sample(random_of(torch.arange(4000)))


def is_even(values, n):
    """Whether integers 0..n-1 are as likely as each other."""
    counts = torch.bincount(values.flatten(), minlength=n)
    return len(counts) == n and stats.chisquare(counts.numpy()).pvalue > 1e-3


def follows(values, distribution):
    return stats.kstest(values.flatten().numpy(), distribution.cdf).pvalue > 1e-3


def test_shapes(drawn):
    assert drawn.operation.shape == drawn.magnitude.shape == drawn.negative.shape == (2, 4000, 3, 3)
    assert drawn.depth.shape == drawn.chain_weight.shape == (2, 4000, 3)
    assert drawn.mix_weight.shape == (2, 4000)


def test_operations_depths_and_signs_are_evenly_drawn(drawn):
    for view in range(2):
        for chain in range(3):
            assert is_even(drawn.depth[view, :, chain] - 1, 3)
            for step in range(3):
                assert is_even(drawn.operation[view, :, chain, step], len(Operation))
                assert is_even(drawn.negative[view, :, chain, step].long(), 2)
    depth = drawn.depth[0] - 1
    assert is_even(depth[:, 0] * 9 + depth[:, 1] * 3 + depth[:, 2], 27)  # drawn for each chain


@pytest.mark.parametrize("magnitude", [1.0, 3.0])
def test_magnitudes_are_uniform(magnitude):
    drawn = AugMix(magnitude=magnitude).sample(random_of(torch.arange(1000)))
    assert follows(drawn.magnitude, stats.uniform(0.1, magnitude - 0.1))


def test_weights_are_dirichlet_and_beta(drawn):
    torch.testing.assert_close(drawn.chain_weight.sum(2), torch.ones(2, 4000, dtype=torch.float64))
    for chain in range(3):
        assert follows(drawn.chain_weight[:, :, chain], stats.beta(1, 2))  # the marginal of Dirichlet(1, 1, 1)
    assert follows(drawn.chain_weight.amax(2), MaximumOfDirichlet())  # which also shows how they depend
    assert follows(drawn.mix_weight, stats.uniform())


class MaximumOfDirichlet:
    """The greatest of three weights of Dirichlet(1, 1, 1)."""

    @staticmethod
    def cdf(x):
        return 1 - 3 * (1 - x) ** 2 + 3 * np.maximum(1 - 2 * x, 0) ** 2 - np.maximum(1 - 3 * x, 0) ** 2


def test_draws_are_unrelated_to_each_other(drawn):
    columns = torch.cat(
        [
            drawn.operation.double().flatten(2),
            drawn.magnitude.flatten(2),
            drawn.negative.double().flatten(2),
            drawn.depth.double(),
            drawn.chain_weight[..., :1],
            drawn.mix_weight[..., None],
        ],
        dim=2,
    )
    columns = columns.transpose(0, 1).flatten(1)  # of both views
    correlation = torch.corrcoef(columns.T) - torch.eye(columns.shape[1])
    assert correlation.abs().max() < 5.5 / math.sqrt(4000)


def test_views_depend_on_their_image_alone(photographs):
    augmix, ids = AugMix(magnitude=3.0), torch.arange(64) * 1000 + 7
    views = augmix(photographs, random_of(ids))
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(augmix(photographs[order], random_of(ids[order])), views[:, order])
    assert torch.equal(augmix(photographs[5:6], random_of(ids[5:6])), views[:, 5:6])
    assert not torch.equal(augmix(photographs, random_of(ids, epoch=1)), views)


def test_fewer_views_are_the_first_of_more(photographs):
    three = AugMix(magnitude=3.0, views=3)(photographs, random_of(torch.arange(64)))
    assert three.shape == (3, 64, 3, 32, 32)
    for views in (1, 2):
        assert torch.equal(AugMix(magnitude=3.0, views=views)(photographs, random_of(torch.arange(64))), three[:views])


def test_steps_beyond_the_depth_do_nothing(noise, drawn):
    parameters = take(drawn, slice(64))
    unused = torch.arange(3) >= parameters.depth[..., None]
    other = replace(parameters, operation=torch.where(unused, 8 - parameters.operation, parameters.operation))
    assert torch.equal(AugMix(magnitude=3.0).apply(noise, parameters), AugMix(magnitude=3.0).apply(noise, other))


@pytest.mark.parametrize("rounding", ["floor", "nearest"])
def test_a_mixture_of_equal_images_is_that_image(noise, drawn, rounding):
    """All weights are those of a whole level, but float32 puts about half of the sums just below it."""
    images = noise.repeat(10, 1, 1, 1)
    drawn = take(drawn, slice(len(images)))
    shift_of_0 = {
        "operation": torch.full_like(drawn.operation, Operation.TRANSLATE_X),
        "magnitude": torch.full_like(drawn.magnitude, 0.1),
    }
    views = AugMix(magnitude=3.0, rounding=rounding).apply(images, replace(drawn, **shift_of_0))
    assert torch.equal(views, images.expand(2, -1, -1, -1, -1))


def level_of_mixture(mixture, rounding):
    """The level that AugMix makes of a mixture of black and its inverse, white."""
    shape = (1, 1, 3, 3)
    parameters = AugMixParameters(
        operation=torch.full(shape, Operation.SOLARIZE),
        magnitude=torch.full(shape, 10.0, dtype=torch.float64),  # threshold 0: everything is inverted
        negative=torch.zeros(shape, dtype=torch.bool),
        depth=torch.ones(1, 1, 3, dtype=torch.int64),
        chain_weight=torch.tensor([[[1.0, 0.0, 0.0]]], dtype=torch.float64),
        mix_weight=torch.tensor([[mixture / 255]], dtype=torch.float64),
    )
    images = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    return AugMix(magnitude=10, rounding=rounding).apply(images, parameters).unique().item()


@pytest.mark.parametrize(
    ("mixture", "floor", "nearest"),
    [
        (0.0, 0, 0),
        (100.0, 100, 100),
        (100.4, 100, 100),
        (100.6, 100, 101),
        (100.999, 100, 101),
        (255.0, 255, 255),
    ],
)
def test_rounding(mixture, floor, nearest):
    assert level_of_mixture(mixture, "floor") == floor
    assert level_of_mixture(mixture, "nearest") == nearest


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"views": 0}, "views=0"),
        ({"magnitude": 0.05}, "magnitude=0.05"),
        ({"magnitude": 10.5}, "magnitude=10.5"),
        ({"rounding": "ceil"}, "rounding='ceil': must be one of floor, nearest"),
        ({"rounding": "nearest", "buckets": 64}, "buckets=64: must be between 1 and 256, with"),
    ],
)
def test_arguments_outside_their_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        AugMix(**{"magnitude": 3.0, **arguments})


def test_images_that_do_not_fit_are_refused(noise):
    for images in (noise.float(), noise[0], noise[:3], noise[:, :1]):
        with pytest.raises(ValueError, match=r"images must be uint8 \(64, 3, H, W\)"):
            AugMix(magnitude=3.0)(images, random_of(torch.arange(64)))


@pytest.mark.parametrize("buckets", [None, 64])
def test_it_never_waits_for_the_device(buckets):
    """The meta device has no values: whatever has to read one back fails there."""
    images = torch.empty(4, 3, 32, 32, dtype=torch.uint8, device="meta")
    augmix = AugMix(magnitude=3.0, buckets=buckets)
    assert augmix(images, random_of(torch.arange(4, device="meta"))).shape == (2, 4, 3, 32, 32)


@pytest.mark.gpu
@pytest.mark.parametrize("buckets", [None, 64])
def test_a_gpu_gives_the_same_without_waiting(photographs, buckets):
    images, ids, augmix = photographs.cuda(), torch.arange(64).cuda(), AugMix(magnitude=3.0, buckets=buckets)
    augmix(images, random_of(ids))  # constants go to the device once
    torch.cuda.set_sync_debug_mode("error")
    try:
        views = augmix(images, random_of(ids))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    difference = (views.cpu().int() - augmix(photographs, random_of(torch.arange(64))).int()).abs()
    assert difference.max() <= 1
    assert (difference == 0).float().mean() > 0.9999
