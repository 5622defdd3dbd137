"""A set of image files: what is in it, what of it is read, and that nothing is opened before."""

import numpy as np
import pytest
import torch

from p2be_exp.augment.resized_crop import DRAWS, crop_box
from p2be_exp.data.decoding import TestView, cropped_levels, open_picture, test_levels
from p2be_exp.data.files import FileSet, decode
from p2be_exp.data.listing import listed
from p2be_exp.errors import BadInput
from pictures import WNIDS, damage, write_part

test_levels.__test__ = False  # not a test
VIEW = TestView(32, 36)


@pytest.fixture
def files(tmp_path) -> FileSet:
    return listed(write_part(tmp_path / "train"), WNIDS, VIEW, "made/train")


def paths(files: FileSet) -> list:
    return [files.folder / name.decode() for name in files.files(torch.arange(len(files)))]


def expected(files: FileSet, positions) -> torch.Tensor:
    every = paths(files)
    levels = [test_levels(open_picture(every[position]), VIEW) for position in positions]
    return torch.from_numpy(np.stack(levels)).permute(0, 3, 1, 2)


def test_what_it_holds(files):
    assert (len(files), files.num_classes, files.size, files.device) == (12, 3, (32, 32), torch.device("cpu"))
    assert files.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert files.indices.tolist() == list(range(12))
    assert [path.name for path in paths(files)][4:6] == ["n01443537_0.JPEG", "n01443537_1.JPEG"]
    assert files.to(torch.device("meta")) is files


def test_images_are_read_where_they_are_asked_for(files):
    positions = torch.tensor([7, 0, 11])
    part = files.read(positions)
    assert torch.equal(torch.from_numpy(part.images), expected(files, [7, 0, 11]))
    assert part.kept.all()
    assert part.unreadable == ()
    assert torch.equal(files.pictures(positions), expected(files, [7, 0, 11]))


def test_a_subset_keeps_the_numbers_of_its_images(files):
    some = files.subset([10, 2, 5]).subset([2, 0])
    assert (some.indices.tolist(), some.labels.tolist(), some.name) == ([5, 10], [1, 2], "made/train")
    assert torch.equal(some.pictures(torch.tensor([0, 1])), expected(files, [5, 10]))


def test_subsets_and_numbers_open_no_file(files, monkeypatch):
    monkeypatch.setattr("p2be_exp.data.files.open_picture", lambda file: pytest.fail(f"{file} was opened"))
    assert len(files.subset(range(5)).digest()) == 64


def test_random_crops_follow_their_draws(files):
    draws = np.random.default_rng(0).random((12, DRAWS))
    part = decode(files.folder, files.files(torch.arange(12)), VIEW, draws)
    for place, path in enumerate(paths(files)):
        picture = open_picture(path)
        levels = cropped_levels(picture, crop_box(draws[place], picture.height, picture.width), 32)
        assert np.array_equal(part.images[place], levels.transpose(2, 0, 1))


def test_what_cannot_be_read_is_left_out_and_named(files):
    first, second = damage(paths(files)[0]), damage(paths(files)[6])
    part = files.read(torch.tensor([6, 1, 0, 7]))
    assert part.kept.tolist() == [False, True, False, True]
    assert [each.file for each in part.unreadable] == [second, first]
    assert all("truncated" in each.reason for each in part.unreadable)
    assert torch.equal(torch.from_numpy(part.images), expected(files, [1, 7]))
    with pytest.raises(BadInput, match=rf"{second}: cannot be read \(.*truncated.*\)$"):
        files.pictures(torch.tensor([1, 6]))


def test_the_first_that_can_be_read(files):
    for place in (0, 1, 4):
        damage(paths(files)[place])
    first = files.first(4)
    assert first.indices.tolist() == [2, 3, 5, 6]
    assert first.labels.tolist() == [0, 0, 1, 1]
    assert torch.equal(first.images, expected(files, [2, 3, 5, 6]))
    assert files.first(100).indices.tolist() == [2, 3, 5, 6, 7, 8, 9, 10, 11]


def test_names_may_be_listed_later(files):
    calls = []
    names = files.files(torch.arange(12))
    later = FileSet(files.folder, lambda: calls.append(1) or names, files.labels, WNIDS, VIEW)
    assert (len(later), calls) == (12, [])
    assert torch.equal(later.pictures(torch.tensor([3])), expected(files, [3]))
    assert torch.equal(later.pictures(torch.tensor([4])), expected(files, [4]))
    assert calls == [1]


def test_the_digest_tells_names_labels_and_classes_apart(files):
    same = FileSet(files.folder / "elsewhere", files.names, files.labels, WNIDS, VIEW, "other name")
    assert same.digest() == files.digest()
    fewer, moved = files.subset(range(11)), files.subset([1, 0, *range(2, 12)])
    relabelled = FileSet(files.folder, files.names, files.labels.flip(0), WNIDS, VIEW)
    renamed = FileSet(files.folder, files.names, files.labels, ("a", "b", "c"), VIEW)
    assert len({each.digest() for each in (files, fewer, moved, relabelled, renamed)}) == 5


def test_a_fingerprint_tells_other_files_and_another_cut_apart(files):
    told = files.fingerprint()
    assert told == {"test_files": files.digest(), "image_size": 32, "resized": 36}
    cut = FileSet(files.folder, files.names, files.labels, WNIDS, TestView(32, 40))
    assert told != cut.fingerprint() != files.subset([0]).fingerprint()


def test_no_image_is_refused(files):
    with pytest.raises(BadInput, match=r"^made/train: no images, at least one is needed$"):
        files.subset([])


def test_labels_that_do_not_fit_are_refused(files):
    with pytest.raises(BadInput, match=r"images: labels from 0 to 2, must be between 0 and 1"):
        FileSet(files.folder, files.names, files.labels, WNIDS[:2], VIEW)
    with pytest.raises(BadInput, match=r"images: indices must be int64 \(12,\)"):
        FileSet(files.folder, files.names, files.labels, WNIDS, VIEW, indices=torch.arange(11))
