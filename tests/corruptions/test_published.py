"""The table of published digests."""

import hashlib
import json
import re

import pytest

from p2be_exp.corruptions.names import ALL
from p2be_exp.corruptions.official import OFFICIAL_FOLDERS
from p2be_exp.corruptions.published import ARCHIVES, FILES, published_md5

SPECIFIED = "07bc1e5d9761ceee39c33e48a5ae38a146f762f5bd4519fb135fc71f4f36c607"
"""SHA-256 of the specification's table (archives and files by data set), brought to the form that is built below."""


def test_the_table_is_the_specified_one():
    table = {
        dataset: {
            "archive": {"name": archive.name, "bytes": archive.bytes, "md5": archive.md5},
            "files": FILES[dataset],
        }
        for dataset, archive in ARCHIVES.items()
    }
    assert hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest() == SPECIFIED


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
def test_all_twenty_files_and_the_archive_of_a_data_set_are_there(dataset):
    digests = [published_md5(dataset, file) for file in (*ALL, "labels")]
    assert set(FILES[dataset]) == {*ALL, "labels"}
    assert len({*digests, ARCHIVES[dataset].md5}) == 21
    assert all(re.fullmatch("[0-9a-f]{32}", digest) for digest in (*digests, ARCHIVES[dataset].md5))
    assert ARCHIVES[dataset].name == f"{OFFICIAL_FOLDERS[dataset]}.tar"
    assert f"/{ARCHIVES[dataset].name}" in ARCHIVES[dataset].url
    # Nineteen times 50,000 images of 32 x 32, and the labels: all but the headers.
    assert 0 < ARCHIVES[dataset].bytes - (19 * 50_000 * 3072 + 50_000) < 64 * 1024


@pytest.mark.parametrize(("dataset", "file"), [("digits", "fog"), ("imagenet", "fog"), ("cifar10", "blur")])
def test_of_others_no_digest_is_known(dataset, file):
    assert published_md5(dataset, file) is None
