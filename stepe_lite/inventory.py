"""What this machine has, and what is missing: the commands `stepe-lite data` and `stepe-lite doctor`."""

import sys

import click

from . import datasets, validate
from .datasets import sources


@click.command()
@click.argument("name", required=False)
@click.option("--download", is_flag=True, help="Fetch what is missing.")
@click.option("--root", help="Folder with the data files, searched first and downloaded to.")
def data(name, download, root):
    """List the data sets, or verify NAME file by file, or download it."""
    if name is None:
        for each in datasets.names():
            click.echo(f"{each:18} {_where(each, root)}")
        return
    validate.choice("data set", name, datasets.names())
    if name == "digits":
        click.echo("digits is embedded in scikit-learn: nothing to download.")
        return
    place = sources.find(name, root, download)
    for path, state in sources.check(place, name).items():
        click.echo(f"{state:8} {place / path}")
    click.echo(repr(datasets.load(name, place)))


def _where(name, root):
    if name == "digits":
        return "embedded"
    try:
        return str(sources.find(name, root))
    except datasets.MissingData:
        return f"missing: stepe-lite data {name} --download"
    except (datasets.DamagedData, ImportError) as error:
        return str(error)


@click.command()
@click.option("--root", help="Folder with the data files.")
def doctor(root):
    """Show Python, packages, device and data, and the command that mends what is missing."""
    import platform
    from importlib.metadata import PackageNotFoundError, requires, version

    from packaging.requirements import Requirement

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
