"""Running statistics by pass: against a second pass written out, and where a norm's buffers are read."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from p2be_exp.attacks.attack import attacked
from p2be_exp.backbones import build_backbone
from p2be_exp.backbones.fused_batch_norm import fused_batch_norm_relu
from p2be_exp.backbones.stage_shapes import probed_shapes
from p2be_exp.config.schema import FPDModelConfig
from p2be_exp.errors import BadInput
from p2be_exp.export import exported, largest_difference
from p2be_exp.models.pass_statistics import RUNNING, in_use, norms_that_run, second_statistics
from p2be_exp.models.pyramid import PyramidClassifier
from pyramid_by_hand import denoised, gram_product
from small_pyramids import OFF, Small, fpd, images
from staged_backbones import STAGED

LABELS = torch.tensor([0, 1, 3, 2])


def small(statistics: str = "by_pass", seed: int = 0) -> PyramidClassifier:
    torch.manual_seed(seed)
    return fpd(backbone=Small(norms=True), statistics=statistics)


def apart(model: PyramidClassifier) -> PyramidClassifier:
    """With statistics that differ from one another, as after a training; in eval mode."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            if name.endswith(RUNNING[:2]):
                buffer.copy_(torch.rand(buffer.shape, generator=generator) + name.endswith("var"))
    return model.eval()


# -- against the formula ----------------------------------------------------------------------------------------------


class Statistics:
    """Batch norms of one pass, with statistics of their own and weights that are another pass's, too."""

    def __init__(self, norms: nn.ModuleList) -> None:
        self.norms = norms
        self.means = [torch.zeros(norm.num_features).double() for norm in norms]
        self.variances = [torch.ones(norm.num_features).double() for norm in norms]

    def __call__(self, number: int, x: torch.Tensor, training: bool) -> torch.Tensor:
        mean, variance = self.means[number], self.variances[number]
        if training:
            n = x.numel() / x.shape[1]
            here, spread = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
            self.means[number] = 0.9 * mean + 0.1 * here.detach()
            self.variances[number] = 0.9 * variance + 0.1 * spread.detach() * n / (n - 1)
            mean, variance = here, spread
        normal = (x - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt()
        return normal * self.norms[number].weight[:, None, None] + self.norms[number].bias[:, None, None]


def maps_by_hand(model: PyramidClassifier, x: torch.Tensor, norm: Statistics, training: bool) -> list[torch.Tensor]:
    trunk = model.trunk
    x = torch.tanh(norm(0, F.conv2d(x, model.stem.weight, stride=2, padding=1), training))
    lower = torch.tanh(norm(1, trunk.lower(denoised(x)), training))
    return [lower, torch.tanh(norm(2, trunk.upper(denoised(lower)), training))]


def scores_by_hand(model, codes, first: Statistics, second: Statistics, training: bool) -> torch.Tensor:
    restored = model.restoration(maps_by_hand(model, codes, first, training))
    maps = maps_by_hand(model, restored + gram_product(codes), second, training)
    return torch.tanh(model.trunk.classifier(maps[-1].mean((2, 3))))


def test_a_training_and_its_statistics_are_those_of_two_passes_written_out():
    model = small().double().train()
    hand = copy.deepcopy(model)
    first, second = Statistics(hand.trunk.norms), Statistics(hand.trunk.norms)
    (codes,) = model.read(images(4))
    optimizers = [torch.optim.SGD(each.parameters(), lr=0.2, momentum=0.9) for each in (model, hand)]
    for step in range(4):
        batch = codes.roll(step, 2) * (1 + step)
        found, expected = model.body(batch), scores_by_hand(hand, batch, first, second, training=True)
        torch.testing.assert_close(found, expected)
        for scores, optimizer in zip((found, expected), optimizers, strict=True):
            optimizer.zero_grad()
            F.cross_entropy(scores, LABELS).backward()
            optimizer.step()
    for name, value in hand.named_parameters():
        torch.testing.assert_close(model.get_parameter(name), value)
    for norms, by_hand in ((model.trunk.norms, first), (model.second_statistics.norms, second)):
        for norm, mean, variance in zip(norms.children(), by_hand.means, by_hand.variances, strict=True):
            torch.testing.assert_close(norm.running_mean, mean)
            torch.testing.assert_close(norm.running_var, variance)
            assert norm.num_batches_tracked == 4
    assert not torch.allclose(first.means[0], second.means[0], rtol=0.1)
    model.eval()
    torch.testing.assert_close(model.body(codes), scores_by_hand(hand, codes, first, second, training=False))
    assert not torch.allclose(model.body(codes), scores_by_hand(hand, codes, first, first, False), atol=1e-3)


@pytest.mark.parametrize("name", ["wrn16_1", "densenet40_12"])
def test_it_is_the_network_and_a_copy_with_the_same_weights(name):
    """Norms within blocks and between them, and one behind the stages, where there is one pass alone."""
    model = fpd(backbone=build_backbone(name, 4), statistics="by_pass").double().train()
    first = copy.deepcopy(model)
    second = copy.deepcopy(first.trunk)
    given = images(4)

    def scores() -> torch.Tensor:
        (codes,) = first.read(given)
        y = first.restoration(first._maps(codes)) + gram_product(codes)
        ends, first.trunk = first.trunk, second
        maps = first._maps(y)
        first.trunk = ends
        return torch.tanh(first.trunk.end(maps[-1]))

    for _ in range(2):
        torch.testing.assert_close(model(given), scores())
    model.eval(), first.eval(), second.eval()
    torch.testing.assert_close(model(given), scores())


@pytest.mark.parametrize("name", STAGED)
def test_norms_of_each_network_that_run_once(name):
    with torch.device("meta"):
        network = build_backbone(name, 3)
    norms = {each for each, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)}
    twice = set(norms_that_run(network, lambda: probed_shapes(network)))
    assert norms - twice == (set() if network.activated else {"norm"})


