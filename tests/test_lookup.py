"""The lookup widget, without a browser: setting its slider fires the callback."""

import time

import pytest

from stepe_lite import StepE, fit, load, noise, schedules
from stepe_lite.widgets.lookup import Lookup


@pytest.fixture(scope="module")
def run():
    data = load("digits").with_noise(noise.pair_flip(0.3), 0)
    return data, fit(data, "mlp", StepE(schedules.constant(0.3, warmup=2)), epochs=5, progress=False)


def test_it_shows_the_sample_it_is_asked_for(run):
    lookup = Lookup(*run, sample=3)
    before = bytes(lookup.picture.value)
    assert before.startswith(b"\x89PNG")
    lookup.slider.value = 7
    assert bytes(lookup.picture.value) != before
    row = lookup.table.loc[7]
    for fact in ("<th>7</th>", f"<td>{row.outcome}</td>", f"<td>{row.last_loss:.3f}</td>"):
        assert fact in lookup.facts.value
    assert lookup.output.outputs == ()


def test_it_goes_to_the_last_sample_and_no_further(run):
    data, history = run
    lookup = Lookup(data, history, sample=len(data) - 1)
    assert lookup.slider.max == lookup.number.max == len(data) - 1
    with pytest.raises(IndexError, match=f"go from 0 to {len(data) - 1}"):
        Lookup(data, history, sample=len(data))


def test_every_picture_has_the_same_size_and_comes_at_once(run):
    lookup, sizes, seconds = Lookup(*run), set(), []
    for sample in range(1, 8):
        started = time.process_time()
        lookup.slider.value = sample
        seconds.append(time.process_time() - started)
        sizes.add(bytes(lookup.picture.value[16:24]))  # width and height in the header of a PNG
    assert len(sizes) == 1
    assert min(seconds) < 0.2  # 0.07 s on a quiet machine
