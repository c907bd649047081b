"""What a learner wrote, in the cells that follow."""

import functools

import numpy as np
import torch


def use(check, answer, otherwise):
    """The function `answer` if `check` accepts it, else `otherwise`; says which of them the notebook goes on with.

    A check takes lists, arrays and tables, too; here they become tensors (truth values and float64: float32), and what
    holds a single number becomes that number.
    """
    verdict, _ = check.judge(answer)
    name = getattr(answer, "__name__", "your answer")
    if verdict != "right":
        print(f"Until {name} is right, the cells below use what the package has.")
        return otherwise
    print(f"The cells below use {name}.")
    return functools.wraps(answer)(lambda *arguments: _tensor(answer(*arguments)))


def _tensor(value):
    if isinstance(value, list | tuple) and value and all(isinstance(each, torch.Tensor) for each in value):
        value = torch.stack(list(value))
    if not isinstance(value, torch.Tensor):
        value = torch.from_numpy(np.array(value))
    value = value.detach().cpu()
    if value.numel() == 1:  # an epoch, a fraction: round(), a dict's key and a schedule want a plain number
        return value.item()
    return value.float() if value.dtype in (torch.bool, torch.float64) else value
