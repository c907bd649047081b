"""Executed notebooks for readers without a kernel: HTML pages, and words in place of widgets."""

import base64
import copy
import io
import json
import re
from html import escape
from pathlib import Path
from urllib.parse import quote

from . import alive

WIDGET = "application/vnd.jupyter.widget-view+json"
INSTEAD = "(interactive: run the notebook to use it)"
KINDS = {alive.EXPLORER: "explorer", alive.LOOKUP: "lookup"}  # of what lives without a kernel
HERE = Path(__file__).parent
GLOSSARY = "GLOSSARY.md"


def without_widgets(notebook):
    """A copy of `notebook` with words, or the widget's own HTML, in place of its widgets.

    Without a kernel a widget is an empty box, or Python's name of it. What it shows stands beside it as a picture.
    """
    notebook = copy.deepcopy(notebook)
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if WIDGET in output.get("data", {}):
                form = {name: text for name, text in output.data.items() if name == "text/html"}
                output.data = {"text/plain": INSTEAD} | form
    return notebook


def with_small_pictures(notebook):
    """A copy of `notebook` whose pictures have at most 256 colours: less than half the bytes, and they look alike."""
    notebook = copy.deepcopy(notebook)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = _small(output.data["image/png"])
    return notebook


def _small(png):
    from PIL import Image

    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    small = io.BytesIO()
    picture.quantize(256, dither=Image.Dither.NONE).save(small, "png", optimize=True)
    return base64.b64encode(small.getvalue()).decode()


def page(notebook, title, names=(), results=None, glossary=False):
    """The HTML page of an executed notebook as one text: pictures, data and scripts are in it, nothing is fetched.

    names : all notebooks that have a page, in order, for the links to the one before and after
    results : the folder with the recorded runs that the explorer offers beside its own
    glossary : whether there is a page of words to link to
    """
    from nbconvert import HTMLExporter

    notebook = with_small_pictures(notebook)
    for cell in notebook.cells:
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.id = "injected-parameters"  # papermill draws one by chance, which would make each page another
        for output in cell.get("outputs", []):
            for kind in KINDS.keys() & output.get("data", {}).keys():
                output.data = {"text/html": _living(KINDS[kind], output.data[kind], results)}
    exporter = HTMLExporter(
        template_name="basic", exclude_anchor_links=True, exclude_input_prompt=True, exclude_output_prompt=True
    )
    body, _ = exporter.from_notebook_node(without_widgets(notebook))
    body = re.sub(r'(href="\d\d_\w+)\.ipynb', r"\1.html", body)
    # What may be wider than a phone scrolls, so it must be reached by keyboard too.
    alone = r'(class="output_html[^>]*>)(?!\s*<\w+ class="(?:prediction|question|alive))'
    body = re.sub(alone, r'tabindex="0" \1', body)
    at = names.index(title) if title in names else -1
    links = [("index", "All notebooks")] + [("glossary", "Glossary")] * glossary
    if at > 0:
        links = [(names[at - 1], f"← {names[at - 1]}"), *links]
    if 0 <= at < len(names) - 1:
        links += [(names[at + 1], f"{names[at + 1]} →")]
    nav = "".join(f'<a href="{quote(name)}.html">{escape(text)}</a>' for name, text in links)
    scripts = any(words in body for words in ("data-alive=", 'class="prediction"', 'class="question"'))
    heading = _opening(notebook)["title"] or title
    return _document(heading, f"<nav aria-label='Pages'>{nav}</nav><main>{body}</main>", scripts)


def _living(kind, data, results):
    """What a widget shows as HTML that pages.js wakes up; until then, or without JavaScript, its picture."""
    data = dict(data)
    picture, said = _small(data.pop("picture")), escape(data.pop("said"))
    if kind == "explorer" and results is not None:
        data["runs"] = data["runs"] | alive.recorded(results)
    text = json.dumps(data, separators=(",", ":")).replace("</", "<\\/")
    still = f'<img alt="{said}" src="data:image/png;base64,{picture}"><p>{said}</p>'
    return f'<div class="alive" data-alive="{kind}">{still}<script type="application/json">{text}</script></div>'


def _document(title, body, scripts=False):
    from pygments.formatters import HtmlFormatter

    light, dark = (HtmlFormatter(style=style).get_style_defs(".highlight") for style in ("default", "github-dark"))
    colours = f"{light} @media screen and (prefers-color-scheme: dark) {{ {dark} }}"
    style = f"{colours} {(HERE / 'pages.css').read_text(encoding='utf-8')}"
    script = "".join((HERE / name).read_text(encoding="utf-8") for name in ("rule.js", "pages.js")) if scripts else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head><body>{body}"
        f"{f'<script>{script}</script>' if scripts else ''}</body></html>"
    )


def words(text):
    """The page of a glossary in Markdown."""
    from nbconvert.filters import markdown2html

    nav = '<nav aria-label="Pages"><a href="index.html">All notebooks</a></nav>'
    return _document("Glossary", f"{nav}<main>{markdown2html(text)}</main>")


def index(entries, notebooks=None, glossary=False):
    """The HTML page that leads to all others: aims, what to know before, run time and claims.

    `entries` as in report.json; `notebooks` : dict name -> notebook, whose first cell says the rest.
    """
    from nbconvert.filters import markdown2html

    rows = []
    for entry in entries:
        opening = _opening((notebooks or {}).get(entry["name"]))
        held = f"{sum(claim['holds'] for claim in entry['claims'])} of {len(entry['claims'])}"
        failed = f"<br>{escape(entry['error'])}" if entry["error"] else ""
        cells = [
            f'<a href="{quote(entry["name"])}.html">{escape(opening["title"] or entry["name"])}</a>{failed}',
            markdown2html(opening["aims"]), markdown2html(opening["needs"]), f"{entry['seconds'] / 60:.1f} min", held,
        ]  # fmt: skip
        rows.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    heads = "".join(
        f'<th scope="col">{head}</th>'
        for head in ("Notebook", "After it you can", "You need", "Run time", "Claims that hold")
    )
    more = '<nav aria-label="Pages"><a href="glossary.html">Glossary</a></nav>' if glossary else ""
    table = f'<table class="course"><thead><tr>{heads}</tr></thead>{"".join(rows)}</table>'
    table = f'<div class="scroll" tabindex="0">{table}</div>'
    return _document("Learning with noisy labels", f"{more}<main><h1>Learning with noisy labels</h1>{table}</main>")


def _opening(notebook):
    """Title, aims and prerequisites as the first cell of a notebook says them; empty where it does not."""
    text = notebook.cells[0].source if notebook is not None and notebook.cells else ""
    needs = r"\*\*You need\*\*: (.+?)(?: \*\*|\n|\Z)"
    found = {"title": r"\A# (.+)", "aims": r"you can\*\*\n+((?:- .*\n?)+)", "needs": needs}
    return {name: match[1] if (match := re.search(pattern, text)) else "" for name, pattern in found.items()}
