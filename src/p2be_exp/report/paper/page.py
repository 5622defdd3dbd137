"""The report as one HTML page that needs nothing but itself: no script, no other file, no address."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

from p2be_exp.report.paper.figures import Picture
from p2be_exp.report.paper.grid import FEWER, MISSING, MORE, Grid, Text

STYLE = Path(__file__).with_name("page.css")


def page(title: str, intro: Sequence[str], sections: Sequence[tuple[Grid, Sequence[Picture]]], runs: Grid,
         pictures: Sequence[Picture] = (), notes: Sequence[str] = ()) -> str:  # fmt: skip
    """The page.

    Args:
        title: its heading.
        intro: paragraphs under it.
        sections: each table with its pictures.
        runs: the table of the runs.
        pictures: those that belong to no table.
        notes: what is said of them.
    """
    links = [(grid.id, grid.heading) for grid, _ in sections]
    links += [(each.name, each.title) for each in pictures] + [(runs.id, runs.heading)]
    body = [
        f"<header><h1>{escape(title)}</h1>{''.join(f'<p>{escape(text)}</p>' for text in intro)}</header>",
        f'<nav aria-label="Contents"><ol>{"".join(_link(*link) for link in links)}</ol></nav>',
        "<main>",
        *(_section(grid, found) for grid, found in sections),
        *(f'<section id="{escape(each.name)}">{_figure(each)}{_notes(notes)}</section>' for each in pictures),
        _section(runs, ()),
        "</main>",
    ]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            '<link rel="icon" href="data:,">',
            f"<title>{escape(title)}</title>",
            f"<style>\n{STYLE.read_text(encoding='utf-8')}</style>",
            "</head>",
            "<body>",
            *body,
            "</body>",
            "</html>",
            "",
        ]
    )


def _link(name: str, heading: str) -> str:
    return f'<li><a href="#{escape(name)}">{escape(heading)}</a></li>'


def _section(grid: Grid, pictures: Sequence[Picture]) -> str:
    warning = f'<p class="warning"><strong>{escape(grid.warning)}</strong></p>' if grid.warning else ""
    figures = "".join(map(_figure, pictures))
    return (
        f'<section id="{escape(grid.id)}"><h2>{escape(grid.heading)}</h2>{warning}'
        f"{_table(grid)}{_notes(grid.notes)}{figures}</section>"
    )


def _notes(notes: Sequence[str]) -> str:
    return f'<ul class="notes">{"".join(f"<li>{escape(note)}</li>" for note in notes)}</ul>' if notes else ""


def _figure(picture: Picture) -> str:
    data = base64.b64encode(picture.svg.encode()).decode()
    return (
        f'<figure><div class="scroll" role="region" tabindex="0" aria-label="{escape(picture.title)}">'
        f'<img src="data:image/svg+xml;base64,{data}" alt="{escape(picture.alt)}"></div>'
        f"<figcaption>{escape(picture.title)}</figcaption></figure>"
    )


def _table(grid: Grid) -> str:
    count = sum(len(parts) for _, parts in grid.head)
    parted = any(part for _, parts in grid.head for part in parts)
    groups = "".join(
        f'<th scope="colgroup" colspan="{len(parts)}">{escape(name)}</th>'
        if parted
        else f'<th scope="col">{escape(name)}</th>'
        for name, parts in grid.head
    )
    corner = f'<th scope="col"{" rowspan=2" if parted else ""}>{escape(grid.corner)}</th>'
    second = "".join(f'<th scope="col">{escape(part)}</th>' for _, parts in grid.head for part in parts)
    bodies = "".join(_body(label, rows, count + 1) for label, rows in grid.blocks)
    wide = " wide" if count > 8 else ""
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(grid.heading)}">'
        f'<table class="{"numbers" if parted else "facts"}{wide}"><caption><span>{escape(grid.sentence)}'
        "</span></caption>"
        f"<thead><tr>{corner}{groups}</tr>{f'<tr>{second}</tr>' if parted else ''}</thead>{bodies}</table></div>"
    )


def _body(label: str, rows: Sequence[tuple[str, Sequence[Text]]], columns: int) -> str:
    head = f'<tr class="block"><th scope="rowgroup" colspan="{columns}"><span>{escape(label)}</span></th></tr>'
    lines = (f'<tr><th scope="row">{escape(row)}</th>{"".join(map(_cell, texts))}</tr>' for row, texts in rows)
    return f"<tbody>{head}{''.join(lines)}</tbody>"


def _cell(text: Text) -> str:
    names = " ".join(name for name in (text.kind, text.told, "missing" if text.missing else "") if name)
    shown = escape(text.text)
    for mark, word in ((FEWER, "fewer errors"), (MORE, "more errors")):
        shown = shown.replace(mark, f'<span role="img" aria-label="{word}">{mark}</span>')
    if text.text == MISSING:
        shown = f"<span>{shown}</span>"
    return f'<td class="{names}">{shown}</td>'
