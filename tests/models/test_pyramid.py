"""Feature Pyramid Decoder: the published network written out, each part switched off, sizes, what the tanh hides."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from p2be_exp.attacks.attack import attacked
from p2be_exp.attacks.build import build_attack
from p2be_exp.attacks.lspga import LSPGA
from p2be_exp.attacks.random import AttackRandom
from p2be_exp.backbones import StemShape, build_backbone
from p2be_exp.backbones.dropout import DropoutRandom, dropout_from
from p2be_exp.config import training_config
from p2be_exp.encodings import RGB, OneHot, Thermometer
from p2be_exp.errors import BadInput
from p2be_exp.export import exported, largest_difference
from p2be_exp.models.model import EncodedClassifier, build_model
from p2be_exp.models.pyramid import PyramidClassifier, check_restored_size
from p2be_exp.registry import option
from pyramid_by_hand import ResNet50, ResNeXt29, both_passes, denoised, gram_product
from small_pyramids import OFF, Small, fpd, images
from staged_backbones import STAGED
from usual import P2BE, PGD, Square

# -- the published network --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "written", "size"), [("resnet50", ResNet50, 64), ("resnext29_32x4d", ResNeXt29, 8)], ids=["x4", "x1"]
)
def test_with_rgb_and_elu_it_is_the_published_network(name, written, size):
    model = fpd(backbone=build_backbone(name, 5, activation="elu")).double().train()
    given = images(2, size)
    net = written({key: value.detach().clone().requires_grad_() for key, value in model.named_parameters()})
    (codes,) = model.read(given)
    torch.testing.assert_close(codes, given.double() / 255, rtol=1e-7, atol=0)  # a table of float32
    restored, scores = both_passes(net, codes)
    found = model.passes(codes)
    torch.testing.assert_close(found.restored, restored, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(found.scores, scores, rtol=1e-8, atol=1e-8)
    assert torch.equal(model(given), torch.tanh(model.climbed(*model.read(given))))
    norms = [each for each in model.modules() if isinstance(each, nn.BatchNorm2d)]
    assert norms
    assert {int(each.num_batches_tracked) for each in norms} == {3 * 2}  # three forward passes of two each

    labels = torch.tensor([1, 3])
    for r, s in ((found.restored, found.scores), (restored, scores)):
        (F.cross_entropy(s, labels) + F.mse_loss(r, codes)).backward()
    for key, value in model.named_parameters():
        torch.testing.assert_close(
            value.grad, net.state[key].grad, rtol=1e-6, atol=1e-8, msg=lambda m, k=key: f"{k}: {m}"
        )


@pytest.mark.parametrize(
    ("backbone", "width", "all_of_it", "of_restoration"),
    # As counted in the reference's models: ResNet-50 with D = 128; pyramid and decoder of four stages to 2048 channels.
    [("resnet50", 128, 24_205_133, 676_611), ("resnet50", 256, 23_528_522 + 1_643_907, 1_643_907)],
)
def test_numbers_of_parameters(backbone, width, all_of_it, of_restoration):
    with torch.device("meta"):
        model = fpd(backbone=build_backbone(backbone, 10), width=width)
    assert sum(each.numel() for each in model.parameters()) == all_of_it
    assert sum(each.numel() for each in model.restoration.parameters()) == of_restoration


def test_codes_take_the_place_of_colours():
    """The Gram matrix is 3M x 3M, and what is restored are codes."""
    model = fpd(Thermometer(5)).double()
    (codes,) = model.read(images())
    found = model.passes(codes)
    assert found.restored.shape == codes.shape == (3, 15, 8, 8)
    y = gram_product(codes) + found.restored
    torch.testing.assert_close(found.climbed, classified(model, y))


def classified(model, y):
    """The second pass, written out for :class:`Small`."""
    trunk = model.trunk
    x = torch.tanh(F.conv2d(y, model.stem.weight, stride=2, padding=1))
    x = trunk.upper(denoised(trunk.lower(denoised(x)).tanh())).tanh()
    return trunk.classifier(x.mean((2, 3)))


def test_what_no_batch_norm_has_brought_to_one_size_is_denoised_relatively():
    """As in a Wide ResNet, whose blocks begin with theirs."""
    sizes = {name: option("backbone", name).factory().activated for name in STAGED}
    assert {name for name, activated in sizes.items() if not activated} == {
        each for each in STAGED if each.startswith(("wrn", "densenet"))
    }
    model = fpd(**OFF | {"denoise": True}).double()
    model.trunk.activated = False
    (x,) = model.read(images())
    f = torch.tanh(F.conv2d(x, model.stem.weight, stride=2, padding=1))
    for convolution in (model.trunk.lower, model.trunk.upper):
        f = f + torch.stack([gram_product(each[None])[0] / (each**2).mean() for each in f])
        f = convolution(f).tanh()
    torch.testing.assert_close(model.body(x), model.trunk.classifier(f.mean((2, 3))))


def test_initial_weights():
    """N(0, 2 / (k k out)) for the convolutions of the pyramid; the transposed ones and biases start as PyTorch's."""
    part = fpd(backbone=build_backbone("resnext29_32x4d", 5), width=128).restoration
    assert part.laterals[2].weight.std().item() == pytest.approx((2 / 128) ** 0.5, rel=0.02)
    assert part.smooth.weight.std().item() == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.02)
    bound = 1 / (64 * 4) ** 0.5  # PyTorch's fan in of a transposed convolution is by its outputs
    weight = part.decoder.layers[0].weight
    assert 0.98 * bound < weight.abs().max().item() <= bound
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.03)
    assert part.smooth.bias.abs().max() > 0


