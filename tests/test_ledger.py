"""The ledger: it remembers the last known loss of every sample and asks the rule once an epoch."""

import errno
import io
import itertools
import math
import textwrap

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from stepe_lite import Everything, KeepOnly, Ledger, StepE, ledger, models, schedules

EVERYONE = torch.arange(4)


def script(*weights):
    """A rule that ignores the losses: the first weights at epoch 0, the next at epoch 1, …, and then the last."""
    return lambda losses, epoch: torch.tensor(weights[min(epoch, len(weights) - 1)])


WITHOUT_2 = script([1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 0.0, 1.0])


def train_epoch(book, *losses):
    """What a training loop tells the ledger in one epoch: the loss of every kept sample."""
    book.record(book.trained, torch.tensor(losses))


def seen(book):
    """`book`, after it was told a loss of every sample."""
    book.record(torch.arange(book.n), torch.ones(book.n))
    return book


# Losses


def test_a_row_holds_the_last_known_loss_of_every_sample():
    book = Ledger(4, WITHOUT_2)
    train_epoch(book, 1.0, 2.0, 9.0, 4.0)
    book.end_epoch()
    train_epoch(book, 0.5, 1.5, 3.5)
    book.end_epoch()
    assert book.losses.tolist() == [[1.0, 2.0, 9.0, 4.0], [0.5, 1.5, 9.0, 3.5]]
    assert book.weight_history.tolist() == [[1, 1, 1, 1], [1, 1, 0, 1]]
    assert book.epoch == 2


def test_of_two_losses_in_one_epoch_the_later_counts():
    book = Ledger(4, Everything())
    train_epoch(book, 1.0, 2.0, 3.0, 4.0)
    book.record(torch.tensor([3, 0]), torch.tensor([8.0, 5.0]))
    book.end_epoch()
    assert book.losses.tolist() == [[5.0, 2.0, 3.0, 8.0]]


def test_samples_that_were_never_seen_are_no_silent_nan():
    book = Ledger(4, Everything())
    with pytest.raises(ValueError, match=r"^4 of 4 samples have no loss at the end of epoch 0: record\(i, loss\)"):
        book.end_epoch()
    book.record(torch.tensor([0, 2]), torch.tensor([1.0, 2.0]))
    with pytest.raises(ValueError, match=r"^2 of 4 samples have no loss"):
        book.end_epoch()
    book.end_epoch(last=True)  # an epoch that is cut short
    assert book.losses[0].tolist() == pytest.approx([1.0, math.nan, 2.0, math.nan], nan_ok=True)


def test_a_diverged_loss_is_a_loss():
    book = Ledger(3, StepE(schedules.constant(0.4)))
    train_epoch(book, 1.0, math.nan, 2.0)
    book.end_epoch()
    assert book.excluded.nonzero().flatten().tolist() == [1]


@pytest.mark.parametrize("index", [[0, 2], np.array([0, 2]), torch.tensor([0, 2], dtype=torch.int32)], ids=type)
def test_indices_come_in_any_form(index):
    book = Ledger(3, Everything())
    book.record(index, [1.0, 3.0])
    book.record([1], torch.tensor([2.0]))
    book.end_epoch()
    assert book.losses.tolist() == [[1.0, 2.0, 3.0]]


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ([-1, 0], "index goes from -1 to 0, but must lie from 0 to 2"),
        ([0, 3], "index goes from 0 to 3, but must lie from 0 to 2"),
        ([0.0, 1.0], "index is torch.float32, but must be whole numbers"),
        (torch.tensor([True, False]), "index is torch.bool"),
    ],
)
def test_an_index_that_is_none_is_refused_and_nothing_is_written(index, message):
    book = Ledger(3, Everything())
    with pytest.raises(ValueError, match=message):
        book.record(index, [1.0, 2.0])
    book.end_epoch(last=True)
    assert book.losses.isnan().all()


@pytest.mark.parametrize(("n", "size", "sizes"), [(9, 4, [3, 3, 3]), (5, 4, [3, 2]), (4, 4, [4]), (1, 4, [1])])
def test_batches_are_nearly_equal_and_hold_every_sample_once(n, size, sizes):
    batches = list(Ledger(n, Everything()).batches(size))
    assert [len(batch) for batch in batches] == sizes and len(Ledger(n, Everything()).batches(size)) == len(sizes)
    assert sorted(itertools.chain(*batches)) == list(range(n))


