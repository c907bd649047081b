"""The figures that the course promises on digits: 5 seeds, 60 epochs, last epoch, one rule against another."""

import pandas as pd
import pytest
import torch
from filelock import FileLock

from stepe_lite import Everything, StepE, experiments, fit, load, noise, schedules

ORACLES = ["oracle by removal", "oracle by clean labels"]
SETTINGS = {"symmetric 0.4": noise.symmetric(0.4), "pair flip 0.3": noise.pair_flip(0.3)}
RATES = {"symmetric 0.4": 0.4, "pair flip 0.3": 0.3}


@pytest.fixture(scope="module")
def runs(shared_folder):
    """Setting -> the table of `compare`: 9 methods × 5 seeds; made once, whichever process needs it first."""
    return {setting: table(setting, shared_folder / f"{setting}.pickle") for setting in SETTINGS}


def table(setting, path):
    with FileLock(f"{path}.lock"):
        if not path.exists():
            experiments.compare(
                lambda seed: load("digits").with_noise(SETTINGS[setting], seed),
                lambda data, seed: experiments.methods(data, schedules.linear(5, 15, RATES[setting]), seed),
                range(5),
                "mlp",
                epochs=60,
                progress=False,
            ).to_pickle(path)
    return pd.read_pickle(path)


@pytest.fixture(scope="module")
def accuracy(runs):
    """Setting -> method -> mean accuracy at the last epoch."""
    return {setting: table.groupby("method").accuracy_last.mean() for setting, table in runs.items()}


def test_symmetric_noise_step_e_is_accurate(accuracy):
    assert accuracy["symmetric 0.4"]["Step-E"] >= 0.94


@pytest.mark.parametrize("oracle", ORACLES)
def test_symmetric_noise_step_e_comes_close_to_the_oracle(accuracy, oracle):
    means = accuracy["symmetric 0.4"]
    assert means["Step-E"] >= means[oracle] - 0.04


def test_symmetric_noise_step_e_beats_standard_training_by_far(accuracy):
    means = accuracy["symmetric 0.4"]
    assert means["Step-E"] >= means["standard"] + 0.15


@pytest.mark.parametrize("column", ["precision", "recall"])
def test_symmetric_noise_step_e_excludes_the_right_samples(runs, column):
    table = runs["symmetric 0.4"].set_index("method")
    assert table.loc["Step-E", column].mean() >= 0.90


def test_pair_flip_step_e_is_accurate(accuracy):
    assert accuracy["pair flip 0.3"]["Step-E"] >= 0.90


def test_pair_flip_step_e_beats_every_rule_that_does_not_see_clean_labels(accuracy):
    rivals = accuracy["pair flip 0.3"].drop([*ORACLES, "Step-E", "loss truncation, warm-up"])
    assert len(rivals) == 5
    assert accuracy["pair flip 0.3"]["Step-E"] > rivals.max(), rivals


@pytest.mark.parametrize("setting", SETTINGS)
def test_without_the_ramp_but_with_the_warm_up_it_does_as_well(accuracy, setting):
    """An honest negative: on digits the gain comes from the warm-up and the new ranking each epoch, not the ramp."""
    means = accuracy[setting]
    assert abs(means["Step-E"] - means["loss truncation, warm-up"]) < 0.03


@pytest.mark.parametrize("setting", SETTINGS)
def test_excluding_at_random_does_not_help(accuracy, setting):
    means = accuracy[setting]
    assert means["random exclusion"] <= means["standard"] + 0.03


@pytest.mark.parametrize("setting", SETTINGS)
def test_step_e_pays_for_the_samples_that_it_keeps(runs, setting):
    n, schedule = len(load("digits").labels), schedules.linear(5, 15, RATES[setting])
    excluded = sum(round(schedule(epoch) * n) for epoch in range(60))
    step_e = runs[setting].query("method == 'Step-E'")
    assert (step_e.forward_samples == excluded).all()
    assert (step_e.backward_samples == 60 * n - excluded).all()


def test_without_noise_and_with_final_0_step_e_is_standard_training_bit_for_bit():
    digits = load("digits")
    step_e = fit(digits, "mlp", StepE(schedules.linear(5, 15, 0.0)), progress=False)
    standard = fit(digits, "mlp", Everything(), progress=False)
    assert len(step_e.log) == 60
    assert torch.equal(step_e.losses, standard.losses)
    assert all(torch.equal(a, b) for a, b in zip(step_e.model.parameters(), standard.model.parameters()))
