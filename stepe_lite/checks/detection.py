"""Checks of notebook 5."""

import torch

from .shared import Wrong, call, exercise, near, recognise, tensor


@exercise("5.1")
def first_exclusion(answer):
    """`answer(excluded)`: bool (epochs, n) -> for each sample the first epoch (0-based) that excluded it, or −1."""
    # by column: from epoch 2 on, never, at the start only, twice, at the last epoch only
    excluded = torch.tensor([[0, 0, 1, 0, 0], [0, 0, 0, 1, 0], [1, 0, 0, 0, 0], [1, 0, 0, 1, 1]]).bool()
    for rows in (excluded, excluded.repeat(1, 3), torch.zeros(4, 2, dtype=torch.bool)):
        found = tensor(call(answer, rows), rows.shape[1:], f"one epoch a sample, {rows.shape[1]} numbers").double()
        never, first, from_the_end = ~rows.any(0), rows.int().argmax(0), rows.flip(0).int().argmax(0)
        wanted = torch.where(never, -1, first)
        if near(found, wanted):
            continue
        if near(found, first):
            raise Wrong(
                "A sample that was never excluded gets 0 from you, as if at epoch 0: argmax of only zeros is 0."
            )
        at = (found - wanted).nan_to_num(99).abs().argmax()
        said = f"For a sample with the column {rows[:, at].int().tolist()} it is {wanted[at]}; yours is {found[at]:g}."
        recognise(found[~never], [
            (first[~never] + 1, f"{said} Epochs are counted from 0."),
            (from_the_end[~never], f"{said} You count from the last epoch."),
            (len(rows) - 1 - from_the_end[~never], f"{said} That is the last epoch of its exclusion, not the first."),
            (rows.sum(0)[~never], f"{said} That is how often it was excluded."),
            (first[~never], f"{said} A sample that was never excluded gets −1."),
        ])  # fmt: skip
        raise Wrong(said)
    return "The first exclusion of each sample, and −1 for those that were never excluded."


@exercise("5.2")
def margin(answer):
    """`answer(logits, labels)`: the logit of the given label minus the highest logit of any other class, (n,)."""
    generator = torch.Generator().manual_seed(0)
    for n, k in ((40, 10), (7, 3)):
        logits = 3 * torch.randn(n, k, generator=generator) - 5  # mostly below 0: an entry masked by 0 would win
        labels = torch.randint(k, (n,), generator=generator)
        labels[: n // 2] = logits.argmax(1)[: n // 2]
        found = tensor(call(answer, logits, labels), (n,), "one margin a sample").double()
        given, own = logits.gather(1, labels[:, None])[:, 0], labels[:, None]
        rival = logits.scatter(1, own, -torch.inf).amax(1)
        if near(found, given - rival):
            continue
        p = logits.softmax(1)
        of_probabilities = p.gather(1, own)[:, 0] - p.scatter(1, own, -1).amax(1)
        recognise(found, [
            (rival - given, "The sign is the other way round: the given label minus the best other one."),
            (given - logits.amax(1), "Your best class may be the given one itself. Take the best of the *others*."),
            (given - logits.topk(2).values[:, 1], "The second highest of all need not be the best of the *others*."),
            (given, "That is the logit of the given label alone. Subtract the best other one."),
            (logits.topk(2).values @ torch.tensor([1.0, -1.0]), "You never ask for the label: the highest logit minus "
             "the second. The margin is about the *given* class."),
            (logits.log_softmax(1).gather(1, own)[:, 0], "That is the log-probability of the given label."),
            (given - rival.clamp(min=0), "Setting the given entry to 0 hides the others where these are below 0."),
            (given - logits.scatter(1, own, 0).sum(1) / (k - 1), "That takes the mean of the others, not the highest."),
            (of_probabilities, "That is a difference of probabilities. Use the logits as they are."),
        ])  # fmt: skip
        at = (found - (given - rival)).nan_to_num(torch.inf).abs().argmax()
        row = [round(value, 2) for value in logits[at].tolist()]
        raise Wrong(
            f"For logits {row} and label {labels[at]} it is {(given - rival)[at]:.2f}; yours is {found[at]:.2f}."
        )
    return "Above 0 where the network agrees with the given label, below 0 where it would rather say another class."
