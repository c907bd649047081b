"""CSV files as people and their spreadsheets write them: encodings, separators, blank rows, decimal commas."""

import csv
import io
import math
import os
import re
import unicodedata
from typing import NamedTuple

from ..utils import BadInput, check_file, expand


class Sheet(NamedTuple):
    """rows : a dict column -> text for each row that is not blank; lines : the line of the file where each begins."""

    rows: list[dict[str, str]]
    lines: list[int]


def read(path, needed, what="path"):
    """The Sheet at `path`, which must have the columns `needed` (upper and lower case are one).

    UTF-8 with or without a mark, UTF-16 and the Windows code page 1252 are told apart; commas, semicolons, tabs and
    bars may lie between the columns. Raises FileNotFoundError, or ValueError where it cannot be read, with the line.
    """
    path = check_file(what, path)
    if not path.is_file():
        raise FileNotFoundError(f"{what} is {str(path)!r}, which does not exist, but must be a CSV file.")
    for name in needed:
        if not isinstance(name, str):
            raise BadInput(f"a column is {name!r}, but must be text.")
    text = _decoded(path)
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise BadInput(f"path is {str(path)!r}, whose line {line} has zero bytes: the file is damaged.")
    first = next(io.StringIO(text, newline=""), "")  # a line ends in \n, \r\n or \r
    skipped = first.strip().lower().startswith("sep=")  # a line that is meant for a spreadsheet
    text = text[len(first) :] if skipped else text
    header = next(io.StringIO(text, newline=""), "")
    headers = {separator: next(csv.reader([header], delimiter=separator), []) for separator in ",;\t|"}
    headers = {separator: [_column(cell, needed) for cell in header] for separator, header in headers.items()}
    missing = {separator: [name for name in needed if name not in header] for separator, header in headers.items()}
    separator = min(headers, key=lambda s: (len(missing[s]), -len(headers[s])))
    columns = headers[separator]
    if missing[separator]:
        raise BadInput(f"path is {str(path)!r}, which has no column {missing[separator][0]!r} but {columns}.")
    last = sum(1 for _ in io.StringIO(text, newline=""))
    sheet, line, reader = Sheet([], []), 1 + skipped, csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        for number, cells in enumerate(reader):
            if number and any(cell.strip() for cell in cells):
                cut = len(cells) < len(columns) and not text.endswith(("\n", "\r")) and reader.line_num == last
                if cut or any(cells[len(columns) :]):
                    raise BadInput(f"{path.name}, line {line} has {len(cells)} cells for {len(columns)} columns.")
                sheet.rows.append(dict(zip(columns, cells + [""] * (len(columns) - len(cells)))))
                sheet.lines.append(line)
            line = reader.line_num + 1 + skipped
    except csv.Error as error:
        raise BadInput(f"{path.name}, line {line} is no row of a table ({error}).") from None
    return sheet


def files_and_labels(path, image="file", label="label", root=None):
    """The images that the CSV file `path` names: (dict name -> path, labels as text, dict name -> line).

    `image`, `label` : the columns; `root` : the folder that the names start from, by default that of the CSV file.
    Whole numbers that a spreadsheet has written as 1.0 lose the dot. Raises ValueError if a row lacks its name or
    label, or if a file stands there twice.
    """
    path = expand("path", path)
    root = path.parent if root is None else expand("root", root)
    sheet = read(path, (image, label))
    paths, labels, lines = {}, [], {}
    for row, line in zip(sheet.rows, sheet.lines):
        blank = [column for column in (image, label) if not row[column].strip()]
        if blank:
            raise BadInput(f"{path.name}, line {line} has nothing in the column {blank[0]!r}.")
        name, place = _located(root, row[image])
        if name in paths:
            raise BadInput(f"{path.name}, line {line} names {name!r} again, after line {lines[name]}.")
        paths[name], lines[name] = place, line
        labels.append(row[label].strip())
    if all(re.fullmatch(r"-?\d+([.,]0*)?", text) for text in labels):
        labels = [re.split("[.,]", text)[0] for text in labels]
    return paths, labels, lines


def _located(root, name):
    """(name, path) of a file: as it stands there, or without blanks, with other slashes, with accents written apart."""
    plain = name.strip()
    forms = [form(text) for text in (name, plain, plain.replace("\\", "/")) for form in (str, _composed, _apart)]
    found = next((form for form in forms if (root / form).exists()), plain)
    return found, root / found


def _composed(text):
    return unicodedata.normalize("NFC", text)


def _apart(text):
    return unicodedata.normalize("NFD", text)


def number(text, where):
    """The number in a cell, NaN where it is blank; `where` begins the sentence of the ValueError."""
    try:
        return float(text.strip().replace(",", ".")) if text.strip() else math.nan
    except ValueError:
        raise BadInput(f"{where} is {text!r}, but must be a number.") from None


def whole(text, where):
    """The whole number in a cell, also as "14.0"."""
    value = number(text, where)
    if not math.isfinite(value) or value != int(value):
        raise BadInput(f"{where} is {text!r}, but must be a whole number.")
    return int(value)


def printable(name):
    r"""A file's name as text that every encoding and spreadsheet bears: \r, \n and stray bytes as they are typed."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _decoded(path):
    raw = path.read_bytes()
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encodings = ["utf-16"]
    elif b"\0" in raw[:4]:  # UTF-16 without its mark
        encodings = ["utf-16-be" if raw[0] == 0 else "utf-16-le"]
    else:
        encodings = ["utf-8-sig", "cp1252"]
    for encoding in encodings:
        try:
            return _undone(raw.decode(encoding))
        except UnicodeDecodeError as error:
            line = raw[: error.start].count(b"\n") + 1
    raise BadInput(f"path is {str(path)!r}, whose line {line} is text in no known encoding: save it as UTF-8.")


def _undone(text):
    """`text`, read anew where a program took UTF-8 with its mark for code page 1252 (five bytes of which are free)."""
    if not text.startswith("ï»¿"):
        return text
    try:
        raw = b"".join(c.encode("latin-1" if c in "\x81\x8d\x8f\x90\x9d" else "cp1252") for c in text)
        return raw.decode("utf-8-sig")
    except UnicodeError:
        return text


def _column(cell, needed):
    """The name of a column, spelled as in `needed`."""
    return next((name for name in needed if name.casefold() == cell.strip().casefold()), cell.strip())
