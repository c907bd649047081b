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

import math

import torch
from torch.utils.data import Sampler

from .utils import BadInput, check_whole


class Ledger:
    """Losses and weights of n samples under a rule (see `rules`).

    Parameters
    ----------
    n : number of training samples
    rule : `rule(losses, epoch) -> weights`
    rescore_every : samples that were not trained on get a fresh loss at the end of every so-many-th epoch
    device : where the losses and weights live

    Attributes
    ----------
    epoch : the running epoch, from 0
    weights : float32 (n,) in [0, 1], of the running epoch; 0 = not trained on

    Raises ValueError for a bad argument, or when the weights that the rule gives are none.
    """

    def __init__(self, n, rule, *, rescore_every=1, device="cpu"):
        self.n = check_whole("n", n, least=1)
        if not callable(rule) or isinstance(rule, type):
            raise BadInput(f"rule is {rule!r}, but must be a rule such as StepE(schedules.linear(5, 15, 0.4)).")
        self.rule = rule
        self.rescore_every = check_whole("rescore_every", rescore_every, least=1)
        self._latest = torch.full((self.n,), torch.nan, device=device)
        self._seen = torch.zeros(self.n, dtype=torch.bool, device=device)
        self._losses, self._weights = _Rows(self._latest), _Rows(self._latest)
        self.weights = self._ask_the_rule()

    @property
    def epoch(self):
        return len(self._losses)

    @property
    def losses(self):
        """The last known loss of every sample after each finished epoch: float32 (epochs, n). NaN = never seen."""
        return self._losses.filled

    @property
    def weight_history(self):
        """The weights that each finished epoch was trained with: float32 (epochs, n)."""
        return self._weights.filled

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

        A last batch of one sample would be a wild step, and BatchNorm refuses it. `size` is the largest batch. The
        order comes from torch's global random numbers.
        """
        return _Batches(self, check_whole("size", size, least=1))

    def sampler(self):
        """The same order as a sampler of single samples, for a loader that makes its own batches."""
        return _Samples(self)

    def record(self, index, loss):
        """Note the losses of one batch: `index` whole numbers (b,) from 0 to n − 1, `loss` (b,) before any reduction.

        Keeps no gradient. Raises ValueError where these do not fit together.
        """
        index, loss = torch.as_tensor(index), torch.as_tensor(loss)
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
        self._seen.index_fill_(0, index, True)

    def end_epoch(self, score=None, *, size=1024, last=False):
        """Close the running epoch and let the rule weigh the samples for the next one.

        `score(index) -> losses`: a forward pass (evaluation mode, no gradient) over at most `size` of the samples that
        were not trained on, so that one whose loss has fallen can come back. Without it such a sample keeps its last
        loss. `last` : no epoch follows, so the rule is not asked again. Returns the number of samples scored.

        Raises ValueError if samples that the epoch should have trained on have never been recorded: they would rank
        highest. The `last` epoch may be cut short.
        """
        unseen = 0 if last else int((~self._seen & (self.weights > 0)).sum())
        if unseen:
            raise BadInput(
                f"{unseen} of {self.n} samples have no loss at the end of epoch {self.epoch}: record(i, loss) every "
                "batch, and let none be dropped (batches(size) makes nearly equal ones)."
            )
        index = (self.weights == 0).nonzero().flatten()
        due = score is not None and len(index) > 0 and (self.epoch + 1) % self.rescore_every == 0
        if due:
            with torch.no_grad():
                for part in index.split(check_whole("size", size, least=1)):
                    self.record(part, score(part))
        self._losses.append(self._latest)
        self._weights.append(self.weights)
        if not last:
            self.weights = self._ask_the_rule()
        return len(index) if due else 0

    def state_dict(self):
        """What a checkpoint needs. The running weights are not in it: the rule is pure and gives them again."""
        return {"losses": self.losses, "weights": self.weight_history, "latest": self._latest, "seen": self._seen}

    def load_state_dict(self, state):
        """Go on where `state_dict()` was taken. Raises ValueError if that was a ledger of another size."""
        if state["losses"].shape[1] != self.n:
            raise BadInput(f"state is of {state['losses'].shape[1]} samples, but this ledger has {self.n}.")
        self._latest.copy_(state["latest"])  # not its own tensor, which may be another ledger's
        self._seen.copy_(state["seen"])
        self._losses, self._weights = (_Rows(self._latest, state[name]) for name in ("losses", "weights"))
        self.weights = self._ask_the_rule()

    def _ask_the_rule(self):
        weights = torch.as_tensor(self.rule(self.losses, self.epoch), dtype=torch.float32, device=self._latest.device)
        if weights.shape != (self.n,):
            raise BadInput(f"the rule gave weights of shape {tuple(weights.shape)}, but must give ({self.n},).")
        if not ((weights >= 0) & (weights <= 1)).all():
            raise BadInput("the rule gave weights outside [0, 1].")
        if not weights.any():
            raise BadInput(f"the rule keeps no samples at epoch {self.epoch}, but at least one must be kept.")
        return weights


class _Rows:
    """Rows of n numbers, one an epoch. The buffer doubles when it is full: an epoch costs the same at any length."""

    def __init__(self, like, rows=None):
        self.buffer, self.count = like.new_empty(0, len(like)), 0
        for row in () if rows is None else rows:
            self.append(row)

    def __len__(self):
        return self.count

    @property
    def filled(self):
        return self.buffer[: self.count]

    def append(self, row):
        if self.count == len(self.buffer):
            bigger = self.buffer.new_empty(max(8, 2 * self.count), self.buffer.shape[1])
            bigger[: self.count] = self.buffer
            self.buffer = bigger
        self.buffer[self.count] = row
        self.count += 1


class _Batches(Sampler):
    def __init__(self, ledger, size):
        self.ledger, self.size = ledger, size

    def __len__(self):
        return math.ceil(len(self.ledger.trained) / self.size)

    def __iter__(self):
        return (part.tolist() for part in self.parts())

    def parts(self):
        """The batches as tensors on the ledger's device."""
        trained = self.ledger.trained
        order = trained[torch.randperm(len(trained)).to(trained.device)]
        return order.tensor_split(len(self))


class _Samples(_Batches):
    def __init__(self, ledger):
        super().__init__(ledger, 1)

    def __iter__(self):
        for part in self.parts():
            yield from part.tolist()
