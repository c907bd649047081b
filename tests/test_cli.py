"""The command `stepe-lite`: what it prints, what it refuses, and with which exit status."""

import contextlib
import hashlib
import importlib.metadata
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import warnings
from importlib.metadata import entry_points
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from click.testing import CliRunner
from nbformat.v4 import new_code_cell, new_notebook

from stepe_lite import History, __version__, course, datasets
from stepe_lite.cli import main
from stepe_lite.course import kernels
from stepe_lite.experiments import METHODS, PRESETS
from stepe_lite.experiments.plan import MAIN

FAILED, MISTYPED, INTERRUPTED, TERMINATED = 1, 2, 130, 143
RULES = {method.option: name for name, method in METHODS.items()}
HUMAN = [f"cifar10n-{name}" for name in ("aggre", "random1", "random2", "random3", "worse")]
NOISE = ["none", "symmetric", "pair_flip", "instance_dependent", *HUMAN]

# Small enough for a second a run.
SMALL = ["train", "--subset", "300", "--epochs", "2", "--seeds", "2", "--noise", "symmetric"]


def stepe_lite(*arguments):
    """Run the command in this process; `output` is what a terminal would show."""
    result = CliRunner().invoke(main, [str(each) for each in arguments])
    assert "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def process(*arguments, **settings):
    """Start the command as a real process."""
    command = [sys.executable, "-m", "stepe_lite", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **settings)


def notebook(path, *cells, parameters=""):
    first = new_code_cell(parameters, metadata={"tags": ["parameters"]})
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(new_notebook(cells=[first, *map(new_code_cell, cells)], metadata=kernel), path)
    return path


# --- the command itself ---


def test_python_m_stepe_lite_says_its_version(tmp_path):
    running = process("--version", cwd=tmp_path)
    out, err = running.communicate(timeout=200)
    assert running.returncode == 0 and __version__ in out and err == ""


def test_the_installed_command_is_the_same():
    (script,) = entry_points(group="console_scripts", name="stepe-lite")
    assert script.load() is main


@pytest.mark.parametrize("command", [[], ["run"], ["train"], ["table"], ["data"], ["doctor"]], ids=" ".join)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_is_there(command, option):
    result = stepe_lite(*command, option)
    assert result.exit_code == 0 and result.output.startswith("Usage:")


def test_help_names_every_command():
    shown = stepe_lite("--help").output
    assert all(command in shown for command in ("run", "train", "table", "data", "doctor"))


