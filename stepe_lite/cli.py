"""The command `stepe-lite` (also `python -m stepe_lite`)."""

import sys
from pathlib import Path

import click

from . import (
    __version__,
    course,
    datasets,
    experiments,
    files,
    grid,
    inventory,
    models,
    noise,
    presets,
    results,
    schedules,
)
from . import experiments_ramp as ramps
from . import validate as check
from .learner import OPTIMIZERS
from .training import TrainingDiverged

NOISE = {
    "none": None,
    "symmetric": noise.symmetric,
    "pair_flip": noise.pair_flip,
    "instance_dependent": noise.instance_dependent,
    **{f"cifar10n-{kind}": kind for kind in ("aggre", "random1", "random2", "random3", "worse")},
}
RULES = {
    "standard": "standard",
    "loss-truncation": "loss truncation",
    "loss-truncation-warmup": "loss truncation, warm-up",
    "self-paced": "self-paced",
    "one-shot": "one-shot",
    "step-e": "Step-E",
    "random": "random exclusion",
    "oracle-removal": "oracle by removal",
    "oracle-clean": "oracle by clean labels",
}


class _Commands(click.Group):
    """Turns the package's own errors into one line on stderr: exit status 2 for what was typed, 1 for the rest."""

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except (OSError, TrainingDiverged, files.DamagedData) as error:
            raise click.ClickException(str(error)) from error
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        except KeyboardInterrupt:
            click.echo("\nInterrupted; nothing was left half-written.", err=True)
            sys.exit(130)


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
def run(notebooks, parameters, out, html, save):
    """Execute notebooks in order and check every claim in them.

    NOTEBOOKS are paths, names or numbers ("03"); without any, the whole course runs on its embedded data.
    """
    chosen = {name: course.value_of(value) for name, value in parameters}
    report = course.run(notebooks, chosen, out, html=html, save=save, progress=sys.stderr.isatty())
    for entry in report["notebooks"]:
        held = sum(claim["holds"] for claim in entry["claims"])
        mark = "✓" if entry["ok"] else "✗"
        click.echo(f"{mark} {entry['name']}  {entry['seconds']:.1f} s, {held} of {len(entry['claims'])} claims hold")
        if not entry["ok"]:
            click.echo(f"    {entry['error']}")
    click.echo(f"Executed notebooks and report.json are in {Path(out).resolve()}")
    if not all(entry["ok"] for entry in report["notebooks"]):
        sys.exit(1)


@main.command()
@click.argument("data", default="digits")
@click.option("--root", help="Folder with the data files.")
@click.option("--subset", type=int, help="Train on so many random samples only.")
@click.option("--noise", "noise_name", default="none", show_default=True, help=f"Noise to add: {', '.join(NOISE)}.")
@click.option("--rate", type=float, default=0.4, show_default=True, help="Noise rate, own class excluded.")
@click.option("--rule", "chosen", multiple=True, default=["step-e"], show_default=True,
              help=f"Method, may be repeated: {', '.join(RULES)}, or all.")  # fmt: skip
