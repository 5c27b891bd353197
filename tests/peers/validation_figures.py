"""validation_figures.py FILE: sets of labelled scores and the figures that Overread computed of them; each figure must be what scikit-learn, scipy,
MLstatkit (DeLong's test) or the definition itself say. Prints how many sets were compared.

DeLong's variance for one AUROC is computed from the definition: the full matrix of pairs, not the ranks that Overread uses.
"""

import json
import sys

import numpy as np
from MLstatkit import Delong_test
from scipy import stats
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, confusion_matrix, roc_auc_score


def close(name, ours, theirs, tolerance=1e-9):
    if (ours is None) != (theirs is None) or (ours is not None and not abs(ours - theirs) <= tolerance):
        sys.exit(f"{name}: Overread says {ours}, the peer {theirs}")


def placements(truth, score):
    """Components of DeLong, DeLong and Clarke-Pearson 1988, by comparing all pairs."""
    positive, negative = score[truth][:, None], score[~truth][None, :]
    kernel = (positive > negative) + 0.5 * (positive == negative)
    return kernel.mean(axis=1), kernel.mean(axis=0)


def covariance(a, b):
    return sum(np.cov(x, y)[0, 1] / len(x) for x, y in zip(a, b))


def check_auroc(truth, score, ours):
    area = roc_auc_score(truth, score)
    close("AUROC", ours["value"], area)
    if ours["low"] is None:
        return
    parts = placements(truth, score)
    width = stats.norm.ppf(0.975) * np.sqrt(covariance(parts, parts)) / (area * (1 - area))
    logit = np.log(area / (1 - area))
    close("AUROC low", ours["low"], 1 / (1 + np.exp(-(logit - width))))
    close("AUROC high", ours["high"], 1 / (1 + np.exp(-(logit + width))))


def check_share(name, ours):
    if ours["of"] == 0:
        return close(name, ours["value"], None)
    interval = stats.binomtest(ours["count"], ours["of"]).proportion_ci(method="exact")
    close(name, ours["value"], ours["count"] / ours["of"])
    close(f"{name} low", ours["low"], interval.low)
    close(f"{name} high", ours["high"], interval.high)


def check_points(truth, called, point):
    """Counts of the points against scikit-learn's confusion matrix."""
    (passed, alarms), (missed, hits) = confusion_matrix(truth, called, labels=[False, True])
    for name, count, of in (("sensitivity", hits, hits + missed), ("specificity", passed, passed + alarms)):
        share = point[name]
        if (share["count"], share["of"]) != (count, of):
            sys.exit(f"{name}: Overread counts {share}, scikit-learn {count} of {of}")
        check_share(name, share)
    for name, right, wrong in (("ppv", hits, alarms), ("npv", passed, missed)):
        close(name, point[name]["value"], right / (right + wrong) if right + wrong else None)


def check_reliability(truth, probability, ours):
    close("Brier", ours["brier"], brier_score_loss(truth, probability))
    observed, mean = calibration_curve(truth, probability, n_bins=10, strategy="uniform")
    bins = ours["bins"]
    if len(bins) != len(mean):
        sys.exit(f"{len(bins)} bins, scikit-learn has {len(mean)}")
    for bin, share, centre in zip(bins, observed, mean):
        close("bin's mean", bin["mean"], centre)
        close("bin's share", bin["observed"]["value"], share)
        check_share("bin", bin["observed"])
    weight = np.array([bin["observed"]["of"] for bin in bins]) / len(truth)
    close("ECE", ours["expected_calibration_error"], float(np.sum(weight * np.abs(observed - mean))))


def check_comparison(truth, first, second, called, ours):
    area = ours["auroc"]
    close("difference", area["difference"], roc_auc_score(truth, second) - roc_auc_score(truth, first))
    a, b = placements(truth, first), placements(truth, second)
    deviation = np.sqrt(covariance(a, a) + covariance(b, b) - 2 * covariance(a, b))
    close("p of the difference", area["p"], 2 * stats.norm.sf(abs(area["difference"]) / deviation))
    _, p, _, _, area_first, area_second, how = Delong_test(truth.astype(int), first, second)
    if how["method"] != "delong":
        sys.exit(f"MLstatkit fell back to {how['method']}")
    close("difference, MLstatkit", area["difference"], area_second - area_first)
    close("p of the difference, MLstatkit", area["p"], p)
    close("low of the difference", area["low"], area["difference"] - stats.norm.ppf(0.975) * deviation)
    for name, rule in (("positives", truth), ("negatives", ~truth)):
        right = [(c == truth)[rule] for c in called]
        alone = int(np.sum(right[0] & ~right[1])), int(np.sum(right[1] & ~right[0]))
        found = ours["points"][1][name]
        if (found["right_alone"]["first"], found["right_alone"]["second"]) != alone:
            sys.exit(f"McNemar's table: Overread has {found}, the peer {alone}")
        p = stats.binomtest(alone[0], sum(alone)).pvalue if sum(alone) else 1.0
        close("McNemar", found["p"], p)


sets = json.load(open(sys.argv[1]))
for one in sets:
    truth, score = np.array(one["truth"], bool), np.array(one["score"])
    present, other = np.array(one["present"], bool), np.array(one["other_present"], bool)
    finding = one["finding"]
    check_auroc(truth, score, finding["cases"]["auroc"])
    for point in finding["cases"]["points"]:
        check_points(truth, present if point["name"] == "rule-in" else score >= point["threshold"], point)
    for threshold in finding["thresholds"]:
        check_points(truth, score >= threshold["threshold"], threshold)
    check_reliability(truth, score, finding["reliability"])
    check_comparison(truth, score, np.array(one["other"]), (present, other), one["comparison"])
print(len(sets))
