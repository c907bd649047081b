"""The ledger: what was the loss of every sample at every epoch, and how much does each sample count now?

It is the only state of Step-E. `fit` trains with it, and so can a loop of your own:

    ledger = Ledger(len(dataset), StepE(schedules.linear(5, 15, 0.4)))
    for epoch in range(epochs):
        for x, y, i in DataLoader(dataset, batch_sampler=ledger.batches(128)):
            loss = F.cross_entropy(model(x), y, reduction="none")
            ledger.record(i, loss)
            (ledger.weights[i] * loss).mean().backward()
            ...
        ledger.end_epoch(score=lambda i: losses_without_gradient(i))
"""

import contextlib
import math
import os
import tempfile

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import DistributedSampler, Sampler

from .distributed import Ranks
from .rules import check_rule
from .utils import BadInput, as_tensor, check_flag, check_whole, find_device, seed_for

LARGE = 2**24  # numbers, 64 MiB of them, that are kept in a file


class Ledger:
    """Losses and weights of n samples under a rule (see `rules`).

    Parameters
    ----------
    n : number of training samples
    rule : `rule(losses, epoch) -> weights`
    rescore_every : samples that were not trained on get a fresh loss at the end of every so-many-th epoch
    device : where the losses and weights live
    group : the processes that share the ledger, `torch.distributed.group.WORLD` say; each makes one of its own with the
        same arguments, records what it trains on, and calls `end_epoch`. None = this process alone.
    seed : the order of an epoch comes from `seed` and `epoch` alone, so a run that is resumed, by any number of
        processes, goes on in the same order. None = from torch's global random numbers, or 0 where there is a group.

    Attributes
    ----------
    epoch : the running epoch, from 0
    weights : float32 (n,) in [0, 1], of the running epoch; 0 = not trained on

    Raises ValueError for a bad argument, or when the rule gives anything but n weights in [0, 1], one of them above 0.
    """

    def __init__(self, n, rule, *, rescore_every=1, device="cpu", group=None, seed=None):
        self.n = check_whole("n", n, least=1)
        self.rule = check_rule(rule)
        self.rescore_every = check_whole("rescore_every", rescore_every, least=1)
        self._ranks = Ranks(group)
        self._seed = check_whole("seed", seed or 0) if seed is not None or group is not None else None
        self._latest = torch.full((self.n,), torch.nan, device=find_device(device))
        self._seen = torch.zeros(self.n, dtype=torch.bool, device=self._latest.device)  # ever
        self._fresh = self._seen.clone()  # in the running epoch, by this rank
        self._rows, self._weights = self._latest.new_empty(0, self.n), []  # an epoch each; some rows are still empty
        self.weights = self._ask_the_rule()

    @property
    def epoch(self):
        return len(self._weights)

    @property
    def losses(self):
        """The last known loss of every sample after each finished epoch: float32 (epochs, n). NaN = never seen."""
        return self._rows[: self.epoch]

    @property
    def weight_history(self):
        """The weights that each finished epoch was trained with: float32 (epochs, n)."""
        history = self._latest.new_empty(self.epoch, self.n)
        for weights, packed in zip(history, self._weights):
            weights.copy_(_unpacked(packed, self.n))
        return history

    @property
    def trained(self):
        """Indices of the samples that the running epoch trains on, those with a weight above 0, in order: int64."""
        return self.weights.nonzero().flatten()

    @property
    def excluded(self):
        """bool (n,): weight below ½, which for a hard rule is weight 0; as a row of `History.excluded`."""
        return self.weights < 0.5

    def batches(self, size):
        """A batch sampler for DataLoader: what the epoch trains on, in random order, in nearly equal batches.

        A last batch of one sample would be a wild step, and BatchNorm refuses it. `size` is the largest batch, that of
        all ranks together: of each batch every rank gets its nearly equal share, of two samples at least.
        """
        return _Batches(self, check_whole("size", size, least=1))

    def sampler(self):
        """The same order as a sampler of single samples, for a loader that makes its own batches.

        Every rank gets as many, so up to one sample a rank is dealt twice. A DistributedSampler, which Fabric, Composer
        and others leave alone; `set_epoch` does nothing, the ledger knows the epoch.
        """
        return _Samples(self)

    def record(self, index, loss):
        """Note the losses of one batch: `index` whole numbers (b,) from 0 to n − 1, `loss` (b,) before any reduction.

        Keeps no gradient. Raises ValueError where these do not fit together.
        """
        index, loss = as_tensor("index", index), as_tensor("loss", loss)
        if loss.shape != index.shape or loss.ndim != 1:
            raise BadInput(
                f"loss has shape {tuple(loss.shape)} for {tuple(index.shape)} indices, but must be "
                'one loss a sample: use reduction="none".'
            )
        if index.is_floating_point() or index.is_complex() or index.dtype == torch.bool:
            raise BadInput(f"index is {index.dtype}, but must be whole numbers, the places of the samples.")
        if index.device.type == "cpu" and len(index) and not 0 <= index.min() <= index.max() < self.n:
            low, high = index.min().item(), index.max().item()
            raise BadInput(f"index goes from {low} to {high}, but must lie from 0 to {self.n - 1}.")
        index = index.to(self._latest.device, torch.int64)
        # index_copy_ rather than [index] =: on a GPU, where looking at the index would wait, it refuses −1 as well.
        self._latest.index_copy_(0, index, loss.detach().to(self._latest))
        self._fresh.index_fill_(0, index, True)

    def end_epoch(self, score=None, *, size=1024, last=False):
        """Close the running epoch and let the rule weigh the samples for the next one.

        `score(index) -> losses`: a forward pass (evaluation mode, no gradient) over at most `size` of the samples that
        were not trained on, so that one whose loss has fallen can come back. Without it such a sample keeps its last
        loss. `last` : no epoch follows, so the rule is not asked again. Returns the number of samples scored.

        Ranks that share the ledger score equally long parts, then merge what each has recorded: all must come here.

        Raises ValueError if samples that the epoch should have trained on have never been recorded: they would rank
        highest. With several ranks, if they were not recorded in this very epoch. The `last` one may be cut short.
        """
        check_flag("last", last)
        index = (self.weights == 0).nonzero().flatten()
        due = score is not None and len(index) > 0 and (self.epoch + 1) % self.rescore_every == 0
        if due:
            with torch.no_grad():
                for part in self._ranks.share(index).split(check_whole("size", size, least=1)):
                    self.record(part, score(part))
        self._ranks.merge(self._latest, self._fresh)
        self._seen |= self._fresh
        # With several ranks, a loader that somebody shards once more leaves samples out: here that is noticed.
        known = self._seen if self._ranks.size == 1 else self._fresh
        unseen = 0 if last else int((~known & (self.weights > 0)).sum())
        if unseen:
            raise BadInput(
                f"{unseen} of {self.n} samples have no loss at the end of epoch {self.epoch}: record(i, loss) every "
                "batch, and let none be dropped (batches(size) makes nearly equal ones, for every rank its own)."
            )
        if self.epoch == len(self._rows):
            self._rows = _grown(self._rows)
        self._rows[self.epoch] = self._latest
        self._weights.append(_packed(self.weights))
        self._fresh.zero_()
        if not last:
            self.weights = self._ask_the_rule()
        return len(index) if due else 0

    def state_dict(self):
        """What a checkpoint needs, the same on all ranks: a ledger of any number of ranks can go on from it.

        The running weights are not in it: the rule is pure and gives them again. Raises ValueError where several ranks
        are in the middle of an epoch, for then none of them knows all losses.
        """
        if self._ranks.size > 1 and self._fresh.any():
            raise BadInput(f"state_dict() was called within epoch {self.epoch}: with a group, call end_epoch first.")
        losses = torch.from_numpy(self.losses.cpu().numpy())  # of a view, torch.save would write the whole buffer
        seen = self._seen | self._fresh
        return {"losses": losses, "weights": list(self._weights), "latest": self._latest.clone(), "seen": seen}

    def load_state_dict(self, state):
        """Go on where `state_dict()` was taken, on every rank. Raises ValueError for a ledger of another size."""
        if state["losses"].shape[1] != self.n:
            raise BadInput(f"state is of {state['losses'].shape[1]} samples, but this ledger has {self.n}.")
        self._latest.copy_(state["latest"])
        self._seen.copy_(state["seen"])
        self._fresh.zero_()
        self._rows = state["losses"].to(self._latest)
        self._weights = [packed.to(self._latest.device) for packed in state["weights"]]
        self.weights = self._ask_the_rule()

    def _ask_the_rule(self):
        weights = as_tensor("the rule's weights", self.rule(self.losses, self.epoch), torch.float32)
        weights = weights.to(self._latest.device)
        if weights.shape != (self.n,):
            raise BadInput(f"the rule gave weights of shape {tuple(weights.shape)}, but must give ({self.n},).")
        if not ((weights >= 0) & (weights <= 1)).all():
            raise BadInput("the rule gave weights outside [0, 1].")
        if not weights.any():
            raise BadInput(f"the rule keeps no samples at epoch {self.epoch}, but at least one must be kept.")
        self._ranks.agree(weights, self.n, self.rescore_every, self._seed, self.epoch)
        return weights

    def _order(self):
        """Indices of what the running epoch trains on, in random order: int64."""
        seed = None if self._seed is None else seed_for("order", self._seed, self.epoch)
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        trained = self.trained
        return trained[torch.randperm(len(trained), generator=generator).to(trained.device)]


