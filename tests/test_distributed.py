"""The ledger on several processes. This file is also the program that torchrun starts: `python … FILE PART FOLDER`."""

import hashlib
import importlib
import json
import os
import random
import re
import subprocess
import sys
import types
import zlib
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from stepe_lite import (
    Everything,
    KeepOnly,
    Ledger,
    LossTruncation,
    OneShotFilter,
    RandomExclusion,
    SelfPaced,
    StepE,
    fit,
    ledger,
    load,
    schedules,
)
from stepe_lite import distributed as ours

EPOCHS = 6
RAMP = schedules.linear(warmup=1, ramp=3, final=0.4)
RULES = {
    "standard": lambda n: Everything(),
    "step-e": lambda n: StepE(RAMP),
    "momentum": lambda n: StepE(RAMP, momentum=0.5),
    "soft": lambda n: StepE(RAMP, soft=0.5),
    "per class": lambda n: StepE(RAMP, per_class=torch.arange(n) % 3),
    "soft per class": lambda n: StepE(RAMP, soft=0.2, momentum=0.3, per_class=torch.arange(n) % 2),
    "truncation": lambda n: LossTruncation(0.3, warmup=1),
    "self-paced": lambda n: SelfPaced(RAMP),
    "one-shot": lambda n: OneShotFilter(0.3, warmup=2),
    "random": lambda n: RandomExclusion(RAMP, seed=3),
    "oracle": lambda n: KeepOnly(torch.arange(n) % 3 > 0),
}
ALL = [(n, rule, size, 1) for rule in RULES for n in (24, 101) for size in (3, 16, "sampler")]


def drawn(number):
    """A random small configuration: n, rule, batch size or "sampler", rescore_every."""
    draw = random.Random(number)
    return draw.randint(20, 60), draw.choice(list(RULES)), draw.choice([2, 5, 16, 30, "sampler"]), draw.randint(1, 3)


def losses(n, epoch):
    """Made-up losses (n,) with ties, both NaN, infinity, −0.0 and numbers below 0."""
    generator = torch.Generator().manual_seed(1000 * n + epoch)
    special = torch.tensor([-0.0, 0.0, 0.5, 0.5, 2.0, -1.5, torch.inf, torch.nan, -torch.nan])
    chosen = special[torch.randint(len(special), (n,), generator=generator)]
    return torch.where(torch.rand(n, generator=generator) < 0.5, chosen, torch.randn(n, generator=generator))


def play(book, size, until=EPOCHS, look=lambda *_: None):
    """Go on to the epoch `until` in batches of `size`, or by the sampler; the digest of all losses and weights.

    A loss depends on the step that the sample was dealt to, if 16 or more are dealt at once, so the order matters.
    `look(kept, dealt, sizes, scored)` is shown every epoch.
    """
    for epoch in range(book.epoch, until):
        table, kept, scored = losses(book.n, epoch), book.weights > 0, []
        batches = [list(book.sampler())] if size == "sampler" else list(book.batches(size))
        assert size == "sampler" or len(batches) == len(book.batches(size))
        for step, index in enumerate(batches):
            extra = step if size != "sampler" and size >= 16 else 0
            book.record(torch.tensor(index), table[index] + extra if extra else table[index])

        def score(index):
            scored.append(len(index))  # noqa: B023  called here
            return table[index]  # noqa: B023

        book.end_epoch(score, size=4)
        look(kept, torch.tensor([i for batch in batches for i in batch]), [len(batch) for batch in batches], scored)
    # A zero has lost its sign where it came from another rank; all else is compared bit for bit.
    bits = torch.cat([(book.losses + 0.0).view(torch.int32), book.weight_history.view(torch.int32)])
    return hashlib.sha256(bits.numpy().tobytes() + book.weights.numpy().tobytes()).hexdigest()[:16]


def on_one(configuration):
    """The digest of what one process does, without any group. The seed alone makes its order that of the others."""
    n, rule, size, every = configuration
    return play(Ledger(n, RULES[rule](n), rescore_every=every, seed=0), size)


# What every rank does: the parts of the program.


