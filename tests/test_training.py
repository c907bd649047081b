"""The training loop: the same bits every time, honest about its costs, and able to go on where it was stopped."""

import dataclasses
import hashlib
import io
import itertools
import math
import os
import signal
import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from stepe_lite import Dataset, History, TrainingDiverged, fit, losses, models, noise, schedules, training
from stepe_lite.learner import Images, Learner
from stepe_lite.peers import EstimatedStepE
from stepe_lite.rules import Everything, KeepOnly, LossTruncation, OneShotFilter, RandomExclusion, SelfPaced, StepE
from stepe_lite.utils import seed_for

# 0 at epochs 0 and 1, then 0.2, then 0.4.
RAMP = StepE(schedules.linear(warmup=1, ramp=2, final=0.4))


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Batches of digits are too small to share: on a busy machine more threads take ten times as long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(digits):
    """300 digits, 40 % of them mislabeled."""
    return digits.subset(300, seed=0).with_noise(noise.symmetric(0.4), seed=0)


def train(data, rule=RAMP, model="mlp", **settings):
    return fit(data, model, rule, **{"epochs": 5, "batch_size": 64, "progress": False} | settings)


def assert_same_bits(one, other):
    """Losses, weights, log (but seconds) and network."""
    torch.testing.assert_close(one.losses, other.losses, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(one.weights, other.weights)
    logs = (history.log.drop(columns="seconds") for history in (one, other))
    pd.testing.assert_frame_equal(*logs, check_exact=True)
    assert_same_network(one, other)


def assert_same_network(one, other):
    one, other = one.model.state_dict(), other.model.state_dict()
    assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


# --- the same seed, the same bits ---


@pytest.mark.parametrize(
    "settings",
    [{}, {"optimizer": "adam"}, {"model": "small_cnn", "augment": True}],
    ids=["sgd", "adam", "small_cnn, augment"],
)
def test_the_same_seed_gives_the_same_bits(data, settings):
    assert_same_bits(train(data, **settings), train(data, **settings))


def test_another_seed_gives_another_result(data):
    assert not torch.equal(train(data).losses, train(data, seed=1).losses)


def test_the_callers_random_numbers_are_neither_used_nor_disturbed(data):
    torch.manual_seed(1)
    expected = torch.rand(5)
    torch.manual_seed(1)
    one = train(data, model="small_cnn", augment=True, epochs=2)
    assert torch.equal(torch.rand(5), expected)
    assert_same_bits(one, train(data, model="small_cnn", augment=True, epochs=2))


def test_the_callers_number_of_threads_comes_back(data):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        train(data, epochs=1)
        with pytest.raises(KeyboardInterrupt):
            train(data, model=interrupted("mlp", at=1))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_the_data_are_left_as_they_were(data):
    before = data.images.clone(), data.labels.clone(), data.clean_labels.clone()
    train(data)
    assert all(map(torch.equal, before, (data.images, data.labels, data.clean_labels)))


def test_step_e_with_final_0_is_standard_training(digits):
    clean = digits.subset(300, seed=0)
    assert_same_bits(train(clean, StepE(schedules.linear(1, 2, 0.0))), train(clean, Everything()))


def test_clean_labels_serve_the_log_alone(data):
    known, unknown = train(data), train(replace(data, clean_labels=None))
    assert torch.equal(known.losses, unknown.losses) and torch.equal(known.weights, unknown.weights)
    assert_same_network(known, unknown)
    assert unknown.log[["precision", "recall"]].isna().all(axis=None)


# --- what the log says ---


def test_the_log_has_the_columns_of_the_design_and_a_row_an_epoch(data):
    log = train(data).log
    assert list(log.columns) == [
        "train_loss", "test_accuracy", "validation_accuracy", "excluded_fraction", "precision", "recall",
        "backward_samples", "forward_samples", "steps", "seconds",
    ]  # fmt: skip
    assert log.index.name == "epoch" and list(log.index) == [0, 1, 2, 3, 4]
    assert (log.seconds > 0).all() and log.test_accuracy.between(0, 1).all()


def test_the_history_has_a_row_an_epoch_and_a_column_a_sample(data):
    history = train(data)
    assert history.losses.shape == history.weights.shape == history.excluded.shape == (5, 300)
    assert history.losses.dtype == history.weights.dtype == torch.float32
    assert torch.isfinite(history.losses).all() and not history.losses.requires_grad


@pytest.mark.parametrize("n, out", [(300, 120), (297, 119), (299, 120)])
def test_fraction_04_trains_on_06_n_and_rescores_04_n(data, n, out):
    log = train(data.subset(n, seed=0), StepE(schedules.constant(0.4))).log
    assert round(0.4 * n) == out
    assert list(log.backward_samples) == [n] + [n - out] * 4  # no loss is known yet at epoch 0
    assert list(log.forward_samples) == [0] + [out] * 4
    assert log.excluded_fraction.iloc[-1] == pytest.approx(out / n)


def test_the_log_counts_what_the_network_saw(data):
    seen = {True: 0, False: 0}  # in training mode, in evaluation mode

    def count(net, inputs):
        seen[net.training] += len(inputs[0])

    net = models.mlp()
    net.register_forward_pre_hook(count)
    log = train(data, model=net).log
    assert seen[True] == log.backward_samples.sum()
    tried = 2  # images, before the training: does the network fit?
    assert seen[False] == tried + log.forward_samples.sum() + len(log) * len(data.test_labels)


def test_rescore_every_2_scores_the_excluded_every_other_epoch(data):
    history = train(data, StepE(schedules.constant(0.4)), rescore_every=2, epochs=6)
    assert list(history.log.forward_samples) == [0, 120, 0, 120, 0, 120]
    out = history.excluded
    assert torch.equal(history.losses[2][out[2]], history.losses[1][out[2]])
    assert not torch.equal(history.losses[3][out[3]], history.losses[2][out[3]])


def test_excluded_samples_are_scored_by_the_network_that_the_epoch_left(data):
    history = train(data, model="small_cnn", device="cpu")
    out = history.excluded[-1]
    history.model.eval()
    with torch.no_grad():
        outputs = history.model(Images(data.images, "cpu")[out])
    expected = F.cross_entropy(outputs, data.labels[out], reduction="none")
    torch.testing.assert_close(history.losses[-1][out], expected)


def test_train_loss_is_the_mean_over_the_samples_trained_on(data):
    history = train(data)
    for epoch, row in history.log.iterrows():
        kept = history.losses[epoch][~history.excluded[epoch]]
        assert row.train_loss == pytest.approx(kept.mean().item(), rel=1e-5)


def test_precision_and_recall_are_those_of_the_excluded_samples(data):
    history = train(data)
    caught = (history.excluded & data.is_mislabeled).sum(1).numpy()
    np.testing.assert_allclose(history.log.recall, caught / data.is_mislabeled.sum().item())
    assert history.log.precision[:2].isna().all()  # nothing is excluded yet
    np.testing.assert_allclose(history.log.precision[2:], caught[2:] / history.excluded.sum(1).numpy()[2:])


def test_validation_accuracy_is_measured_on_the_validation_set(data):
    test_set = Dataset.from_arrays(data.test_images, data.test_labels, classes=data.classes)
    log = train(data, validation=test_set).log
    assert list(log.validation_accuracy) == list(log.test_accuracy)


def test_a_validation_set_changes_nothing_else(data):
    part, held_out = data.split_validation(0.2, seed=0)
    with_it, without = train(part, validation=held_out), train(part)
    assert with_it.log.validation_accuracy.between(0, 1).all() and without.log.validation_accuracy.isna().all()
    assert_same_network(with_it, without)


def test_without_a_test_set_the_accuracy_is_nan(data):
    log = train(Dataset.from_arrays(data.images, data.labels)).log
    assert log.test_accuracy.isna().all() and log.train_loss.notna().all()


def test_progress_is_shown_only_when_wanted(data, capfd):
    train(data)
    assert capfd.readouterr() == ("", "")
    train(data, progress=True)
    assert "epoch" in capfd.readouterr().err


# --- excluded samples have no influence ---


def test_excluded_samples_receive_no_gradient(data):
    mask = ~data.is_mislabeled
    # Scrambled pixels and other labels where the mask excludes; the normalisation sees the same grey values.
    images, labels = data.images.clone(), data.labels.clone()
    scrambled = images[~mask].flatten()
    order = torch.randperm(len(scrambled), generator=torch.Generator().manual_seed(0))
    images[~mask] = scrambled[order].reshape_as(images[~mask])
    labels[~mask] = (labels[~mask] + 1) % 10
    one, other = train(data, KeepOnly(mask)), train(replace(data, images=images, labels=labels), KeepOnly(mask))
    assert not torch.equal(one.losses[:, ~mask], other.losses[:, ~mask])
    assert torch.equal(one.losses[:, mask], other.losses[:, mask])
    assert_same_network(one, other)


def test_half_the_weight_and_twice_the_learning_rate_are_standard_training(data):
    half = train(data, lambda losses, epoch: torch.full((300,), 0.5), lr=0.1, weight_decay=0)
    assert_same_network(half, train(data, Everything(), lr=0.05, weight_decay=0))


def test_scoring_leaves_the_network_and_batchnorm_alone(data):
    rule = KeepOnly(~data.is_mislabeled)
    scored, never = (train(data, rule, model="small_cnn", rescore_every=every) for every in (1, 99))
    assert scored.log.forward_samples.sum() > 0 == never.log.forward_samples.sum()
    assert "1.running_mean" in scored.model.state_dict()
    assert_same_network(scored, never)


# --- every option trains ---


def test_soft_weights_lie_between_0_and_1(data):
    history = train(data, StepE(schedules.constant(0.4), soft=0.5))
    assert ((history.weights[1:] > 0) & (history.weights[1:] < 1)).any(1).all()
    np.testing.assert_allclose(history.log.excluded_fraction, [0, 0.4, 0.4, 0.4, 0.4], rtol=1e-6)


def test_per_class_excludes_the_same_share_of_every_given_class(data):
    excluded = train(data, StepE(schedules.constant(0.4), per_class=True)).excluded[-1]
    for label in range(10):
        members = data.labels == label
        assert excluded[members].sum() == round(0.4 * members.sum().item())


def test_momentum_ranks_by_the_past_too(data):
    by_last, by_average = (train(data, StepE(schedules.constant(0.4), momentum=m)) for m in (0.0, 0.9))
    assert torch.equal(by_last.weights[1], by_average.weights[1])  # one loss each: nothing to average
    assert not torch.equal(by_last.weights[2], by_average.weights[2])


def initial_weights(data):
    with torch.random.fork_rng():
        torch.manual_seed(seed_for("model", 0))
        return models.build("mlp", data).state_dict()


@pytest.mark.parametrize("lr_schedule", ["cosine", "constant"])
def test_a_run_is_plain_sgd_with_momentum_weight_decay_and_that_learning_rate(data, lr_schedule):
    settings = {"epochs": 2, "lr": 0.1, "weight_decay": 0.01, "lr_schedule": lr_schedule, "device": "cpu"}
    history = train(data, Everything(), **settings)
    net = models.build("mlp", data)
    net.load_state_dict(initial_weights(data))
    images = Images(data.images, torch.device("cpu"))
    momentum = [torch.zeros_like(weight) for weight in net.parameters()]
    for epoch in range(2):
        torch.manual_seed(seed_for("epoch", 0, epoch))
        batches = torch.randperm(300).tensor_split(-(-300 // 64))
        for step, index in enumerate(batches):
            progress = (epoch + step / len(batches)) / 2
            lr = 0.1 * (1 + math.cos(math.pi * progress)) / 2 if lr_schedule == "cosine" else 0.1
            net.zero_grad()
            F.cross_entropy(net(images[index]), data.labels[index]).backward()
            with torch.no_grad():
                for weight, velocity in zip(net.parameters(), momentum):
                    gradient = weight.grad + 0.01 * weight
                    velocity.mul_(0.9).add_(gradient)
                    weight -= lr * (gradient + 0.9 * velocity)  # Nesterov
    for mine, theirs in zip(net.parameters(), history.model.parameters()):
        assert torch.allclose(mine, theirs, atol=1e-5)


@pytest.mark.parametrize("with_test_set", [True, False])
def test_the_network_comes_back_in_evaluation_mode(data, with_test_set):
    if not with_test_set:
        data = replace(data, test_images=data.test_images[:0], test_labels=data.test_labels[:0])
    assert not train(data, model="small_cnn", epochs=1).model.training


def test_the_default_batch_fits_small_data(data):
    few = data.subset(20, seed=0)
    assert fit(few, "mlp", Everything(), epochs=1, progress=False).log.steps.tolist() == [1]


def test_a_bad_schedule_is_refused_before_any_training(data):
    for bad, message in ((0.999, "would exclude all 300 samples"), (1.5, r"schedule\(2\) is 1.5")):
        with pytest.raises(ValueError, match=message):
            train(data, StepE(lambda epoch, bad=bad: bad if epoch == 2 else 0.1), model=never())


def test_an_epoch_that_never_runs_cannot_fail(data):
    assert len(train(data, StepE(lambda epoch: 1.5 if epoch == 3 else 0.1), epochs=3).log) == 3


@pytest.mark.parametrize(
    "rule", [StepE(lambda epoch: 0.1), lambda losses, epoch: torch.ones(300)], ids=["schedule", "rule"]
)
def test_a_checkpoint_needs_a_rule_that_can_be_told_from_every_other(data, tmp_path, rule):
    with pytest.raises(ValueError, match="checkpoint needs a rule that can be told from every other"):
        train(data, rule, checkpoint=tmp_path / "new" / "run", model=never())
    assert not (tmp_path / "new").exists()


def test_a_checkpoint_with_another_test_set_is_refused(data, tmp_path):
    train(data, epochs=1, checkpoint=tmp_path / "run")
    fewer = replace(data, test_images=data.test_images[:1], test_labels=data.test_labels[:1])
    with pytest.raises(ValueError, match=r"another configuration.*data_digest"):
        train(fewer, epochs=1, checkpoint=tmp_path / "run")


def test_a_function_that_returns_a_network_is_as_good_as_a_name(data):
    assert_same_bits(train(data, model=lambda: models.mlp(10, (1, 8, 8))), train(data, model="mlp"))


def test_an_nn_module_is_trained_in_place(data):
    net = models.mlp(hidden=16)
    before = net[1].weight.detach().clone()
    assert train(data, model=net, device="cpu").model is net
    assert not torch.equal(net[1].weight, before)


def test_steps_means_exactly_so_many_steps(data):
    history = train(data, epochs=None, steps=16)
    assert list(history.log.steps) == [5, 5, 4, 2]  # 300, 300 and 240 samples, then 180, of which 2 batches are left


def test_fewer_steps_than_an_epoch_leave_losses_unknown(data):
    history = train(data, epochs=None, steps=2)
    assert list(history.log.steps) == [2]
    assert history.losses.isnan().sum() == 300 - history.log.backward_samples[0] > 0


def test_batches_are_nearly_equal(data):
    sizes = []
    net = models.mlp()
    net.register_forward_pre_hook(lambda net, inputs: sizes.append(len(inputs[0])) if net.training else None)
    train(data.subset(257, seed=0), Everything(), model=net, epochs=1, batch_size=64)
    assert sorted(sizes) == [51, 51, 51, 52, 52]


@pytest.mark.parametrize("name", ["seed", "batch_size", "rescore_every", "epochs", "lr"])
def test_numpy_numbers_are_as_good_as_those_of_python(data, tmp_path, name):
    number = np.float64(0.1) if name == "lr" else np.int64(2)
    one = train(data, **{name: number}, checkpoint=tmp_path / "run")
    one.save(tmp_path / "run.npz")
    assert_same_bits(train(data, **{name: number}, checkpoint=tmp_path / "run"), one)
    assert_same_bits(train(data, **{name: number.item()}), one)


# --- checkpoints ---

RUNS = {
    "sgd": {},
    "adam": {"optimizer": "adam"},
    "steps": {"epochs": None, "steps": 16},
    "soft, momentum, per class": {"rule": StepE(schedules.constant(0.4), soft=0.5, momentum=0.5, per_class=True)},
    "small_cnn, augment": {"model": "small_cnn", "augment": True},
}


def interrupted(name, at):
    """The network `name`, but Ctrl-C comes in its training step number `at`."""
    steps = itertools.count(1)

    def ctrl_c(net, inputs):
        if net.training and torch.is_grad_enabled() and next(steps) == at:
            raise KeyboardInterrupt

    def build():
        net = models.small_cnn(10, (1, 8, 8)) if name == "small_cnn" else models.mlp()
        net.register_forward_pre_hook(ctrl_c)
        return net

    return build


@pytest.mark.parametrize("settings", RUNS.values(), ids=RUNS)
def test_a_run_that_was_interrupted_goes_on_to_the_same_bits(data, tmp_path, settings):
    settings = dict(settings)
    name = settings.pop("model", "mlp")
    whole = train(data, **settings, model=interrupted(name, at=None))
    for _ in range(2):  # in epoch 1, and once more in epoch 2 or 3
        with pytest.raises(KeyboardInterrupt):
            train(data, **settings, model=interrupted(name, at=9), checkpoint=tmp_path / "run.checkpoint")
    assert os.listdir(tmp_path) == ["run.checkpoint"]
    # A run that began again would come to the step of this last Ctrl-C.
    last = interrupted(name, at=whole.log.steps.sum())
    assert_same_bits(train(data, **settings, model=last, checkpoint=tmp_path / "run.checkpoint"), whole)


KILLED = """
import os, signal, sys
from stepe_lite import StepE, fit, load, models, noise, schedules

steps = 0
def kill(net, inputs):
    global steps
    steps += net.training
    if steps == 13:
        os.kill(os.getpid(), signal.SIGKILL)

def build():
    net = models.mlp()
    net.register_forward_pre_hook(kill)
    return net

data = load("digits").subset(300, seed=0).with_noise(noise.symmetric(0.4), seed=0)
rule = StepE(schedules.linear(warmup=1, ramp=2, final=0.4))
fit(data, build, rule, epochs=5, batch_size=64, checkpoint=sys.argv[1], progress=False)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_process_that_was_killed_goes_on_to_the_same_bits(data, tmp_path):
    path = tmp_path / "run.checkpoint"
    done = subprocess.run([sys.executable, "-c", KILLED, path], capture_output=True, text=True, timeout=200)
    assert done.returncode == -signal.SIGKILL, done.stderr
    whole = train(data, model=models.mlp)
    assert_same_bits(train(data, model=interrupted("mlp", at=whole.log.steps.sum()), checkpoint=path), whole)


def test_a_finished_run_comes_back_without_training(data, tmp_path):
    whole = train(data, model=models.mlp, checkpoint=tmp_path / "run")
    assert_same_bits(train(data, model=interrupted("mlp", at=1), checkpoint=tmp_path / "run"), whole)


DAMAGES = {"empty": lambda b: b"", "cut": lambda b: b[: len(b) // 2], "something else": lambda b: b"something else"}
OTHERS = {
    "lr": {"lr": 0.1},
    "seed": {"seed": 1},
    "epochs": {"epochs": 6},
    "batch_size": {"batch_size": 32},
    "optimizer": {"optimizer": "adam"},
    "rule": {"rule": StepE(schedules.linear(1, 2, 0.3))},
    "augment": {"augment": True},
    "model": {"model": "small_cnn"},
    "loss": {"loss": losses.GeneralizedCrossEntropy()},
    "network_digest": {"model": lambda: models.mlp(hidden=16)},
    "shape": {"shape": (1, 16, 4)},
}


@pytest.mark.parametrize("key", OTHERS)
def test_a_checkpoint_of_another_configuration_is_refused_by_name(data, tmp_path, key):
    train(data, epochs=1, checkpoint=tmp_path / "run")
    settings = {"epochs": 1} | OTHERS[key]
    if shape := settings.pop("shape", None):  # the same bytes
        data = Dataset.from_arrays(data.images.reshape(-1, *shape), data.labels, name=data.name)
    with pytest.raises(ValueError, match=rf"another configuration.*\b{key}\b"):
        train(data, **settings, checkpoint=tmp_path / "run")


def test_a_checkpoint_of_other_labels_is_refused(data, tmp_path):
    train(data, epochs=1, checkpoint=tmp_path / "run")
    with pytest.raises(ValueError, match=r"another configuration.*data_digest"):
        train(data.cleaned().with_noise(noise.symmetric(0.4), seed=1), epochs=1, checkpoint=tmp_path / "run")


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_checkpoint_is_refused(data, tmp_path, damage):
    path = tmp_path / "run"
    train(data, epochs=1, checkpoint=path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match="not a whole checkpoint"):
        train(data, epochs=1, checkpoint=path)


def missing(state, *parts):
    """A checkpoint's state loses a part, of the learner say."""
    *outer, last = parts
    for part in outer:
        state = state[part]
    del state[last]


CHANGES = {
    "no config": lambda state: missing(state, "config"),
    "no learner": lambda state: missing(state, "learner"),
    "no ledger": lambda state: missing(state, "ledger"),
    "no log": lambda state: missing(state, "log"),
    "no network": lambda state: missing(state, "learner", "net"),
    "no optimizer": lambda state: missing(state, "learner", "optimizer"),
    "no losses": lambda state: missing(state, "ledger", "losses"),
    "no weights": lambda state: missing(state, "ledger", "weights"),
    "no latest": lambda state: missing(state, "ledger", "latest"),
    "no seen": lambda state: missing(state, "ledger", "seen"),
    "no signature": lambda state: missing(state, "signature"),
    "config is None": lambda state: state.update(config=None),
    "log is 5": lambda state: state.update(log=5),
    "log is short": lambda state: state["log"].pop(),
    "log without steps": lambda state: state["log"][0].pop("steps"),
    "ledger is a list": lambda state: state.update(ledger=[]),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_checkpoint_without_its_parts_is_refused(data, tmp_path, change):
    """As another version of the package may have written it: its own checksum is right."""
    path = tmp_path / "run"
    train(data, epochs=1, checkpoint=path)
    state = torch.load(io.BytesIO(path.read_bytes()[32:]), weights_only=True)
    change(state)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    path.write_bytes(hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue())
    with pytest.raises(ValueError, match="not a whole checkpoint: delete it"):
        train(data, epochs=1, checkpoint=path)


def test_a_checkpoint_path_may_begin_with_the_home_folder(data, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    train(data, epochs=1, checkpoint="~/run")
    assert (tmp_path / "run").is_file()


def test_a_full_disk_is_an_os_error_and_leaves_the_last_good_files(data, tmp_path):
    resource = pytest.importorskip("resource")
    history = train(data, epochs=1, checkpoint=tmp_path / "run", model=interrupted("mlp", at=None))
    history.save(tmp_path / "history.npz")
    good = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    no_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, no_limit[1]))
        with pytest.raises(OSError):
            history.save(tmp_path / "history.npz")
        with pytest.raises(OSError):
            train(data, epochs=1, checkpoint=tmp_path / "another run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, no_limit)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == good


# --- divergence ---


@pytest.mark.parametrize("lr", [1e3, 1e6])
def test_a_loss_that_is_not_finite_stops_and_leaves_the_history_before(data, tmp_path, lr):
    with pytest.raises(TrainingDiverged, match=r"training loss is (nan|inf) at epoch \d") as stopped:
        train(data, lr=lr, batch_size=300, epochs=10)
    history = stopped.value.history
    epoch = len(history.log)
    assert epoch > 0 and f"at epoch {epoch}:" in str(stopped.value)
    assert history.losses.shape == (epoch, 300) and np.isfinite(history.log.train_loss).all()
    history.save(tmp_path / "history.npz")
    assert len(History.load(tmp_path / "history.npz").log) == epoch


def test_divergence_in_the_first_epoch_leaves_an_empty_history(data, tmp_path):
    with pytest.raises(TrainingDiverged, match="epoch 0") as stopped:
        train(data, lr=1e6)
    stopped.value.history.save(tmp_path / "history.npz")
    empty = History.load(tmp_path / "history.npz")
    assert empty.losses.shape == (0, 300) and len(empty.log) == 0 and "0 epochs" in repr(empty)


# --- what is refused before any training ---


def never():
    """A network that must not be trained."""
    net = models.mlp()
    net.register_forward_pre_hook(lambda *_: pytest.fail("training has begun"))
    return net


@pytest.mark.parametrize(
    "message, settings",
    [
        ("epochs is 0", {"epochs": 0}),
        ("epochs is 2.5", {"epochs": 2.5}),
        ("epochs is True", {"epochs": True}),
        ("steps is 0", {"epochs": None, "steps": 0}),
        ("epochs is 3 and steps is 3", {"epochs": 3, "steps": 3}),
        ("batch_size is 301, but must be a whole number, from 1 to 300", {"batch_size": 301}),
        ("batch_size is 0", {"batch_size": 0}),
        ("lr is -0.1", {"lr": -0.1}),
        ("lr is 0", {"lr": 0}),
        ("lr is nan", {"lr": float("nan")}),
        ("lr is inf", {"lr": float("inf")}),
        ("weight_decay is -1", {"weight_decay": -1}),
        ("rescore_every is 0", {"rescore_every": 0}),
        ("seed is -1", {"seed": -1}),
        ("Did you mean 'adam'?", {"optimizer": "adamm"}),
        ("Did you mean 'cosine'?", {"lr_schedule": "cosin"}),
        ("Did you mean 'small_cnn'?", {"model": "small-cnn"}),
        ("device is 'gpu'", {"device": "gpu"}),
        ("rule is 'step-e'", {"rule": "step-e"}),
        ("rule is <class", {"rule": StepE}),
        ("exclude all 300 samples", {"rule": StepE(schedules.linear(1, 1, 0.999))}),
        ("exclude all 300 samples", {"rule": RandomExclusion(schedules.cosine(1, 1, 0.999))}),
        ("exclude all 300 samples", {"rule": SelfPaced(schedules.linear(1, 1, 0.999))}),
        ("exclude all 300 samples", {"rule": LossTruncation(0.999)}),
        ("exclude all 300 samples", {"rule": OneShotFilter(0.999, warmup=1)}),
        ("mask has 2 entries, but there are 300 samples", {"rule": KeepOnly([True, False])}),
        ("keeps no samples at epoch 0", {"rule": lambda losses, epoch: torch.zeros(300)}),
        ("weights outside [0, 1]", {"rule": lambda losses, epoch: 2 * torch.ones(300)}),
        ("weights of shape (3,)", {"rule": lambda losses, epoch: torch.ones(3)}),
    ],
)
def test_a_bad_argument_is_refused_before_any_training(data, message, settings):
    with pytest.raises(ValueError) as refused:
        train(data, **{"model": never} | settings)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: models.mlp(5), r"model gives \(2, 5\) for 2 images, but must give a logit for each of 10 classes"),
        (lambda: models.mlp(10, (3, 8, 8)), r"model cannot take these images of \(1, 8, 8\)"),
        (lambda: models.mlp().double(), "model cannot take these images"),
        (lambda: nn.Conv2d(1, 10, 3), "must give a logit for each of 10 classes"),
        (lambda: models.mlp().requires_grad_(False), "model has no weights that can be trained"),
        (nn.Flatten, "model has no weights that can be trained"),
        (lambda: Detached(models.mlp()), "model gives logits without a gradient"),
        (nn.Linear, "model is .*Linear.*, but must be a function without arguments: missing"),
        (lambda: None, "model returns None, but must return an nn.Module"),
        (lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(10)), "model has weights without values, lazy"),
        (lambda: models.mlp().to("meta"), "model has weights without values, lazy or on the device meta"),
    ],
    ids=[
        "few classes",
        "other images",
        "float64",
        "no logits",
        "frozen",
        "no weights",
        "detached",
        "arguments",
        "none",
        "lazy",
        "meta",
    ],
)
def test_a_network_that_does_not_fit_the_data_is_refused_before_any_training(data, model, message):
    with pytest.raises(ValueError, match=message):
        train(data, model=model)


