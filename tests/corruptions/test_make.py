"""Making a -C set: layout, manifest, the same bytes for any number of workers, stopping and going on, refusals."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest

from p2be_exp.corruptions import make, source
from p2be_exp.corruptions.apply import corrupt
from p2be_exp.corruptions.constants import CIFAR
from p2be_exp.corruptions.make import make_set
from p2be_exp.corruptions.published import FILES
from p2be_exp.corruptions.source import LeftOut
from p2be_exp.corruptions.store import StoredSet
from p2be_exp.corruptions.textures import find_textures
from p2be_exp.data.batch import Unreadable
from p2be_exp.errors import BadInput
from p2be_exp.system.ownership import LOCK

NAMES = ("gaussian_noise", "fog", "jpeg_compression")
SEVERITIES = (1, 2, 5)


class Source:
    """Images of noise: all of a data set of n, or some of it."""

    def __init__(self, n=23, indices=None, size=(16, 24), name="made_up"):
        self.name, self.total, self.size = name, n, size
        self.indices = np.arange(n) if indices is None else np.array(indices)
        self.labels = np.arange(n)[self.indices] % 7
        self.images = np.random.default_rng(5).integers(256, size=(n, *size, 3)).astype(np.uint8)[self.indices]
        self.classes, self.left_out = tuple("abcdefg"), ()
        self.fingerprint = {}

    def read(self, start, stop):
        return self.images[start:stop]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(source, "CHUNK_BYTES", 5 * 16 * 24 * 3)  # five images


@pytest.fixture
def frost_dir(tmp_path):
    from PIL import Image

    folder = tmp_path / "frost"
    folder.mkdir()
    for number, name in enumerate(("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")):
        values = np.random.default_rng(number).integers(256, size=(200, 220, 3)).astype(np.uint8)
        Image.fromarray(values).save(folder / name)
    return folder


def made(out, source=None, names=NAMES, severities=SEVERITIES, **settings):
    return make_set(source or Source(), out, names, severities, **settings)


def expected(source, name, severity, seed=0):
    return corrupt(source.images, name, severity, dataset=source.name, indices=source.indices, seed=seed)


def content(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def without_times(manifest):
    blocks = {name: block["sha256"] for name, block in manifest["blocks"].items()}
    return {**manifest, "blocks": blocks}


def test_layout_and_content(tmp_path):
    source = Source()
    made(tmp_path / "set", source)
    assert {file.name for file in (tmp_path / "set").iterdir()} - {LOCK} == {
        *(f"{name}.npy" for name in NAMES), "labels.npy", "manifest.json"
    }  # fmt: skip
    for name in NAMES:
        images = np.load(tmp_path / "set" / f"{name}.npy")
        assert (images.dtype, images.shape) == (np.uint8, (3 * 23, 16, 24, 3))
        for place, severity in enumerate(SEVERITIES):
            assert np.array_equal(images[place * 23 : (place + 1) * 23], expected(source, name, severity))
    labels = np.load(tmp_path / "set" / "labels.npy")
    assert labels.dtype == np.uint8
    assert labels.tolist() == [*source.labels] * 3


def test_the_manifest(tmp_path, frost_dir):
    textures = find_textures(frost_dir)
    manifest = made(tmp_path / "set", names=("frost", "fog"), seed=9, textures=textures)
    assert manifest == json.loads((tmp_path / "set" / "manifest.json").read_text())
    assert (manifest["dataset"], manifest["images"], manifest["seed"]) == ("made_up", 23, 9)
    assert (manifest["height"], manifest["width"], manifest["severities"]) == (16, 24, [1, 2, 5])
    assert manifest["constants_of"] == "cifar"
    assert manifest["constants"]["fog"] == [list(constants) for constants in CIFAR["fog"]]
    assert (manifest["classes"], manifest["unreadable"]) == (list("abcdefg"), [])
    assert "only the files under identical_to_the_published_file are the published ones" in manifest["notice"]
    assert manifest["identical_to_the_published_file"] == []
    assert {"numpy", "scipy", "opencv", "pillow", "numba", "p2be-exp"} == set(manifest["versions"][0])
    assert manifest["left_out"] == {}
    digests = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in frost_dir.iterdir()}
    assert manifest["frost_textures"] == digests
    assert list(manifest["blocks"]) == [f"{name}/{severity}" for name in ("frost", "fog") for severity in SEVERITIES]
    images = np.load(tmp_path / "set" / "fog.npy")
    for place, severity in enumerate(SEVERITIES):
        block = images[place * 23 : (place + 1) * 23]
        assert manifest["blocks"][f"fog/{severity}"]["sha256"] == hashlib.sha256(block.tobytes()).hexdigest()


@pytest.mark.parametrize("workers", [2, 5])
def test_the_bytes_do_not_depend_on_the_number_of_workers(tmp_path, workers):
    one = made(tmp_path / "one", workers=1)
    other = made(tmp_path / "other", workers=workers)
    assert without_times(one) == without_times(other)
    for file, data in content(tmp_path / "one").items():
        if file != "manifest.json":
            assert content(tmp_path / "other")[file] == data


def test_the_order_of_making_does_not_matter(tmp_path):
    made(tmp_path / "together")
    for name in reversed(NAMES):
        made(tmp_path / "apart", names=(name,))
    together, apart = content(tmp_path / "together"), content(tmp_path / "apart")
    assert all(together[f"{name}.npy"] == apart[f"{name}.npy"] for name in NAMES)
    assert set(json.loads(apart["manifest.json"])["constants"]) == set(NAMES)


def test_another_seed_or_data_set_gives_other_noise(tmp_path):
    blocks = [
        without_times(made(tmp_path / str(number), names=("gaussian_noise",), **settings))["blocks"]
        for number, settings in enumerate(({}, {"seed": 1}, {"source": Source(name="other")}))
    ]
    assert len({each for block in blocks for each in block.values()}) == 9


def test_a_part_of_a_data_set_has_the_same_images(tmp_path):
    chosen = [2, 3, 11, 22]
    made(tmp_path / "all")
    made(tmp_path / "part", Source(indices=chosen))
    assert np.load(tmp_path / "part" / "indices.npy").tolist() == chosen
    whole, part = StoredSet(tmp_path / "all", "dir"), StoredSet(tmp_path / "part", "dir")
    assert (len(whole), len(part), part.severities) == (23, 4, (1, 2, 5))
    assert part.labels.tolist() == whole.labels[chosen].tolist()
    for name in NAMES:
        for severity in SEVERITIES:
            assert np.array_equal(part.block(name, severity), whole.block(name, severity)[chosen])


def test_images_that_cannot_be_read_are_noted_and_known_to_be_lacking(tmp_path):
    source = Source(indices=[0, 1, 3])
    source.left_out = (LeftOut(2, "c/2.png", "not a picture"),)
    noted = [{"index": 2, "file": "c/2.png", "reason": "not a picture"}]
    assert made(tmp_path / "set", source)["unreadable"] == noted
    assert made(tmp_path / "set", source)["unreadable"] == noted  # once more: it goes on with it
    stored = StoredSet(tmp_path / "set")
    assert (stored.indices.tolist(), stored.unreadable) == ([0, 1, 3], {2: Unreadable("c/2.png", "not a picture")})


@pytest.mark.parametrize("noted", [3, [3], [{}], [{"index": None, "file": "", "reason": ""}], [[1, 2, 3]], "abc", None])
def test_a_manifest_with_odd_content_is_damaged(tmp_path, noted):
    made(tmp_path / "set", names=("fog",))
    file = tmp_path / "set" / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "unreadable": noted}))
    with pytest.raises(BadInput, match=r"set: manifest\.json is damaged$"):
        StoredSet(tmp_path / "set")


def test_a_set_from_before_classes_were_noted_goes_on(tmp_path):
    made(tmp_path / "set", names=("fog",))
    file = tmp_path / "set" / "manifest.json"
    old = {key: value for key, value in json.loads(file.read_text()).items() if key not in ("classes", "unreadable")}
    file.write_text(json.dumps(old))
    assert StoredSet(tmp_path / "set").unreadable == {}
    assert made(tmp_path / "set")["classes"] == list("abcdefg")


# -- compared with the published files --------------------------------------------------------------------------------


def identical(folder, source, names=("fog", "contrast"), severities=(1, 2, 3, 4, 5)):
    return made(folder, source, names, severities)["identical_to_the_published_file"]


def test_files_that_are_the_published_ones_are_noted(tmp_path, monkeypatch, published):
    source = Source(name="cifar10")
    assert identical(tmp_path / "set", source) == []
    published(tmp_path / "set")
    assert identical(tmp_path / "set", source) == ["fog", "contrast", "labels"]
    assert identical(tmp_path / "again", source, ("contrast",)) == ["contrast", "labels"]
    assert identical(tmp_path / "again", source, ("fog", "snow")) == ["fog", "contrast", "labels"]
    noted = json.loads((tmp_path / "again" / "manifest.json").read_text())["identical_to_the_published_file"]
    assert noted == ["fog", "contrast", "labels"]
    # Another table: what was noted is compared anew.
    monkeypatch.setitem(FILES["cifar10"], "fog", "0" * 32)
    assert identical(tmp_path / "set", source) == ["contrast", "labels"]


def test_a_part_and_another_data_set_are_no_published_files(tmp_path, published):
    made(tmp_path / "set", Source(name="cifar10"), ("fog",), (1, 2, 3, 4, 5))
    published(tmp_path / "set")
    assert identical(tmp_path / "part", Source(name="cifar10", indices=[1, 2])) == []
    assert identical(tmp_path / "severities", Source(name="cifar10"), severities=(1, 2)) == []
    assert identical(tmp_path / "other", Source(name="made_up")) == []


# -- stopped and continued --------------------------------------------------------------------------------------------


class Stop(BaseException):
    pass


def stop_after(images):
    """A progress that stops after so many images."""
    seen = []

    def progress(name, severity, count):
        seen.append(count)
        if sum(seen) >= images:
            raise Stop

    return progress


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("images", [1, 20, 23, 30, 46, 69, 75, 200, 207])
def test_stopped_anywhere_it_ends_with_the_same_files(tmp_path, images, workers):
    whole = made(tmp_path / "whole")
    with pytest.raises(Stop):
        made(tmp_path / "set", workers=workers, progress=stop_after(images))
    complete = {file.name for file in (tmp_path / "set").glob("*.npy")} - {"labels.npy"}
    for name in complete:  # what has its name is whole
        assert content(tmp_path / "set")[name] == content(tmp_path / "whole")[name]
    noted = json.loads((tmp_path / "set" / "manifest.json").read_text())["blocks"]
    assert len(noted) >= (images - 1) // 23 - 1
    again = made(tmp_path / "set")
    assert without_times(again) == without_times(whole)
    assert {block: again["blocks"][block] for block in noted} == noted  # not made again: the times are the first ones
    mine, theirs = content(tmp_path / "set"), content(tmp_path / "whole")
    assert mine.keys() == theirs.keys()
    assert all(mine[file] == theirs[file] for file in mine if file != "manifest.json")


def test_blocks_that_are_there_are_not_made_again(tmp_path, monkeypatch):
    with pytest.raises(Stop):
        made(tmp_path / "set", progress=stop_after(2 * 23))  # the second block is made, but not noted
    calls = []
    monkeypatch.setattr(make, "corrupt", lambda images, name, severity, **rest: calls.append((name, severity))
                        or corrupt(images, name, severity, **rest))  # fmt: skip
    told = []
    made(tmp_path / "set", progress=lambda name, severity, count: told.append((name, severity, count)))
    assert sorted(set(calls)) == sorted(
        (name, severity) for name in NAMES for severity in SEVERITIES if (name, severity) != (NAMES[0], 1)
    )
    assert sum(count for _, _, count in told) == 9 * 23
    calls.clear()
    made(tmp_path / "set")
    assert calls == []


def test_a_noted_block_that_never_reached_the_disk_is_made_again(tmp_path):
    made(tmp_path / "whole")
    with pytest.raises(Stop):
        made(tmp_path / "set", progress=stop_after(3 * 23 - 1))
    part = tmp_path / "set" / ".gaussian_noise.npy.part"
    with part.open("rb+") as file:
        file.seek(-3 * 23 * 16 * 24 * 3 + 100, os.SEEK_END)
        file.write(bytes(1000))
    made(tmp_path / "set")
    name = "gaussian_noise.npy"
    assert content(tmp_path / "set")[name] == content(tmp_path / "whole")[name]


@pytest.mark.parametrize("leave", [0, 5, 500])
def test_a_part_that_was_cut_is_begun_anew(tmp_path, leave):
    made(tmp_path / "whole")
    with pytest.raises(Stop):
        made(tmp_path / "set", progress=stop_after(30))
    part = tmp_path / "set" / ".gaussian_noise.npy.part"
    part.write_bytes(part.read_bytes()[:leave])
    made(tmp_path / "set")
    name = "gaussian_noise.npy"
    assert content(tmp_path / "set")[name] == content(tmp_path / "whole")[name]


def test_a_finished_file_that_was_changed_is_named(tmp_path):
    made(tmp_path / "set")
    file = tmp_path / "set" / "fog.npy"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(BadInput, match=r"fog\.npy is not what manifest\.json says; remove it"):
        made(tmp_path / "set")


def test_an_error_while_making_leaves_nothing_that_looks_whole(tmp_path, monkeypatch):
    def failing(images, name, severity, **rest):
        if (name, severity) == ("fog", 5):
            raise MemoryError
        return corrupt(images, name, severity, **rest)

    monkeypatch.setattr(make, "corrupt", failing)
    with pytest.raises(MemoryError):
        made(tmp_path / "set", workers=2)
    assert {file.name for file in (tmp_path / "set").iterdir()} - {LOCK} == {
        "gaussian_noise.npy", ".fog.npy.part", "labels.npy", "manifest.json"
    }  # fmt: skip


# -- frost ------------------------------------------------------------------------------------------------------------


def test_frost_without_textures_is_left_out_and_can_be_added(tmp_path, frost_dir):
    manifest = made(tmp_path / "set", names=("frost", "fog"))
    assert manifest["left_out"] == {"frost": "no textures"}
    assert not (tmp_path / "set" / "frost.npy").exists()
    manifest = made(tmp_path / "set", names=("frost", "fog"), textures=find_textures(frost_dir))
    assert manifest["left_out"] == {}
    assert StoredSet(tmp_path / "set", "dir").names == ("frost", "fog")
    manifest = made(tmp_path / "set", names=("frost", "fog"))  # it is there now
    assert manifest["left_out"] == {}
    assert manifest["frost_textures"] is not None


def test_other_textures_do_not_go_on_with_a_set(tmp_path, frost_dir):
    made(tmp_path / "set", names=("frost",), textures=find_textures(frost_dir))
    (frost_dir / "frost1.png").write_bytes((frost_dir / "frost2.png").read_bytes())
    with pytest.raises(BadInput, match=r"other settings .*frost_textures"):
        made(tmp_path / "set", names=("frost",), textures=find_textures(frost_dir))


# -- refusals ---------------------------------------------------------------------------------------------------------


def of_files(digest, resized):
    source = Source()
    source.fingerprint = {"test_files": digest, "image_size": 16, "resized": resized}
    return source


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"seed": 3}, "seed=0"),
        ({"severities": (1, 2)}, r"severities=\[1, 2, 5\]"),
        ({"source": Source(indices=[1, 2])}, "images=23"),
        ({"source": Source(name="other")}, "dataset=made_up"),
        ({"source": Source(size=(16, 16))}, "width=24"),
        ({"source": of_files("other", 18)}, "test_files=files"),
        ({"source": of_files("files", 20)}, "resized=18"),
    ],
)
def test_a_folder_of_other_settings_is_refused(tmp_path, settings, told):
    made(tmp_path / "set", of_files("files", 18) if "=files" in told or "resized" in told else None)
    before = content(tmp_path / "set")
    with pytest.raises(
        BadInput, match=f"out=.*set: holds a set made with other settings .*{told}.*choose another folder"
    ):
        made(tmp_path / "set", **settings)
    assert content(tmp_path / "set") == before


def test_published_files_are_never_overwritten(tmp_path):
    folder = Path(tmp_path / "CIFAR-10-C")
    folder.mkdir()
    np.save(folder / "fog.npy", np.zeros(3))
    with pytest.raises(BadInput, match="holds -C files without a manifest"):
        made(folder)
    assert [file.name for file in folder.iterdir()] == ["fog.npy"]


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match=r"out=.*file/set: cannot be written"):
        made(tmp_path / "file" / "set")
