"""The comparison of our training with the published method's plain form."""

import pytest
import torch

from benchmarks import accuracy
from benchmarks.accuracy import Pair, difference


def test_the_difference_is_paired():
    """By hand: mean 1, standard deviation 1, t of 2 degrees of freedom 4.3027."""
    pairs = [Pair(10.0, 10.0), Pair(20.0, 19.0), Pair(32.0, 30.0)]
    assert difference(pairs) == "+1.00 (-1.48 to +3.48)"
    assert difference(pairs[:1]) == "+0.00"


@pytest.mark.parametrize("encoding", ["rgb", "p2be"])
def test_both_forms_are_trained_from_the_same_weights(encoding, monkeypatch, capsys):
    seen = []
    take = accuracy.PublishedTraining.step

    def step(training, batch):
        if not seen:
            seen.append({name: value.clone() for name, value in training.net.state_dict().items()})
        take(training, batch)
        seen.append(training.lambda_smooth)

    monkeypatch.setattr(accuracy.PublishedTraining, "step", step)
    fitted = []
    prepare = accuracy.prepare

    def prepared(*arguments):
        trainer, module = prepare(*arguments)
        fitted.append((module, {name: value.clone() for name, value in module.model.state_dict().items()}))
        return trainer, module

    monkeypatch.setattr(accuracy, "prepare", prepared)
    accuracy.main(["--encodings", encoding, "--seeds", "1", "--overrides", "regime=standard", "epochs=1",
                   "batch_size=16", "limit_train=32", "limit_test=20"])  # fmt: skip
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith(f"| {encoding} | 1 |")]
    assert len(rows) == 2
    start, *steps = seen
    module, first = fitted[0]
    assert len(steps) == 2
    assert torch.equal(start["conv.weight"], first["stem.weight"])
    assert not torch.equal(module.model.state_dict()["stem.weight"], first["stem.weight"])  # ours was trained, too