class Detached(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, images):
        return self.net(images).detach()


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (
            F.cross_entropy,
            r"loss gives \(\) for 2 samples, but must give one loss a sample, \(2,\): reduction=\"none\"",
        ),
        (lambda logits, labels: logits, r"loss gives \(2, 10\) for 2 samples"),
        (lambda logits, labels: 0.5, "loss gives float for 2 samples"),
        (lambda logits, labels: logits.detach().sum(1), "loss gives numbers without a gradient"),
    ],
    ids=["a mean", "a matrix", "a number", "detached"],
)
def test_a_loss_that_is_none_is_refused_before_any_training(data, loss, message):
    with pytest.raises(ValueError, match=message):
        train(data, loss=loss)


def test_a_mask_that_keeps_no_samples_is_refused():
    with pytest.raises(ValueError, match="keeps no samples"):
        KeepOnly(torch.zeros(300, dtype=torch.bool))


def test_an_unwritable_checkpoint_folder_is_refused_before_any_training(data, tmp_path):
    (tmp_path / "file").write_text("a regular file")
    with pytest.raises(OSError, match=r"checkpoint is .*but must be a folder that can be written to"):
        train(data, model=never, checkpoint=tmp_path / "file" / "run.checkpoint")


def test_a_checkpoint_that_is_a_folder_is_refused_without_the_advice_to_delete_it(data, tmp_path):
    with pytest.raises((ValueError, OSError), match="checkpoint") as refused:
        train(data, model=never, checkpoint=tmp_path)
    assert "delete" not in str(refused.value)