# -- each part --------------------------------------------------------------------------------------------------------


def test_without_its_parts_it_is_the_plain_network():
    model = fpd(Thermometer(5), **OFF)
    plain = EncodedClassifier(Thermometer(5), copy.deepcopy(model.trunk))
    plain.load_state_dict(model.state_dict())
    torch.testing.assert_close(model(images()), plain(images()), rtol=1e-5, atol=1e-6)
    with_all = fpd(Thermometer(5)).state_dict()
    assert set(model.state_dict()) == {key for key in with_all if not key.startswith("restoration.")}


@pytest.mark.parametrize("image_denoise", [True, False])
@pytest.mark.parametrize("restoration", [True, False])
def test_what_the_second_pass_reads(restoration, image_denoise):
    model = fpd(restoration=restoration, image_denoise=image_denoise).double()
    (x,) = model.read(images())
    found = model.passes(x)
    assert (found.restored is not None) == restoration
    y = found.restored if restoration else x
    torch.testing.assert_close(found.climbed, classified(model, y + gram_product(x) if image_denoise else y))


def test_inner_denoising_and_the_tanh():
    on, off = fpd(**OFF | {"denoise": True}).double(), fpd(**OFF).double()
    (x,) = on.read(images())
    torch.testing.assert_close(on.body(x), classified(on, x))
    assert not torch.allclose(on.body(x), off.body(x))
    bounded = fpd(**OFF | {"tanh": True}).double()
    scores, climbed = bounded.answers(x)
    assert torch.equal(climbed, off.body(x))
    assert torch.equal(scores, climbed.tanh())
    assert all(torch.equal(each, off.body(x)) for each in off.answers(x))


def test_dropout_is_before_the_linear_layer_and_by_image():
    model, without = fpd(dropout=0.5).double().train(), fpd().double()
    assert list(model.state_dict()) == list(without.state_dict())
    without.load_state_dict(model.state_dict())
    assert torch.equal(model.eval()(images()), without(images()))
    model.train()
    pooled = without.passes(*without.read(images())).maps[-1].mean((2, 3))
    with dropout_from(model, DropoutRandom(0, 1, torch.tensor([4, 5, 6]))):
        found = model.climbed(*model.read(images()))
    with dropout_from(model, DropoutRandom(0, 1, torch.tensor([6]))):
        alone = model.climbed(*model.read(images()[2:]))
    torch.testing.assert_close(found[2:], alone)
    linear = model.trunk.classifier
    possible = [pooled[0] * torch.tensor([bool(n >> bit & 1) for bit in range(8)]) * 2 for n in range(256)]
    wanted = torch.stack(possible) @ linear.weight.T + linear.bias
    assert (wanted - found[0]).abs().amax(1).min() < 1e-9


def test_a_network_with_another_end_takes_no_dropout():
    class Pooled(Small):
        def __init__(self):
            super().__init__()
            self.classifier = nn.Identity()

    with pytest.raises(BadInput, match=r"^model.dropout=0.5: must be 0 with Pooled, which has 0 linear layers behind"):
        fpd(backbone=Pooled(), dropout=0.5)


# -- precision, and the tanh ------------------------------------------------------------------------------------------


