"""Checks of the exercises: `check.name(answer)` says at once what is right or wrong, and never stops the notebook.

`check.solved(3)` says how many exercises of notebook 3 are solved.
"""

from .answers import use
from .detection import first_exclusion, margin
from .failures import never_back, rank_per_class, upper_hump, worst_class
from .label_noise import most_confused, symmetric, transition_matrix
from .memorisation import early_stopping_epoch, memorised_share, truncation_rule
from .own_data import apply_decisions, best_precision, rank_suspects
from .papers_table import paired_gain, share_won_back
from .schedule_design import ceilings, cosine_schedule, replay
from .shared import solved
from .step_e import exclude_highest, linear_schedule, relative_cost

__all__ = [
    "apply_decisions", "best_precision", "ceilings", "cosine_schedule", "early_stopping_epoch",
    "exclude_highest", "first_exclusion", "linear_schedule", "margin", "memorised_share", "most_confused", "never_back",
    "paired_gain", "rank_per_class", "rank_suspects", "relative_cost", "replay", "share_won_back", "solved",
    "symmetric", "transition_matrix", "truncation_rule", "upper_hump", "use", "worst_class",
]  # fmt: skip
