"""Checks of the exercises: `check.name(answer)` says at once what is right or wrong, and never stops the notebook."""

import functools

import numpy as np
import torch

from . import noise as _noise
from . import ranking, rules
from . import schedules as _schedules


class _Wrong(Exception):
    pass


def _exercise(check):
    """Turn a check that raises _Wrong, or returns its praise, into one that prints a line and returns nothing."""

    @functools.wraps(check)
    def told(answer):
        try:
            if answer is None:
                raise _Wrong("The answer is still None. Write yours and run this cell again.")
            print(f"✓ {check(answer)}")
        except _Wrong as wrong:
            print(f"✗ {wrong}")
        except Exception as error:  # whatever the learner's code raises is an answer to comment on, not a crash
            print(f"✗ Your code raised {type(error).__name__}: {error}")

    return told


def _call(function, *arguments):
    if not callable(function):
        raise _Wrong(f"The answer is {function!r}, but should be a function.")
    result = function(*arguments)
    if result is None:
        raise _Wrong("Your function returns None so far. Does it end with `return`?")
    return result


def _tensor(value, shape, what):
    try:
        value = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        raise _Wrong(f"Your function returns {type(value).__name__}, but should return {what}.") from None
    if value.shape != shape:
        raise _Wrong(
            f"Your function returns shape {tuple(value.shape)}, but should return {what}, shape {tuple(shape)}."
        )
    return value


def _number(value, what):
    try:
        return float(value)
    except (TypeError, ValueError):
        raise _Wrong(f"The answer is {value!r}, but should be {what}.") from None


# --- 01_what_label_noise_does


@_exercise
def symmetric(answer):
    """`answer(labels, rate, k)`: exactly round(rate · n) labels become another class, each equally likely."""
    k, labels = 10, torch.arange(20_000) % 10
    before = labels.clone()
    noisy = _tensor(_call(answer, labels, 0.4, k), labels.shape, "the new labels")
    if not torch.equal(labels, before):
        raise _Wrong("Your function changed the labels it was given. Work on a copy: labels.clone().")
    if not ((noisy >= 0) & (noisy < k)).all():
        raise _Wrong(f"Some new labels lie outside 0 … {k - 1}. A remainder, % k, brings them back.")
    wrong = (noisy != labels).double().mean().item()
    if abs(wrong - 0.36) < 0.012:
        raise _Wrong(f"{wrong:.1%} of the labels are wrong, not 40 %: a chosen sample can still draw its own class.")
    if abs(wrong - 0.4) > 1e-9:
        near = (
            " Close, but the number should be exact: choose round(rate · n) samples." if abs(wrong - 0.4) < 0.02 else ""
        )
        raise _Wrong(f"{wrong:.2%} of the labels are wrong, but 40 % should be.{near}")
    changed = noisy != labels
    chosen = torch.bincount(labels[changed], minlength=k)
    if chosen.max() > 1.25 * chosen.min():
        raise _Wrong("Some classes lose far more labels than others. Choose the samples at random: torch.randperm(n).")
    shift = torch.bincount((noisy - labels)[changed] % k, minlength=k)[1:]
    if shift.max() > 1.25 * shift.min():
        raise _Wrong("The wrong classes are not equally likely. Draw the shift from 1 … k − 1.")
    return "40.0 % wrong, every other class equally likely, none its own."


@_exercise
def transition_matrix(answer):
    """`answer(clean, given, k)`: share of each clean class (row) that was given each class (column)."""
    clean, given = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2]), torch.tensor([0, 0, 0, 1, 1, 2, 2, 2])
    expected = _noise.transition_matrix(clean, given, 3)
    matrix = _tensor(_call(answer, clean, given, 3), (3, 3), "a matrix with a row and a column a class").double()
    if torch.allclose(matrix, expected.T.contiguous()) or (
        torch.allclose(matrix.sum(0), torch.ones(3).double())
        and not torch.allclose(matrix.sum(1), torch.ones(3).double())
    ):
        raise _Wrong("Your columns sum to 1, but the rows should: a row is a clean class, a column a given class.")
    if torch.allclose(matrix, expected * torch.bincount(clean)[:, None]):
        raise _Wrong("These are the counts. Divide each row by its sum.")
    if torch.allclose(matrix * 100, expected * 10_000):
        raise _Wrong("These are percentages. Leave them as shares between 0 and 1.")
    if not torch.allclose(matrix, expected, atol=1e-6):
        raise _Wrong(
            f"For clean {clean.tolist()} and given {given.tolist()}, row 0 should be {expected[0].tolist()}; "
            f"yours is {matrix[0].tolist()}."
        )
    return "Rows are clean classes, each sums to 1."