def test_from_9_on_float32_has_no_tanh_below_1():
    model = fpd(backbone=Small(3)).eval()
    with torch.no_grad():
        model.trunk.classifier.weight.mul_(1e-3)
        model.trunk.classifier.bias.copy_(torch.tensor([9.1, 9.9, -1.0]))
    (codes,) = model.read(images())
    codes.requires_grad_()
    scores, climbed = model.answers(codes)
    assert torch.equal(scores[:, :2], torch.ones(3, 2))  # classes tie, and the first is taken
    assert scores.argmax(1).tolist() == [0, 0, 0]
    assert climbed.argmax(1).tolist() == [1, 1, 1]
    differences = [(each[:, 1] - each[:, 0]).sum() for each in (scores, climbed)]
    of_scores, of_climbed = (torch.autograd.grad(each, codes, retain_graph=True)[0] for each in differences)
    assert not of_scores.any()
    assert of_climbed.any()
    assert torch.tanh(torch.tensor(9.02)) == 1
    assert torch.tanh(torch.tensor(8.9)) < 1


def test_in_bf16_denoising_the_last_layer_and_the_tanh_are_in_float32():
    model = fpd(width=16).train()
    with torch.no_grad():
        model.trunk.classifier.bias.fill_(4.0)
    with torch.autocast("cpu", torch.bfloat16):
        found = model.passes(*model.read(images()))
    assert found.climbed.dtype == torch.bfloat16
    assert found.restored.dtype == found.scores.dtype == torch.float32
    assert (found.scores < 1).all()  # tanh(4) is 1 in bf16
    assert torch.tanh(torch.tensor(4.0).bfloat16()) == 1
    (found.restored.mean() + found.scores.mean()).backward()
    assert all(each.grad.isfinite().all() for each in model.parameters())


# -- attacks ----------------------------------------------------------------------------------------------------------

ENCODINGS = {"rgb": RGB, "onehot": lambda: OneHot(6), "thermometer": lambda: Thermometer(6), "p2be": lambda: P2BE(6)}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_attacks_climb_what_is_before_the_tanh(encoding):
    torch.manual_seed(1)
    model = fpd(ENCODINGS[encoding]()).eval()
    with torch.no_grad():
        model.trunk.classifier.bias += 12.0  # every score is 1, without a gradient
    given, labels = images(), torch.zeros(3, dtype=torch.int64)
    before = model.climbed(*model.read(given))
    lspga = LSPGA(24, 6, 1.0, 1.2, anneal="soften", step_rule="sign", init="normal", restarts=1)
    for attack in (
        PGD(24, steps=6, stop_when_wrong=False),
        PGD(24, loss="margin", steps=6, stop_when_wrong=False),
        lspga,
    ):
        with attacked(model):
            found = attack.search(model, given, labels, AttackRandom(0, torch.arange(3)))
        after = model.climbed(*model.read(found.images))
        assert found.zero_gradient.max() < 1
        assert F.cross_entropy(after, labels) > F.cross_entropy(before, labels), attack.id
    # Every image counts as right, since the first of equal scores is taken: success is judged behind the tanh.
    assert not Square(8, 5)(model, given, labels, AttackRandom(0, torch.arange(3))).broken.any()


def test_an_attack_on_the_scores_sees_what_the_tanh_leaves_of_the_way():
    model, given, labels, random = (
        fpd().eval(),
        images(),
        torch.zeros(3, dtype=torch.int64),
        AttackRandom(0, torch.arange(3)),
    )
    on_scores = PGD(24, loss="margin", steps=6, stop_when_wrong=False, climb="outputs")
    with torch.no_grad():
        model.trunk.classifier.bias += 12.0
    with attacked(model):
        found = on_scores.search(model, given, labels, random)
    assert found.zero_gradient.tolist() == [1.0] * 3
    assert torch.equal(found.images, given)


@pytest.mark.parametrize(("loss", "start"), [("margin", "image"), ("ce", "image"), ("kl", "near")])
def test_an_attack_on_the_scores_is_one_on_a_network_that_knows_no_others(loss, start):
    class ScoresAlone(PyramidClassifier):
        def answers(self, *features):
            return self.body(*features), self.body(*features)

    model, given, labels = fpd().double().eval(), images(), torch.arange(3)
    random = AttackRandom(0, labels)
    with torch.no_grad():
        model.trunk.classifier.weight *= 20  # where the tanh is no line
    alone = copy.deepcopy(model)
    alone.__class__ = ScoresAlone
    of = {
        climb: PGD(9, loss=loss, start=start, steps=5, stop_when_wrong=False, climb=climb)
        for climb in ("logits", "outputs")
    }
    with attacked(model), attacked(alone):
        expected = of["logits"].search(alone, given, labels, random)
        found = {climb: attack.search(model, given, labels, random) for climb, attack in of.items()}
    torch.testing.assert_close(found["outputs"].losses, expected.losses)
    assert torch.equal(found["outputs"].images, expected.images)
    assert not torch.allclose(found["logits"].losses, expected.losses, rtol=1e-2)


