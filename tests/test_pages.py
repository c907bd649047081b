"""Pages that live without a kernel, in a real browser: the same rules as in Python, by keyboard, offline, for all."""

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import browser
import nbformat
import numpy as np
import pandas as pd
import psutil
import pytest
import torch
from matplotlib import pyplot
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from playwright.sync_api import sync_playwright

from stepe_lite import (
    Everything,
    KeepOnly,
    LossTruncation,
    OneShotFilter,
    RandomExclusion,
    SelfPaced,
    StepE,
    course,
    fit,
    noise,
    plots,
    schedules,
)
from stepe_lite.analysis import outcome, replay
from stepe_lite.course import alive, pages
from stepe_lite.experiments import schedule_map
from stepe_lite.plots import alt
from stepe_lite.utils import BadInput, generator_for
from stepe_lite.widgets.explorer import Question, ScheduleExplorer, describe
from stepe_lite.widgets.lookup import Lookup
from stepe_lite.widgets.prediction import Prediction

RULE_JS = (pages.HERE / "rule.js").read_text(encoding="utf-8")
METHODS = ["Step-E", "loss truncation", "self-paced", "one-shot", "random exclusion", "standard", "oracle by removal"]
EPOCHS = 12
START = StepE(schedules.linear(2, 4, 0.4))