# --- checkpoints tell everything apart, and are whole ---


def interrupt(monkeypatch, after):
    """Ctrl-C in the epoch `after`, once."""
    real, calls = training.train_epoch, []

    def stop(*arguments):
        calls.append(1)
        if len(calls) == after + 1:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(training, "train_epoch", stop)


def test_a_checkpoint_with_a_flipped_bit_is_refused(data, tmp_path):
    path = tmp_path / "run"
    train(data, epochs=2, checkpoint=path)
    whole = path.read_bytes()
    for at in np.linspace(0, len(whole) - 1, 40).astype(int):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << (at % 8)
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="not a whole checkpoint: delete it"):
            train(data, epochs=2, checkpoint=path)
    for cut in (b"", whole[:31], whole[:-1], whole + b"x"):
        path.write_bytes(cut)
        with pytest.raises(ValueError, match="not a whole checkpoint: delete it"):
            train(data, epochs=2, checkpoint=path)


@pytest.mark.parametrize(
    "loss",
    [nn.CrossEntropyLoss(reduction="none", label_smoothing=0.5), lambda z, y: F.cross_entropy(z, y, reduction="none")],
)
def test_a_checkpoint_needs_a_loss_that_can_be_told_from_every_other(data, tmp_path, loss):
    with pytest.raises(ValueError, match="checkpoint needs a loss that can be told from every other"):
        train(data, loss=loss, checkpoint=tmp_path / "run")


