"""Checks of notebook 7."""

import numpy as np

from .shared import Wrong, call, exercise, near, number, pair, recognise

T = 4.302653  # scipy.stats.t.ppf(0.975, 2)


@exercise("7.1")
def share_won_back(answer):
    """`answer`: (50.4 − 43.3) / (60.5 − 43.3), from the paper's figures for CIFAR-100N."""
    share, right = number(answer, "one number"), 7.1 / 17.2
    if near(share, right, 0.006):
        return "7.1 of 17.2 points: Step-E undoes about two fifths of the damage."
    told = {
        7.1: "That is the gain in points. What share is it of all that there is to gain?",
        17.2: "That is the whole distance. Which part of it is won back?",
        100 * right: "That is a percentage. Leave it as a share.",
        1 - right: "That is the share that is still missing.",
        50.4 / 60.5: "By this measure standard training, too, wins back 43.3 / 60.5. It should get 0.",
        7.1 / 43.3: "That is the gain relative to standard training. By this measure the oracle does not get 1.",
        7.1 / 60.5: "That is the gain relative to the oracle's accuracy. By this measure the oracle does not get 1.",
        1 / right: "The other way round: a share is at most 1.",
        (85.3 - 83.9) / (85.9 - 83.9): "That is CIFAR-10N aggre. The question is about CIFAR-100N.",
    }
    recognise(share, told, 0.006)
    raise Wrong(f"{share:g} is not it. By the measure asked for, standard training gets 0 and the oracle 1.")


@exercise("7.2")
def paired_gain(answer):
    """`answer(method, standard)`: (mean, half) of the paired difference of 3 seeds, half = 4.303 · s / √3."""
    for method, standard in (([0.60, 0.64, 0.65], [0.50, 0.51, 0.55]), ([0.2, 0.4, 0.1], [0.3, 0.3, 0.3])):
        method, standard = np.array(method), np.array(standard)
        what = "two numbers: the mean, and half the width"
        mean, half = (number(each, what) for each in pair(call(answer, method.copy(), standard.copy()), what))
        difference = method - standard
        spread, wanted = difference.std(ddof=1), T * difference.std(ddof=1) / np.sqrt(3)
        recognise((mean, half), [
            ((difference.mean() - wanted, difference.mean() + wanted), "Those are the ends of the interval. Return its "
             "middle, the mean, and half its width."),
            ((wanted, difference.mean()), "The mean comes first, then half the width."),
            ((100 * difference.mean(), 100 * wanted), "Those are percentage points. Leave them as shares."),
        ], 2e-4)  # fmt: skip
        if not near(mean, difference.mean(), 1e-4):
            said = f"The mean difference of {method.tolist()} and {standard.tolist()} is {difference.mean():.4f}"
            recognise(mean, {
                -difference.mean(): "The sign is turned round: method minus standard.",
                np.abs(difference).mean(): "You take the sign away. A seed on which the method loses counts below 0.",
            }, 1e-4)  # fmt: skip
            raise Wrong(f"{said}; yours is {mean:.4f}.")
        apart = np.sqrt(method.var(ddof=1) + standard.var(ddof=1))
        told = {
            spread: "That is the standard deviation. Divide it by √3 and multiply by 4.303.",
            spread / np.sqrt(3): "That is the standard error of the mean. Multiply it by 4.303.",
            1.96 * spread / np.sqrt(3): "1.96 is right for many seeds. With three it is 4.303.",
            4.303 * spread: "Divide by √3: the interval is for the mean of three seeds.",
            4.303 * spread / 3: "Divide by √3, not by 3.",
            2 * wanted: "That is the whole width. Return half of it.",
            4.303 * spread**2 / np.sqrt(3): "s is the standard deviation, not its square.",
            4.303
            * method.std(ddof=1)
            / np.sqrt(3): "s is the deviation of the three *differences*, not of the method.",
            4.303 * difference.std() / np.sqrt(3): "NumPy's std divides by n. Use ddof=1, which divides by n − 1.",
            4.303 * apart / np.sqrt(3): "Subtract seed by seed first; then take the deviation of the differences.",
        }
        if near(half, wanted, 2e-4):
            continue
        recognise(half, told, 2e-4)
        said = f"Half the width for {method.tolist()} and {standard.tolist()} is {wanted:.4f}"
        raise Wrong(f"{said}; yours is {half:.4f}.")
    return "Mean of the differences ± 4.303 standard errors."