def test_help_of_train_names_every_rule_and_noise():
    shown = "".join(stepe_lite("train", "--help").output.split())  # names may be wrapped at a hyphen
    assert all(name in shown for name in [*RULES, "all", "symmetric", "pair_flip", "instance_dependent", "cifar10n-"])


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], []], ids=str)
def test_help_and_version_do_not_wait_for_torch(arguments):
    code = f"""
import sys
from stepe_lite.cli import main
try:
    main({arguments})
except SystemExit:
    print("heavy:", *sorted({{"torch", "numpy", "pandas", "matplotlib", "papermill"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
    assert done.stdout.endswith("heavy:\n"), done.stdout + done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["trian"],
        ["train", "--rul", "all"],
        ["train", "--epochs", "many"],
        ["run", "-p", "seeds"],
        ["train", "digits", "x"],
    ],
    ids=" ".join,
)
def test_a_usage_error_exits_with_2(arguments):
    result = stepe_lite(*arguments)
    assert result.exit_code == MISTYPED and "Error" in result.output


# --- train ---


def test_train_prints_the_table_of_one_rule():
    result = stepe_lite(*SMALL)
    assert result.exit_code == 0
    assert "Step-E" in result.output and "standard" not in result.output.splitlines()[-1]
    for text in ("40.0% of the labels wrong", "not attainable", "±", "precision", "recall", "seconds", "seeds 0 to 1"):
        assert text in result.output


def test_train_prints_the_table_of_all_rules():
    result = stepe_lite(*SMALL, "--rule", "all")
    assert result.exit_code == 0
    shown = [name for name in RULES.values() if re.search(rf"^{name}  ", result.output, re.M)]
    assert shown == [name for name in RULES.values() if name in MAIN]
    assert "gain over standard" in result.output


def test_train_compares_the_rules_that_it_is_given():
    result = stepe_lite(*SMALL, "--rule", "step-e", "--rule", "standard")
    assert result.exit_code == 0 and "gain over standard" in result.output
    assert [line.split()[0] for line in result.output.splitlines()[-2:]] == ["standard", "Step-E"]


@pytest.mark.parametrize("rule", RULES)
def test_train_knows_every_rule(rule):
    result = stepe_lite(*SMALL, "--epochs", "1", "--seeds", "1", "--rule", rule)
    assert result.exit_code == 0 and re.search(rf"^{RULES[rule]}  ", result.output, re.M)


@pytest.mark.parametrize("name", NOISE)
def test_train_knows_every_noise(name):
    result = stepe_lite(*SMALL, "--epochs", "1", "--seeds", "1", "--noise", name)
    assert result.exit_code == 0 and (" 0.0% of the labels wrong" in result.output) == (name == "none")


def test_train_says_that_the_true_noise_rate_is_a_privilege():
    assert "a privilege" in stepe_lite(*SMALL, "--seeds", "1").output
    assert "a privilege" not in stepe_lite(*SMALL, "--seeds", "1", "--final", "0.3").output


@pytest.mark.parametrize(
    ("arguments", "warned"),
    [
        (["--warmup", "2"], "is in its warm-up for all of 2 epochs"),
        (["--warmup", "2", "--rule", "all"], "is in its warm-up for all of 2 epochs"),
        (["--warmup", "1", "--ramp", "3"], "does not reach its final fraction in 2 epochs"),
        (["--warmup", "1", "--ramp", "0"], None),
        (["--warmup", "1", "--schedule", "constant"], None),
        (["--warmup", "2", "--rule", "loss-truncation"], None),
    ],
    ids=str,
)
def test_train_says_when_step_e_will_not_reach_its_final_fraction(arguments, warned):
    with warnings.catch_warnings(record=True) as caught:
        result = stepe_lite(*SMALL, "--seeds", "1", *arguments)
    said = [str(each.message) for each in caught if "epochs: choose a shorter" in str(each.message)]
    assert result.exit_code == 0 and (not said if warned is None else warned in said[0])


def test_table_does_not_save_what_it_only_shows():
    result = stepe_lite("table", "--preset", "smoke", "--show", "--save")
    assert result.exit_code == 2 and "--save is given with a --show" in result.output


def test_train_knows_steps_and_the_other_options():
    options = [
        "--rate",
        "0.2",
        "--model",
        "small_cnn",
        "--schedule",
        "cosine",
        "--warmup",
        "1",
        "--ramp",
        "2",
        "--lr",
        "0.1",
    ]
    more = ["--augment", "flip", "--threads", "1", "--precision", "float32"]
    more += ["--rescore-every", "2", "--batch-size", "50", "--optimizer", "adam", "--device", "cpu"]
    result = stepe_lite("train", "--subset", 300, "--noise", "pair_flip", "--steps", 3, "--seeds", 1, *options, *more)
    assert result.exit_code == 0
    assert "cosine(warmup=1, ramp=2" in result.output and "small_cnn" in result.output


@pytest.mark.parametrize("augment, setting", [("none", False), ("flip", "flip"), ("crop", True)])
def test_train_augments_as_it_is_told(tmp_path, augment, setting):
    result = stepe_lite(*SMALL, "--seeds", "1", "--augment", augment, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    (history,) = tmp_path.glob("*.npz")
    assert History.load(history).config["augment"] == setting


def test_the_rate_is_two_fifths_unless_it_is_given():
    assert "40.0% of the labels wrong" in stepe_lite(*SMALL, "--seeds", "1").output
    assert "20.0% of the labels wrong" in stepe_lite(*SMALL, "--seeds", "1", "--rate", "0.2").output


def test_out_keeps_the_runs_and_the_same_command_goes_on_from_them(tmp_path):
    first = stepe_lite(*SMALL, "--rule", "all", "--out", tmp_path / "new")
    assert first.exit_code == 0
    table = pd.read_csv(tmp_path / "new" / "table.csv")
    assert len(table) == 2 * len(MAIN) and table.seed.nunique() == 2
    histories = sorted((tmp_path / "new").glob("*.npz"))
    assert len(histories) == 2 * len(MAIN) and all(len(History.load(path).log) == 2 for path in histories)
    times = {path: path.stat().st_mtime_ns for path in histories}
    second = stepe_lite(*SMALL, "--rule", "all", "--out", tmp_path / "new")
    assert second.output == first.output  # the seconds too: nothing was trained again
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "new").glob("*.npz")} == times


def test_out_of_another_command_is_refused(tmp_path):
    stepe_lite(*SMALL, "--seeds", "1", "--out", tmp_path)
    result = stepe_lite(*SMALL, "--seeds", "1", "--out", tmp_path, "--lr", "0.1")
    assert result.exit_code == MISTYPED
    assert "'step-e_seed0.json', which was made with lr None, not '0.1': take another folder" in result.output


@pytest.mark.parametrize("kept", [True, False], ids=["with --out", "without"])
def test_training_that_diverges_says_at_which_epoch(tmp_path, kept):
    result = stepe_lite(*SMALL, "--seeds", "1", "--lr", "1e6", *(["--out", tmp_path] if kept else []))
    assert result.exit_code == FAILED and "at epoch 0: try a smaller learning rate" in result.output
    assert "Step-E, " not in result.output  # no table


# --- table ---


def test_table_show_prints_what_the_course_has_recorded():
    recorded = sorted(path.stem for path in (course.folder() / "results").glob("*.csv") if path.stem in PRESETS)
    result = stepe_lite("table", "--show")
    assert result.exit_code == 0 and recorded
    assert sorted(re.findall(r"^(\S+), recorded by: stepe-lite table --preset \1$", result.output, re.M)) == recorded
    assert "gain [95 %]" in result.output and "Step-E" in result.output
    assert "ramp, recorded by: stepe-lite ramp\n" in result.output and "uneven classes, 40 ± 30 %" in result.output


def test_table_show_prints_one_table(tmp_path):
    path = course.folder() / "results" / "cpu.csv"
    result = stepe_lite("table", "--show", path)
    assert result.exit_code == 0 and "gain [95 %]" in result.output and "recorded by" not in result.output
    result = stepe_lite("table", "--show", tmp_path / "nowhere")
    assert result.exit_code == FAILED and "must be the folder of a grid" in result.output


@pytest.mark.parametrize("arguments", [[], ["--save"], ["--show", "x.csv", "--save"]], ids=str)
def test_table_wants_to_know_which(arguments):
    result = stepe_lite("table", *arguments)
    assert result.exit_code == MISTYPED and "--preset is missing; choose one of smoke" in result.output


# --- what was typed is wrong ---


@pytest.mark.parametrize(
    "arguments, closest",
    [
        (["train", "digit"], "digits"),
        (["train", "cifar10-worse"], "cifar10n-worse"),
        ([*SMALL, "--rule", "step_e"], "step-e"),
        ([*SMALL, "--rule", "oracle-clan"], "oracle-clean"),
        ([*SMALL, "--model", "mpl"], "mlp"),
        ([*SMALL, "--noise", "symetric"], "symmetric"),
        ([*SMALL, "--schedule", "linar"], "linear"),
        ([*SMALL, "--optimizer", "addam"], "adam"),
        (["data", "fashionmnist"], "fashion-mnist"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[-1],
)
def test_an_unknown_name_is_refused_with_the_closest_match(arguments, closest):
    result = stepe_lite(*arguments)
    assert result.exit_code == MISTYPED and f"Did you mean {closest!r}?" in result.output


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--rate", "1.5"], "rate is 1.5, but must be a number from 0 up to (not including) 1"),
        (["--rate", "nan"], "rate is nan"),
        (["--rate", "0.2", "--noise", "none"], "--rate 0.2 is given, but no --noise: choose symmetric"),
        (["--final", "1"], "final is 1"),
        (["--final", "0.9999"], "final is 0.9999, which would exclude all 300 samples"),
        (["--final", "0.9999", "--rule", "loss-truncation"], "which would exclude all 300 samples"),
        (["--final", "0.9999", "--rule", "one-shot"], "which would exclude all 300 samples"),
        (["--warmup", "-1"], "warmup is -1"),
        (["--epochs", "0"], "epochs is 0, but must be a whole number, at least 1"),
        (["--steps", "10"], "only one of them"),
        (["--seeds", "0"], "--seeds is 0"),
        (["--batch-size", "5000"], "batch_size is 5000, but must be a whole number, from 1 to 300"),
        (["--lr", "-1"], "lr is -1"),
        (["--lr", "nan"], "lr is nan"),
        (["--subset", "5000"], "n is 5000, but must be a whole number, from 1 to 1297"),
        (
            ["--noise", "cifar10n-worse", "--rate", "0.4"],
            "--rate 0.4 is given, but --noise cifar10n-worse has its own measured rate",
        ),
        (["--rescore-every", "0"], "rescore_every is 0"),
        (["--device", "gpu"], "device is 'gpu'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_bad_value_is_refused(arguments, message):
    result = stepe_lite(*SMALL, *arguments)
    assert result.exit_code == MISTYPED and message in result.output


@pytest.mark.parametrize(
    "arguments, message", [(["--lr", "-1"], "lr is -1"), (["--final", "0.9999"], "exclude all 300")]
)
def test_a_bad_value_leaves_nothing_in_out(tmp_path, arguments, message):
    result = stepe_lite(*SMALL, *arguments, "--out", tmp_path)
    assert result.exit_code == MISTYPED and message in result.output
    assert not list(tmp_path.glob("*.json"))


@pytest.mark.parametrize(
    "arguments",
    [
        [*SMALL, "--out"], ["run", "01", "--out"], ["table", "--preset", "smoke", "--out"], ["table", "--show"],
        ["ramp", "--out"], ["bench", "--out"], ["train", "cifar10", "--root"], ["data", "cifar10", "--root"], ["audit"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_user_that_nobody_knows_gets_a_sentence(arguments):
    result = stepe_lite(*arguments, "~nosuchuser/x")
    assert result.exit_code == MISTYPED and " is '~nosuchuser/x', but must be a path: " in result.output


@pytest.mark.parametrize("name", ["ValueError", "KeyError"])
def test_a_fault_of_the_program_keeps_its_traceback(name):
    code = f"""
