"""Who was excluded, was it right, and what kind of error was it?"""

import math


def precision_recall(excluded, is_mislabeled):
    """Precision (mislabeled among excluded) and recall (excluded among mislabeled) of an exclusion.

    `excluded`, `is_mislabeled` : bool (n,). NaN where undefined, or where `is_mislabeled` is None: unknown.
    """
    if is_mislabeled is None:
        return math.nan, math.nan
    caught, out, wrong = (x.sum().item() for x in (excluded & is_mislabeled, excluded, is_mislabeled))
    return caught / out if out else math.nan, caught / wrong if wrong else math.nan
