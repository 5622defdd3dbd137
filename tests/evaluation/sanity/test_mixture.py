"""A mixture and its robust part under the same attack: which of the two is right more often."""

import re

import torch
from torch import Tensor
from torch.nn import functional as F

from models_of_readers import net
from p2be_exp.attacks.random import AttackRandom
from p2be_exp.encodings import RGB
from p2be_exp.evaluation.sanity.mixture import NAME, no_more_robust_than_its_part
from p2be_exp.models.classifier import Classifier
from p2be_exp.models.mixed import MixedClassifier
from p2be_exp.models.readers import CodeReader
from usual import P2BE


class Bright(Classifier):
    """Says 1 of images brighter than half, by a slope that may point the wrong way."""

    def __init__(self, false: bool) -> None:
        super().__init__()
        self.encoding, self.false = RGB(), false

    @property
    def readers(self):
        return (CodeReader(self.encoding),)

    def body(self, codes: Tensor) -> Tensor:
        brightness = codes.mean(dim=(1, 2, 3)) - 0.5
        logit = 100 * brightness
        if self.false:
            logit = 3 * brightness.sign() - 1e4 * (brightness - brightness.detach())
        return F.pad(logit[:, None], (1, 2))


def checked(accurate, robust, alpha):
    """On images some of which are a few levels from the threshold."""
    values = torch.tensor([100, 118, 122, 124, 126, 129, 131, 133, 137, 160] * 4, dtype=torch.uint8)
    images = values.view(-1, 1, 1, 1).expand(-1, 3, 5, 5).contiguous()
    labels = (values > 127).long()
    model = MixedClassifier(Bright(accurate), Bright(robust), alpha).eval()
    return no_more_robust_than_its_part(model, images, labels, 8, AttackRandom(0, torch.arange(len(labels))))


def test_a_mixture_whose_gradient_misleads_is_suspicious():
    check = checked(accurate=True, robust=False, alpha=0.4)
    assert (check.name, check.verdict) == (NAME, "suspicious")
    counts = re.search(
        r"at 8 levels: of 40 images (\d+) are right with the mixture alone, (\d+) with its", check.detail
    )
    more, fewer = map(int, counts.groups())
    assert more >= 8
    assert fewer == 0


def test_one_whose_gradient_is_true_is_not():
    check = checked(accurate=False, robust=False, alpha=0.6)
    assert check.verdict == "ok"
    assert "0 are right with the mixture alone, 0 with its robust part alone, p = 1." in check.detail


def test_a_part_on_codes_is_attacked_by_lspga_too():
    torch.manual_seed(0)
    parts = [net(encoding, seed).float() for seed, encoding in enumerate((RGB(), P2BE(8)))]
    model = MixedClassifier(*parts, alpha=0.7).eval()
    images = torch.randint(256, (4, 3, 5, 5), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    check = no_more_robust_than_its_part(model, images, model(images).argmax(1), 8, AttackRandom(0, torch.arange(4)))
    assert check.detail.startswith("pgd_margin_secant and lspga at 8 levels: of 4 images")