@pytest.mark.parametrize("saturated", [False, True])
def test_the_twin_has_the_logits_and_the_gradient_of_what_is_before_the_tanh(saturated):
    model, without = fpd(P2BE(6)).double().eval(), fpd(P2BE(6), tanh=False).double().eval()
    with torch.no_grad():
        model.trunk.classifier.bias += 40.0 * saturated  # of float64, tanh is 1 from 19.1 on
    without.load_state_dict(model.state_dict())
    floats = (images().double() / 255).requires_grad_()
    weights = torch.tensor([1.0, -2.0, 0.5, 3.0]).double()
    logits = model.surrogate("secant")(floats)
    assert torch.equal(logits, model(images()))
    assert logits.eq(1).all() == saturated
    (found,) = torch.autograd.grad((logits @ weights).sum(), floats)
    (expected,) = torch.autograd.grad((without.surrogate("secant")(floats) @ weights).sum(), floats)
    assert found.any()
    torch.testing.assert_close(found, expected)


def test_attacks_of_libraries_see_the_way_and_are_judged_behind_the_tanh():
    pytest.importorskip("foolbox", reason="foolbox is not installed: pip install -e '.[attacks]'")
    model, given, labels, random = (
        fpd().eval(),
        images(),
        torch.zeros(3, dtype=torch.int64),
        AttackRandom(0, torch.arange(3)),
    )
    with torch.no_grad():
        model.trunk.classifier.bias += 12.0
    attack = build_attack(training_config(["attack=foolbox", "attack.method=pgd", "attack.steps=3"]).attack, 24)
    found = attack(model, given, labels, random)
    assert found.zero_gradient.max() < 1
    assert not found.broken.any()  # of equal scores the first counts


# -- sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STAGED)
@torch.no_grad()
def test_what_is_restored_has_the_size_of_the_image(name):
    model = fpd(backbone=build_backbone(name, 3)).eval()
    for side in (64, 68, 224) if name == "resnet50" else (9, 16):
        found = model.passes(torch.zeros(1, 3, side, side))
        assert (found.restored.shape, found.scores.shape) == ((1, 3, side, side), (1, 3))
        check_restored_size(config_of(f"backbone={name}"), side)


def config_of(*overrides):
    return training_config(["model=fpd", "dataset=image_folder", "encoding=rgb", *overrides])


def test_a_side_that_cannot_be_halved_is_refused():
    told = r"^backbone=resnet50: with model=fpd it takes .* divided by 4, such as 64 x 64 and 68 x 68, not 66 x 66$"
    with pytest.raises(BadInput, match=told):
        check_restored_size(config_of("backbone=resnet50"), 66)
    check_restored_size(config_of("backbone=resnet50", "model.restoration=false", "regime=standard"), 66)


@torch.no_grad()
def test_whoever_calls_it_is_told_of_such_a_side():
    with pytest.raises(ValueError, match=r"^images of 9 x 9 are restored as 10 x 10$"):
        fpd().passes(torch.zeros(1, 3, 9, 9))


def test_a_side_that_is_divided_by_3_is_none_to_be_halved():
    class Thirds(Small):
        stem = StemShape(out_channels=4, stride=3)

    with pytest.raises(
        BadInput, match=r"^model=fpd: of images of 32 x 32 the first stage of Thirds gives maps of 11 x 11"
    ):
        fpd(backbone=Thirds())


def test_it_is_built_by_its_configuration():
    keys = ["model.width=5", "model.dropout=0.25", "model.tanh=false", "model.image_denoise=false"]
    config = config_of("backbone=wrn16_1", "encoding=p2be", "encoding.M=4", "backbone.activation=elu", *keys)
    model = build_model(config, 7)
    assert isinstance(model, PyramidClassifier)
    assert (model.tanh, model.denoise, model.image_denoise) == (False, True, False)
    assert model.restoration.smooth.weight.shape == (5, 5, 3, 3)
    assert model.trunk.classifier.dropout.p == 0.25
    assert model(images()).shape == (3, 7)
    network, tables = model.learned()
    assert len(network) + len(tables) == len(list(model.parameters()))
    assert [each.shape for each in tables] == [(256, 4)]


# -- export -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("encoding", "form"), [("rgb", "lookup"), ("p2be", "folded")])
def test_it_is_exported(encoding, form):
    model = fpd(ENCODINGS[encoding]()).eval()
    assert largest_difference(exported(model, form, (8, 8)).module(), model, (8, 8), (1, 3)) < 1e-4