@dataclasses.dataclass(frozen=True, eq=False)
class Offset:
    """A rule that holds a tensor: printed, two of them look alike."""

    offset: torch.Tensor

    def __call__(self, losses, epoch):
        return (torch.arange(300) >= round(1e6 * float(self.offset[0])) % 7).float()


def test_rules_that_print_alike_are_told_apart(data, tmp_path):
    one, other = Offset(torch.tensor([0.1])), Offset(torch.tensor([0.100001]))
    assert repr(one) == repr(other)
    train(data, one, epochs=2, checkpoint=tmp_path / "run")
    with pytest.raises(ValueError, match="of another configuration: rule identity"):
        train(data, other, epochs=2, checkpoint=tmp_path / "run")


@dataclasses.dataclass
class Hiding:
    """A rule with a value that is no field."""

    share: dataclasses.InitVar[float]

    def __post_init__(self, share):
        self._share = share

    def __call__(self, losses, epoch):
        return (torch.arange(300) >= 300 * self._share).float()


def enclosing(share):
    @dataclasses.dataclass
    class Enclosed:
        def __call__(self, losses, epoch):
            return (torch.arange(300) >= 300 * share).float()

    return Enclosed()


@pytest.mark.parametrize(
    ("make", "said"), [(Hiding, "rule identity"), (enclosing, "told from every other")], ids=["hidden", "enclosed"]
)
def test_what_a_rule_holds_besides_its_fields_tells_it_apart_too(data, tmp_path, make, said):
    with pytest.raises(ValueError, match=said):
        for share in (0.1, 0.5):
            train(data, make(share), epochs=2, checkpoint=tmp_path / "run")


