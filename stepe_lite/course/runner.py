"""Running the course: notebooks by papermill, and claims that keep their numbers true."""

import ast
import base64
import errno
import hashlib
import json
import os
import time
from pathlib import Path

from ..utils import BadInput, check_choice, check_folder, written_beside
from . import claims, pages

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}  # of a notebook that was not executed yet


def folder():
    """The folder of the course's notebooks: in the repository, or beside the installed package."""
    here = Path(__file__).resolve().parent.parent
    for candidate in (here.parent / "notebooks", here / "notebooks"):
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError("the notebooks of the course are not installed: reinstall stepe_lite.")


def find(name):
    """The notebook called `name`: a path, a name of the course with or without .ipynb, or just its number ("03")."""
    if Path(str(name)).is_file():
        return Path(str(name))
    course = sorted(folder().glob("[0-9]*.ipynb"))
    for path in course:
        if str(name) in (path.name, path.stem, path.stem[:2], path.stem[:2].lstrip("0")):
            return path
    check_choice("notebook", str(name), [path.stem for path in course])


def chosen_paths(notebooks=()):
    """The paths of `notebooks`, a name as for `find` or several; none = the whole course. Their file names differ."""
    notebooks = [notebooks] if isinstance(notebooks, str | os.PathLike) else notebooks
    paths = [find(name) for name in notebooks] or sorted(folder().glob("[0-9]*.ipynb"))
    twice = {path.name for path in paths if [other.name for other in paths].count(path.name) > 1}
    if twice:
        raise BadInput(f"notebooks has {sorted(twice)} more than once: their copies would have one name.")
    return paths


def read(path):
    """The notebook at `path`; BadInput if it cannot be read as one."""
    import nbformat

    try:
        return nbformat.read(path, as_version=4)
    except Exception as error:  # nbformat raises several unrelated types
        raise BadInput(f"notebook is {str(path)!r}, which cannot be read as one: {error}.") from error


def digest(notebook):
    """Fingerprint of a notebook's sources: what its saved outputs belong to."""
    sources = [[cell.cell_type, cell.source] for cell in notebook.cells]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()[:16]


def run(notebooks=(), parameters=None, out="runs", html=False, save=False, progress=True):
    """Execute notebooks in order, each in a fresh kernel, and write the executed copies and report.json to `out`.

    Parameters
    ----------
    notebooks : a name as for `find`, or several; none = the whole course
    parameters : dict of values for the notebooks' parameters; each notebook gets those that it has
    html : also write a page for each notebook and an index
    save : put the outputs into the notebooks themselves; only with their own parameters

    Returns the report. A notebook is `ok` when no cell failed, no claim broke and no widget callback raised; one that
    is not does not stop the others. Raises ValueError or OSError for bad arguments before anything runs.
    """

    parameters = dict(parameters or {})
    paths = chosen_paths(notebooks)
    if save and parameters:
        raise BadInput(
            f"save is set together with parameters {parameters}, but saved outputs belong to the notebook's own."
        )
    known = {path: parameters_of(path) for path in paths}
    for name in parameters:
        check_choice("parameter", name, sorted({p for of_one in known.values() for p in of_one}))
    out = check_folder("out", out)
    if any(path.resolve().parent == out.resolve() for path in paths):
        raise BadInput(f"out is {str(out)!r}, where the notebooks themselves are; choose another folder (or save).")

    (out / "report.json").unlink(missing_ok=True)  # of copies that are replaced now
    entries = []
    for path in paths:
        chosen = {name: value for name, value in parameters.items() if name in known[path]}
        entry, executed = _execute(path, out, chosen, progress)
        entries.append(entry)
        if html:
            _write(out / f"{path.stem}.html", pages.page(executed, path.stem))
        if save and entry["ok"]:
            _save(path, executed)
    report = {"notebooks": entries}
    _write(out / "report.json", json.dumps(report, indent=1))
    if html:
        _write(out / "index.html", pages.index(entries))
    return report