def deal_is_fair(size, kept, dealt, sizes, scored):
    """Nothing left out or twice, as many batches on every rank, none of one sample, the same shape of scoring."""
    times, world = torch.bincount(dealt, minlength=len(kept)), dist.get_world_size()
    dist.all_reduce(times)
    digest = zlib.crc32(repr((len(sizes), scored, sizes if size == "sampler" else None)).encode())
    alike = torch.tensor([digest, -digest])
    dist.all_reduce(alike, dist.ReduceOp.MAX)
    assert alike[0] == -alike[1]
    if size == "sampler":
        assert torch.equal(times > 0, kept) and times.max() <= 2 and times.sum() < kept.sum() + world
    else:
        assert torch.equal(times, kept.long()) and min(sizes) >= 2
        assert max(sizes) <= max(3, -(-size // world))  # three where fewer would leave one alone


def on_all(configuration, kind=Ledger, look=True):
    n, rule, size, every = configuration
    book = kind(n, RULES[rule](n), rescore_every=every, group=dist.group.WORLD)
    return play(book, size, look=partial(deal_is_fair, size) if look else lambda *_: None)


def everything(folder):
    return [on_all(configuration) for configuration in ALL]


def some(folder):
    return [on_all(configuration) for configuration in ALL[1::3]]


def draws(folder):
    return [on_all(drawn(number), look=False) for number in range(1000)]


def resumes(folder):
    """World sizes 2, 4, 1 and 3, one after the other, each going on from a file of the one before."""
    found, groups = {}, {size: dist.new_group(range(size)) for size in (2, 4, 1, 3)}
    for rule in RULES:
        for part, (size, group) in enumerate(groups.items()):
            if dist.get_rank() < size:
                book = Ledger(100, RULES[rule](100), group=group, seed=7)
                if part:
                    book.load_state_dict(torch.load(folder / f"{rule}.pt"))
                digest = play(book, 16, until=2 * part + 2)
                if dist.get_rank() == size - 1:
                    torch.save(book.state_dict(), folder / f"{rule}.pt")
                    found[rule] = digest  # of the last part, kept by its last rank
            dist.barrier()
    return found


# Each: (module, what stands there, what stands there instead).
MUTATED = [(37, "step-e", 16, 1), (101, "soft", 16, 1)]
MUTANTS = {
    "nothing": ("ledger", "import math", "import math"),
    "no merge": ("distributed", "if self.size > 1:\n            bits", "if self.size > 9:\n            bits"),
    "no + 0.0": ("distributed", "(latest + 0.0).view", "latest.view"),
    "the sum for the maximum": ("distributed", "dist.ReduceOp.MAX", "dist.ReduceOp.SUM"),
    "another order": ("ledger", 'seed_for("order", self._seed, ', 'seed_for("order", self._ranks.rank, '),
    "an order of no epoch": ("ledger", "self._seed, self.epoch)\n        gen", "self._seed, 0)\n        gen"),
    "a merge of numbers": ("distributed", "(latest + 0.0).view(torch.int32)", "latest.int()"),
    "the same share for all": ("ledger", "batch[ranks.rank :: ranks.size]", "batch[0 :: ranks.size]"),
}


def mutant(module, right, wrong):
    """The class Ledger with a fault."""
    made = {}
    for each in (ours, ledger):
        name = each.__name__.split(".")[1]
        source = Path(each.__file__).read_text(encoding="utf-8")
        assert name != module or source.count(right) == 1, f"{module}.py no longer has {right!r}"
        made[name] = types.ModuleType(f"stepe_lite.{name}")
        made[name].__package__ = "stepe_lite"
        exec(compile(source.replace(right, wrong) if name == module else source, name, "exec"), made[name].__dict__)
    made["ledger"].Ranks = made["distributed"].Ranks
    return made["ledger"].Ledger


def mutants(folder):
    found = {}
    for name, (module, right, wrong) in MUTANTS.items():
        kind = mutant(module, right, wrong)
        found[name] = []
        for configuration in MUTATED:
            try:
                found[name].append(on_all(configuration, kind, look=False))
            except ValueError as error:
                found[name].append(str(error))
    return found


AGREE = "the 2 ranks do not agree on epoch {}: n, rule, rescore_every and seed must be the same on all of them, .*"
SAID = {
    "no group": r"a ledger without a group knows one process, but this is one of 2: pass group=torch.*WORLD, once .*",
    "fit": r"fit trains on one process, but this is one of 2: in a loop of your own use Ledger\(n, rule, group=…\), .*",
    "no such group": r"group is 'world', but must be a process group, such as torch\.distributed\.group\.WORLD\.",
    "few": r"the rule keeps 3 of 3 samples at epoch 0, but 2 ranks need at least 4: .*",
    "fewer kept": r"the rule keeps 3 of 40 samples at epoch 0, but 2 ranks need at least 4: .*",
    "unlike n": AGREE.format(0),
    "unlike seeds": AGREE.format(0),
    "unlike rules": AGREE.format(0),
    "unlike states": AGREE.format(3),
    "sharded again": r"20 of 40 samples have no loss at the end of epoch 0: .*",
    "positions": r"\d+ of 40 samples have no loss at the end of epoch 2: .*",
    "in the middle": r"state_dict\(\) was called within epoch 0: with a group, call end_epoch first\.",
}


def sentences(folder):
    """What is said to whoever asks for what cannot be."""
    world = dist.group.WORLD

    def sharded_again(whole=None):
        book = Ledger(40, StepE(RAMP), group=world)
        for _ in range(3):
            positions = torch.tensor(list(torch.utils.data.DistributedSampler(whole or book.sampler())))
            book.record(positions, -positions.float())
            book.end_epoch()
            whole = whole and range(len(book.trained))  # what it would shard, had it been given one process's sampler

    def in_the_middle():
        book = Ledger(40, Everything(), group=world)
        book.record([dist.get_rank()], [1.0])
        book.state_dict()

    def unlike_states():
        book = Ledger(40, StepE(RAMP), group=world)
        state = {"losses": torch.rand(3, 40), "weights": torch.ones(3, 40), "latest": torch.rand(40)}
        book.load_state_dict(state | {"seen": torch.ones(40, dtype=torch.bool)})

    asked = {
        "no group": lambda: Ledger(40, Everything()),
        "fit": lambda: fit(load("digits"), "mlp", Everything(), epochs=1),
        "no such group": lambda: Ledger(40, Everything(), group="world"),
        "few": lambda: Ledger(3, Everything(), group=world),
        "fewer kept": lambda: Ledger(40, KeepOnly(torch.arange(40) < 3), group=world),
        "unlike n": lambda: Ledger(40 + dist.get_rank(), Everything(), group=world),
        "unlike seeds": lambda: Ledger(40, Everything(), group=world, seed=dist.get_rank()),
        "unlike rules": lambda: Ledger(40, KeepOnly(torch.arange(40) % 2 == dist.get_rank()), group=world),
        "unlike states": unlike_states,
        "sharded again": sharded_again,
        "positions": lambda: sharded_again(range(40)),
        "in the middle": in_the_middle,
    }
    said = {}
    for name, ask in asked.items():
        try:
            said[name] = repr(ask())
        except ValueError as error:
            said[name] = str(error)
    return said


def example(block):
    """The README's loop on several processes, number `block`, made shorter."""
    text = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")
    first, *others = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(others) == 3 and all(len(other.splitlines()) <= 30 for other in others)
    source = first[: first.index("\nledger = ")] + others[block]
    for long, short in {"mlp(), 25": "mlp(), 6", "warmup=5, ramp=15": "warmup=1, ramp=3"}.items():
        assert source.count(long) == 1
        source = source.replace(long, short)
    scope = {}
    exec(source, scope)
    return scope["ledger"]


EXAMPLES = [None, "accelerate", "lightning_fabric"]  # what each needs besides


def examples(folder):
    """Whom the README's loops exclude: plain DistributedDataParallel, Accelerate, Lightning Fabric.

    The latter two take the process group that the first one has made.
    """
    found = []
    for block, package in enumerate(EXAMPLES):
        if package is None or importlib.util.find_spec(package):
            book = example(block)
            found.append([book.excluded.tolist(), book.losses.mean().item()])
    return found


def torchrun(world, program, *arguments, **environment):
    """Run a program on so many processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", world, program]
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    running = subprocess.Popen(
        [*map(str, command), *map(str, arguments)], env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        _, said = running.communicate(timeout=600)
    finally:
        running.terminate()  # torchrun ends its processes; nothing is left waiting for a rank that stopped
        running.wait()
    assert running.returncode == 0, said[-4000:]


def ranks(world, folder, *parts):
    """What each rank returned of each of those functions: a list of {name: value}."""
    torchrun(world, __file__, folder, *(part.__name__ for part in parts))
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(world)]


def main(folder, *parts):
    torch.set_num_threads(1)
    if parts != ("examples",):  # which do it themselves
        dist.init_process_group("gloo")
    told = {part: globals()[part](Path(folder)) for part in parts}
    Path(folder, f"{os.environ['RANK']}.json").write_text(json.dumps(told))
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def test_two_ranks_give_bit_for_bit_what_one_gives_every_fault_is_caught_and_what_cannot_be_is_said(tmp_path):
    told, other = ranks(2, tmp_path, everything, mutants, sentences)
    assert told["everything"] == other["everything"] == [on_one(configuration) for configuration in ALL]
    sure = told["mutants"].pop("nothing")
    assert sure == [on_one(configuration) for configuration in MUTATED]
    assert len(told["mutants"]) == 7
    for name, found in told["mutants"].items():
        assert found[0] != sure[0] and found[1] != sure[1], name
    for name, pattern in SAID.items():
        assert re.fullmatch(pattern, told["sentences"][name]), told["sentences"][name]


@pytest.mark.torture
def test_a_thousand_random_configurations_on_two_ranks_give_bit_for_bit_what_one_gives(tmp_path):
    told, other = ranks(2, tmp_path, draws)
    assert told["draws"] == other["draws"] == [on_one(drawn(number)) for number in range(1000)]


def test_four_ranks_too_and_every_other_number_goes_on_where_one_stopped(tmp_path):
    told = ranks(4, tmp_path, some, resumes)
    for each in told:
        assert each["some"] == [on_one(configuration) for configuration in ALL[1::3]]
    # The last part was that of three ranks.
    assert told[2]["resumes"] == {rule: play(Ledger(100, RULES[rule](100), seed=7), 16, until=8) for rule in RULES}


def test_the_readme_s_loops_exclude_the_same_samples_on_one_process_and_on_two(tmp_path):
    alone = example(0)
    assert alone.excluded.sum() == round(0.4 * alone.n)
    one, other = ranks(2, tmp_path, examples)
    assert one == other
    for excluded, mean in one["examples"]:
        assert excluded == alone.excluded.tolist()
        assert mean == pytest.approx(alone.losses.mean().item(), rel=1e-4)


if __name__ == "__main__":
    main(*sys.argv[1:])
