"""One ledger on several processes, as torchrun starts them: who does what, and one all-reduce an epoch.

Every rank records the losses of its own share. At the end of an epoch the records are merged; then each rank holds the
whole ledger and asks the rule itself, and since rules are pure, all of them exclude the same samples. A float32 seen as
an int32 survives the maximum over the ranks bit for bit, NaN too, and so no index is sent: n · 4 bytes, whatever was
recorded where.

The way on, beyond 10⁸ samples, where a copy of the ledger on every rank grows too large (a sample costs 10 bytes, and
another 4 an epoch): let each rank keep its own samples only and find the threshold by counting, a radix select. Map the
bits of a loss to an unsigned integer of the same order. Each rank counts its losses by the upper 16 bits; the 65,536
counts are summed by an all-reduce and tell in which bin the threshold lies. A second histogram, of the lower 16 bits
within that bin, gives it exactly: two all-reduces of half a megabyte at any n. Of the losses equal to it, the ranks in
turn exclude as many as are still due, which a sum over the ranks before them tells. Not built.
"""

import os
import zlib

import torch
import torch.distributed as dist

from .utils import BadInput

# What was not recorded: the smallest int32. As a float that is −0.0, which cross-entropy does return: it goes as 0.0.
NOTHING = torch.iinfo(torch.int32).min


class Ranks:
    """The processes that share a ledger: `size` of them in `group`, this one being `rank`. No group: this one alone.

    Raises ValueError for what is no group, or where several processes run and none is given.
    """

    def __init__(self, group=None):
        if group is None:
            check_alone("a ledger without a group knows", "pass group=torch.distributed.group.WORLD, once initialised")
        elif not (dist.is_available() and isinstance(group, dist.ProcessGroup)):
            raise BadInput(f"group is {group!r}, but must be a process group, such as torch.distributed.group.WORLD.")
        self.group = group
        self.size, self.rank = (1, 0) if group is None else (dist.get_world_size(group), dist.get_rank(group))

    def share(self, index):
        """This rank's part of `index` (m,): equally long on every rank, so up to size − 1 entries are dealt twice."""
        length = -(-len(index) // self.size)
        places = torch.arange(self.rank, self.rank + length * self.size, self.size, device=index.device)
        return index[places % max(len(index), 1)]

    def merge(self, latest, fresh):
        """Give every rank, in place, what any has recorded: losses `latest` float32 (n,) where `fresh` bool (n,).

        Of a sample that several ranks recorded, all keep the same loss.
        """
        if self.size > 1:
            bits = self._highest(torch.where(fresh, (latest + 0.0).view(torch.int32), NOTHING))
            torch.ne(bits, NOTHING, out=fresh)
            latest.copy_(torch.where(fresh, bits.view(torch.float32), latest))

    def agree(self, weights, *about):
        """Raise ValueError unless all ranks have the same `weights` and `about`, and enough to train on for all.

        `about` : plain values, the last of which is the epoch
        """
        if self.size == 1:
            return
        digest = zlib.crc32(weights.cpu().numpy(), zlib.crc32(repr(about).encode()))
        highest, lowest = self._highest(torch.tensor([digest, -digest])).tolist()
        if highest != -lowest:
            raise BadInput(
                f"the {self.size} ranks do not agree on epoch {about[-1]}: n, rule, rescore_every and seed must be the "
                "same on all of them, and so must the state that they load."
            )
        kept = int(torch.count_nonzero(weights))
        if kept < 2 * self.size:
            raise BadInput(
                f"the rule keeps {kept} of {len(weights)} samples at epoch {about[-1]}, but {self.size} ranks need at "
                f"least {2 * self.size}: none can train on nothing, and BatchNorm not on one sample."
            )

    def _highest(self, numbers):
        """The maximum over the ranks, number by number."""
        there = numbers.cuda() if dist.get_backend(self.group) == "nccl" else numbers
        dist.all_reduce(there, dist.ReduceOp.MAX, group=self.group)
        return there.to(numbers.device)


def check_alone(what, instead):
    """Raise ValueError if this is one of several processes, as torchrun starts them: `what` knows one only."""
    ready = dist.is_available() and dist.is_initialized()
    size = dist.get_world_size() if ready else int(os.environ.get("WORLD_SIZE") or 1)
    if size > 1:
        raise BadInput(f"{what} one process, but this is one of {size}: {instead}.")