from stepe_lite import experiments
from stepe_lite.cli import main
def broken(*_, **__):
    raise {name}("deep inside")
experiments.compare = broken
main({[str(each) for each in SMALL]})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
    assert done.returncode == FAILED and "Usage:" not in done.stderr
    assert "Traceback" in done.stderr and "in broken" in done.stderr and f"{name}: " in done.stderr


@pytest.mark.parametrize("command", [SMALL, ["run", "nowhere.ipynb"]], ids=["train", "run"])
def test_an_unwritable_out_is_refused(tmp_path, command):
    (tmp_path / "file").write_text("a regular file")
    arguments = [notebook(tmp_path / "one.ipynb") if each == "nowhere.ipynb" else each for each in command]
    result = stepe_lite(*arguments, "--out", tmp_path / "file" / "out")
    assert result.exit_code in (FAILED, MISTYPED) and "but must be a folder that can be written to" in result.output


# --- data and doctor ---


def test_data_lists_every_data_set():
    result = stepe_lite("data")
    lines = dict(line.split(maxsplit=1) for line in result.output.splitlines())
    assert result.exit_code == 0 and tuple(lines) == datasets.names()
    assert lines["digits"] == "embedded" and "stepe-lite data cifar100n --download" in lines["cifar100n"]


def test_digits_need_no_download():
    result = stepe_lite("data", "digits")
    assert result.exit_code == 0 and "embedded" in result.output