def value_of(text):
    """A parameter from the command line: a Python literal ("0.4", "[0, 1]", "True") or else the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def parameters_of(path):
    """The parameters of the notebook at `path`: dict name -> what papermill infers about it."""
    import papermill

    try:
        return papermill.inspect_notebook(_unformatted(path))
    except Exception as error:  # nbformat raises several unrelated types
        raise BadInput(f"notebook is {str(path)!r}, which cannot be read as one: {error}.") from error


def _execute(path, out, parameters, progress):
    import nbformat

    before = os.environ.get(claims.VARIABLE)
    os.environ[claims.VARIABLE] = "collect"
    started = time.perf_counter()
    try:
        with written_beside(out / path.name) as partial:
            error = by_papermill(path, partial, parameters, out, progress)
            executed = nbformat.read(partial, as_version=4)
    finally:
        os.environ.pop(claims.VARIABLE) if before is None else os.environ.update({claims.VARIABLE: before})
    seconds = time.perf_counter() - started
    stated = [
        output.metadata["stepe_lite_claim"]
        for _, output in outputs_of(executed)
        if "stepe_lite_claim" in output.get("metadata", {})
    ]
    error = error or _broken_claim(executed) or _widget_error(executed)
    entry = {"name": path.stem, "seconds": round(seconds, 1), "ok": error is None, "error": error, "claims": stated}
    return entry, executed


def by_papermill(path, partial, parameters, out, progress, **settings):
    """Execute the notebook at `path` into the file `partial`; return what went wrong, or None.

    `settings`: more traits of nbclient.NotebookClient.
    """
    import nbformat
    import papermill

    try:
        papermill.execute_notebook(
            _unformatted(path), _unformatted(partial), parameters,
            kernel_name="python3", cwd=str(out), log_output=False,
            extra_arguments=["--log-level=40"],  # silence ipykernel's warning that local kernels use TCP
            progress_bar={"desc": path.stem, "leave": False} if progress else False, **settings,
        )  # fmt: skip
    except papermill.PapermillExecutionError as failure:
        injected = _injected(nbformat.read(partial, as_version=4).cells[: failure.cell_index])
        at = f"cell {failure.cell_index + 1 - injected} (In [{failure.exec_count}])"
        return f"{at}: {failure.ename}: {failure.evalue}"
    except Exception as failure:  # a dead kernel, say: the other notebooks still run
        if isinstance(failure, OSError) and failure.errno in (errno.ENOSPC, errno.EDQUOT):
            raise  # the copy is cut off, and the next one would be too
        if partial.stat().st_size == 0:
            nbformat.write(nbformat.read(path, as_version=4), partial)
        return f"{type(failure).__name__}: {failure}"


def _unformatted(path):
    """`path` as papermill wants it, which puts parameters into the braces of a path."""
    return str(path).replace("{", "{{").replace("}", "}}")


def outputs_of(notebook):
    """(cell number from 1, output) for every output of every cell. Cells count as in the notebook that was given."""
    return [
        (at - _injected(notebook.cells[:at]), output)
        for at, cell in enumerate(notebook.cells, 1)
        for output in cell.get("outputs", [])
    ]


def _injected(cells):
    """How many of `cells` papermill put in: it adds one for parameters that were passed."""
    return sum("injected-parameters" in cell.metadata.get("tags", []) for cell in cells)


def _broken_claim(notebook):
    """Every broken claim, one sentence each."""
    broken = [
        f"cell {at}: claim broken: {output.data['text/plain']}"
        for at, output in _outputs(notebook)
        if not output.get("metadata", {}).get("stepe_lite_claim", {"holds": True})["holds"]
    ]
    return "; ".join(broken) or None


def _widget_error(notebook):
    """An exception in a widget callback ends up only in the saved state of the Output widget around it."""
    widgets = notebook.metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {}).get("state", {})
    for widget in widgets.values():
        for output in widget.get("state", {}).get("outputs", []):
            if output.get("output_type") == "error":
                return f"widget callback: {output['ename']}: {output['evalue']}"
    return None


def _save(path, executed):
    """Put the outputs of `executed` into the notebook at `path`, without what papermill adds and with small pictures.

    The picture of a cell tagged "readme" also goes to figures/ beside the notebook.
    """
    import nbformat

    notebook, executed = nbformat.read(path, as_version=4), pages.with_small_pictures(pages.without_widgets(executed))
    for cell, done in zip(notebook.cells, executed.cells, strict=True):
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = done.outputs, done.execution_count
        if "readme" in cell.metadata.get("tags", []):
            (png,) = [output.data["image/png"] for output in done.outputs if "image/png" in output.get("data", {})]
            check_folder("figures", path.parent / "figures")
            with written_beside(path.parent / "figures" / f"{path.stem}.png") as partial:
                partial.write_bytes(base64.b64decode(png))
    notebook.metadata = METADATA | {"stepe_lite": {"outputs_belong_to": digest(notebook)}}
    with written_beside(path) as partial:
        nbformat.write(notebook, partial)


def _write(path, text):
    with written_beside(path) as partial:
        partial.write_text(text, encoding="utf-8")
