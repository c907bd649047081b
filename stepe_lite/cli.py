"""The command `stepe-lite` (also `python -m stepe_lite`). What a command needs is imported when it runs."""

import contextlib
import os
import signal
import sys
import warnings
from pathlib import Path

import click

from . import __version__


class _Commands(click.Group):
    """Turns the package's own errors into one line on stderr: exit status 2 for what was typed, 1 for the rest."""

    def invoke(self, ctx):
        def stop(number, frame):
            raise SystemExit(128 + number)  # so that locks are released and helpers ended, as after Ctrl-C

        before = signal.signal(signal.SIGTERM, stop)
        warnings.formatwarning = lambda message, *_, **__: f"{message}\n"  # without the line of code that raised it
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("\nInterrupted; nothing was left half-written.", err=True)
            sys.exit(130)
        except BrokenPipeError:  # the reader, `head` say, has seen enough
            sys.stdout = None
            sys.exit(141)
        except Exception as error:
            from .experiments import RunFailed
            from .training import TrainingDiverged
            from .utils import BadInput

            if isinstance(error, BadInput):
                raise click.UsageError(str(error)) from error
            if isinstance(error, OSError | TrainingDiverged | RunFailed):
                raise click.ClickException(str(error)) from error
            raise  # a fault of the program: its traceback is what is needed
        finally:
            signal.signal(signal.SIGTERM, before)


