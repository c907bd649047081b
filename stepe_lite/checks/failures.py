"""Checks of notebook 6."""

import numpy as np
import torch

from .. import ranking
from .shared import Wrong, call, exercise, near, number, recognise, tensor
from .step_e import explain_weights


@exercise("6.1")
def never_back(answer):
    """`answer(excluded, start)`: of the samples excluded at the last epoch, the share that was out since `start`."""
    # by column: at which of six epochs a sample was out
    epochs = ("012345", "12345", "2345", "345", "345", "45", "5", "5", "34", "1245", "1245", "")
    out = torch.tensor([[str(epoch) in column for column in epochs] for epoch in range(6)])
    at_the_end = out[-1].sum().item()
    for start in (1, 3, 5):
        share, since = number(call(answer, out, start), "one number"), out[start:].all(0).sum().item()
        wanted = since / at_the_end
        if near(share, wanted):
            continue
        told = {
            since / out.shape[1]: "That is their share of all samples. Divide by those excluded at the last epoch.",
            since: "You counted the samples. Divide by the number excluded at the last epoch.",
            1 - wanted: "That is the share of those that came later. Which were out all the time?",
            100 * wanted: "That is a percentage. Leave it as a share.",
            out[start:][:, out[-1]].float().mean().item(): "That averages over the epochs. A sample counts only if it "
            "was excluded at *every* epoch from start on: .all(0).",
            (out[start] & out[-1]).sum().item() / at_the_end: "You compare two epochs. Some samples came back between "
            "them: look at all epochs from start on.",
            out.all(0).sum().item() / at_the_end: "You look at all epochs. Begin at start: excluded[start:].",
            out[start + 1 :].all(0).sum().item() / at_the_end: "You begin one epoch late. Epoch start counts, too.",
            since / out.any(0).sum().item(): "Divide by those excluded at the last epoch, not at any epoch.",
            0.0: "That is 0. Does .all look along the epochs? Epochs are dimension 0.",
        }
        recognise(share, told)
        example = f"of the {at_the_end} samples out at the end, {since} were out at every epoch from {start} on"
        raise Wrong(f"In a small example {example}: {wanted:g}. Yours is {share:.3g}.")
    return "Out at every epoch from start on, as a share of those out at the end."


@exercise("6.2")
def upper_hump(answer):
    """`answer(losses)`: the share of the samples in the upper of two humps."""
    # (how many, where, how wide) of the lower and of the upper hump: no one threshold, and no mean, parts them all
    humps = (
        ((140, 0.3, 0.10), (60, 3.0, 0.4)), ((60, 1.5, 0.15), (140, 3.0, 0.2)), ((160, 0.10, 0.02), (40, 0.6, 0.1)),
        ((120, 1.0, 0.30), (80, 3.0, 0.1)), ((50, 0.3, 0.05), (150, 3.5, 1.0)), ((90, 0.3, 0.10), (110, 3.0, 0.4)),
    )  # fmt: skip
    for seed, ((low, *lower), (high, *upper)) in enumerate(humps):
        noise = torch.randn(low + high, generator=torch.Generator().manual_seed(seed))
        losses = torch.cat([lower[0] + lower[1] * noise[:low], upper[0] + upper[1] * noise[low:]]).clamp(min=0)
        mixed = torch.randperm(low + high, generator=torch.Generator().manual_seed(seed))
        losses, is_high = losses[mixed], (torch.arange(low + high) >= low)[mixed]
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
        said = f"{high} of {low + high} losses are in the upper hump, {wanted:g}; yours is {share:.3g}"
        if near(share, losses[is_high].mean().item(), 0.1):
            raise Wrong(f"{said}. That is where the hump lies, not how many samples are in it.")
        raise Wrong(f"{said}. These humps lie at {lower[0]} and {upper[0]} nats.")
    return "The upper hump holds the suspects. No clean label was needed."


