"""README, CONTRIBUTING and docs: every link leads somewhere, and the README repeats the pages truly."""

import re

import pytest

from commandline import ROOT

README = ROOT / "README.md"
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md"), *ROOT.glob("benchmarks/*.md")]
)


def without_code(text: str) -> str:
    """A page's prose: neither blocks of code nor code in a line, where brackets are not links."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S))


def anchors(text: str) -> set[str]:
    """Those of a page's headings, as code hosts and MkDocs write them."""
    titles = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue  # of the network
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), f"{target} of {page.name}"
        assert not anchor or anchor in anchors(file.read_text()), f"{target} of {page.name}"


def test_every_page_of_docs_is_listed_in_the_readme():
    listed = set(re.findall(r"^\* \[(docs/\w+\.md)\]", README.read_text(), re.M))
    assert listed == {f"docs/{page.name}" for page in ROOT.glob("docs/*.md")} - {"docs/index.md"}


def test_the_readme_shows_lines_of_the_quickstart_s_output():
    (shown,) = re.findall(r"^```\n(condition .*?)\n```$", README.read_text(), re.M | re.S)
    (whole,) = re.findall(r"^```\n(condition .*?)\n```$", (ROOT / "docs/quickstart.md").read_text(), re.M | re.S)
    assert len(shown.splitlines()) == 12
    assert [line for line in whole.splitlines() if line in shown.splitlines()] == shown.splitlines()


def test_the_readme_opens_with_the_two_commands_that_do_all_set_up():
    first, second = re.findall(r"^```\n(.*?)\n```$", README.read_text(), re.M | re.S)[:2]
    assert first == "python -m pip install -e . && python train.py experiment=quickstart"
    assert second == "python -m pip install -e '.[test]' && python -m pytest"