def test_scoring_comes_in_parts():
    book, parts = Ledger(10, script([1.0] * 10, [0.0] * 9 + [1.0])), []
    train_epoch(book, *range(10))
    book.end_epoch()
    train_epoch(book, 0.0)
    assert book.end_epoch(lambda i: parts.append(len(i)) or i.float(), size=4) == 9
    assert parts == [4, 4, 1]


def test_many_epochs_keep_every_row():
    book = Ledger(2, Everything())
    for epoch in range(50):
        train_epoch(book, epoch, 2 * epoch)
        book.end_epoch()
    assert book.losses.tolist() == [[epoch, 2 * epoch] for epoch in range(50)]


def test_losses_are_recorded_without_gradient_and_do_not_change_afterwards():
    book = Ledger(4, Everything())
    loss = torch.rand(4, dtype=torch.float64, requires_grad=True)
    book.record(EVERYONE, loss)
    book.end_epoch()
    first = book.losses.clone()
    assert first.dtype == torch.float32 and not first.requires_grad
    train_epoch(book, 1.0, 2.0, 3.0, 4.0)
    assert torch.equal(book.losses, first)


@pytest.mark.parametrize("room", ["memory", "a file", "a full disk"])
def test_what_is_kept_does_not_depend_on_where(room, monkeypatch):
    files = []
    if room != "memory":
        made = ledger.tempfile.TemporaryFile
        monkeypatch.setattr(ledger, "LARGE", 0)
        monkeypatch.setattr(ledger.tempfile, "TemporaryFile", lambda: files.append(room) or made())
    if room == "a full disk":
        monkeypatch.setattr(ledger.os, "posix_fallocate", lambda *_: 1 / 0 if not files else full())
    book = Ledger(5, StepE(schedules.linear(2, 10, 0.4)))
    for epoch in range(20):
        book.record(range(5), torch.arange(5.0) + epoch)
        book.end_epoch()
    assert torch.equal(book.losses, torch.arange(5.0) + torch.arange(20.0)[:, None])
    assert len(files) == (0 if room == "memory" else 3)  # for 8, 16 and 32 rows


def full():
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("n", [1, 7, 8, 9, 64])
def test_hard_weights_are_kept_as_bits_and_soft_ones_as_they_are(n):
    draw = torch.Generator().manual_seed(n)
    hard = (torch.rand(n, generator=draw) < 0.5).float()
    hard[-1] = 1
    soft = torch.rand(n, generator=draw)
    book = seen(Ledger(n, lambda losses, epoch: [hard, soft][epoch % 2]))
    for _ in range(4):
        book.end_epoch()
    kept = soft.clone()
    soft.zero_()  # a rule that gives the same tensor every time, and changes it
    assert torch.equal(book.weight_history, torch.stack([hard, kept, hard, kept]))
    bits, whole, *_ = book.state_dict()["weights"]
    assert bits.nbytes == math.ceil(n / 8) and whole.nbytes == 4 * n


def test_a_saved_state_holds_no_more_than_the_rows_that_there_are():
    book = seen(Ledger(1000, Everything()))
    for _ in range(17):  # the buffer has 32
        book.end_epoch()
    saved = io.BytesIO()
    torch.save(book.state_dict(), saved)
    assert saved.tell() < 17 * 1000 * 4 + 17 * 125 + 5 * 1000 + 20_000


def test_a_state_does_not_change_when_the_ledger_goes_on():
    book = seen(Ledger(3, Everything()))
    book.end_epoch()
    state = book.state_dict()
    book.record([0], [9.0])
    book.end_epoch()
    assert state["latest"].tolist() == [1, 1, 1] and len(state["losses"]) == len(state["weights"]) == 1
    again = Ledger(3, Everything())
    again.load_state_dict(state)
    again.record([1], [8.0])
    assert state["latest"].tolist() == [1, 1, 1]


def test_a_seed_gives_each_epoch_an_order_of_its_own_that_nothing_else_changes():
    orders = []
    for _ in range(2):
        book = seen(Ledger(50, Everything(), seed=3))
        for _ in range(2):
            orders.append([list(book.sampler()), list(itertools.chain(*book.batches(8)))])
            torch.rand(1)
            book.end_epoch()
    (first, same), (second, _) = orders[:2]
    assert first == same != second and orders[:2] == orders[2:]
    assert list(Ledger(50, Everything(), seed=4).sampler()) != first


