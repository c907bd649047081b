"""Checks of the exercises: `check.name(answer)` says at once what is right or wrong, and never stops the notebook."""

import math

import numpy as np
import torch

from . import noise as _noise
from . import ranking
from . import schedules as _schedules
from .exercises import Wrong, call, exercise, near, number, tensor

# --- 01_what_label_noise_does


@exercise
def symmetric(answer):
    """`answer(labels, rate, k)`: exactly round(rate · n) random labels become another class, each equally likely."""
    for n, rate, k in ((20_000, 0.4, 10), (999, 0.25, 4)):  # the second: 249.75 is 250 rounded, 249 cut off
        labels = torch.arange(n) % k
        noisy = tensor(call(answer, labels, rate, k), labels.shape, "one new label a sample")
        if not near(noisy, noisy.round()) or noisy.min() < 0 or noisy.max() >= k:
            raise Wrong(f"Some new labels are not a class from 0 to {k - 1}. A remainder, % {k}, brings them back.")
        changed = noisy.long() != labels
        found, wanted = changed.sum().item(), round(rate * n)
        _explain_count(found / n, rate, found, wanted, k)
        if changed[:wanted].all():
            raise Wrong("You always take the first samples. Choose them at random: torch.randperm(n)[: …].")
        shift = torch.bincount((noisy.long() - labels)[changed] % k, minlength=k)[1:]
        if n > 1000 and shift.max() > 1.25 * shift.min():
            raise Wrong("The wrong classes are not equally likely. Draw the shift from 1 … k − 1.")
    return "Exactly the rate you asked for, every other class equally likely, never the own one."


def _explain_count(share, rate, found, wanted, k):
    if found == wanted:
        return
    said = f"{found:,} labels are wrong, but {wanted:,} should be (rate {rate}, {k} classes)."
    if near(share, rate * (1 - 1 / k), 0.01):
        raise Wrong(f"{said} A chosen sample can still draw its own class.")
    if near(share, 1 - math.exp(-rate), 0.01):
        raise Wrong(f"{said} Some samples are drawn twice: draw without replacement, torch.randperm(n)[: …].")
    if abs(found - wanted) <= 1:
        raise Wrong(f"{said} Use round(rate * n).")
    raise Wrong(f"{said} Choose round(rate * n) different samples." if near(share, rate, 0.03) else said)


@exercise
def transition_matrix(answer):
    """`answer(clean, given, k)`: share of each clean class (row) that was given each class (column)."""
    clean, given = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2]), torch.tensor([0, 0, 0, 1, 1, 2, 2, 2])
    matrix = tensor(call(answer, clean, given, 3), (3, 3), "a row and a column a class").double()
    expected = _noise.transition_matrix(clean, given, 3)
    counts = expected * torch.bincount(clean)[:, None]
    if near(matrix, expected):
        return "Rows are clean classes, and each sums to 1."
    told = [
        (counts, "These are the counts. Divide each row by its sum."),
        (counts.T, "These are counts, with rows and columns swapped: counts[clean, given]."),
        (100 * expected, "These are percentages. Leave them as shares between 0 and 1."),
        (expected.T, "Rows and columns are swapped: a row is a clean class, a column a given class."),
        (counts.T / counts.T.sum(1, keepdim=True), "Rows and columns are swapped: counts[clean, given]."),
        (counts / counts.sum(0), "Your columns sum to 1, but the rows should: sum(1, keepdim=True)."),
        (counts / counts.sum(1), "The sums are right but divide the columns. Keep their shape: sum(1, keepdim=True)."),
        (counts / len(clean), "You divided by the number of all samples. Divide each row by its own sum."),
    ]
    for wrong, message in told:
        if near(matrix, wrong):
            raise Wrong(message)
    rows = f"row 0 should be {expected[0].tolist()}; yours is {[round(x, 3) for x in matrix[0].tolist()]}"
    raise Wrong(f"For clean {clean.tolist()} and given {given.tolist()}, {rows}.")


