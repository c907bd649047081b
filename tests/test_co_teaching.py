"""Co-teaching: who trains on what, what is counted, and that it works."""

import pytest
import torch
from torch import nn

from stepe_lite import Everything, TrainingDiverged, fit, noise, schedules
from stepe_lite.learner import Learner
from stepe_lite.peers import co_teaching


@pytest.fixture(scope="module")
def data(digits):
    return digits.with_noise(noise.symmetric(0.4), 0)


def teach(data, schedule, **settings):
    return co_teaching(data, "mlp", schedule, progress=False, **{"epochs": 3, "seed": 0, **settings})


def test_each_network_trains_on_what_the_other_finds_easy(data, monkeypatch):
    """One batch, so that the loss that each network descends can be told by hand."""
    seen, descended = [], []
    losses, descend = Learner.losses, Learner.descend
    monkeypatch.setattr(Learner, "losses", lambda self, index: seen.append(losses(self, index)) or seen[-1])
    monkeypatch.setattr(
        Learner,
        "descend",
        lambda self, *given: descended.append((given[0] * given[1]).sum().item()) or descend(self, *given),
    )
    teach(data.subset(100, seed=0), schedules.constant(0.3), epochs=1, batch_size=100)
    (mine, theirs), (first, second) = seen, descended
    assert not torch.equal(mine, theirs)  # the two begin with weights of their own
    easy = lambda loss: loss.detach().sort(stable=True).indices[:70]  # noqa: E731
    assert first == pytest.approx(mine[easy(theirs)].mean().item())
    assert second == pytest.approx(theirs[easy(mine)].mean().item())


def test_the_history_is_that_of_the_first_network(data):
    history = teach(data, schedules.linear(1, 1, 0.4))
    assert history.losses.shape == history.weights.shape == (3, len(data))
    assert history.weights[0].all() and history.log.excluded_fraction[0] == 0
    batches = torch.arange(len(data)).tensor_split(-(-len(data) // 128))
    out = sum(round(0.4 * len(batch)) for batch in batches)
    assert (history.weights[2] == 0).sum() == out
    assert history.log.backward_samples[2] == 2 * (len(data) - out) and history.log.forward_samples[2] == 2 * out
    assert history.config["rule"].startswith("co_teaching(linear(warmup=1")


def test_the_same_seed_gives_the_same_bits_and_another_other_ones(data):
    schedule = schedules.constant(0.4, 1)
    one, same, other = teach(data, schedule), teach(data, schedule), teach(data, schedule, seed=1)
    assert torch.equal(one.losses, same.losses) and torch.equal(one.weights, same.weights)
    assert not torch.equal(one.losses, other.losses)


def test_it_beats_standard_training(data):
    history = teach(data, schedules.linear(0, 10, 0.4), epochs=40)
    standard = fit(data, "mlp", Everything(), epochs=40, seed=0, progress=False)
    assert history.log.test_accuracy.iloc[-1] > standard.log.test_accuracy.iloc[-1] + 0.03
    assert history.log.precision.iloc[-1] > 0.85


@pytest.mark.parametrize(
    ("model", "schedule", "message"),
    [
        (nn.Flatten(), schedules.constant(0.4), "model is a network, but co-teaching needs two"),
        ("mlp", 0.4, "schedule is 0.4, but must be a schedule"),
        ("mpl", schedules.constant(0.4), "Did you mean 'mlp'"),
    ],
)
def test_bad_arguments_are_refused(data, model, schedule, message):
    with pytest.raises(ValueError, match=message):
        co_teaching(data, model, schedule, progress=False)


def test_both_networks_stay_in_training_mode_after_the_first_test(digits):
    """BatchNorm counts the batches that it was trained on: the first network's count went on in one epoch only."""
    few = digits.subset(200, seed=0)
    history = co_teaching(
        few, "small_cnn", schedules.constant(0.2), epochs=3, batch_size=50, progress=False, device="cpu"
    )
    norms = [module for module in history.model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms and all(norm.num_batches_tracked == 3 * 4 for norm in norms)


def test_a_loss_that_is_no_number_stops_it(data):
    with pytest.raises(TrainingDiverged, match="the training loss is nan at epoch") as raised:
        teach(data, schedules.constant(0.3), lr=1e30)
    assert len(raised.value.history.losses) == len(raised.value.history.log)
