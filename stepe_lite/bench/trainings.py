"""What training costs: with Step-E, without it, in a bare loop, and against confident learning in two stages."""

import math
from dataclasses import replace
from functools import partial
from time import process_time

import torch
import torch.nn.functional as F

from .. import models, noise, schedules
from ..analysis import logits
from ..datasets import Dataset, load
from ..learner import OPTIMIZERS
from ..rules import Everything, KeepOnly, StepE
from ..training import fit
from .repeats import in_turns, ratios, row

EVERY = {1: "re-scored every epoch", 5: "re-scored every 5th"}
HERE = {"device": "cpu", "progress": False}


def rows(repeats, images, epochs, seeds):
    """Yield the rows. `images` : how many a network is trained on, by its name; `epochs`, `seeds` : of whole runs."""
    data = {"mlp": without_test(load("digits"))} | {model: _noise(n) for model, n in images.items()}
    setting = {model: f"{model}, {'×'.join(map(str, data[model].images.shape[2:]))}" for model in data}
    three, two = ("mlp", "small_cnn", "resnet18-imagenet"), ("small_cnn", "resnet18-imagenet")
    for model in three:
        yield from _step_e(model, data[model], setting[model], repeats)
    for model in three:
        epoch = partial(_epoch, model, data[model], Everything(), _some_epochs(model))
        bare = partial(_bare_loop, partial(models.build, model, data[model]), data[model], _some_epochs(model))
        yield row("fit / bare loop, an epoch", setting[model], "ratio", ratios(epoch, bare, repeats))
    yield from _confident_learning(epochs, range(seeds))
    for model, these in data.items():
        speeds = [len(these) / _epoch(model, these, Everything(), epochs=1) for _ in range(repeats)]
        yield row("training", setting[model], "images/s", speeds)
    for model in two:
        few = data[model].subset(max(2, len(data[model]) // 5), seed=0)  # without the instructions it is very slow
        side = partial(_bare_loop, partial(models.build, model, few), few)
        half = ratios(partial(side, bfloat16=True), side, repeats)
        yield row("bfloat16 autocast / float32, an epoch", setting[model], "ratio", half)
    yield _window_convolution(data["resnet18-imagenet"], repeats)


def _some_epochs(model):
    return 25 if model == "mlp" else 2


def _step_e(model, data, setting, repeats):
    """Seconds of an epoch of Step-E at a fixed excluded fraction, over those of standard training."""
    sides = {"standard": partial(_epoch, model, data, Everything(), _some_epochs(model))}
    for fraction in (0.1, 0.2, 0.4):
        for every in EVERY:
            epochs = max(every, _some_epochs(model))
            rule = StepE(schedules.constant(fraction))
            sides[fraction, every] = partial(_epoch, model, data, rule, epochs, rescore_every=every)
    seconds = in_turns(sides, repeats)
    standard = seconds.pop("standard")
    for (fraction, every), ours in seconds.items():
        # A backward pass costs about two forward passes, so scoring is a third of training.
        bound = (1 - fraction) + fraction / (3 * every)
        told = f"{setting}, excluded {fraction:g}, {EVERY[every]}"
        each = [a / b for a, b in zip(ours, standard)]
        yield row("Step-E / standard, an epoch", told, "ratio", each, bound)


def _epoch(model, data, rule, epochs, **settings):
    """Seconds of one of `epochs` epochs in the middle of a run of `fit`, scoring included."""
    began = {}

    def clocked(losses, epoch):  # a rule is asked when its epoch begins
        began.setdefault(epoch, process_time())
        return rule(losses, epoch)

    # Not the first epoch, which has no losses to rank yet, and not the last one, whose end is not seen.
    fit(data, model, clocked, epochs=epochs + 2, batch_size=min(128, len(data)), **HERE, **settings)
    return (began[epochs + 1] - began[1]) / epochs


def _bare_loop(build, data, epochs=1, bfloat16=False):
    """Seconds of an epoch of the shortest loop there is: images as floats, shuffled, no log, no losses kept."""
    net, images, n = build(), data.images / 255 - 0.5, len(data)
    convolves = any(isinstance(module, torch.nn.Conv2d) for module in net.modules())
    layout = torch.channels_last if convolves else torch.contiguous_format
    net = net.to(memory_format=layout).train()
    optimizer = OPTIMIZERS["sgd"](net.parameters(), lr=0.05, weight_decay=5e-4)
    for epoch in range(epochs + 1):
        if epoch == 1:  # the first epoch warms up
            began = process_time()
        for index in torch.randperm(n).tensor_split(math.ceil(n / 128)):
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                loss = F.cross_entropy(net(images[index].contiguous(memory_format=layout)), data.labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return (process_time() - began) / epochs


def _confident_learning(epochs, seeds):
    """Step-E against confident learning in two stages: five trainings for out-of-sample probabilities, then a sixth."""
    from ..peers import confident_learning

    clean = load("digits")
    confident_learning(without_test(clean), "mlp", epochs=1, **HERE)  # loads cleanlab, which takes seconds
    setting, ours = "mlp, digits, symmetric noise 0.4", {every: [] for every in EVERY}
    theirs = []  # (accuracy, seconds) of each seed
    for seed in seeds:
        noisy = clean.with_noise(noise.symmetric(0.4), seed)
        data = without_test(noisy)  # neither side pays for tests at every epoch

        def trained(rule, began, **settings):
            history = fit(data, "mlp", rule, seed=seed, epochs=epochs, **HERE, **settings)  # noqa: B023  called here
            return _accuracy(history, noisy), process_time() - began  # noqa: B023

        began = process_time()
        issues = confident_learning(data, "mlp", seed=seed, epochs=epochs, **HERE).issues
        theirs.append(trained(KeepOnly(~issues), began))
        for every in EVERY:
            # The course's warm-up and ramp: 5 and 15 of 60 epochs.
            rule = StepE(schedules.linear(epochs // 12, epochs // 4, final=0.4))
            ours[every].append(trained(rule, process_time(), rescore_every=every))
    yield row("two stages, accuracy", setting, "%", [accuracy for accuracy, _ in theirs])
    for every, runs in ours.items():
        told = f"{setting}, {EVERY[every]}"
        yield row("Step-E, accuracy", told, "%", [accuracy for accuracy, _ in runs])
        gains = [mine - other for (mine, _), (other, _) in zip(runs, theirs)]
        yield row("Step-E − two stages, accuracy", told, "points", gains)
        costs = [mine / other for (_, mine), (_, other) in zip(runs, theirs)]
        yield row("Step-E / two stages, a whole run", told, "ratio", costs)


def _accuracy(history, data):
    """Test accuracy in % of the network of `history`, after its last epoch."""
    right = logits(history.model, data.test_images, like=data.images).argmax(1) == data.test_labels
    return 100 * right.float().mean().item()


def _window_convolution(data, repeats):
    import torchvision

    theirs = partial(_bare_loop, partial(torchvision.models.resnet18, weights=None, num_classes=10), data)
    ours = partial(_bare_loop, partial(models.resnet18, 10, stem="imagenet"), data)
    each = ratios(theirs, ours, repeats)
    return row("torchvision's ResNet-18 / ours, an epoch", "resnet18-imagenet, 32×32", "ratio", each)


def _noise(n):
    """Noise of CIFAR's shape, without test images: what is in a picture changes no speed."""
    pixels = torch.randint(256, (n, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Dataset.from_arrays(pixels, torch.arange(n) % 2, classes=[str(c) for c in range(2)], name="noise")


def without_test(data):
    """`data` without its test images, so that no epoch is followed by a test."""
    return replace(data, test_images=data.test_images[:0], test_labels=data.test_labels[:0])