@exercise
def most_confused(answer):
    """`answer`: (clean class, given class), the most frequent error of CIFAR-10N worse."""
    names = "airplane automobile bird cat deer dog frog horse ship truck".split()
    try:
        clean, given = (str(name).strip().lower() for name in answer)
    except (TypeError, ValueError):
        raise Wrong('Answer with two class names, clean then given, like ("cat", "dog").') from None
    for name in (clean, given):
        if name not in names:
            raise Wrong(f"{name!r} is not a class of CIFAR-10; those are {', '.join(names)}.")
    matrix = _noise.cifar10n("worse").fill_diagonal_(0)
    row, column = names.index(clean), names.index(given)
    if matrix[row, column] == matrix.max():
        return f"{matrix.max():.1%} of all {clean}s were called {given}."
    if clean == given:
        raise Wrong("The diagonal holds the right labels. Look for the largest entry beside it.")
    if matrix[column, row] == matrix.max():
        raise Wrong("The right pair, the wrong way round: the row is the clean class, the column the given one.")
    raise Wrong(f"{matrix[row, column]:.1%} of all {clean}s were called {given}, but another error is more frequent.")


# --- 02_training_on_noisy_labels


@exercise
def memorised_share(answer):
    """`answer(losses)`: share of the samples whose given label has a probability above 1/2. losses (n,) in nats."""
    for chances in ([0.9, 0.6, 0.51, 0.49, 0.3, 0.01, 0.8, 0.7, 0.2, 0.55], [0.52, 0.4, 0.1, 0.2]):
        chances = torch.tensor(chances)
        share, wanted = number(call(answer, -chances.log()), "one number"), (chances > 0.5).float().mean().item()
        if near(share, wanted):
            continue
        told = {
            1 - wanted: "That is the share of the others. A high probability means a low loss.",
            100 * wanted: "That is a percentage. Leave it as a share between 0 and 1.",
            wanted * len(chances): "You counted the samples. Their share is the count divided by n.",
            (chances > math.exp(-0.5)).float().mean().item(): "The loss is −ln p, not p: at which loss is p = 1/2?",
            (chances > 2**-0.4343).float().mean().item(): "Use the natural logarithm: np.log, not np.log10.",
        }
        for value, message in told.items():
            if near(share, value):
                raise Wrong(message)
        given = [round(c, 2) for c in chances.tolist()]
        raise Wrong(f"For the probabilities {given} it is {wanted:g}; yours is {share:.3g}.")
    return "loss < ln 2 ≈ 0.693 means a probability above 1/2."


@exercise
def early_stopping_epoch(answer):
    """`answer(validation_accuracy)`: the first epoch with the highest validation accuracy, 0-based."""
    accuracy = [0.2, 0.5, 0.45, 0.55, 0.54, 0.55, 0.4]
    epoch = number(call(answer, np.array(accuracy)), "an epoch")
    if epoch == 3:
        return "The first of the best epochs."
    told = {
        5: "Epoch 5 is as good as epoch 3, but comes later. Take the first.",
        4: "Epochs count from 0.",
        1: "Epoch 1 is only the first peak. The curve rises again: look at all epochs.",
        2: "You stop where the curve first falls. It rises again: look at all epochs.",
        6: "That is the last epoch. Which one is best?",
        0: "That is the worst epoch. Which one is best?",
        0.55: "That is the accuracy. Which epoch has it?",
    }
    raise Wrong(told.get(epoch, f"For {accuracy} the answer is epoch 3; yours is {epoch:g}."))


@exercise
def truncation_rule(answer):
    """`answer(losses, epoch)`: weights; all 1 in the first 3 epochs, then 0 for the 40 % highest last losses."""
    for n in (48, 49):  # 0.4 · 48 = 19.2 and 0.4 · 49 = 19.6: one catches ceil, the other floor
        losses = torch.rand(6, n, generator=torch.Generator().manual_seed(n))
        for epoch in range(7):
            when = f" at epoch {epoch}" + (", where losses has no rows yet" if epoch == 0 else "")
            weights = tensor(call(answer, losses[:epoch], epoch, when=when), (n,), "one weight a sample").float()
            if epoch < 3 and not (weights == 1).all():
                raise Wrong(f"At epoch {epoch} every weight should be 1: epochs 0, 1 and 2 are warm-up.")
            if epoch >= 3:
                _explain_weights(weights, losses[epoch - 1], 0.4, f"At epoch {epoch}: ")
    return "Warm-up first, then the 40 % with the highest last loss are out."


