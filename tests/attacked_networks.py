"""Small networks on which libraries' attacks have something to find."""

import copy

import torch
from torch import nn

from p2be_exp.attacks.attack import predict
from p2be_exp.attacks.random import AttackRandom
from p2be_exp.backbones import Backbone, StemShape
from p2be_exp.encodings import RGB
from p2be_exp.models.model import EncodedClassifier


class Trunk(Backbone):
    """One bend and one linear layer."""

    def __init__(self, size, classes):
        super().__init__()
        self.stem = StemShape(out_channels=6)
        self.classifier = nn.Linear(6 * size * size, classes)

    def forward(self, features):
        return self.classifier(features.sin().flatten(1))


def attacked_network(encoding, batch=12, size=6, classes=4):
    """A network of any weights, images, the classes that it gives them, and their random numbers."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = EncodedClassifier(copy.deepcopy(encoding), Trunk(size, classes)).eval()
        images = torch.randint(256, (batch, 3, size, size)).to(torch.uint8)
    return model, images, predict(model, images), AttackRandom(0, torch.arange(batch))


class LinearTrunk(Backbone):
    """Logits linear in the codes."""

    def __init__(self, size, classes):
        super().__init__()
        self.stem = StemShape(out_channels=3, kernel_size=1, padding=0)
        self.classifier = nn.Linear(3 * size * size, classes)

    def forward(self, features):
        return self.classifier(features.flatten(1))


def linear_network(batch=6, size=8, classes=4):
    """An RGB network that is linear in the levels, images in the middle of their range, classes, random numbers."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = EncodedClassifier(RGB(), LinearTrunk(size, classes)).eval()
        with torch.no_grad():
            model.stem.weight.copy_(torch.eye(3)[:, :, None, None])
            head = model.trunk.classifier
            head.bias.copy_(-head.weight.sum(1) / 2)  # at mid-grey all classes are alike
        images = torch.randint(64, 192, (batch, 3, size, size)).to(torch.uint8)
    return model, images, predict(model, images), AttackRandom(0, torch.arange(batch))


def distances_to_boundary(model, images, labels):
    """The exact L2 distance in levels of each image of a linear network to its nearest boundary, in float64.

    (f_y - f_k) / |w_y - w_k| of the nearest class k, of real-valued images: no image of whole levels is nearer.
    """
    head = model.trunk.classifier
    weight, bias = head.weight.detach().double() / 255, head.bias.detach().double()
    found = []
    for image, label in zip(images.flatten(1).double(), labels.tolist(), strict=True):
        logits = weight @ image + bias
        others = [k for k in range(len(bias)) if k != label]
        found.append(min(float((logits[label] - logits[k]) / (weight[label] - weight[k]).norm()) for k in others))
    return torch.tensor(found, dtype=torch.float64)