@_exercise
def most_confused(answer):
    """`answer`: (clean class, given class), the most frequent error of CIFAR-10N worse."""
    try:
        clean, given = (str(name).strip().lower() for name in answer)
    except (TypeError, ValueError):
        raise _Wrong('Answer with two class names, clean then given, like ("cat", "dog").') from None
    matrix = _noise.cifar10n("worse").fill_diagonal_(0)
    names = "airplane automobile bird cat deer dog frog horse ship truck".split()
    for name in (clean, given):
        if name not in names:
            raise _Wrong(f"{name!r} is not a class of CIFAR-10; those are {', '.join(names)}.")
    found, top = matrix[names.index(clean), names.index(given)].item(), matrix.max().item()
    if found == top:
        return f"{found:.1%} of all {clean}s were called {given}."
    if clean == given:
        raise _Wrong("The diagonal holds the right labels. Look for the largest entry beside it.")
    if matrix[names.index(given), names.index(clean)] == top:
        raise _Wrong("The right pair, the wrong way round: the row is the clean class, the column the given one.")
    raise _Wrong(f"{found:.1%} of all {clean}s were called {given}, but one entry beside the diagonal is larger.")


# --- 02_training_on_noisy_labels


@_exercise
def memorised_share(answer):
    """`answer(losses)`: share of the samples whose given label has a probability above 1/2. losses (n,) in nats."""
    chances = torch.tensor([0.9, 0.6, 0.51, 0.49, 0.3, 0.01, 0.8, 0.2])
    share = _number(_call(answer, -chances.log()), "one number")
    if abs(share - 0.5) < 1e-6:
        return "loss < ln 2 ≈ 0.693 means probability above 1/2."
    if abs(share - 4) < 1e-6:
        raise _Wrong("You counted the samples. Their share is the count divided by n.")
    if abs(share - 50) < 1e-6:
        raise _Wrong("That is a percentage. Leave it as a share between 0 and 1.")
    if abs(share - (chances > np.exp(-0.5)).float().mean().item()) < 1e-6:
        raise _Wrong("You compared the loss with 1/2. The loss is −ln p: at which loss is p = 1/2?")
    raise _Wrong(
        f"For probabilities {[round(c, 2) for c in chances.tolist()]} the share should be 0.5; yours is {share:.3g}."
    )


@_exercise
def early_stopping_epoch(answer):
    """`answer(validation_accuracy)`: the first epoch with the highest validation accuracy, 0-based."""
    accuracy = [0.2, 0.5, 0.55, 0.54, 0.55, 0.4]
    epoch = _number(_call(answer, np.array(accuracy)), "an epoch")
    if epoch == 2:
        return "The first of the best epochs: one would have stopped there."
    told = {
        4: "4 is as good as 2, but comes later. Take the first.",
        3: "Epochs count from 0.",
        0.55: "That is the accuracy. Which epoch has it?",
        5: "That is the last epoch, or the worst after the first. Which one is best?",
    }
    raise _Wrong(told.get(epoch, f"For {accuracy} the answer is epoch 2; yours is {epoch:g}."))