class Activated(nn.Module):
    """Networks that print alike and have the same weights."""

    def __init__(self, activation, dropout=0.0):
        super().__init__()
        self.activation, self.dropout, self.norm = activation, dropout, nn.BatchNorm1d(64)
        self.first, self.last = nn.Linear(64, 32), nn.Linear(32, 10)

    def forward(self, images):
        hidden = self.activation(self.first(self.norm(images.flatten(1))))
        return self.last(F.dropout(hidden, self.dropout, self.training))


@pytest.mark.parametrize("other", [(torch.tanh,), (F.leaky_relu,), (torch.relu, 0.5)], ids=["tanh", "leaky", "dropout"])
def test_networks_that_print_alike_are_told_apart(data, tmp_path, other):
    path, settings = tmp_path / "run", {"epochs": 2, "checkpoint": tmp_path / "run"}
    whole = train(data, model=lambda: Activated(torch.relu), **settings)
    assert_same_bits(train(data, model=lambda: Activated(torch.relu), **settings), whole)
    assert_same_bits(train(data, model=lambda: Activated(torch.relu), epochs=2), whole)
    with pytest.raises(ValueError, match="of another configuration: its model acts otherwise"):
        train(data, model=lambda: Activated(*other), **settings)
    assert path.exists()


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "sgd"},
        {"lr_schedule": "constant"},
        {"augment": "flip"},
        {"precision": "float32"},
        {"model": "mlp"},
    ],
    ids=str,
)
def test_texts_and_numbers_of_numpy_leave_a_checkpoint_that_can_be_read(data, tmp_path, settings):
    odd = dataclasses.replace(data, name=np.str_("odd"))
    rule = StepE(schedules.linear(np.int64(1), np.int64(2), np.float64(0.4)), momentum=np.float32(0.5))
    settings = {name: np.str_(value) for name, value in settings.items()} | {"checkpoint": tmp_path / "run"}
    whole = train(odd, rule, **settings)
    whole.save(tmp_path / "history.npz")
    assert_same_bits(train(odd, rule, **settings), whole)
    plain = StepE(schedules.linear(1, 2, 0.4), momentum=float(np.float32(0.5)))
    assert_same_bits(train(odd, plain, **settings), whole)