@click.option("--model", default="mlp", show_default=True, help=f"Network: {', '.join(models.names())}.")
@click.option(
    "--schedule", default="linear", show_default=True, help=f"Shape of the ramp: {', '.join(schedules.names())}."
)
@click.option("--warmup", type=int, default=5, show_default=True, help="Epochs before any exclusion.")
@click.option("--ramp", type=int, default=15, show_default=True, help="Epochs from no exclusion to the final fraction.")
@click.option("--final", type=float, help="Final excluded fraction. Default: the true noise rate, a privilege.")
@click.option("--seeds", type=int, default=3, show_default=True, help="How many seeds, from 0.")
@click.option("--epochs", type=int, help="Epochs. Default: 60.")
@click.option("--steps", type=int, help="Optimiser steps, in place of epochs.")
@click.option("--batch-size", type=int, help="Largest batch. Default: 128, or n where that is less.")
@click.option("--lr", type=float, help="Learning rate. Default: 0.05 for sgd, 0.001 for adam.")
@click.option("--optimizer", default="sgd", show_default=True, help=f"One of {', '.join(OPTIMIZERS)}.")
@click.option("--augment", is_flag=True, help="Random shift and flip.")
@click.option(
    "--rescore-every", type=int, default=1, show_default=True, help="Epochs between two scorings of the excluded."
)
@click.option("--device", default="auto", show_default=True)
@click.option("--out", help="Folder for histories, checkpoints and table.csv; the same command goes on from them.")
@click.pass_context
def train(ctx, data, root, subset, noise_name, rate, chosen, schedule, warmup, ramp, final, seeds, out, **settings):
    """Train one method, or several, on one data set over several seeds and print the table."""
    for each in chosen:
        check.choice("--rule", each, [*RULES, "all"])
    check.whole("--seeds", seeds, least=1)
    models.check_name(settings["model"])
    check.fraction("rate", rate)
    if noise_name == "none" and ctx.get_parameter_source("rate") != click.core.ParameterSource.DEFAULT:
        raise click.UsageError(f"--rate {rate:g} is given without --noise; choose one of {', '.join(list(NOISE)[1:])}.")
    if (
        isinstance(NOISE.get(noise_name), str)
        and ctx.get_parameter_source("rate") != click.core.ParameterSource.DEFAULT
    ):
        raise click.UsageError(f"--rate {rate:g} is given, but --noise {noise_name} has its own measured rate.")
    model = _noise_model(noise_name, rate)
    whole = datasets.load(data, root)
    whole = whole if subset is None else whole.subset(subset, seed=0)
    noisy = whole if model is None else whole.with_noise(model, seed=0)
    if final is None:
        final = round(noisy.noise_rate, 4)
        click.echo(
            f"final = {final:g}, the true noise rate (seed 0): a privilege that practice does not have (see --final)."
        )
    too_long = settings["steps"] is None and warmup >= (settings["epochs"] or 60)
    if {"step-e", "all"} & set(chosen) and (final == 0 or too_long):
        click.echo("Step-E will exclude nobody: final is 0, or the warm-up is as long as the training.", err=True)
    shape = _schedule(schedule, warmup, ramp, final)

    def make_methods(data, seed):
        found = experiments.methods(data, shape, seed)
        return {method: found[method] for rule, method in RULES.items() if rule in chosen or "all" in chosen}

    make_data = (lambda seed: whole) if model is None else (lambda seed: whole.with_noise(model, seed))
    if out is not None:
        check.folder("--out", out)
    runs = experiments.compare(
        make_data, make_methods, range(seeds), folder=out, progress=sys.stderr.isatty(), **settings
    )
    if out is not None:
        runs.to_csv(Path(out) / "table.csv", index=False)
    click.echo(f"{noisy!r}\n{settings['model']}, {shape}, seeds 0 to {seeds - 1}, mean ± standard deviation in %")
    click.echo(experiments.summary(runs).to_string())


def _noise_model(name, rate):
    made = NOISE[check.choice("--noise", name, NOISE)]
    if isinstance(made, str):
        return noise.asymmetric(noise.cifar10n(made), name)
    return made(rate) if made else None


def _schedule(shape, warmup, ramp, final):
    make = getattr(schedules, check.choice("--schedule", shape, schedules.names()))
    return make(final, warmup) if shape == "constant" else make(warmup, ramp, final)


@main.command()
@click.option("--preset", help=f"Which grid: {', '.join(presets.PRESETS)}.")
@click.option("--out", help="Folder of the grid; what is finished there is not run again. Default: runs/PRESET.")
@click.option("--jobs", type=int, default=1, show_default=True, help="Processes; more may join from another shell.")
@click.option("--root", help="Folder with the data files.")
@click.option("--show", help="Run nothing: print the table of this folder, or of a .csv that --save wrote.")
@click.option("--save", is_flag=True, help="Keep the results in the course's folder notebooks/results.")
def table(preset, out, jobs, root, show, save):
    """The paper's comparison on human label noise: run or continue a grid of experiments, and print its table.

    smoke takes minutes, cpu some hours on two cores; calibrate (which settings give the paper's level?) and paper
    need a GPU.
    """
    if preset is None and (show is None or save):
        raise click.UsageError(f"--preset is missing; choose one of {', '.join(presets.PRESETS)}.")
    out = Path(show or out or f"runs/{preset}")
    failed = []
    if show is None:
        failed = grid.run(presets.runs_of(preset), out, jobs=jobs, root=root, progress=sys.stderr.isatty())
    if preset is not None:
        check.choice("preset", preset, presets.PRESETS)
    click.echo(results.text(results.collect(out), preset))
    if save:
        results.save(out, preset, course.folder() / "results", root)
    for name in failed:
        click.echo(f"✗ {name} failed, see {out / name}.error.json", err=True)
    sys.exit(1 if failed else 0)


@main.command()
@click.option("--out", default="ramp.csv", show_default=True, help="CSV file; what is in it is not run again.")
@click.option("--seeds", type=int, default=ramps.SEEDS, show_default=True, help="How many seeds, from 0.")
@click.option("--show", help="Run nothing: print the map of this .csv.")
def ramp(out, seeds, show):
    """When does the ramp pay? Warm-ups and ramps on many kinds of noise; half an hour or more, may be interrupted."""
    click.echo(ramps.text(ramps.read(show) if show else ramps.run(out, seeds, progress=sys.stderr.isatty())))


main.add_command(inventory.data)
main.add_command(inventory.doctor)