def _explain_weights(weights, losses, fraction, where=""):
    """Raise Wrong unless `weights` exclude the highest `losses`; say what they do instead."""
    expected = ranking.exclude_highest(losses, fraction)
    n, wanted, excluded = len(losses), int((expected == 0).sum()), int((weights == 0).sum())
    if torch.equal(weights, expected):
        return
    if not ((weights == 0) | (weights == 1)).all():
        raise Wrong(f"{where}a weight is 0 (excluded) or 1 (kept); yours hold other numbers too.")
    if torch.equal(weights, 1 - expected):
        raise Wrong(f"{where}the wrong way round. 1 keeps a sample, 0 excludes it.")
    if wanted == 0 and excluded == n:
        raise Wrong(f"{where}with fraction 0 nothing is excluded, but a slice [-0:] takes everything.")
    if excluded != wanted:
        hint = " Use round(fraction * n)." if abs(excluded - wanted) == 1 else ""
        raise Wrong(f"{where}of {n} samples {wanted} should be excluded; you exclude {excluded}.{hint}")
    if torch.equal(weights, ranking.exclude_highest(-losses, fraction)):
        raise Wrong(f"{where}you exclude the lowest losses. The highest ones should go.")
    raise Wrong(f"{where}the right number is excluded, {wanted}, but not those with the highest (last) loss.")


# --- 03_step_e_by_hand


@exercise
def linear_schedule(answer):
    """`answer(epoch, warmup, ramp, final)`: the excluded fraction of a linear schedule."""
    for warmup, ramp, final in ((5, 15, 0.4), (0, 10, 0.2), (3, 4, 0.9)):
        expected = _schedules.linear(warmup, ramp, final)
        for epoch in range(40):
            when = f" at epoch {epoch} with warmup={warmup}, ramp={ramp}, final={final}"
            value, wanted = number(call(answer, epoch, warmup, ramp, final, when=when), "a fraction"), expected(epoch)
            if near(value, wanted):
                continue
            said = f"It should be {wanted:.4g}{when}; yours is {value:.4g}."
            if near(value, 100 * wanted):
                raise Wrong(f"{said} That is a percentage.")
            if near(value, wanted / final):
                raise Wrong(f"{said} That is the share of the ramp: multiply it by final.")
            if epoch <= warmup:
                raise Wrong(f"{said} Up to and including epoch {warmup} nothing is excluded.")
            if epoch >= warmup + ramp:
                raise Wrong(f"{said} The ramp is over, so it stays at final.")
            raise Wrong(f"{said} The ramp is a straight line from epoch {warmup} to epoch {warmup + ramp}.")
    return "0 during the warm-up, a straight ramp, then constant."


@exercise
def exclude_highest(answer):
    """`answer(losses, fraction)`: weights (n,), 0 for the round(fraction · n) highest losses, 1 for the others."""
    generator = torch.Generator().manual_seed(0)
    for n, fraction in ((10, 0.4), (7, 0.5), (48, 0.4), (49, 0.4), (100, 0.0)):
        losses = torch.rand(n, generator=generator)
        weights = tensor(call(answer, losses, fraction), (n,), "one weight a sample").float()
        _explain_weights(weights, losses, fraction, f"With {n} losses and fraction {fraction}: ")
    tied = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0, 2.0])
    excluded = int((tensor(call(answer, tied, 0.5), (6,), "one weight a sample") == 0).sum())
    if excluded != 3:
        raise Wrong(
            f"With equal losses {tied.tolist()} and fraction 0.5 you exclude {excluded}, not 3: sort, then cut."
        )
    return "The highest losses have weight 0, all others 1."


@exercise
def relative_cost(answer):
    """`answer`: cost of an epoch at 40 % exclusion, relative to standard training, when all excluded are re-scored."""
    cost, right = number(answer, "one number"), 0.6 + 0.4 / 3
    if near(cost, right, 0.004):
        return "0.6 + 0.4 / 3 = 0.73: an epoch is cheaper than in standard training."
    told = {
        0.6: "0.6 is the training of the kept samples alone (or both groups swapped). Add the scoring of the others.",
        1.0: "A forward pass is a third of a training step (forward 1, backward 2): re-scoring is the cheaper one.",
        0.4 / 3: "That is the re-scoring alone. Add the training of the kept samples.",
        3 * right: "That counts forward passes. Standard training needs 3 a sample: divide by 3.",
        100 * right: "That is a percentage. Leave it as a share.",
        1 / right: "That is standard training relative to Step-E. The other way round.",
    }
    for value, message in told.items():
        if near(cost, value, 0.004 * max(1, value)):
            raise Wrong(message)
    raise Wrong(f"{cost:g} is not it. Training a sample costs 3 forward passes, re-scoring it costs 1.")