def test_a_network_of_ones_own_goes_on_in_the_same_process(data, tmp_path, monkeypatch):
    def net():
        torch.manual_seed(5)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    whole, mine, path = train(data, model=net(), epochs=4), net(), tmp_path / "run"
    interrupt(monkeypatch, after=2)
    with pytest.raises(KeyboardInterrupt):
        train(data, model=mine, epochs=4, checkpoint=path)
    monkeypatch.undo()
    assert_same_bits(train(data, model=mine, epochs=4, checkpoint=path), whole)
    other = net()
    nn.init.zeros_(other[1].bias)
    with pytest.raises(ValueError, match="of another configuration: network_digest"):
        train(data, model=other, epochs=4, checkpoint=path)


def test_the_number_of_threads_is_part_of_a_run(data, tmp_path):
    assert train(data, epochs=1).config["threads"] == 1  # a small network
    train(data, epochs=1, threads=2, checkpoint=tmp_path / "run")
    with pytest.raises(ValueError, match="of another configuration: threads 2, not 1"):
        train(data, epochs=1, checkpoint=tmp_path / "run")


# --- settings ---


def test_steps_are_not_epochs_to_a_schedule(data):
    def schedule(epoch):
        return 0.0 if epoch < 30 else 0.9999  # 300 samples in batches of 128: 40 steps are 14 epochs

    log = train(data, StepE(schedule), epochs=None, steps=40, batch_size=128).log
    assert log.steps.sum() == 40 and len(log) == 14