def test_before_the_first_epoch_is_over_there_are_no_rows():
    book = Ledger(4, Everything())
    assert book.losses.shape == book.weight_history.shape == (0, 4)
    assert book.epoch == 0


# The rule


def test_the_rule_is_asked_once_an_epoch_with_the_losses_of_the_finished_epochs():
    asked = []

    def rule(losses, epoch):
        asked.append((epoch, losses.tolist()))
        return torch.ones(2)

    book = Ledger(2, rule)
    train_epoch(book, 1.0, 2.0)
    book.end_epoch()
    train_epoch(book, 3.0, 4.0)
    book.end_epoch(last=True)
    assert asked == [(0, []), (1, [[1.0, 2.0]])]  # an epoch that never runs is not asked about


def test_rescoring_lets_a_sample_come_back_and_without_it_stays_out():
    fates = {}
    for name, score in {"rescored": lambda index: torch.full((len(index),), 0.1), "not rescored": None}.items():
        book = Ledger(4, StepE(schedules.constant(0.25)))
        train_epoch(book, 1.0, 2.0, 9.0, 4.0)
        book.end_epoch()
        out = [book.excluded.nonzero().flatten().tolist()]
        train_epoch(book, 1.0, 2.0, 4.0)
        book.end_epoch(score)
        fates[name] = [*out, book.excluded.nonzero().flatten().tolist()]
    assert fates == {"rescored": [[2], [3]], "not rescored": [[2], [2]]}


def test_only_the_excluded_are_scored_and_without_gradient():
    scored = []

    def score(index):
        scored.append((index.tolist(), torch.is_grad_enabled()))
        return torch.zeros(len(index))

    book = seen(Ledger(4, WITHOUT_2))
    assert [book.end_epoch(score) for _ in range(3)] == [0, 1, 1]  # how many samples were scored
    assert scored == [([2], False), ([2], False)]


def test_excluded_is_a_weight_below_a_half_and_trained_a_weight_above_0():
    book = Ledger(4, script([0.01, 0.0, 1.0, 0.5]))
    assert book.trained.tolist() == [0, 2, 3]  # of these, one weighs less than a half: it counts as excluded
    assert book.excluded.tolist() == [True, True, False, False]


def test_rescore_every_so_many_epochs():
    book = seen(Ledger(4, KeepOnly(EVERYONE != 2), rescore_every=3))
    assert [book.end_epoch(score=lambda index: torch.zeros(len(index))) for _ in range(7)] == [0, 0, 1, 0, 0, 1, 0]


# The sampler


def test_the_sampler_yields_exactly_the_kept_samples_of_the_running_epoch_in_random_order():
    book = seen(Ledger(100, lambda losses, epoch: (torch.arange(100) % 10 >= epoch).float()))
    sampler = book.sampler()
    for epoch in range(3):
        kept = [i for i in range(100) if i % 10 >= epoch]
        first, second = list(sampler), list(sampler)
        assert sorted(first) == sorted(second) == kept
        assert first != second
        assert len(sampler) == len(kept)
        book.end_epoch()


def test_the_order_of_the_sampler_follows_the_global_seed():
    sampler = Ledger(100, Everything()).sampler()
    torch.manual_seed(0)
    first = list(sampler)
    torch.manual_seed(0)
    assert list(sampler) == first


# Saving


def test_a_ledger_goes_on_from_its_state_as_if_never_interrupted():
    def rule():
        return StepE(schedules.linear(1, 2, 0.5), momentum=0.5)

    def epochs(book, numbers):
        for number in numbers:
            generator = torch.Generator().manual_seed(number)
            book.record(book.trained, torch.rand(len(book.trained), generator=generator))
            book.end_epoch()

    whole, first, second = Ledger(20, rule()), Ledger(20, rule()), Ledger(20, rule())
    epochs(whole, range(6))
    epochs(first, range(3))
    second.load_state_dict(first.state_dict())
    assert torch.equal(second.weights, first.weights)
    epochs(second, range(3, 6))
    assert second.epoch == 6
    assert torch.equal(second.losses, whole.losses)
    assert torch.equal(second.weight_history, whole.weight_history)
    assert torch.equal(second.weights, whole.weights)


def test_the_state_of_another_number_of_samples_is_refused():
    other = seen(Ledger(5, Everything()))
    other.end_epoch()
    with pytest.raises(ValueError, match=r"5.*4"):
        Ledger(4, Everything()).load_state_dict(other.state_dict())