def _grown(rows):
    """A buffer with the same `rows` (epochs, n) and at least as many empty ones: an epoch costs the same at any length.

    A large one is a file without a name (Linux alone), whose pages the system takes out of memory when that is short.
    Where the disk is full, or on a GPU, it is memory.
    """
    shape = max(8, 2 * len(rows)), rows.shape[1]
    bigger = None
    if rows.device.type == "cpu" and math.prod(shape) >= LARGE and hasattr(os, "posix_fallocate"):
        with contextlib.suppress(OSError), tempfile.TemporaryFile() as file:
            os.posix_fallocate(file.fileno(), 0, 4 * math.prod(shape))  # a disk full later would end the process
            bigger = torch.from_numpy(np.memmap(file, np.float32, "r+", shape=shape))
    bigger = rows.new_empty(shape) if bigger is None else bigger
    bigger[: len(rows)] = rows
    return bigger


def _packed(weights):
    """`weights` (n,) as bits, uint8 (⌈n / 8⌉,), where all are 0 or 1, else a copy of them."""
    kept = weights.bool()
    if not torch.equal(kept.to(weights), weights):
        return weights.clone()
    eights = F.pad(kept.to(torch.uint8), (0, -len(kept) % 8)).view(-1, 8)
    return sum(eights[:, bit] << bit for bit in range(8))


