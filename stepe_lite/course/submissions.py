"""What is in a submitted notebook: its answers to the exercises, and the cells that each of them needs.

Nothing is executed here. Cells may be renamed, moved, split and put together; the names that code binds and uses tell.
"""

import ast
import re
import symtable
from typing import NamedTuple

from . import runner


def code_of(path):
    """The sources of the code cells in the notebook at `path`."""
    return [cell.source for cell in runner.read(path).cells if cell.cell_type == "code"]


def answers_in(cells, course):
    """dict exercise -> (number of the cell that checks it, or None; the answer's expression), or None if there is none.

    `cells`: sources of the code cells; `course`: the `checks_in` of each notebook of the course. Empty if there is not
    a single exercise in it.
    """
    from .. import checks

    calls = checks_in(cells)
    bound = set().union(*(_names(source).binds for source in cells))
    found = {}
    for notebook in course:
        here = {getattr(checks, check).exercise: None for check in notebook}
        for check, (_, expression) in notebook.items():
            exercise = getattr(checks, check).exercise
            if check in calls:
                here[exercise] = calls[check]
            elif expression in bound:
                here[exercise] = (None, expression)
        found |= here if any(here.values()) else {}
    return found


def checks_in(cells):
    """dict name of a check -> (number of the cell that calls it last, its argument as text)."""
    from .. import checks

    trees = [_parsed(source)[0] for source in cells]
    modules, direct = {"check", "checks"}, {}
    for node in (node for tree in trees if tree for node in ast.walk(tree)):
        if isinstance(node, ast.ImportFrom) and node.module == "stepe_lite":
            modules |= {name.asname or name.name for name in node.names if name.name == "checks"}
        elif isinstance(node, ast.ImportFrom) and node.module == "stepe_lite.checks":
            direct |= {name.asname or name.name: name.name for name in node.names}
        elif isinstance(node, ast.Import):
            modules |= {name.asname for name in node.names if name.name == "stepe_lite.checks" and name.asname}
    found = {}
    for at, (source, tree) in enumerate(zip(cells, trees)):
        if tree is None:  # no Python yet: the call may still be readable
            found |= {check: (at, argument) for check, argument in re.findall(r"\bchecks?\.(\w+)\((\w+)\)", source)}
        for node in ast.walk(tree) if tree else ():
            if isinstance(node, ast.Call) and len(node.args) == 1 and not node.keywords:
                *path, name = ast.unparse(node.func).split(".")
                check = name if path and path[-1] in modules else direct.get(name) if not path else None
                found |= {check: (at, ast.unparse(node.args[0]))}
    return {check: found[check] for check in found if hasattr(getattr(checks, check or "", None), "judge")}


def _parsed(source):
    """The syntax tree and the symbols of a cell, magics translated, or (None, None) where it is no Python."""
    from IPython.core.inputtransformer2 import TransformerManager

    first, _, rest = source.lstrip().partition("\n")
    try:
        python = TransformerManager().transform_cell(rest if first.startswith("%%") else source)
        return ast.parse(python), symtable.symtable(python, "cell", "exec")
    except (SyntaxError, ValueError, RecursionError):
        return None, None


class _Names(NamedTuple):
    """Names at the top level of a cell: needed there, bound or changed there, imported, and called a method of."""

    needs: set
    binds: set
    imports: set
    called: set


def _names(source):
    tree, table = _parsed(source)
    words = set(re.findall(r"[^\W\d]\w*", source))
    if tree is None:
        return _Names(set(), words, set(), set())  # it says why it fails when it is executed
    names, tables = _Names(set(), set(), set(), set()), [table]
    for scope in tables:
        tables += scope.get_children()
        for symbol in scope.get_symbols():
            if scope is table or symbol.is_global():
                names.needs.update([symbol.get_name()] if symbol.is_referenced() else [])
                names.binds.update([symbol.get_name()] if symbol.is_assigned() or symbol.is_imported() else [])
                names.imports.update([symbol.get_name()] if symbol.is_imported() else [])
    for node in ast.walk(tree):
        is_call = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)  # thing.append(…)
        is_store = isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(
            node.ctx, ast.Load
        )  # thing[0] = …
        node = node.value.func if is_call else node if is_store else None
        while isinstance(node, ast.Attribute | ast.Subscript):
            node = node.value
            if isinstance(node, ast.Name):
                (names.called if is_call else names.binds).add(node.id)
    if "get_ipython" in names.needs:  # a magic: what it does to which names stands in a string
        return names._replace(needs=names.needs | words, binds=names.binds | words)
    return names


def cells_needed(cells, at, expression):
    """The numbers of the cells that an answer needs, in order."""
    known = [_names(source) for source in cells]
    # `plots.line(…)` does not change `plots`; if it did, every cell would need every other.
    imports = set().union(*(names.imports for names in known))
    chosen, needs = {at} - {None}, _names(expression).needs
    while True:
        needs = needs.union(*(known[cell].needs for cell in chosen))
        changes = [names.binds | (names.called - imports) for names in known]
        more = {cell for cell, changed in enumerate(changes) if changed & needs} - chosen
        if not more:
            return sorted(chosen)
        chosen |= more