# Bad input


@pytest.mark.parametrize(
    ("loss", "shape"),
    [(torch.tensor(1.0), r"\(\)"), (torch.ones(3), r"\(3,\)"), (torch.ones(4, 1), r"\(4, 1\)")],
    ids=["reduced", "too few", "two-dimensional"],
)
def test_anything_but_one_loss_a_sample_is_refused(loss, shape):
    with pytest.raises(ValueError, match=rf'loss has shape {shape} for \(4,\) indices.*use reduction="none"'):
        Ledger(4, Everything()).record(EVERYONE, loss)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0, 1.0, 1.0], r"the rule gave weights of shape \(3,\), but must give \(4,\)"),
        ([1.0, 1.0, 1.0, 1.5], r"the rule gave weights outside \[0, 1\]"),
        ([1.0, 1.0, 1.0, -0.5], r"the rule gave weights outside \[0, 1\]"),
        ([1.0, 1.0, 1.0, math.nan], r"the rule gave weights outside \[0, 1\]"),
        ([0.0, 0.0, 0.0, 0.0], "the rule keeps no samples at epoch 1, but at least one must be kept"),
    ],
)
def test_bad_weights_of_a_rule_are_refused(weights, message):
    book = seen(Ledger(4, script([1.0] * 4, weights)))
    with pytest.raises(ValueError, match=message):
        book.end_epoch()


def test_a_class_is_no_rule():
    with pytest.raises(ValueError, match=r"rule is <class .*StepE'>, but must be a rule such as StepE\("):
        Ledger(4, StepE)


def test_losses_recorded_in_the_middle_of_an_epoch_are_in_the_state():
    book = Ledger(2, Everything())
    book.record(torch.tensor([1]), torch.tensor([5.0]))
    other = Ledger(2, Everything())
    other.record(torch.tensor([0]), torch.tensor([9.0]))
    other.load_state_dict(book.state_dict())
    other.end_epoch(last=True)
    assert other.losses.isnan().tolist() == [[True, False]] and other.losses[0, 1] == 5


@pytest.mark.parametrize("arguments", [{"n": 0}, {"n": 2.5}, {"rescore_every": 0}, {"rescore_every": None}], ids=str)
def test_a_bad_argument_is_named_with_what_is_allowed(arguments):
    ((name, value),) = arguments.items()
    with pytest.raises(ValueError, match=f"{name} is {value}, but must be a whole number, at least 1"):
        Ledger(**{"n": 4, "rule": Everything(), **arguments})


# The loop in the documentation


def test_the_loop_in_the_documentation_runs(digits):
    """The text of the module's docstring itself, for 3 epochs, with a schedule short enough to exclude something."""
    loop = textwrap.dedent(ledger.__doc__.split("\n\n")[2])
    loop = loop.replace("linear(5, 15, 0.4)", "linear(0, 2, 0.4)")
    loop = loop.replace("...", "optimizer.step(); optimizer.zero_grad()")
    model = models.build("mlp", digits)
    images = digits.images / 255

    def losses_without_gradient(i):
        return F.cross_entropy(model(images[i]), digits.labels[i], reduction="none")

    world = {
        "Ledger": Ledger, "StepE": StepE, "schedules": schedules, "DataLoader": DataLoader, "F": F, "epochs": 3,
        "dataset": TensorDataset(images, digits.labels, torch.arange(len(digits))), "model": model,
        "optimizer": torch.optim.Adam(model.parameters()), "losses_without_gradient": losses_without_gradient,
    }  # fmt: skip
    exec(loop, world)
    book = world["ledger"]
    n = len(digits)
    assert (book.weight_history == 0).sum(1).tolist() == [0, round(0.2 * n), round(0.4 * n)]
    assert torch.isfinite(book.losses).all()
    assert book.losses[2].mean() < book.losses[0].mean()


def test_two_ledgers_from_one_state_do_not_share_it():
    first = Ledger(3, Everything())
    first.record(torch.arange(3), torch.ones(3))
    second = Ledger(3, Everything())
    second.load_state_dict(first.state_dict())
    first.record(torch.tensor([0]), torch.tensor([9.0]))
    first.end_epoch()
    second.end_epoch()
    assert second.losses[-1].tolist() == [1, 1, 1]