def _unpacked(packed, n):
    """The weights (n,) of which `_packed` made `packed`."""
    if packed.dtype != torch.uint8:
        return packed
    return torch.stack([packed >> bit & 1 for bit in range(8)], 1).flatten()[:n]


class _Batches(Sampler):
    def __init__(self, ledger, size):
        self.ledger, self.size = ledger, size

    def __len__(self):
        kept, ranks = len(self.ledger.trained), self.ledger._ranks.size
        return math.ceil(kept / self.size) if ranks == 1 else min(math.ceil(kept / self.size), kept // (2 * ranks))

    def __iter__(self):
        return (part.tolist() for part in self.parts())

    def parts(self):
        """The batches as tensors on the ledger's device."""
        ranks = self.ledger._ranks
        return [batch[ranks.rank :: ranks.size] for batch in self.ledger._order().tensor_split(len(self))]


class _Samples(DistributedSampler):
    def __init__(self, ledger):
        self.ledger = ledger
        super().__init__(range(ledger.n), num_replicas=ledger._ranks.size, rank=ledger._ranks.rank)

    def __len__(self):
        return math.ceil(len(self.ledger.trained) / self.num_replicas)

    def __iter__(self):
        for chunk in self.ledger._ranks.share(self.ledger._order()).split(65_536):  # as numbers, 60 bytes each
            yield from chunk.tolist()

    def set_epoch(self, epoch):
        pass