# -- one set ----------------------------------------------------------------------------------------------------------


def test_a_shared_set_is_as_it_was():
    """No other keys, the same weights, and in training, where norms read their batch, the same scores."""
    shared, by_pass = small("shared").train(), small().train()
    assert shared.second_statistics is None
    more = {f"second_statistics.norms.{norm}.{key}" for norm in range(3) for key in RUNNING}
    assert set(by_pass.state_dict()) - more == set(shared.state_dict())
    assert more <= set(by_pass.state_dict())
    assert all(torch.equal(by_pass.get_parameter(name), each) for name, each in shared.named_parameters())
    assert torch.equal(shared(images(4)), by_pass(images(4)))
    assert {int(norm.num_batches_tracked) for norm in shared.trunk.norms} == {2}
    with pytest.raises(RuntimeError, match=r"Missing key.*second_statistics"):
        by_pass.load_state_dict(shared.state_dict())


def test_without_learning_it_comes_to_classify_in_eval_mode_as_in_training():
    """Running statistics become those of the batch; n / (n - 1) for variances, of 256 values at least 16, is left."""
    differences = {}
    for statistics in ("shared", "by_pass"):
        model = small(statistics).double().train()
        with torch.no_grad():
            for _ in range(100):
                trained = model(images(16))
            differences[statistics] = (model.eval()(images(16)) - trained).abs().max().item()
    assert differences["by_pass"] < 0.02
    assert differences["shared"] > 5 * differences["by_pass"]


# -- the exchange -----------------------------------------------------------------------------------------------------


def buffers_of(network: nn.Module) -> dict[str, int]:
    return {name: id(buffer) for name, buffer in network.named_buffers()}


def test_norms_have_their_own_buffers_again_also_after_an_error():
    model = small().train()
    before, passes = buffers_of(model), []

    def failing(module, _):
        passes.append(buffers_of(model.trunk))
        if len(passes) == 2:
            raise ZeroDivisionError

    handle = model.trunk.upper.register_forward_pre_hook(failing)
    with pytest.raises(ZeroDivisionError):
        model(images(4))
    first, second = passes
    assert first == buffers_of(model.trunk)
    assert second == buffers_of(model.second_statistics)
    assert buffers_of(model) == before
    handle.remove()
    model(images(4)).sum().backward()
    assert buffers_of(model) == before  # updated in their places
    assert model.second_statistics.norms.get_submodule("0").num_batches_tracked == 2


