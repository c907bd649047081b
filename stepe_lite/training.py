"""The one training loop. Every method that selects samples is a rule in it, so a comparison changes one thing only."""

from pathlib import Path

from . import fingerprint, validate
from .history import History
from .loop import Run, TrainingDiverged
from .losses import cross_entropy

__all__ = ["History", "TrainingDiverged", "fit"]


def fit(
    data,
    model,
    rule,
    *,
    epochs=None,
    steps=None,
    batch_size=None,
    lr=None,
    optimizer="sgd",
    lr_schedule="cosine",
    weight_decay=5e-4,
    seed=0,
    device="auto",
    augment=False,
    rescore_every=1,
    validation=None,
    loss=cross_entropy,
    checkpoint=None,
    progress=True,
):
    """Train `model` on `data` under `rule` and return its History.

    Excluded samples cost no backward pass; they are re-scored by a forward pass every `rescore_every` epochs. Samples
    are ranked by the losses recorded while training on them, without the extra cost of a ranking pass.

    Parameters
    ----------
    data : Dataset; `data.labels` is what is trained on, clean labels serve the log alone
    model : "mlp", "small_cnn", "resnet18", "resnet18-imagenet", an nn.Module (trained in place) or a function
    rule : see `rules`
    epochs, steps : train for so many epochs (default 60), or for so many optimiser steps in however many epochs
    batch_size : largest batch, by default 128, or n where that is less; an epoch is cut into nearly equal batches
    lr : learning rate; default 0.05 for "sgd" (Nesterov momentum 0.9), 0.001 for "adam"
    lr_schedule : "cosine" (to 0 over the run) or "constant"
    seed : initial weights, order of samples and augmentation; the same seed gives the same result bit for bit
    device : "auto" (a CUDA GPU if there is one), "cpu", "cuda", … On a GPU: bfloat16 autocast and channels_last.
    augment : True = shift and flip every training image at random, "flip" = flip alone, False = neither
    validation : a held-out Dataset, see `Dataset.split_validation`; only logged
    loss : what is minimised, and what samples are ranked by, see `losses`
    checkpoint : a file to write after every epoch. If it exists, the run goes on from it, to the identical result.
    progress : show a progress bar

    Raises ValueError or OSError for bad arguments before any work starts, TrainingDiverged if the loss is not finite.
    """
    if checkpoint is not None:
        checkpoint = Path(checkpoint).expanduser()
        for name, given, example in (("rule", rule, "StepE(…)"), ("loss", loss, "losses.cross_entropy")):
            if " at 0x" in repr(given) or "..." in repr(given):  # a function, or a large tensor
                said = f"such as {example}, not {fingerprint.rule(given)}"
                raise ValueError(f"checkpoint needs a {name} that prints as what it is, {said}.")
        if checkpoint.is_dir():
            raise ValueError(f"checkpoint is {str(checkpoint)!r}, which is a folder, but must be a file.")
        validate.folder("the folder of checkpoint", checkpoint.parent)
    run = Run(
        data, model, rule, epochs=epochs, steps=steps, batch_size=batch_size, lr=lr, optimizer=optimizer,
        lr_schedule=lr_schedule, weight_decay=weight_decay, seed=seed, device=device, augment=augment,
        rescore_every=rescore_every, validation=validation, loss=loss,
    )  # fmt: skip
    if checkpoint is not None and checkpoint.exists():
        run.resume(checkpoint)
    return run.to_the_end(checkpoint, progress)
