"""The model card as sections: Markdown to be read anywhere, and HTML that holds its plots."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:70em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse;margin:1em 0}"
    "td,th{border:1px solid #ccc;padding:.3em .6em;text-align:left;vertical-align:top}"
    "img{max-width:48%}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading with sentences, a table and plots, each of which may be missing."""

    title: str
    text: tuple[str, ...] = ()
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    plots: tuple[str, ...] = ()
    """Names of plots, files `plots/<name>.png` of the run."""


def markdown(title: str, sections: Sequence[Section]) -> str:
    """Render the card; plots are links to the run's files."""
    lines = [f"# {title}"]
    for section in sections:
        if section.title:
            lines += ["", f"## {section.title}"]
        for sentence in section.text:
            lines += ["", sentence]
        if section.head:
            lines += ["", _row(section.head), _row(["---"] * len(section.head))]
            lines += [_row(row) for row in section.rows]
        if section.plots:
            lines += ["", *(f"![{name}](plots/{name}.png)" for name in section.plots)]
    return "\n".join(lines) + "\n"


def page(title: str, sections: Sequence[Section], plots: Mapping[str, bytes]) -> str:
    """Render the card as one HTML file that holds its plots."""
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head><body>",
        f"<h1>{html.escape(title)}</h1>",
    ]
    for section in sections:
        if section.title:
            parts.append(f"<h2>{html.escape(section.title)}</h2>")
        parts += [f"<p>{html.escape(sentence)}</p>" for sentence in section.text]
        if section.head:
            parts.append("<table>")
            parts.append(_cells("th", section.head))
            parts += [_cells("td", row) for row in section.rows]
            parts.append("</table>")
        for name in section.plots:
            data = base64.b64encode(plots[name]).decode()
            parts.append(f'<img alt="{html.escape(name)}" src="data:image/png;base64,{data}">')
    return "\n".join([*parts, "</body></html>"])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(each.replace("|", "\\|").replace("\n", " ") for each in cells) + " |"


def _cells(tag: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(each)}</{tag}>" for each in cells) + "</tr>"