def test_averaged_weights_are_the_mean_of_the_weights_at_the_ends_of_epochs(data):
    ends = []

    def follow(learner, done):
        if done > 0.5:
            ends.append(nn.utils.parameters_to_vector(learner.net.parameters()).clone())
        real(learner, done)

    real = Learner.end_epoch
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "end_epoch", follow)
        averaged = train(data, Everything(), epochs=6, average=0.5, device="cpu")
    plain = train(data, Everything(), epochs=6, device="cpu")
    mean = nn.utils.parameters_to_vector(averaged.model.parameters())
    assert len(ends) == 3 and torch.allclose(mean, torch.stack(ends).mean(0), atol=1e-6)
    assert averaged.log.test_accuracy[:5].equals(plain.log.test_accuracy[:5])
    assert averaged.log.test_accuracy[5] == share_right(averaged.model, data)


def share_right(net, data):
    with torch.no_grad():
        images = Images(data.test_images, torch.device("cpu"), Images(data.images, torch.device("cpu")))
        right = net(images[torch.arange(len(images))]).argmax(1) == data.test_labels
    return right.sum().item() / len(images)


def test_averaged_weights_measure_batchnorm_anew_and_go_on_from_a_checkpoint(data, tmp_path, monkeypatch):
    settings = {"model": "small_cnn", "epochs": 4, "average": 0.3}
    whole, path = train(data, **settings), tmp_path / "run"
    interrupt(monkeypatch, after=3)
    with pytest.raises(KeyboardInterrupt):
        train(data, checkpoint=path, **settings)
    monkeypatch.undo()
    assert_same_bits(train(data, checkpoint=path, **settings), whole)
    norm = next(m for m in whole.model.modules() if isinstance(m, nn.BatchNorm2d))
    assert norm.num_batches_tracked == 5 and norm.momentum == 0.1  # one pass over 300 samples in batches of 64


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"augment": "False"}, "augment is 'False', but must be one of False, 'flip', True"),
        ({"augment": 1}, "augment is 1"),
        ({"precision": "half"}, "precision is 'half', but must be one of 'float32', 'bfloat16'"),
        ({"average": 1.0}, "average is 1.0, but must be a number from 0 up to"),
        ({"threads": 0}, "threads is 0"),
        ({"device": "meta"}, "device is 'meta', which cannot be used here"),
        (
            {"model": "small_cnn", "batch_size": 1},
            "batch_size is 1, but must be at least 3 for this network: its BatchNorm",
        ),
        ({"model": lambda: models.mlp().requires_grad_(False)}, "model has no weights that can be trained"),
        ({"model": nn.Flatten()}, "model has no weights that can be trained"),
    ],
)
def test_a_setting_that_is_none_is_refused(data, settings, message):
    with pytest.raises(ValueError, match=message):
        train(data, **settings)


