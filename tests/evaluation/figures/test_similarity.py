"""The similarity of codes against SciPy's cosine distances, and its picture."""

import matplotlib.image
import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from p2be_exp.encodings import RGB, OneHot, Thermometer
from p2be_exp.evaluation.figures.similarity import draw_similarity, similarity
from usual import P2BE


def tables() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {
        "onehot": OneHot(10).table(),
        "thermometer": Thermometer(10).table(),
        "p2be": P2BE(64).table(),
        "latent": P2BE(64).weight,
    }


@pytest.mark.parametrize("name", tables())
def test_cosines_of_all_pairs(name):
    table = tables()[name]
    expected = 1 - cdist(table.detach().numpy(), table.detach().numpy(), "cosine")
    got = similarity(table)
    assert got.shape == (256, 256)
    assert not got.requires_grad
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-5)


def test_a_code_of_zeros_is_alike_to_nothing():
    table = torch.ones(256, 3)
    table[7] = 0
    got = similarity(table)
    assert not got[7].any()
    assert not got[:, 7].any()
    assert got[8, 9].item() == pytest.approx(1)
    assert similarity(RGB().table())[0, 0] == 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes(dtype):
    table = Thermometer(10).table()
    torch.testing.assert_close(similarity(table.to(dtype)), similarity(table))


def test_the_picture(tmp_path):
    path = tmp_path / "figures" / "table.png"
    draw_similarity(OneHot(2).table(), "two buckets", path)
    assert [file.name for file in path.parent.iterdir()] == ["table.png"]
    picture = matplotlib.image.imread(path)[..., :3]
    # Two buckets of 128 levels: a checkerboard of the ends of viridis, each about a quarter of the square.
    colours = matplotlib.colormaps["viridis"]
    for end in (0.0, 1.0):
        near = np.abs(picture - np.array(colours(end)[:3])).max(axis=-1) < 0.02
        assert 0.15 < near.mean() < 0.4


def test_figures_are_closed(tmp_path):
    from matplotlib import pyplot as plt

    before = plt.get_fignums()
    draw_similarity(OneHot(2).table(), "two buckets", tmp_path / "table.png")
    assert plt.get_fignums() == before
