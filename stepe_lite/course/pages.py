"""Executed notebooks for readers without a kernel: HTML pages, and words in place of widgets."""

import base64
import copy
import io
from html import escape
from urllib.parse import quote

WIDGET = "application/vnd.jupyter.widget-view+json"
INSTEAD = "(interactive: run the notebook to use it)"


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
    from PIL import Image

    notebook = copy.deepcopy(notebook)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                picture = Image.open(io.BytesIO(base64.b64decode(output.data["image/png"]))).convert("RGB")
                small = io.BytesIO()
                picture.quantize(256, dither=Image.Dither.NONE).save(small, "png", optimize=True)
                output.data["image/png"] = base64.b64encode(small.getvalue()).decode()
    return notebook


def page(notebook, title):
    """The HTML page of an executed notebook, pictures included, as one text."""
    from nbconvert import HTMLExporter

    # Not embed_images: it closes every <details> at once, which unfolds the solutions. Outputs are in the page anyway.
    body, _ = HTMLExporter().from_notebook_node(without_widgets(notebook), {"metadata": {"name": title}})
    return body


def index(entries):
    """The HTML page that leads to all others; `entries` as in report.json."""
    rows = "".join(
        f'<tr><td><a href="{quote(e["name"])}.html">{escape(e["name"])}</a></td><td>{e["seconds"]:.0f} s</td>'
        f"<td>{sum(c['holds'] for c in e['claims'])} of {len(e['claims'])}</td><td>{escape(e['error'] or '')}</td></tr>"
        for e in entries
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Learning with noisy labels</title>'
        "<style>body{font:16px sans-serif;max-width:50em;margin:3em auto}td,th{padding:.3em 1em;text-align:left}"
        "</style><h1>Learning with noisy labels</h1><table><tr><th>Notebook<th>Run time<th>Claims that hold<th></tr>"
        f"{rows}</table>"
    )