@pytest.mark.parametrize("command", [["data"], ["train"]], ids=" ".join)
def test_missing_data_are_one_message_with_all_that_helps(tmp_path, command):
    result = stepe_lite(*command, "cifar10n-worse", "--root", tmp_path / "mine")
    assert result.exit_code == FAILED
    for text in ("CIFAR-10_human.pt", "data_batch_1", "MB", str(tmp_path / "mine"), "STEPE_LITE_DATA", "by hand"):
        assert text in result.output
    assert "stepe-lite data cifar10n-worse --download" in result.output


def test_a_damaged_file_is_shown_with_its_hash(tmp_path):
    for path in datasets.sources.needed("cifar100n"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"damaged")
    result = stepe_lite("data", "cifar100n", "--root", tmp_path)
    assert result.exit_code == FAILED
    assert "damaged" in result.output and hashlib.md5(b"damaged").hexdigest() in result.output


def test_doctor_finds_nothing_to_mend_here():
    result = stepe_lite("doctor")
    assert result.exit_code == 0, result.output
    for text in ("Python 3.", "✓ torch", "✓ papermill", "device:", "data digits: embedded", "data cifar10: missing"):
        assert text in result.output
    assert "✗" not in result.output


def test_doctor_names_what_is_missing_even_where_it_is_jupyter(monkeypatch):
    of = importlib.metadata.version

    def version(name):
        if name == "ipykernel":
            raise importlib.metadata.PackageNotFoundError(name)
        return of(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(kernels, "fault", lambda: pytest.fail("needs what is missing"))
    result = stepe_lite("doctor")
    assert result.exit_code == FAILED and "✗ ipykernel missing" in result.output, result.output
    assert 'pip install "ipykernel' in result.output


def test_doctor_names_a_stale_kernel(tmp_path, monkeypatch):
    monkeypatch.setattr(kernels, "fault", lambda: "JupyterLab's kernel python3 is stale.")
    result = stepe_lite("doctor")
    assert result.exit_code == FAILED and "✗ JupyterLab's kernel python3 is stale." in result.output


# --- run ---


def test_run_reports_every_notebook_and_exits_with_1_if_one_fails(tmp_path):
    bad = notebook(tmp_path / "01_bad.ipynb", "1 / 0")
    good = notebook(tmp_path / "02_good.ipynb", "print(seeds)", parameters="seeds = 2")
    result = stepe_lite("run", bad, good, "-p", "seeds", "7", "--out", tmp_path / "out", "--html")
    assert result.exit_code == FAILED
    assert "✗ 01_bad" in result.output and "ZeroDivisionError: division by zero" in result.output
    assert "✓ 02_good" in result.output and str(tmp_path / "out") in result.output
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert [each["ok"] for each in report["notebooks"]] == [False, True]
    assert (tmp_path / "out" / "index.html").exists()
    assert nbformat.read(tmp_path / "out" / "02_good.ipynb", as_version=4).cells[-1].outputs[0].text == "7\n"


def test_run_exits_with_0_if_all_is_well_and_saves_on_demand(tmp_path):
    good = notebook(tmp_path / "good.ipynb", "print('saved')")
    assert stepe_lite("run", good, "--out", tmp_path / "out", "--save").exit_code == 0
    assert nbformat.read(good, as_version=4).cells[-1].outputs[0].text == "saved\n"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["-p", "seed", "7"], "Did you mean 'seeds'?"),
        (["-p", "seeds", "7", "--save"], "save is set together with parameters"),
        (["99_nowhere"], "notebook is '99_nowhere'"),
    ],
    ids=["unknown parameter", "save with parameters", "unknown notebook"],
)
def test_run_refuses_before_anything_runs(tmp_path, arguments, message):
    path = notebook(tmp_path / "one.ipynb", f"open({str(tmp_path / 'it ran')!r}, 'w')", parameters="seeds = 2")
    result = stepe_lite("run", path, *arguments, "--out", tmp_path / "out")
    assert result.exit_code == MISTYPED and message in result.output
    assert not (tmp_path / "it ran").exists()


