"""Running the course: notebooks by papermill, and claims that keep their numbers true."""

import ast
import base64
import concurrent.futures
import hashlib
import json
import multiprocessing
import numbers
import os
import re
import signal
import time
from pathlib import Path

from ..utils import (
    DISK_FULL,
    BadInput,
    check_choice,
    check_flag,
    check_folder,
    check_whole,
    end_with_parent,
    expand,
    only_one,
    written_beside,
)
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
    path = expand("notebook", str(name))
    if path.is_file():
        return path
    course = sorted(folder().glob("[0-9]*.ipynb"))
    for path in course:
        if str(name) in (path.name, path.stem, path.stem[:2], path.stem[:2].lstrip("0")):
            return path
    check_choice("notebook", str(name), [path.stem for path in course])


def chosen_paths(notebooks=()):
    """The paths of `notebooks`, a name as for `find` or several; none = the whole course. Their file names differ."""
    notebooks = [notebooks] if isinstance(notebooks, str | os.PathLike) else notebooks
    if not isinstance(notebooks, list | tuple):
        raise BadInput(f"notebooks is {notebooks!r}, but must be a name or a list of names.")
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


def run(notebooks=(), parameters=None, out="runs", html=False, save=False, progress=True, jobs=1):
    """Execute notebooks, each in a fresh kernel, and write the executed copies and report.json to `out`.

    Parameters
    ----------
    notebooks : a name as for `find`, or several; none = the whole course
    parameters : dict of values for the notebooks' parameters; each notebook gets those that it has
    html : also write a page for each notebook and an index
    save : put the outputs into the notebooks themselves; only with their own parameters
    jobs : how many notebooks run at a time; their results are the same, their claims are reported in order

    Returns the report. A notebook is `ok` when no cell failed, no claim broke and no widget callback raised; one that
    is not does not stop the others. Raises ValueError or OSError for bad arguments before anything runs.
    """

    if not isinstance(parameters, dict | type(None)):
        raise BadInput(f"parameters is {parameters!r}, but must be a dict of values.")
    for name, flag in (("html", html), ("save", save), ("progress", progress)):
        check_flag(name, flag)
    parameters, jobs = dict(parameters or {}), check_whole("jobs", jobs, least=1)
    paths = chosen_paths(notebooks)
    if save and parameters:
        raise BadInput(
            f"save is set together with parameters {parameters}, but saved outputs belong to the notebook's own."
        )
    known = {path: parameters_of(path) for path in paths}
    for name in parameters:
        check_choice("parameter", name, sorted({p for of_one in known.values() for p in of_one}))
        for path in paths:
            if name in known[path]:
                _check_kind(name, parameters[name], known[path][name]["default"], path.stem)
    out = check_folder("out", out)
    if any(path.resolve().parent == out.resolve() for path in paths):
        raise BadInput(f"out is {str(out)!r}, where the notebooks themselves are; choose another folder (or save).")

    with only_one(f"out is {str(out)!r}", out / ".lock"):  # else the report might be of another's copies
        (out / "report.json").unlink(missing_ok=True)  # of copies that are replaced now
        tasks = [(path, out, {name: v for name, v in parameters.items() if name in known[path]}) for path in paths]
        entries, executed = [], {}
        words, names = folder() / pages.GLOSSARY, [path.stem for path in paths]
        for path, (entry, notebook) in zip(paths, _executed(tasks, jobs, progress)):
            entries.append(entry)
            executed[path.stem] = notebook
            if html:
                page = pages.page(notebook, path.stem, names, folder() / "results", words.exists())
                _write(out / f"{path.stem}.html", page)
            if save and entry["ok"]:
                _save(path, notebook)
        report = {"notebooks": entries}
        _write(out / "report.json", json.dumps(report, indent=1))
        if html:
            _write(out / "index.html", pages.index(entries, executed, words.exists()))
            if words.exists():
                _write(out / "glossary.html", pages.words(words.read_text(encoding="utf-8")))
    return report


