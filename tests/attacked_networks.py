"""Small networks on which libraries' attacks have something to find."""

import copy

import torch
from torch import nn

from p2be_exp.attacks.attack import predict
from p2be_exp.attacks.random import AttackRandom
from p2be_exp.backbones import Backbone, StemShape
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