def test_only_norms_that_ran_have_a_second_set():
    class Late(Small):
        def end(self, features):
            return super().end(self.norms[2](features))

        def stage_modules(self):
            return [self.lower, nn.Sequential(self.upper, self.norms[1:2])[:1]]

    late = Late(norms=True)
    late.norms[1].running_mean = None
    features = torch.zeros(2, 4, 8, 8)
    assert norms_that_run(late, lambda: late.begin(features)) == ["norms.0"]
    assert norms_that_run(late.eval(), lambda: late(features)) == ["norms.0", "norms.2"]
    assert not any(norm._forward_pre_hooks for norm in late.norms)
    assert list(second_statistics(late, ["norms.2"]).state_dict()) == [f"norms.2.{key}" for key in RUNNING]


# -- who reads the buffers --------------------------------------------------------------------------------------------


def test_an_attack_goes_through_both_sets():
    model = apart(small())
    (codes,) = model.read(images(4))
    codes.requires_grad_()
    (expected,) = torch.autograd.grad(model.climbed(codes).square().sum(), codes)
    with attacked(model):
        climbed = model.climbed(codes)
        (found,) = torch.autograd.grad(climbed.square().sum(), codes)
    torch.testing.assert_close(found, expected)
    one_set = small("shared").eval()
    one_set.load_state_dict(model.state_dict(), strict=False)
    assert not torch.allclose(torch.autograd.grad(one_set.climbed(codes).square().sum(), codes)[0], found, rtol=0.1)


def test_the_fused_norm_updates_the_set_in_use():
    norm = nn.Sequential(nn.BatchNorm2d(4)).train()
    second = second_statistics(norm, ["0"])
    features = torch.rand(2, 4, 3, 3).contiguous(memory_format=torch.channels_last)
    with in_use(norm, second):
        fused_batch_norm_relu(norm[0], features)
    plain = nn.BatchNorm2d(4).train()
    plain(features)
    torch.testing.assert_close(dict(second.get_submodule("0").named_buffers()), dict(plain.named_buffers()))
    assert not norm[0].running_mean.any()


def test_synchronised_norms_keep_both_sets():
    model = apart(small())
    given, before = images(4), {key: value.clone() for key, value in model.state_dict().items()}
    expected = model(given)
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert all(type(norm) is nn.SyncBatchNorm for norm in converted.trunk.norms)
    assert list(converted.state_dict()) == list(before)
    torch.testing.assert_close(converted(given), expected, rtol=0, atol=0)
    copied = copy.deepcopy(converted).train()
    copied(given)
    assert copied.second_statistics.norms.get_submodule("0").num_batches_tracked == 1
    assert not torch.equal(
        copied.state_dict()["second_statistics.norms.0.running_mean"], before["trunk.norms.0.running_mean"]
    )


@pytest.mark.parametrize("form", ["lookup", "folded"])
def test_a_program_has_both_sets(form):
    model = apart(small())
    program = exported(model, form, (8, 8))
    assert largest_difference(program.module(), model, (8, 8), (1, 3)) < 1e-5
    kept = [name for name in program.state_dict if "second_statistics" in name and not name.endswith("tracked")]
    assert len(kept) == 6
    one_set = small("shared").eval()
    one_set.load_state_dict(model.state_dict(), strict=False)
    assert not torch.allclose(one_set(images(4)), model(images(4)), atol=1e-2)


def test_a_functional_call_has_both_sets():
    model = apart(small())
    given = images(4)
    expected = model(given)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    torch.testing.assert_close(torch.func.functional_call(model, state, (given,)), expected)
    state["second_statistics.norms.0.running_mean"] += 1
    assert not torch.allclose(torch.func.functional_call(model, state, (given,)), expected, atol=1e-2)
    torch.testing.assert_close(model(given), expected)


# -- where there is nothing to keep apart -----------------------------------------------------------------------------


def test_a_network_without_batch_norms_is_refused():
    with pytest.raises(
        BadInput, match=r"^model\.statistics=by_pass: must be shared with Small, which has no batch norms$"
    ):
        fpd(statistics="by_pass")


def test_it_is_told_in_names():
    keys = {"width": 8, "dropout": 0.0, "tanh": True, "denoise": False, "image_denoise": True, "restoration": True}
    assert FPDModelConfig(**keys, statistics="shared").label == "fpd-no-denoise"
    assert FPDModelConfig(**keys, statistics="by_pass").label == "fpd-no-denoise-by_pass"
    assert fpd(**OFF).second_statistics is None