def test_bfloat16_on_a_cpu_is_asked_for_and_written_down(data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is slow, where it is
        history = train(data, epochs=2, precision="bfloat16", device="cpu")
    plain = train(data, epochs=2, device="cpu")
    assert history.config["precision"] == "bfloat16" and plain.config["precision"] == "float32"
    assert not torch.equal(history.losses, plain.losses)


# --- History on disk ---


def test_a_history_whose_parts_do_not_fit_together_is_refused(data, tmp_path):
    history = train(data, epochs=3)
    for broken in (
        dataclasses.replace(history, losses=history.losses[:2]),
        dataclasses.replace(history, weights=history.weights[:, :5]),
        dataclasses.replace(history, log=history.log[:1]),
    ):
        broken.save(tmp_path / "history.npz")
        with pytest.raises(ValueError, match=r"not a whole file written by History.save"):
            History.load(tmp_path / "history.npz")


@pytest.mark.parametrize("settings", [{}, {"epochs": None, "steps": 2}], ids=["whole", "with unknown losses"])
def test_a_history_comes_back_from_disk_exactly(data, tmp_path, settings):
    history = train(data, **settings)
    history.save(tmp_path / "history.npz")
    loaded = History.load(tmp_path / "history.npz")
    torch.testing.assert_close(loaded.losses, history.losses, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(loaded.weights, history.weights)
    pd.testing.assert_frame_equal(loaded.log, history.log, check_exact=True)
    assert loaded.config == history.config and loaded.model is None
    assert os.listdir(tmp_path) == ["history.npz"]


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_history_is_refused(data, tmp_path, damage):
    path = tmp_path / "history.npz"
    train(data, epochs=1).save(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"not a whole file written by History\.save"):
        History.load(path)


def test_a_file_that_is_no_history_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", x=np.arange(3))
    with pytest.raises(ValueError, match=r"not a whole file written by History\.save"):
        History.load(tmp_path / "other.npz")


def test_a_missing_history_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.npz"):
        History.load(tmp_path / "nowhere.npz")


def test_averaged_weights_need_no_last_batch_of_two_samples(data):
    n = len(data) - (len(data) - 1) % 16  # one sample is left over
    assert train(data.subset(n, seed=0), Everything(), model="small_cnn", epochs=1, batch_size=16, average=0.0).model


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (StepE(schedules.linear(1, 9, 0.4)), "does not reach its final fraction"),
        (StepE(schedules.linear(1, 0, 0.4)), None),
        (StepE(schedules.linear(3, 9, 0.4)), "is in its warm-up for all of"),
        (LossTruncation(0.4, warmup=3), "is in its warm-up for all of"),
        (OneShotFilter(0.4, warmup=3), "is in its warm-up for all of"),
        (OneShotFilter(0.4, warmup=2), None),
        (EstimatedStepE(1, 9), "does not reach its final fraction"),
    ],
    ids=repr,
)
def test_a_schedule_longer_than_the_training_is_told(data, rule, said):
    with warnings.catch_warnings(record=True) as caught:
        train(data, rule, epochs=3)
    told = [str(each.message) for each in caught if "epochs: choose" in str(each.message)]
    assert (said in told[0]) if said else not told