@_exercise
def truncation_rule(answer):
    """`answer(losses, epoch)`: weights; all 1 in the first 3 epochs, then 0 for the 40 % highest last losses."""
    losses = torch.rand(6, 50, generator=torch.Generator().manual_seed(0))
    for epoch in range(4):
        weights = _tensor(_call(answer, losses[:epoch], epoch), (50,), "one weight a sample")
        if epoch < 3 and not (weights == 1).all():
            raise _Wrong(f"At epoch {epoch} every weight should be 1: the first three epochs (0, 1, 2) are warm-up.")
    for epoch in (3, 6):
        weights = _tensor(_call(answer, losses[:epoch], epoch), (50,), "one weight a sample").float()
        expected = rules.LossTruncation(0.4, warmup=3)(losses[:epoch], epoch)
        if torch.equal(weights, expected):
            continue
        if torch.equal(weights, 1 - expected):
            raise _Wrong("The wrong way round: 1 keeps a sample, 0 excludes it.")
        if torch.equal(weights, ranking.exclude_highest(losses[0], 0.4)):
            raise _Wrong("You ranked by the first row of losses. The last known losses are losses[-1].")
        raise _Wrong(
            f"At epoch {epoch} you exclude {int((weights == 0).sum())} of 50 samples; "
            "it should be the 20 with the highest last loss."
        )
    return "Warm-up first, then the 40 % with the highest last loss are out."


# --- 03_step_e_by_hand


@_exercise
def linear_schedule(answer):
    """`answer(epoch, warmup, ramp, final)`: the excluded fraction of a linear schedule."""
    for warmup, ramp, final in ((5, 15, 0.4), (0, 10, 0.2), (3, 4, 0.9)):
        expected = _schedules.linear(warmup, ramp, final)
        for epoch in range(40):
            value = _number(_call(answer, epoch, warmup, ramp, final), "one fraction")
            if abs(value - expected(epoch)) < 1e-9:
                continue
            when = f"At epoch {epoch} with warmup={warmup}, ramp={ramp}, final={final}"
            if epoch <= warmup:
                raise _Wrong(f"{when} nothing should be excluded; yours is {value:.3g}.")
            if epoch >= warmup + ramp:
                raise _Wrong(f"{when} the ramp is over and the fraction stays at {final}; yours is {value:.3g}.")
            raise _Wrong(
                f"{when} it should be {expected(epoch):.3g}; yours is {value:.3g}. The ramp starts at epoch {warmup}."
            )
    return "0 during the warm-up, a straight ramp, then constant."


@_exercise
def exclude_highest(answer):
    """`answer(losses, fraction)`: weights (n,), 0 for the round(fraction · n) highest losses, 1 for the others."""
    generator = torch.Generator().manual_seed(0)
    for n, fraction in ((10, 0.4), (7, 0.5), (100, 0.0), (1297, 0.4)):
        losses = torch.rand(n, generator=generator)
        before = losses.clone()
        weights = _tensor(_call(answer, losses, fraction), (n,), "one weight a sample").float()
        expected = ranking.exclude_highest(before, fraction)
        if not torch.equal(losses, before):
            raise _Wrong("Your function changed the losses it was given. sort() and argsort() return new tensors.")
        if torch.equal(weights, expected):
            continue
        excluded, wanted = int((weights == 0).sum()), int((expected == 0).sum())
        if fraction == 0:
            raise _Wrong("With fraction 0 nothing is excluded. Careful: a slice [-0:] is everything.")
        if torch.equal(weights, 1 - expected) or (
            excluded == wanted and losses[weights == 0].max() < losses[weights != 0].max()
        ):
            raise _Wrong("You exclude the lowest losses, or keep what should go. The highest losses get weight 0.")
        raise _Wrong(f"Of {n} samples at fraction {fraction}, {wanted} should be excluded; you exclude {excluded}.")
    return "The highest losses have weight 0, all others 1."


@_exercise
def relative_cost(answer):
    """`answer`: cost of an epoch at 40 % exclusion, relative to standard training, when all excluded are re-scored."""
    cost = _number(answer, "one number")
    told = {
        0.6: "That is the training of the kept 60 %. The forward passes over the excluded 40 % cost something too.",
        1.0: "A forward pass is a third of a training step (forward 1, backward 2): re-scoring is the cheaper one.",
        0.4 / 3: "That is the re-scoring alone. Add the training of the kept samples.",
    }
    for value, message in told.items():
        if abs(cost - value) < 0.004:
            raise _Wrong(message)
    if abs(cost - (0.6 + 0.4 / 3)) > 0.004:
        raise _Wrong(f"{cost:g} is not it. Training a sample costs 3 forward passes, re-scoring it costs 1.")
    return "0.6 + 0.4 / 3 = 0.73: Step-E is cheaper than standard training."
