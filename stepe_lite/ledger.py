"""The ledger: what was the loss of every sample at every epoch, and how much does each sample count now?

It is the only state of Step-E. `fit` trains with it, and so can a loop of your own:

    ledger = Ledger(len(dataset), StepE(schedules.linear(5, 15, 0.4)))
    for epoch in range(epochs):
        for x, y, i in DataLoader(dataset, batch_size=128, sampler=ledger.sampler()):
            loss = F.cross_entropy(model(x), y, reduction="none")
            ledger.record(i, loss)
            (ledger.weights[i] * loss).mean().backward()
            ...
        ledger.end_epoch(score=lambda i: losses_without_gradient(i))
"""

import torch
from torch.utils.data import Sampler

from . import validate


class Ledger:
    """Losses and weights of n samples under a rule (see `rules`).

    Parameters
    ----------
    n : number of training samples
    rule : `rule(losses, epoch) -> weights`
    rescore_every : excluded samples get a fresh loss at the end of every so-many-th epoch
    device : where the losses and weights live

    Attributes
    ----------
    epoch : the running epoch, from 0
    weights : float32 (n,) in [0, 1], of the running epoch; 0 = excluded

    A sample that was never recorded has the loss NaN, which ranks highest. So let every sample be seen: no `drop_last`.
    Raises ValueError for a bad argument, or when the weights that the rule gives are none.
    """

    def __init__(self, n, rule, *, rescore_every=1, device="cpu"):
        self.n = validate.whole("n", n, least=1)
        if not callable(rule) or isinstance(rule, type):
            raise ValueError(f"rule is {rule!r}, but must be a rule such as StepE(schedules.linear(5, 15, 0.4)).")
        self.rule = rule
        self.rescore_every = validate.whole("rescore_every", rescore_every, least=1)
        self._latest = torch.full((self.n,), torch.nan, device=device)
        self._losses, self._weights = [], []
        self._running = None  # the weights of the running epoch, once somebody has asked for them

    @property
    def epoch(self):
        return len(self._losses)

    @property
    def weights(self):
        if self._running is None:
            self._running = self._ask_the_rule()
        return self._running

    @weights.setter
    def weights(self, weights):
        self._running = weights

    @property
    def losses(self):
        """The last known loss of every sample after each finished epoch: float32 (epochs, n). NaN = never seen."""
        return torch.stack(self._losses) if self._losses else self._latest.new_empty(0, self.n)

    @property
    def weight_history(self):
        """The weights that each finished epoch was trained with: float32 (epochs, n)."""
        return torch.stack(self._weights) if self._weights else self._latest.new_empty(0, self.n)

    @property
    def kept(self):
        """Indices of the samples that the running epoch trains on, in order: int64."""
        return self.weights.nonzero().flatten()

    @property
    def excluded(self):
        """Indices of the samples with weight 0: int64."""
        return (self.weights == 0).nonzero().flatten()

    def sampler(self):
        """A sampler for DataLoader: the kept samples of the running epoch in random order (torch's global seed)."""
        return _KeptSampler(self)

    def record(self, index, loss):
        """Note the losses of one batch: `index` int (b,), `loss` (b,) before any reduction. Keeps no gradient."""
        if loss.shape != index.shape or loss.ndim != 1:
            raise ValueError(
                f"loss has shape {tuple(loss.shape)} for {tuple(index.shape)} indices, but must be "
                'one loss a sample: use reduction="none".'
            )
        self._latest[index.to(self._latest.device)] = loss.detach().to(self._latest)

    def end_epoch(self, score=None):
        """Close the running epoch and let the rule weigh the samples for the next one.

        `score(index) -> losses`: a forward pass over the excluded samples (evaluation mode, no gradient), so that one
        whose loss has fallen can come back. Without it an excluded sample keeps its last loss. Returns the number of
        samples that were scored.
        """
        index = self.excluded
        due = score is not None and len(index) > 0 and (self.epoch + 1) % self.rescore_every == 0
        if due:
            with torch.no_grad():
                self.record(index, score(index))
        self._losses.append(self._latest.clone())
        self._weights.append(self.weights)
        self._running = None
        return len(index) if due else 0

    def state_dict(self):
        """What a checkpoint needs. The running weights are not in it: the rule is pure and gives them again."""
        return {"losses": self.losses, "weights": self.weight_history, "latest": self._latest.clone()}

    def load_state_dict(self, state):
        """Go on where `state_dict()` was taken. Raises ValueError if that was a ledger of another size."""
        if state["losses"].shape[1] != self.n:
            raise ValueError(f"state is of {state['losses'].shape[1]} samples, but this ledger has {self.n}.")
        self._losses = list(state["losses"].to(self._latest.device))
        self._weights = list(state["weights"].to(self._latest.device))
        self._latest = state["latest"].to(self._latest)
        self._running = None

    def _ask_the_rule(self):
        weights = torch.as_tensor(self.rule(self.losses, self.epoch), dtype=torch.float32, device=self._latest.device)
        if weights.shape != (self.n,):
            raise ValueError(f"the rule gave weights of shape {tuple(weights.shape)}, but must give ({self.n},).")
        if not ((weights >= 0) & (weights <= 1)).all():
            raise ValueError("the rule gave weights outside [0, 1].")
        if not weights.any():
            raise ValueError(f"the rule keeps no samples at epoch {self.epoch}, but at least one must be kept.")
        return weights


class _KeptSampler(Sampler):
    def __init__(self, ledger):
        self.ledger = ledger

    def __len__(self):
        return len(self.ledger.kept)

    def __iter__(self):
        kept = self.ledger.kept.cpu()
        yield from kept[torch.randperm(len(kept))].tolist()
