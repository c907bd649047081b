"""Editions of the course for a class: the students' without solutions and outputs, the teacher's with all filled in."""

import ast
import re

from ..utils import check_flag, expand, folder_beside
from . import runner

_FOLDED = re.compile(r"<details>\s*<summary>\s*(Solution|Answer)s?\b.*?</details>\s*", re.S)


def handout(out, notebooks=(), solutions=False):
    """Write an edition of `notebooks` (names as for `find`; none = the whole course) to a new folder `out`.

    The students' has no outputs, and nothing of what is folded away under "Solution" or "Answer". With `solutions` it
    is the teacher's: each exercise holds its solution in place of the stub, and answers stay where they are.
    Returns the paths. Raises FileExistsError if there is anything at `out`, ValueError for notebooks that are none.
    """
    import nbformat

    check_flag("solutions", solutions)
    paths = runner.chosen_paths(notebooks)
    read = {path.name: runner.read(path) for path in paths}
    with folder_beside(out) as partial:
        for name, notebook in read.items():
            nbformat.write(_edition(notebook, solutions), partial / name)
    return [expand("out", out) / name for name in read]


def _edition(notebook, solutions):
    cells = []
    for cell, following in zip(notebook.cells, [*notebook.cells[1:], None]):
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            if solutions and following is not None and (solution := solution_in(following)):
                cell.source = filled(cell.source, solution)
        elif solutions:
            cell.source = _FOLDED.sub(lambda block: "" if block[1] == "Solution" else block[0], cell.source)
        else:
            cell.source = _FOLDED.sub("", cell.source)
        cells += [cell] if cell.source.strip() else []
    notebook.cells, notebook.metadata = cells, runner.METADATA
    return notebook


def solution_in(cell):
    """The code of the solution that is folded away at the beginning of a cell, or None."""
    folded = _FOLDED.match(cell.source) if cell.cell_type == "markdown" else None
    code = folded and folded[1] == "Solution" and re.search(r"```python\n(.*?)```", folded[0], re.S)
    return code[1] if code else None


def filled(source, solution):
    """The code of an exercise with `solution` in place of what binds the same names; all other lines stay."""
    names = {name for statement in ast.parse(solution).body for name in _bound(statement)}
    lines, begin = source.splitlines(), 0
    for statement in reversed(ast.parse(source).body):
        if names & _bound(statement):
            begin = statement.lineno - 1
            del lines[begin : statement.end_lineno]
    return "\n".join([*lines[:begin], *solution.rstrip().splitlines(), *lines[begin:]])


def _bound(statement):
    """The names that a statement defines or assigns to."""
    if isinstance(statement, ast.FunctionDef):
        return {statement.name}
    assigned = isinstance(statement, ast.Assign | ast.AnnAssign)
    return {node.id for node in ast.walk(statement) if assigned and isinstance(node, ast.Name)
            and isinstance(node.ctx, ast.Store)}  # fmt: skip
