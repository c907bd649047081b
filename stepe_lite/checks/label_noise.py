"""Checks of notebook 1."""

import math

import torch

from .. import noise
from .shared import Wrong, call, exercise, near, pair, recognise, tensor


@exercise("1.1")
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
        if n < 1000:
            continue  # too few to see what is likely
        # Chance alone leaves the bands below in fewer than one of 10,000 right answers.
        shares = changed.view(20, -1).double().mean(1)
        if (shares - rate).abs().max() > 0.1:
            raise Wrong("Some places are changed more often than others. Choose at random: torch.randperm(n)[: …].")
        pairs = torch.bincount((labels * k + noisy.long())[changed], minlength=k * k).view(k, k)
        each = pairs[~torch.eye(k, dtype=torch.bool)] / (wanted / (k * (k - 1)))
        if each.min() < 0.4 or each.max() > 1.7:
            raise Wrong(
                "The wrong classes are not equally likely. Draw the shift from 1 … k − 1, for each sample anew."
            )
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


@exercise("1.2")
def transition_matrix(answer):
    """`answer(clean, given, k)`: share of each clean class (row) that was given each class (column)."""
    examples = (([0, 0, 0, 0, 1, 1, 2, 2], [0, 0, 0, 1, 1, 2, 2, 2]), ([2, 0, 3, 1, 3, 0], [1, 0, 0, 1, 1, 2]))
    for k, (clean, given) in zip((3, 4), examples):  # in the second, no sample is given the last class
        clean, given = torch.tensor(clean), torch.tensor(given)
        matrix = tensor(call(answer, clean, given, k), (k, k), "a row and a column a class").double()
        expected = noise.transition_matrix(clean, given, k)
        counts = expected * torch.bincount(clean)[:, None]
        if near(matrix, expected):
            continue
        recognise(matrix, [
            (counts, "These are the counts. Divide each row by its sum."),
            (counts.T, "These are counts, with rows and columns swapped: counts[clean, given]."),
            (100 * expected, "These are percentages. Leave them as shares between 0 and 1."),
            (expected.T, "Rows and columns are swapped: a row is a clean class, a column a given class."),
            (counts.T / counts.T.sum(1, keepdim=True), "Rows and columns are swapped: counts[clean, given]."),
            (counts / counts.sum(0), "Your columns sum to 1, but the rows should: sum(1, keepdim=True)."),
            (counts / counts.sum(1), "The sums are right but divide the columns. Keep their shape: sum(1, "
             "keepdim=True)."),
            (counts / len(clean), "You divided by the number of all samples. Divide each row by its own sum."),
        ])  # fmt: skip
        rows = f"row 0 should be {expected[0].tolist()}; yours is {[round(x, 3) for x in matrix[0].tolist()]}"
        raise Wrong(f"For clean {clean.tolist()} and given {given.tolist()}, {rows}.")
    return "Rows are clean classes, and each sums to 1."


@exercise("1.3")
def most_confused(answer):
    """`answer`: (clean class, given class), the most frequent error of CIFAR-10N worse."""
    names = "airplane automobile bird cat deer dog frog horse ship truck".split()
    entries = pair(answer, 'two class names, clean then given, like ("cat", "dog")')
    clean, given = (str(name).strip().lower() for name in entries)
    for name in (clean, given):
        if name not in names:
            raise Wrong(f"{name!r} is not a class of CIFAR-10; those are {', '.join(names)}.")
    matrix = noise.cifar10n("worse").fill_diagonal_(0)
    row, column = names.index(clean), names.index(given)
    if matrix[row, column] == matrix.max():
        return f"{matrix.max():.1%} of all {clean}s were called {given}."
    if clean == given:
        raise Wrong("The diagonal holds the right labels. Look for the largest entry beside it.")
    if matrix[column, row] == matrix.max():
        raise Wrong("The right pair, the wrong way round: the row is the clean class, the column the given one.")
    raise Wrong(f"{matrix[row, column]:.1%} of all {clean}s were called {given}, but another error is more frequent.")