# --- stopped from outside ---

posix = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")


@posix
@pytest.mark.parametrize(
    "arguments", [["data"], ["train", "-h"], ["table", "--show"], ["-h"], ["--version"]], ids=" ".join
)
def test_a_reader_that_has_seen_enough_gets_no_traceback(arguments):
    reading, writing = os.pipe()
    os.close(reading)  # `| head -1` long after its line
    command = [sys.executable, "-m", "stepe_lite", *arguments]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=200)
    os.close(writing)
    assert done.stderr == "" and done.returncode in (1, 141)


@posix
def test_the_first_line_reaches_head():
    command = f"{shlex.quote(sys.executable)} -m stepe_lite data | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=200)
    assert done.stdout.split() == ["digits", "embedded"] and done.stderr == ""


@posix
@pytest.mark.parametrize(
    "number, status, says",
    [(signal.SIGINT, INTERRUPTED, "Interrupted"), (signal.SIGTERM, TERMINATED, "")],
    ids=["Ctrl-C", "kill"],
)
def test_a_stopped_training_leaves_nothing_half_written_and_the_same_command_finishes(tmp_path, number, status, says):
    out = tmp_path / "out"
    command = ["train", "--subset", 300, "--batch-size", 300, "--epochs", 200, "--seeds", 1, "--noise", "symmetric"]
    # A shell that runs the tests in the background may have told its children to ignore Ctrl-C.
    listen = {"preexec_fn": lambda: signal.signal(number, signal.SIG_DFL)}
    running = process(*command, "--out", out, **listen)
    while running.poll() is None and not (out / "step-e_seed0.checkpoint").exists():
        time.sleep(0.01)
    running.send_signal(number)
    _, err = running.communicate(timeout=100)
    assert running.returncode == status, err
    assert says in err and "Traceback" not in err
    # No table, no history, no temporary file.
    assert sorted(path.name for path in out.iterdir()) == ["step-e_seed0.checkpoint", "step-e_seed0.lock"]

    result = stepe_lite(*command, "--out", out)
    assert result.exit_code == 0, result.output
    (history,) = out.glob("*.npz")
    assert len(History.load(history).log) == 200
    assert not [path for path in out.iterdir() if "partial" in path.name]