class _Listing(click.Command):
    """A command whose help ends with the names that its options take."""

    def format_epilog(self, ctx, formatter):
        from . import models, schedules
        from .experiments import METHODS

        methods = [method.option for method in METHODS.values()]
        lists = {"--rule": [*methods, "all"], "--model": models.names(), "--schedule": schedules.names()}
        with formatter.section("Names"):
            formatter.write_dl([(option, ", ".join(names)) for option, names in lists.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__)
def main():
    """Learning with noisy labels: run the course, train Step-E and its rivals, get the data.

    Exit status: 0 = fine, 1 = something failed, 2 = an argument was refused, 130 = interrupted.
    """


@main.command()
@click.argument("notebooks", nargs=-1)
@click.option(
    "-p", "parameters", type=(str, str), multiple=True, metavar="NAME VALUE", help="Set a parameter of the notebooks."
)
@click.option("--out", default="runs", show_default=True, help="Folder for the executed copies and report.json.")
@click.option("--html", is_flag=True, help="Also write a page for each notebook and an index.")
@click.option("--save", is_flag=True, help="Put the outputs into the notebooks themselves.")
@click.option("--jobs", type=int, help="Notebooks that run at a time. Default: as many as there are cores.")
def run(notebooks, parameters, out, html, save, jobs):
    """Execute notebooks and check every claim in them.

    NOTEBOOKS are paths, names or numbers ("03"); without any, the whole course runs on its embedded data.
    """
    from . import course

    chosen = {name: course.value_of(value) for name, value in parameters}
    jobs = (os.cpu_count() or 1) if jobs is None else jobs
    report = course.run(notebooks, chosen, out, html=html, save=save, progress=sys.stderr.isatty(), jobs=jobs)
    for entry in report["notebooks"]:
        held = sum(claim["holds"] for claim in entry["claims"])
        mark = "✓" if entry["ok"] else "✗"
        click.echo(f"{mark} {entry['name']}  {entry['seconds']:.1f} s, {held} of {len(entry['claims'])} claims hold")
        if not entry["ok"]:
            click.echo(f"    {entry['error']}")
        for text in entry["told"]:
            click.echo(f"    {text}")
    click.echo(f"Executed notebooks and report.json are in {Path(out).expanduser().resolve()}")
    if not all(entry["ok"] for entry in report["notebooks"]):
        sys.exit(1)


@main.command()
@click.argument("folder", metavar="DIR")
@click.argument("notebooks", nargs=-1)
@click.option("--solutions", is_flag=True, help="The teacher's edition: every exercise filled in.")
def handout(folder, notebooks, solutions):
    """Write the notebooks for a class to the new folder DIR: without outputs and without solutions.

    NOTEBOOKS are paths, names or numbers ("03"); without any, the whole course.
    """
    from . import course

    for path in course.handout(folder, notebooks, solutions):
        click.echo(path)


@main.command()
@click.argument("files", nargs=-1, required=True)
@click.option("--csv", "out", help="Also write the verdicts and sentences to this .csv, a row for each exercise.")
@click.option("--timeout", type=float, default=300, show_default=True, help="Seconds for a notebook.")
@click.option("--jobs", type=int, default=1, show_default=True, help="Notebooks marked at a time.")
def mark(files, out, timeout, jobs):
    """Mark submitted notebooks: a table learner by exercise of right, wrong, untouched and error.

    THIS RUNS THE CODE IN FILES, with your rights on this machine: mark only what you would run yourself, or mark in a
    container. Each notebook has a process of its own, in an empty folder, and its answers are judged by the checks of
    this installation: what it prints or redefines changes no verdict.
    """
    from . import course
    from .course import marking
    from .utils import check_folder, expand, written_beside

    if out is not None:
        out = expand("--csv", out)
        check_folder("--csv", out.parent)
    click.echo(f"Running other people's code, with your rights: {len(files)} notebooks.", err=True)
    marks = course.mark(files, timeout, jobs, progress=sys.stderr.isatty())
    click.echo(marking.text(marks))
    if out is not None:
        with written_beside(out) as partial:
            marks.to_csv(partial, index=False)


@main.command(cls=_Listing)
@click.argument("data", default="digits")
@click.option("--root", help="Folder with the data files.")
@click.option("--subset", type=int, help="Train on so many random samples only.")
@click.option(
    "--noise",
    "kind",
    default="none",
    show_default=True,
    help="Noise to add: symmetric, pair_flip, instance_dependent, or cifar10n-… (measured by people).",
)
@click.option("--rate", type=float, help="Noise rate, own class excluded. Default: 0.4.")
@click.option("--rule", "rules", multiple=True, default=["step-e"], show_default=True, help="Method, may be repeated.")
@click.option("--model", default="mlp", show_default=True, help="Network.")
@click.option("--schedule", default="linear", show_default=True, help="Shape of the ramp.")
@click.option("--warmup", type=int, default=5, show_default=True, help="Epochs before any exclusion.")
@click.option("--ramp", type=int, default=15, show_default=True, help="Epochs from no exclusion to the final fraction.")
@click.option("--final", type=float, help="Final excluded fraction. Default: the true noise rate, a privilege.")
@click.option("--seeds", type=int, default=3, show_default=True, help="How many seeds, from 0.")
@click.option("--epochs", type=int, help="Epochs. Default: 60.")
@click.option("--steps", type=int, help="Optimiser steps, in place of epochs.")
@click.option("--batch-size", type=int, help="Largest batch. Default: 128, or n where that is less.")
@click.option("--lr", type=float, help="Learning rate. Default: 0.05 for sgd, 0.001 for adam.")
@click.option("--optimizer", default="sgd", show_default=True, help="sgd or adam.")
@click.option(
    "--augment",
    type=click.Choice(["none", "flip", "crop"]),
    default="none",
    show_default=True,
    help="Random flip, or shift and flip.",
)
@click.option(
    "--rescore-every", type=int, default=1, show_default=True, help="Epochs between two scorings of the excluded."
)
@click.option("--device", default="auto", show_default=True)
@click.option("--threads", type=int, help="Threads on a CPU, see learner.Settings.")
@click.option("--precision", default="float32", show_default=True, help="float32 or bfloat16.")
@click.option("--out", help="Folder for histories, checkpoints and table.csv; the same command goes on from them.")
def train(data, root, subset, kind, rate, rules, schedule, warmup, ramp, final, seeds, out, augment, **settings):
    """Train one method, or several, on one data set over several seeds and print the table."""
    from . import datasets, experiments, models, schedules
    from .experiments.plan import MAIN
    from .utils import check_choice, check_folder, check_whole, written_beside

    options = {method.option: name for name, method in experiments.METHODS.items()}
    for each in rules:
        check_choice("--rule", each, [*options, "all"])
    chosen = [name for option, name in options.items() if option in rules or ("all" in rules and name in MAIN)]
    check_whole("--seeds", seeds, least=1)
    models.check_name(settings["model"])
    model, noise = settings.pop("model"), _noise_model(kind, rate)
    settings = {name: value for name, value in settings.items() if value is not None}
    settings["augment"] = {"none": False, "flip": "flip", "crop": True}[augment]
    whole = datasets.load(data, root)
    whole = whole if subset is None else whole.subset(subset, seed=0)
    make_data = (lambda seed: whole) if noise is None else (lambda seed: whole.with_noise(noise, seed))
    noisy = make_data(0)
    if final is None:
        final = round(noisy.noise_rate, 4)
        click.echo(
            f"final = {final:g}, the true noise rate (seed 0): a privilege that practice does not have (see --final)."
        )
    if "Step-E" in chosen and final == 0:
        click.echo("Step-E will exclude nobody: final is 0.", err=True)
    make = getattr(schedules, check_choice("--schedule", schedule, schedules.names()))
    shape = make(final, warmup) if schedule == "constant" else make(warmup, ramp, final)
    if out is not None:
        out = check_folder("--out", out)
    runs = experiments.compare(
        make_data, lambda data, seed: experiments.methods(data, shape, seed, chosen, settings), range(seeds), model,
        out=out, progress=sys.stderr.isatty(), **settings,
    )  # fmt: skip
    if out is not None:
        with written_beside(out / "table.csv") as partial:
            runs.to_csv(partial, index=False)
    click.echo(f"{noisy!r}\n{model}, {shape}, seeds 0 to {seeds - 1}, mean ± standard deviation in %")
    click.echo(experiments.summary(runs).to_string())


def _noise_model(kind, rate):
    from . import noise
    from .utils import BadInput, check_choice

    made = {name: getattr(noise, name) for name in ("symmetric", "pair_flip", "instance_dependent")}
    human = {f"cifar10n-{name}": name for name in ("aggre", "random1", "random2", "random3", "worse")}
    check_choice("--noise", kind, ["none", *made, *human])
    if rate is not None and kind not in made:
        why = f"--noise {kind} has its own measured rate" if kind in human else f"no --noise: choose {', '.join(made)}"
        raise BadInput(f"--rate {rate:g} is given, but {why}.")
    if kind in human:
        return noise.asymmetric(noise.cifar10n(human[kind]), kind)
    return made[kind](0.4 if rate is None else rate) if kind in made else None


@main.command()
@click.option("--preset", help="smoke, cpu, calibrate, paper, paper-long, cifar-stem or cifar-ramp.")
@click.option("--out", help="Folder of the grid; what is finished there is not run again. Default: runs/PRESET.")
@click.option("--jobs", type=int, default=1, show_default=True, help="Processes; more may join from another shell.")
@click.option("--dask", metavar="ADDRESS", help="Have the workers of this Dask scheduler make the runs.")
@click.option("--root", help="Folder with the data files.")
@click.option(
    "--show",
    is_flag=False,
    flag_value="",
    metavar="[PATH]",
    help="Run nothing: print the table of this folder or .csv; without one, all that the course has recorded.",
)
@click.option("--save", is_flag=True, help="Keep the results in the course's folder notebooks/results.")
def table(preset, out, jobs, dask, root, show, save):
    """The paper's comparison on human label noise: run or continue a grid of experiments, and print its table.

    On two cores smoke takes minutes, cpu and cifar-ramp (warm-up by length of the ramp) some hours, paper (ResNet-18
    on all images) a weekend; paper-long and cifar-stem want a GPU. calibrate compares recipes by standard training and
    the clean-label oracle alone.
    """
    from . import course, experiments
    from .utils import BadInput, check_choice, expand

    if preset is not None:
        check_choice("--preset", preset, experiments.PRESETS)
    if preset is None and (show is None or save):
        raise BadInput(f"--preset is missing; choose one of {', '.join(experiments.PRESETS)}.")
    if show == "" and save:
        raise BadInput("--save is given with a --show of what is recorded already: name the folder of the grid.")
    results = course.folder() / "results"
    if show == "":
        recorded = [name for name in experiments.PRESETS if preset in (None, name)]
        paths = [results / f"{name}.csv" for name in recorded if (results / f"{name}.csv").exists()]
        for path in paths:
            click.echo(f"{path.stem}, recorded by: stepe-lite table --preset {path.stem}\n")
            click.echo(experiments.text(experiments.collect(path), path.stem) + "\n")
        if preset is None:
            from .experiments import ramp

            click.echo(f"ramp, recorded by: stepe-lite ramp\n\n{ramp.text(ramp.read(results / 'ramp.csv'))}")
        return
    out, failed = expand("--show" if show else "--out", show or out or f"runs/{preset}"), {}
    if show is None:
        root = root and str(expand("--root", root).resolve())
        runs = [experiments.grid_run(run, root) for run in experiments.runs_of(preset)]
        for run in {tuple(run.about["run"][:1]): run for run in runs}.values():
            run.arrange()  # is the data there?
        with _dask_client(dask) as executor:
            experiments.make(runs, out, jobs=jobs, executor=executor, progress=sys.stderr.isatty())
        failed = experiments.failures(runs, out)
    for name, reason in failed.items():
        click.echo(f"✗ {name} failed: {reason}", err=True)
    if len(failed) < len(experiments.runs_of(preset) if show is None else [0]):
        click.echo(experiments.text(experiments.collect(out, preset if show is None else None), preset))
        if save:
            experiments.save(out, preset, results, root)
    sys.exit(1 if failed else 0)


def _dask_client(address):
    """A client of the scheduler at `address` as a context; without an address, a context of None."""
    if address is None:
        return contextlib.nullcontext()
    from .utils import BadInput

    try:
        from dask.distributed import Client
    except ImportError:
        raise BadInput('--dask needs Dask: python -m pip install "dask[distributed]".') from None
    return Client(address, timeout="10s")


@main.command()
@click.option("--out", help="Write the table to this .csv; versions, processor and date to a .json beside it.")
@click.option("--repeats", type=int, default=3, show_default=True, help="How often each side is measured.")
@click.option("--quick", is_flag=True, help="Tiny sizes: shows that it works; the figures mean little.")
def bench(out, repeats, quick):
    """Measure what Step-E costs on this machine: ratios and their spread, on one thread of the CPU.

    An epoch against one of standard training; `fit` against a bare loop; a run against confident learning in two
    stages; the ranking; images a second. Ten minutes or less.
    """
    from .experiments import bench

    table = bench.run(out, repeats, quick, progress=sys.stderr.isatty())
    click.echo(table.to_string(index=False, float_format="{:.4g}".format, na_rep=""))


@main.command()
@click.option("--out", default="ramp.csv", show_default=True, help="CSV file; what is in it is not run again.")
@click.option("--seeds", type=int, default=10, show_default=True, help="How many seeds, from 0.")
@click.option("--show", help="Run nothing: print the map of this .csv.")
def ramp(out, seeds, show):
    """When does the ramp pay? Kinds of noise by warm-up by length of the ramp, on the digits, each against no ramp.

    Takes about half an hour on one free core. It may be interrupted; the same command goes on.
    """
    from .experiments import ramp

    runs = ramp.run(out, seeds, progress=sys.stderr.isatty()) if show is None else ramp.read(show)
    click.echo(ramp.text(runs))


@main.command("map")
@click.option("--out", default="schedules.csv", show_default=True, help="CSV file; what is in it is not run again.")
@click.option("--seeds", type=int, default=5, show_default=True, help="How many seeds, from 0.")
@click.option("--jobs", type=int, default=1, show_default=True, help="Processes.")
def schedule_map(out, seeds, jobs):
    """What training gives for 180 schedules on the digits: the map beside the sliders of notebook 4.

    Takes about a quarter of an hour on one free core. It may be interrupted; the same command goes on.
    """
    from .experiments import schedule_map

    runs = schedule_map.run(out, seeds, jobs, progress=sys.stderr.isatty())
    click.echo("\n".join(schedule_map.summary(runs).sort_values("way", ascending=False).said))


@main.command()
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


@main.command()
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


@main.command()
@click.argument("folder")
@click.argument("review")
@click.argument("destination")
def clean(folder, review, destination):
    """Write a copy of FOLDER to the new folder DESTINATION, as decided in the file REVIEW.

    REVIEW is the review.csv of notebook 8, filled in there or in a spreadsheet. Rows without a decision stay as they
    are. Every other file is copied as it is; manifest.csv in the copy says where each is now.
    """
    from .datasets import folders, sheets
    from .review import Review
    from .utils import BadInput

    there = {sheets.printable(file) for file in folders.listing(folder)}
    for row in sheets.read(review, ("file",), "review").rows:
        if row["file"].strip() not in there:
            raise BadInput(f"review is {review!r}, of another folder: {row['file']!r} is not in {folder!r}.")
    decided = Review.from_csv(review, folders.classes_of(folder))
    if not decided.decisions:
        raise BadInput(
            f"review is {review!r}, in which none of {len(decided.table)} rows is decided on: write keep, relabel or "
            "drop into the column decision."
        )
    decided.copy_folder(folder, destination)
    words = decided.as_table().decision.replace("", "undecided").value_counts()
    click.echo(f"{', '.join(f'{n} × {word}' for word, n in words.items())}; the copy is in {destination}")


@main.command()
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
    from .course import kernels  # imports what may have been missing

    if stale := kernels.fault():
        click.echo(f"✗ {stale}")
        sys.exit(1)