def _executed(tasks, jobs, progress):
    """(entry, executed notebook) of each task in turn; `jobs` of them run at a time, each in a process of its own."""
    if jobs == 1 or len(tasks) == 1:
        yield from (_execute(*task, progress) for task in tasks)
        return
    spawn, before = multiprocessing.get_context("spawn"), multiprocessing.active_children()
    pool = concurrent.futures.ProcessPoolExecutor(min(jobs, len(tasks)), spawn, _begin, (spawn.RLock(),))
    try:
        longest_first = sorted(range(len(tasks)), key=lambda at: -_said_seconds(tasks[at][0]))
        futures = {at: pool.submit(_execute_beside, *tasks[at], progress, at) for at in longest_first}
        for at in range(len(tasks)):
            yield futures[at].result()
    except BaseException:
        for child in set(multiprocessing.active_children()) - set(before):
            child.terminate()  # its kernel ends when it has no parent
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(lock):
    """What a process that executes notebooks does first. `lock` keeps bars from writing over each other."""
    from tqdm import tqdm

    def stop(number, frame):
        raise SystemExit(128 + number)  # so that partial files are removed

    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started it
    signal.signal(signal.SIGTERM, stop)
    tqdm.set_lock(lock)


def _execute_beside(*task):
    try:
        return _execute(*task)
    except SystemExit as stopped:
        os._exit(stopped.code)  # else the pool would hand it the next notebook


def _said_seconds(path):
    """The run time that the notebook at `path` states, or 0."""
    said = re.search(r"Run time\*\*: about (\d+) (s|min)", read(path).cells[0].source) if read(path).cells else None
    return int(said[1]) * (60 if said[2] == "min" else 1) if said else 0


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


def _check_kind(name, value, default, notebook):
    """Raise ValueError unless `value` is of the kind of the parameter's `default` (text of Python)."""
    default = value_of(default)
    if default is None:
        return
    kinds = {
        bool: ("True, False or text", bool | str),  # augment may also be "flip"
        int: ("a whole number", numbers.Integral),
        float: ("a number", numbers.Real),
        str: ("text", str | os.PathLike),
        list: ("a list with something in it", list | tuple),
    }
    said, kind = kinds.get(type(default), ("", object))
    flag = isinstance(value, bool) and not isinstance(default, bool)
    if flag or not isinstance(value, kind) or (isinstance(value, list | tuple) and not value):
        raise BadInput(f"parameter {name} is {value!r}, but must be {said}, as in {notebook}: {default!r}.")
    if isinstance(default, list) and default:
        for each in value:
            _check_kind(f"{name}, of which one", each, repr(default[0]), notebook)


def _execute(path, out, parameters, progress, at=0):
    """(entry of the report, executed notebook); `at` is the line of its progress bar."""
    import nbformat

    before = os.environ.get(claims.VARIABLE)
    os.environ[claims.VARIABLE] = "collect"
    started = time.perf_counter()
    try:
        with written_beside(out / path.name) as partial:
            error = by_papermill(path, partial, parameters, os.getcwd(), progress, at)  # where paths given begin
            executed = nbformat.read(partial, as_version=4)
    finally:
        os.environ.pop(claims.VARIABLE) if before is None else os.environ.update({claims.VARIABLE: before})
    seconds = time.perf_counter() - started
    outputs = [(output, output.get("metadata", {})) for _, output in outputs_of(executed)]
    stated = [metadata["stepe_lite_claim"] for _, metadata in outputs if "stepe_lite_claim" in metadata]
    told = [output.data["text/plain"] for output, metadata in outputs if "stepe_lite_told" in metadata]
    error = error or _broken_claim(executed) or _widget_error(executed)
    entry = {"name": path.stem, "seconds": round(seconds, 1), "ok": error is None, "error": error}
    entry |= {"claims": stated, "told": told}
    return entry, executed


def by_papermill(path, partial, parameters, folder, progress, at=0, **settings):
    """Execute the notebook at `path`, in `folder`, into the file `partial`; return what went wrong, or None.

    `settings`: more traits of nbclient.NotebookClient.
    """
    import nbformat
    import papermill

    from .kernels import OwnKernels

    try:
        papermill.execute_notebook(
            _unformatted(path), _unformatted(partial), parameters,
            kernel_name="python3", kernel_manager_class=OwnKernels, cwd=str(folder), log_output=False,
            extra_arguments=["--log-level=40"],  # silence ipykernel's warning that local kernels use TCP
            progress_bar={"desc": path.stem, "leave": False, "position": at} if progress else False, **settings,
        )  # fmt: skip
    except papermill.PapermillExecutionError as failure:
        injected = _injected(nbformat.read(partial, as_version=4).cells[: failure.cell_index])
        at = f"cell {failure.cell_index + 1 - injected} (In [{failure.exec_count}])"
        return f"{at}: {failure.ename}: {failure.evalue}"
    except Exception as failure:  # a dead kernel, say: the other notebooks still run
        if isinstance(failure, OSError) and failure.errno in DISK_FULL:
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
        for at, output in outputs_of(notebook)
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
