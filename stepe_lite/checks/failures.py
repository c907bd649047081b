"""Checks of notebook 6."""

import torch

from .. import ranking
from ..exercises import Wrong, call, exercise, near, number, recognise, tensor


@exercise
def never_back(answer):
    """`answer(excluded, start)`: of the samples excluded at the last epoch, the share that was out since `start`."""
    out = torch.zeros(6, 10, dtype=torch.bool)
    out[1:, :2] = True  # out all the time from epoch 1 on
    out[3:, 2:5] = True  # … from epoch 3 on
    out[5, 5:8] = True  # only at the end
    out[3:5, 8] = True  # back at the end
    for start, wanted in ((1, 2 / 8), (3, 5 / 8), (5, 1.0)):
        share = number(call(answer, out, start), "one number")
        if near(share, wanted):
            continue
        since = out[start:].all(0).sum().item()
        told = {
            since / out.shape[1]: "That is their share of all samples. Divide by those excluded at the last epoch.",
            since: "You counted the samples. Divide by the number excluded at the last epoch.",
            1 - wanted: "That is the share of those that came later. Which were out all the time?",
            100 * wanted: "That is a percentage. Leave it as a share.",
            out[start:][:, out[-1]].float().mean().item(): "That averages over the epochs. A sample counts only if it "
            "was excluded at *every* epoch from start on: .all(0).",
            (out[start] & out[-1]).sum().item() / 8: "You compare two epochs. Look at all of them from start on.",
            out.all(0).sum().item() / 8: "You look at all epochs. Begin at start: excluded[start:].",
        }
        recognise(share, told)
        raise Wrong(f"In a small example with start={start} it is {wanted:g}; yours is {share:.3g}.")
    return "Out at every epoch from start on, as a share of those out at the end."


@exercise
def upper_hump(answer):
    """`answer(losses)`: the share of the samples in the upper of two humps."""
    for seed, (low, high) in enumerate(((140, 60), (60, 140), (160, 40), (70, 130), (150, 50), (90, 110))):
        noise = torch.randn(low + high, generator=torch.Generator().manual_seed(seed))
        losses = torch.cat([0.3 + 0.1 * noise[:low], 3.0 + 0.4 * noise[low:]]).clamp(min=0)
        losses = losses[torch.randperm(low + high, generator=torch.Generator().manual_seed(seed))]
        share, wanted = number(call(answer, losses), "one number"), high / (low + high)
        if near(share, wanted, 0.03):
            continue
        if near(share, 1 - wanted, 0.03):
            raise Wrong("That is the lower hump. The mixture numbers its parts as it likes: compare means_.")
        if near(share, high, 0.03 * high):
            raise Wrong("You counted the samples. Their share is the count divided by n.")
        if near(share, 100 * wanted, 3):
            raise Wrong("That is a percentage. Leave it as a share between 0 and 1.")
        if near(share, 0.5, 0.01):
            raise Wrong("Half of the samples lie above the median, whatever the humps are. Where do the humps part?")
        raise Wrong(f"{high} of {low + high} losses are in the upper hump, {wanted:g}; yours is {share:.3g}.")
    return "The upper hump holds the suspects. No clean label was needed."


@exercise
def rank_per_class(answer):
    """`answer(losses, labels, fraction)`: weights; 0 for the round(fraction · size) highest losses of each class."""
    for sizes, fraction in (((30, 10), 0.2), ((50, 20, 8), 0.3)):
        labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
        generator = torch.Generator().manual_seed(len(labels))
        mixed = torch.randperm(len(labels), generator=generator)
        losses = (torch.rand(len(labels), generator=generator) + labels)[mixed]  # the rare classes have high losses
        labels = labels[mixed]
        weights = tensor(call(answer, losses, labels, fraction), losses.shape, "one weight a sample").float()
        _explain_per_class(weights, losses, labels, fraction)
    return "The same share of every class, the highest losses of each."


def _explain_per_class(weights, losses, labels, fraction):
    if not ((weights == 0) | (weights == 1)).all():
        raise Wrong("A weight is 0 (excluded) or 1 (kept); yours hold other numbers too.")
    if torch.equal(weights, ranking.exclude_highest(losses, fraction)):
        raise Wrong("That is one ranking over all samples. Rank within each class.")
    for c in labels.unique():
        mine, theirs = weights[labels == c], losses[labels == c]
        wanted, n = ranking.exclude_highest(theirs, fraction), len(theirs)
        out, should = int((mine == 0).sum()), int((wanted == 0).sum())
        if torch.equal(mine, wanted):
            continue
        if torch.equal(mine, 1 - wanted):
            raise Wrong("The wrong way round. 1 keeps a sample, 0 excludes it.")
        if out != should:
            raise Wrong(f"Of the {n} samples of class {int(c)} {should} should be excluded; you exclude {out}.")
        raise Wrong(f"In class {int(c)} the right number is excluded, {should}, but not those with the highest loss.")