@pytest.fixture(scope="module")
def chromium():
    path = browser.chromium()
    if path is None:
        pytest.skip("no Chromium on the PATH (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def script(chromium):
    """A blank page that knows rule.js."""
    page = chromium.new_page()
    page.add_script_tag(content=RULE_JS)
    return page


# --- the rule, in both languages

REPLAY = """cases => cases.map(({run, rule}) => {
    const losses = new Float32Array(rules.bytes(run.losses).buffer), random = rules.bytes(run.random);
    const made = {...run, losses, random, n: run.labels.length, epochs: losses.length / run.labels.length};
    const weights = rules.replay(rule, made), letters = new Uint8Array(weights.buffer);
    return {weights: btoa(String.fromCharCode(...letters)), said: rules.describe(rules.outcome(weights, made))};
})"""


def drawn(random):
    """(JSON for rule.js, rule, losses, wrong): losses with ties, NaN, both zeros and infinities."""
    n, epochs = int(random.integers(2, 40)), int(random.integers(1, 7))
    losses = random.gamma(1, 1, (epochs, n)).astype(np.float32)
    for special in (0.0, -0.0, 1.0, np.nan, np.inf, -np.inf):
        losses[random.random(losses.shape) < random.choice([0, 0.1, 0.3])] = special
    labels, wrong = random.integers(0, 3, n), random.random(n) < 0.4
    order = torch.rand(n, generator=generator_for("random exclusion", 0)).argsort(descending=True, stable=True)
    asked = {
        "method": str(random.choice(METHODS, p=[0.64, *[0.06] * 6])), "shape": str(random.choice(schedules.names())),
        "warmup": int(random.integers(0, 5)), "ramp": int(random.integers(0, 5)),
        "final": float(random.choice([random.random(), 0.25, 0.5, 0.9])),
        "soft": None if random.random() < 0.6 else float(random.choice([0.01, 0.3, 2.0])),
        "momentum": float(random.choice([0, 0.5, 0.9])), "perClass": bool(random.random() < 0.4),
    }  # fmt: skip
    arguments = (asked["warmup"], asked["ramp"], asked["final"])
    constant = asked["shape"] == "constant"
    schedule = (
        schedules.constant(arguments[2], arguments[0]) if constant else getattr(schedules, asked["shape"])(*arguments)
    )
    if asked["method"] == "one-shot":
        asked["warmup"] = max(1, asked["warmup"])
    per_class = torch.as_tensor(labels) if asked["perClass"] else False
    rule = {
        "Step-E": lambda: StepE(schedule, soft=asked["soft"], momentum=asked["momentum"], per_class=per_class),
        "loss truncation": lambda: LossTruncation(asked["final"], asked["warmup"]),
        "self-paced": lambda: SelfPaced(schedule),
        "one-shot": lambda: OneShotFilter(asked["final"], asked["warmup"]),
        "random exclusion": lambda: RandomExclusion(schedule),
        "standard": Everything,
        "oracle by removal": lambda: KeepOnly(torch.as_tensor(~wrong)),
    }[asked["method"]]
    if asked["method"] == "oracle by removal" and wrong.all():
        wrong[0] = False
    run = {
        "losses": base64.b64encode(losses.tobytes()).decode(), "labels": labels.tolist(), "wrong": wrong.tolist(),
        "random": base64.b64encode(order.numpy().astype(np.uint8).tobytes()).decode(),
    }  # fmt: skip
    return {"run": run, "rule": asked}, rule(), torch.as_tensor(losses), torch.as_tensor(wrong)


def test_random_rules_on_random_losses_give_the_weights_and_words_of_python(script):
    random, cases, expected = np.random.default_rng(0), [], []
    while len(cases) < 1500:
        case, rule, losses, wrong = drawn(random)
        try:
            weights = replay(rule, losses)
        except BadInput:  # nobody would be left
            continue
        cases.append(case)
        expected.append((rule, weights, describe(outcome(weights, wrong))))
    seen = set()
    for case, (rule, weights, said), found in zip(cases, expected, script.evaluate(REPLAY, cases)):
        own = np.frombuffer(base64.b64decode(found["weights"]), np.float32).reshape(weights.shape)
        hard = getattr(rule, "soft", None) is None
        # torch's sigmoid and Math.exp are both right to the last bit or two of a float32, but not to the same bits.
        same = np.array_equal if hard else lambda a, b: np.allclose(a, b, rtol=1e-5, atol=1e-7)
        assert same(own, weights.numpy()), (case["rule"], own, weights)
        assert np.array_equal(own < 0.5, weights.numpy() < 0.5), case["rule"]
        assert found["said"] == said
        seen.add((case["rule"]["method"], hard))
    assert len(seen) == len(METHODS) + 1


def test_half_precision_keeps_the_order_and_so_the_excluded(script):
    losses = np.random.default_rng(1).gamma(0.3, 1, (5, 3000)).astype(np.float32) ** 4
    losses[:, :50] = losses[:, 50:100]
    losses[3, 7] = np.nan
    half = alive.halves(losses)
    assert half.dtype == np.float16 and not np.signbit(half[~np.isnan(half)]).any()
    for rule in (START, StepE(schedules.exponential(0, 3, 0.37))):
        exact, rounded = (replay(rule, torch.as_tensor(each, dtype=torch.float32)) for each in (losses, half))
        assert torch.equal(exact, rounded)
    off = np.abs(half.astype(np.float64) - losses)
    assert np.nanmax(off - losses / 100) < losses.shape[1] * 2**-24  # a step up for each that would be tied
    read = script.evaluate("text => Array.from(rules.halves(text), String)", base64.b64encode(half.tobytes()).decode())
    assert np.array_equal(np.array(read, np.float64), half.astype(np.float64).ravel(), equal_nan=True)


def table():
    """A small map with made-up accuracies."""
    rows = [
        {"shape": shape, "warmup": warmup, "ramp": ramp, "final": final, "seed": seed,
         "accuracy_last": 0.8 + 0.002 * warmup + 0.01 * seed, "precision": 0.9, "recall": 0.7}
        for shape in ("linear", "cosine") for warmup in (0, 5, 30) for ramp in (0, 15) for final in (0.2, 0.4, 0.8)
        for seed in (0, 1) if ramp or shape == "linear"
    ]  # fmt: skip
    levels = [
        {"shape": level, "seed": 0, "accuracy_last": 0.7 + 0.2 * at} for at, level in enumerate(schedule_map.LEVELS)
    ]
    return schedule_map.summary(pd.DataFrame(rows + levels))


def test_the_nearest_recorded_setting_is_the_same_in_both_languages(script):
    known, random, far = table(), np.random.default_rng(2), 0
    assert known.way.between(0, 1).all() and known.way.iloc[0] == pytest.approx((0.805 - 0.7) / 0.2, abs=1e-3)
    for _ in range(200):
        shape = str(random.choice(schedules.names()))
        near = [int(random.choice(of) + random.integers(0, 4)) for of in ((0, 5, 30, 60), (0, 15), (20, 40, 80))]
        asked = shape, *near[:2], round(near[2] / 100, 2)
        soft, momentum, per_class = (
            random.choice(of) for of in ([None] * 4 + [0.5], [0.0] * 4 + [0.9], [False] * 4 + [True])
        )
        momentum, per_class = float(momentum), bool(per_class)
        schedule = (
            schedules.constant(asked[3], asked[1]) if shape == "constant" else getattr(schedules, shape)(*asked[1:])
        )
        step_e = StepE(schedule, soft=soft, momentum=momentum, per_class=per_class)
        row, differs = schedule_map.nearest(known, step_e)
        far += row is None
        rule = dict(zip(("shape", "warmup", "ramp", "final"), asked))
        rule |= {"soft": soft, "momentum": momentum, "perClass": per_class}
        given = [known.to_dict("records"), rule, schedule_map.grid(known)]
        found = script.evaluate("([map, rule, grid]) => rules.nearest(map, rule, grid)", given)
        assert (found["row"] and found["row"]["said"], found["differs"]) == (None if row is None else row.said, differs)
    assert 50 < far < 200
    _, differs = schedule_map.nearest(known, StepE(schedules.linear(9, 15, 0.41)))
    assert differs == "warm-up 5 instead of 9, final 40 % instead of 41 %"
    assert schedule_map.nearest(known, StepE(schedules.linear(5, 15, 0.4)))[1] == ""
    row, differs = schedule_map.nearest(known, StepE(schedules.linear(60, 15, 0.4), soft=1))
    assert (row["shape"], row.way, differs) == ("standard", 0, "")  # nobody is excluded
    row, differs = schedule_map.nearest(known, StepE(schedules.linear(9, 15, 0.03)))
    assert (row["shape"], differs) == ("standard", "final 0 % instead of 3 %")
    assert schedule_map.nearest(known, StepE(schedules.constant(0.4, 5)))[1] == ""
    row, differs = schedule_map.nearest(known, StepE(schedules.linear(5, 15, 0.4), soft=1, momentum=0.9))
    assert (row, differs) == (None, "with soft weights and a moving average")
    row, differs = schedule_map.nearest(known, StepE(schedules.linear(5, 15, 0.6)))
    grid = "warm-ups of 0, 5, 30, ramps of 0, 15 epochs and final fractions of 20, 40, 80 %"
    assert (row, differs) == (None, f"near this setting, only {grid}")


# --- a page


@pytest.fixture(scope="module")
def data(digits):
    return digits.subset(300, seed=0).with_noise(noise.symmetric(0.4), seed=0)


@pytest.fixture(scope="module")
def standard(data):
    return fit(data, "mlp", Everything(), epochs=EPOCHS, seed=0, progress=False)


@pytest.fixture(scope="module")
def address(data, standard, tmp_path_factory):
    """A page with an explorer, a look-up and a guess."""
    explorer = ScheduleExplorer(data, {"standard": standard}, "mlp", START)
    explorer.map = table()
    question = Question("1 · precision (%)", 58.56, within=1)
    lookup, guess = Lookup(data, standard, sample=3), Prediction("How many of 100?", unit="%")
    shown = [new_output("display_data", each._repr_mimebundle_()) for each in (explorer, question, lookup, guess)]
    compared = new_output("stream", text="Measured: 12.3 %. You wrote no guess down.\n")
    wide = new_output("execute_result", {"text/html": pd.DataFrame(np.zeros((1, 30))).to_html()}, execution_count=1)
    opening = "# 4 · Sliders\n\n**After this notebook you can**\n- slide.\n\n**You need**: notebook 3."
    rules = "| rule | what it does |\n|-|-|\n| `OneShotFilter(fraction=0.4,warmup=5)_and_so_on` | drops 40 % |"
    cells = [new_markdown_cell(opening), new_markdown_cell(rules)]
    cells += [new_code_cell("x = 1  # a comment", outputs=[*shown, compared, wide])]
    path = tmp_path_factory.mktemp("pages") / "04.html"
    html = pages.page(new_notebook(cells=cells), "04", ["03", "04", "05"], course.folder() / "results", True)
    path.write_text(html, encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def opened(chromium, address):
    """Open the page in a new window without a network; what went wrong in it is an error."""
    contexts = []

    def open_page(**settings):
        contexts.append(chromium.new_context(offline=True, **settings))
        page = contexts[-1].new_page()
        page.errors = []
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on("console", lambda said: page.errors.append(said.text) if said.type == "error" else None)
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()


def test_every_control_works_by_keyboard_and_says_what_python_says(opened, data, standard):
    page = opened()
    pictures = page.locator("figure canvas")

    def check(rule):
        said = describe(outcome(replay(rule, standard.losses), data.is_mislabeled))
        page.wait_for_function("said => document.querySelector('.facts').textContent === said", arg=said)
        assert said in pictures.first.get_attribute("aria-label")

    check(START)
    for name, changed in (
        ("warm-up", StepE(schedules.linear(3, 4, 0.4))),
        ("ramp", StepE(schedules.linear(3, 5, 0.4))),
        ("final fraction", StepE(schedules.linear(3, 5, 0.41))),
    ):
        before = [pictures.nth(at).screenshot() for at in range(3)]
        control = page.get_by_role("slider", name=name, exact=True)
        control.focus()
        page.keyboard.press("ArrowRight")
        check(changed)
        assert all(pictures.nth(at).screenshot() != before[at] for at in range(3))
    assert page.get_by_role("slider", name="final fraction").get_attribute("aria-valuetext") == "41 %"
    page.get_by_label("shape").select_option("cosine")
    check(StepE(schedules.cosine(3, 5, 0.41)))
    page.get_by_label("rank within each class").press("Space")
    check(StepE(schedules.cosine(3, 5, 0.41), per_class=data.labels))
    page.get_by_label("method").select_option("loss truncation")
    check(LossTruncation(0.41, 3))
    page.get_by_role("button", name="Back to the start values").press("Enter")
    check(START)
    page.get_by_label("soft weights").press("Space")
    page.get_by_label("temperature").select_option("2")
    page.wait_for_function("document.querySelector('.facts').textContent.includes('mean weight')")
    assert page.errors == []


def test_the_map_and_the_recorded_runs_stand_beside_it(opened):
    page = opened()
    trained = page.locator(".trained")
    said = "Not at this setting; the nearest recorded has warm-up 0 instead of 2, ramp 0 instead of 4: test accuracy"
    assert said in trained.inner_text()
    assert page.locator("meter").get_attribute("value") == "0.525"
    source = page.get_by_label("losses")
    assert source.locator("option").count() == 1 + len(alive.recorded(course.folder() / "results")) >= 4
    page.get_by_label("method").select_option("one-shot")
    assert trained.inner_text() == "Trainings are recorded here for Step-E alone."
    assert page.get_by_label("ramp").is_disabled() and page.get_by_label("warm-up").is_enabled()
    assert "One ranking, after the warm-up" in page.locator(".note").inner_text()
    page.get_by_label("method").select_option("Step-E")
    page.get_by_label("soft weights").check()
    assert trained.inner_text() == "Trained for real: nothing is recorded with soft weights."
    source.select_option(index=1)
    assert page.get_by_label("soft weights").is_checked() is False  # its own start values
    assert trained.inner_text() == "Trainings are recorded for “this run” alone."
    assert page.locator(".facts").first.inner_text().startswith("Replayed: ")
    rate = page.evaluate(
        "Math.round(100 * (place => place.explorer.rule().final)(document.querySelector('[data-alive]')))"
    )
    assert page.get_by_role("slider", name="final fraction").get_attribute("aria-valuetext") == f"{rate} %" != "40 %"
    page.get_by_role("button", name="Back to the start values").click()
    assert source.input_value() == "this run"
    assert page.errors == []


def test_on_a_phone_the_line_of_numbers_is_in_sight_of_the_sliders(opened):
    page = opened()
    page.set_viewport_size({"width": 360, "height": 700})
    page.get_by_role("slider", name="warm-up").scroll_into_view_if_needed()
    page.wait_for_timeout(200)
    box = page.locator(".facts").first.bounding_box()
    assert 0 < box["y"] and box["y"] + box["height"] <= 700


def test_a_sample_is_looked_up_and_a_guess_is_compared(opened, data, standard):
    page = opened()
    assert page.evaluate("[...document.querySelectorAll('.output_html[tabindex]')].length") == 1  # the wide table
    number = page.get_by_label("sample", exact=True)
    number.fill("41")
    number.press("ArrowUp")
    wrong = data.labels[42] != data.clean_labels[42]
    truth = f", is {data.classes[data.clean_labels[42]]}: missed" if wrong else ": kept"
    expected = f"Sample 42, labelled {data.classes[data.labels[42]]}{truth}"
    assert page.locator(".facts").nth(1).inner_text() == expected
    loss = f"{float(np.float32(standard.losses[-1, 42])):.3f}"
    assert page.get_by_role("cell", name=loss).count() >= 1
    number.fill("999999")
    assert page.locator(".facts").nth(1).inner_text() == expected
    page.get_by_label("How many of 100?").fill("20,3 %")
    page.get_by_text("Your guess: 20.3 %. Measured: 12.3 %. Off by 8.0.").wait_for()
    assert page.errors == []


@pytest.mark.parametrize(
    ("typed", "reply"),
    [
        ("58,2 %", "✓ It is 58.6."),
        ("40", "✗ Not yet."),
        ("0.586", "✗ Not yet. A share? Here it is in %."),
        ("half", "✗ That is no number."),
        (" ", ""),
    ],
)
def test_a_question_says_whether_the_number_is_right(opened, typed, reply):
    page = opened()
    field = page.get_by_label("1 · precision (%)")
    for text in ("1", typed):
        field.fill(text)
        field.press("Enter")
    assert page.locator(".question [role=status]").inner_text() == reply


@pytest.mark.parametrize("width", [360, 900, 1600])
def test_it_fits_the_screen(opened, width):
    page = opened(viewport={"width": width, "height": 800}, has_touch=width == 360)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    slider = page.get_by_role("slider", name="warm-up")
    if width == 360:
        box = slider.bounding_box()
        page.touchscreen.tap(box["x"] + box["width"] - 2, box["y"] + box["height"] / 2)
        assert int(slider.input_value()) >= EPOCHS - 1
    assert page.errors == []


def test_on_paper_the_ink_is_dark(opened):
    page = opened(color_scheme="dark")
    page.emulate_media(media="print")
    dark = """() => {
        const canvas = document.querySelector("figure canvas");
        const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        let found = 0;
        for (let at = 0; at < pixels.length; at += 4) found += pixels[at + 3] > 200 && pixels[at] + pixels[at + 1] < 60;
        return found > 500;
    }"""
    page.wait_for_function(dark, timeout=60_000)  # the page hears of its new medium a moment later
    assert page.errors == []


def test_without_javascript_the_picture_stands_there(opened):
    page = opened(java_script_enabled=False)
    picture = page.locator("[data-alive=explorer] img")
    assert picture.is_visible() and picture.get_attribute("alt").startswith("Replayed: ")
    assert page.get_by_role("link", name="← 03").get_attribute("href") == "03.html"


def test_nothing_is_fetched(address):
    with open(address.removeprefix("file://"), encoding="utf-8") as file:
        html = file.read()
    assert "http://" not in html.replace("http://www.w3.org", "") and "https://" not in html


@pytest.fixture(scope="session")
def axe(tmp_path_factory):
    """The script of axe-core, from npm."""
    if shutil.which("npm") is None:
        pytest.skip("no npm")
    folder = tmp_path_factory.mktemp("npm")
    got = subprocess.run(["npm", "pack", "axe-core"], cwd=folder, capture_output=True, timeout=300)
    if got.returncode:
        pytest.skip("npm cannot fetch axe-core")
    shutil.unpack_archive(next(folder.glob("*.tgz")), folder)
    return (folder / "package" / "axe.min.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(opened, axe, scheme):
    page = opened(color_scheme=scheme)
    page.evaluate(axe)
    found = page.evaluate("axe.run()")["violations"]
    bad = [(each["id"], each["nodes"][0]["html"][:200]) for each in found if each["impact"] in ("serious", "critical")]
    assert bad == []


# --- alt text


def test_a_picture_says_its_numbers(data, standard):
    shown = plots.curves({"standard": standard}).figure
    _, metadata = shown._repr_mimebundle_()
    first, last = (100 * standard.log.test_accuracy.iloc[at] for at in (0, -1))
    assert metadata["image/png"]["alt"].startswith(
        f"Figure: test accuracy (%) against epochs trained. standard: from {first:.3g} at 1 to {last:.3g} at {EPOCHS}"
    )
    pictures = {
        "mislabeled: 120 in all": plots.loss_panels({"all": (standard.losses[-1], data.is_mislabeled)}),
        "a 55; b 70": plots.spread({"a": [0.5, 0.6], "b": [0.7]}).figure,
        "c 90": plots.lost_classes({"Step-E": [0, 0.2, 0.9]}, ["a", "b", "c"]).figure,
        "2 images: ": plots.gallery(data, [0, 1]),
        "largest entry beside it 30, in row 1 and column 0": plots.transition([[1, 0], [0.3, 0.7]], "ab").figure,
        "noise rate: level at 40": plots.explorer(standard.losses, data.is_mislabeled, START),
    }
    for words, figure in pictures.items():
        assert words in alt.text(figure), alt.text(figure)
    pyplot.close("all")


@pytest.mark.parametrize("path", sorted(course.folder().glob("[0-9]*.ipynb")), ids=lambda path: path.stem)
def test_every_saved_picture_has_alt_text_with_numbers(path):
    for _, output in course.runner.outputs_of(course.runner.read(path)):
        if "image/png" in output.get("data", {}):
            said = output.metadata.get("image/png", {}).get("alt", "")
            assert len(said) > 30 and any(map(str.isdigit, said))


# --- several notebooks at a time


def notebook(path, *sources):
    nbformat.write(new_notebook(cells=[new_code_cell(source) for source in sources]), path)
    return path


def test_jobs_change_nothing_but_the_time(tmp_path):
    source = "from stepe_lite.course import claim\nimport torch\nclaim('a sum', torch.rand(99).sum(), above={})"
    paths = [
        notebook(
            tmp_path / f"{at}.ipynb", "seed = 3", "import torch; _ = torch.manual_seed(seed)", source.format(at * 40)
        )
        for at in range(3)
    ]
    for path in paths:
        with_parameters = nbformat.read(path, as_version=4)
        with_parameters.cells[0].metadata.tags = ["parameters"]
        with_parameters.metadata = course.runner.METADATA
        nbformat.write(with_parameters, path)
    one, two = (
        course.run(paths, {"seed": 4}, tmp_path / f"{jobs}", html=True, jobs=jobs, progress=False) for jobs in (1, 2)
    )
    for path in paths:
        first, second = ((tmp_path / jobs / f"{path.stem}.html").read_text("utf-8") for jobs in "12")
        assert first == second
    for report in (one, two):
        for entry in report["notebooks"]:
            del entry["seconds"]
    assert json.dumps(one) == json.dumps(two)
    assert [entry["ok"] for entry in two["notebooks"]] == [True, True, False]


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_no_process_and_no_half_file(tmp_path, stop):
    paths = [
        notebook(tmp_path / f"{at}.ipynb", f"open('started{at}', 'w'); import time; time.sleep(600)") for at in (0, 1)
    ]
    out = tmp_path / "out"
    out.mkdir()
    command = [sys.executable, "-m", "stepe_lite", "run", *map(str, paths), "--out", str(out), "--jobs", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=out)
    end = time.monotonic() + 300
    while len(list(out.glob("started*"))) < 2 and time.monotonic() < end:
        time.sleep(0.2)
    started = psutil.Process(process.pid).children(recursive=True)
    assert len([each for each in started if "ipykernel" in " ".join(each.cmdline())]) == 2
    os.kill(process.pid, stop)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 128 + stop, said
    _, alive_still = psutil.wait_procs(started, timeout=60)
    assert alive_still == []
    assert sorted(path.name for path in out.iterdir()) == [".lock", "started0", "started1"]
