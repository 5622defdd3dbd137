"""The scripts behind the site of docs/; the site itself is built, strictly, by .ci/run."""

import doctest
import importlib.util

import pytest

from commandline import ROOT


def script(name):
    spec = importlib.util.spec_from_file_location(f"site_{name}", ROOT / f"docs/site/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Page:
    def __init__(self, path):
        self.file = self
        self.src_uri = path


@pytest.mark.parametrize(
    ("page", "written", "in_the_site"),
    [
        ("attacks.md", "[a](runs.md#one-owner) [b](#words)", "[a](runs.md#one-owner) [b](#words)"),
        ("attacks.md", "[a](../benchmarks/RESULTS.md#loss)", "[a](benchmarks/RESULTS.md#loss)"),
        ("index.md", "[a](../README.md) ![p](images/p.png)", "[a](index.md) ![p](images/p.png)"),
        ("benchmarks/RESULTS.md", "[a](../docs/gpu.md)", "[a](../gpu.md)"),
        ("examples/greedy_attack/README.md", "[a](greedy_attack.py)", "[a](greedy_attack.py)"),
        ("examples/greedy_attack/README.md", "[a](../../docs/attacks.md)", "[a](../../attacks.md)"),
        ("CONTRIBUTING.md", "[a](docs/slurm.md) [b](examples/)", "[a](slurm.md) [b](examples/README.md)"),
        ("method.md", "[a](https://example.org/docs/x.md)", "[a](https://example.org/docs/x.md)"),
        ("method.md", "`x](../y.md)` [`a`](../README.md)", "`x](../y.md)` [`a`](index.md)"),
        ("method.md", "```\n[a](../README.md)\n```", "```\n[a](../README.md)\n```"),
        ("api/attacks.md", "[a](../README.md)", "[a](../README.md)"),
    ],
)
def test_links_between_files_become_links_between_pages(page, written, in_the_site):
    assert script("links").on_page_markdown(written, Page(page)) == in_the_site


def test_the_scripts_examples():
    assert doctest.testmod(script("links")).failed == 0
    pytest.importorskip("griffe", reason="needs the extra docs")
    assert doctest.testmod(script("docstrings")).failed == 0