@posix
@pytest.mark.parametrize("number, status", [(signal.SIGINT, INTERRUPTED), (signal.SIGTERM, TERMINATED)], ids=str)
def test_a_stopped_run_ends_its_kernel_and_leaves_no_copy(tmp_path, number, status):
    started = tmp_path / "kernel"
    sleeps = f"import os, time\nprint(os.getpid(), file=open({str(started)!r}, 'w'), flush=True)\ntime.sleep(600)"
    listen = {"preexec_fn": lambda: signal.signal(number, signal.SIG_DFL)}
    running = process("run", notebook(tmp_path / "sleeps.ipynb", sleeps), "--out", tmp_path / "out", **listen)
    while running.poll() is None and not (started.exists() and started.read_text().endswith("\n")):
        time.sleep(0.05)
    running.send_signal(number)
    running.communicate(timeout=100)
    assert running.returncode == status and os.listdir(tmp_path / "out") == [".lock"]
    end = time.monotonic() + 60
    while time.monotonic() < end and is_alive(int(started.read_text())):
        time.sleep(0.1)
    assert not is_alive(int(started.read_text()))


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")
@pytest.mark.parametrize("command", ["run", "mark", "map"])
def test_what_a_killed_command_has_started_ends_too(tmp_path, command):
    """Its workers and their kernels, which nobody tells."""
    endless = "import time\ntime.sleep(600)\ndef my_schedule(epoch, warmup, ramp, final):\n    return 0"
    checked = "from stepe_lite import checks as check\ncheck.linear_schedule(my_schedule)"
    notebooks = [notebook(tmp_path / f"{name}.ipynb", endless, checked) for name in ("one", "two")]
    out = {"run": tmp_path / "out", "mark": None, "map": tmp_path / "map.csv"}[command]
    arguments = ([] if command == "map" else notebooks) + (["--out", out] if out else [])
    environment = os.environ | {"STARTED_BY": str(tmp_path)}

    def started():
        mark, found = f"STARTED_BY={tmp_path}".encode(), []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # ended meanwhile
                found += [folder] if mark in (folder / "environ").read_bytes() else []
        return found

    running = process(command, *arguments, "--jobs", 2, env=environment)
    end = time.monotonic() + 100
    while running.poll() is None and len(started()) < 4 and time.monotonic() < end:
        time.sleep(0.1)  # until two workers are there, and the process that watches over their semaphores
    assert running.poll() is None, running.communicate()
    running.kill()
    running.wait()
    end = time.monotonic() + 60
    while started() and time.monotonic() < end:
        time.sleep(0.1)
    assert started() == []


def is_alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