@exercise("6.3")
def rank_per_class(answer):
    """`answer(losses, labels, fraction)`: weights; 0 for the round(fraction · size) highest losses of each class."""
    # of the last, the two rare classes lose none: round(0.4) and round(0.2) are 0
    for sizes, fraction in (((30, 10), 0.2), ((33, 12, 8), 0.3), ((30, 2, 1), 0.2)):
        labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
        generator = torch.Generator().manual_seed(len(labels))
        mixed = torch.randperm(len(labels), generator=generator)
        losses = (torch.rand(len(labels), generator=generator) + labels)[mixed]  # the rare classes have high losses
        labels = labels[mixed]
        weights = tensor(call(answer, losses, labels, fraction), losses.shape, "one weight a sample").float()
        _explain_per_class(weights, losses, labels, fraction)
    return "The same share of every class, the highest losses of each."


def _explain_per_class(weights, losses, labels, fraction):
    if torch.equal(weights, ranking.exclude_highest(losses, fraction)):
        raise Wrong("That is one ranking over all samples. Rank within each class.")
    each = [ranking.exclude_highest(losses[labels == c], fraction) for c in labels.unique()]
    if torch.equal(weights, torch.cat(each)):
        raise Wrong("Your weights come class by class. Put each back at the place of its sample.")
    misplaced = torch.ones_like(weights)
    for of_class in each:
        misplaced[(of_class == 0).nonzero()] = 0
    if torch.equal(weights, misplaced):
        raise Wrong("You take places within a class for places among all samples: (labels == c).nonzero() tells those.")
    if weights.all():
        raise Wrong("Nobody is excluded. Did you change a copy? weights[labels == c][…] = 0 leaves weights alone.")
    for c in labels.unique():
        explain_weights(weights[labels == c], losses[labels == c], fraction, f"In class {int(c)}: ")


@exercise("6.4")
def worst_class(answer):
    """`answer(excluded, labels, is_mislabeled)`: the least share of right labels that a class keeps."""
    examples = (  # a text a class, a letter a sample: right or wrong label; a capital is excluded
        ("rrrrrrrrRWWW", "rrrrRRwwWW", "rrRwwwwwWWWW"),
        ("rrrrrrrrrrWWWW", "RRRRw", "rRwww", "rrrrr"),
        ("rrrrRRRRRR", "rrrRwwwWWWWWWWW", "rrrr"),
    )
    for example in examples:
        letters = "".join(example)
        labels = torch.arange(len(example)).repeat_interleave(torch.tensor([len(text) for text in example]))
        excluded = torch.tensor([letter.isupper() for letter in letters])
        wrong = torch.tensor([letter in "wW" for letter in letters])
        mixed = torch.randperm(len(letters), generator=torch.Generator().manual_seed(len(letters)))
        labels, excluded, wrong = labels[mixed], excluded[mixed], wrong[mixed]
        kept, classes = (~excluded).double(), range(len(example))
        shares = [kept[~wrong & (labels == c)].mean().item() for c in classes]
        share, wanted = number(call(answer, excluded, labels, wrong), "one number"), min(shares)
        if near(share, wanted):
            continue
        told = {
            1 - wanted: "That is the share that is lost. How much is kept?",
            min(kept[each].mean().item() for c in classes if (each := wrong & (labels == c)).any()): "That is of the "
            "mislabeled. Look at the right labels.",
            100 * wanted: "That is a percentage. Leave it as a share.",
            sum(shares) / len(shares): "That is the mean over the classes. Take the smallest.",
            max(shares): "That is the best class. Take the smallest share.",
            kept[~wrong].mean().item(): "That is the share over all classes together. Look at each class on its own.",
            min(kept[labels == c].mean().item() for c in classes): "You count the mislabeled samples, too. Only right "
            "labels (~is_mislabeled) should be kept.",
            min((kept * ~wrong)[labels == c].mean().item() for c in classes): "Divide by the number of right labels "
            "of the class, not by all its samples.",
            min((kept * ~wrong)[labels == c].sum().item() for c in classes): "You counted samples. Divide by the "
            "number of right labels of the class.",
            float(np.argmin(shares)): "That is the number of the class. What share does it keep?",
        }  # fmt: skip
        recognise(share, told)
        said = ", ".join(
            f"{kept[~wrong & (labels == c)].sum():.0f} of {(~wrong & (labels == c)).sum()}" for c in classes
        )
        raise Wrong(f"In a small example the classes keep {said} right labels: {wanted:.3g}. Yours is {share:.3g}.")
    return "The class that loses most of its right labels, and what is left of them."
