"""The commands about data, and about what this machine has: `stepe-lite data`, `audit` and `doctor`."""

import sys

import click


@click.command()
@click.argument("name", required=False)
@click.option("--download", is_flag=True, help="Fetch what is missing.")
@click.option("--root", help="Folder with the data files, searched first and downloaded to.")
def data(name, download, root):
    """List the data sets, or verify NAME file by file, or download it."""
    from . import datasets
    from .datasets import sources
    from .utils import check_choice

    if name is None:
        for each in datasets.names():
            click.echo(f"{each:18} {_where(each, root)}")
        return
    check_choice("data set", name, datasets.names())
    if name == "digits":
        click.echo("digits is embedded in scikit-learn: nothing to download.")
        return
    place = sources.find(name, root, download)
    for path, state in sources.check(place, name).items():
        click.echo(f"{state:8} {place / path}")
    click.echo(repr(datasets.load(name, place)))


def _where(name, root):
    from .datasets import MissingData, sources

    if name == "digits":
        return "embedded"
    try:
        return str(sources.find(name, root))
    except MissingData:
        return f"missing: stepe-lite data {name} --download"
    except (OSError, ImportError) as error:
        return str(error)


@click.command()
@click.argument("path", metavar="FOLDER|CSV")
@click.option("--json", "as_json", is_flag=True, help="Everything as JSON: the findings, and a row for each file.")
@click.option("--image", default="file", show_default=True, help="Column of a CSV file with the files' names.")
@click.option("--label", default="label", show_default=True, help="Column of a CSV file with the labels.")
@click.option("--root", help="Folder that the names in a CSV file start from. Default: its own.")
def audit(path, as_json, image, label, root):
    """Look at every file of a folder of images (one sub-folder a class) or of a CSV file.

    Each has one fate: an image, unreadable, or skipped, with the reason. Images that are there twice are found;
    under two classes they are wrong labels for certain. Nothing is changed.
    """
    import json

    from .datasets import audit as auditing

    table = auditing.audit(path, image=image, label=label, root=root, progress=sys.stderr.isatty())
    if not as_json:
        click.echo(auditing.report(table))
        return
    texts = {name: table[name].map(auditing.sheets.printable) for name in ("same_as", "near")}
    rows = table.assign(**texts).rename(index=auditing.sheets.printable).reset_index().to_json(orient="records")
    click.echo(json.dumps({"findings": auditing.findings(table), "files": json.loads(rows)}, indent=1))


@click.command()
@click.option("--root", help="Folder with the data files.")
def doctor(root):
    """Show Python, packages, device and data, and the command that mends what is missing."""
    import platform
    from importlib.metadata import PackageNotFoundError, requires, version

    from packaging.requirements import Requirement

    from . import datasets

    click.echo(f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    broken = []
    try:
        needs = requires("stepe_lite")
    except PackageNotFoundError:
        click.echo("✗ stepe_lite is not installed. Mend with: python -m pip install -e .")
        sys.exit(1)
    for text in needs:
        need = Requirement(text)
        if need.marker and not need.marker.evaluate():
            continue
        try:
            found = version(need.name)
        except PackageNotFoundError:
            found = "missing"
        ok = found != "missing" and need.specifier.contains(found, prereleases=True)
        broken += [] if ok else [str(need)]
        click.echo(f"{'✓' if ok else '✗'} {need.name} {found}{'' if ok else f' (needed: {need.specifier})'}")
    import torch

    click.echo(f"device: {torch.cuda.get_device_name() if torch.cuda.is_available() else 'cpu, no CUDA GPU'}")
    for each in datasets.names():
        click.echo(f"data {each}: {_where(each, root)}")
    if broken:
        quoted = " ".join(f'"{need}"' for need in broken)
        click.echo(f"Mend with: {sys.executable} -m pip install {quoted}")
        sys.exit(1)
