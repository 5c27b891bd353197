"""The statistics of the evidence: intervals for AUROC and shares, reliability."""

import numpy as np
from scipy import stats
from sklearn.metrics import roc_auc_score


def auroc(positive, score):
    """AUROC and its 95% interval (DeLong, DeLong and Clarke-Pearson 1988, on the logit scale)."""
    positive, score = np.asarray(positive, bool), np.asarray(score, float)
    sick, well = score[positive], score[~positive]
    area = roc_auc_score(positive, score)
    ranks = stats.rankdata(np.concatenate([sick, well]))
    of_sick = (ranks[: len(sick)] - stats.rankdata(sick)) / len(well)
    of_well = 1 - (ranks[len(sick):] - stats.rankdata(well)) / len(sick)
    width = 1.96 * np.sqrt(of_sick.var(ddof=1) / len(sick) + of_well.var(ddof=1) / len(well)) / (area * (1 - area))
    middle = np.log(area / (1 - area))
    low, high = 1 / (1 + np.exp(-(middle + np.array([-width, width]))))
    return {"value": round(float(area), 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def share(hits, number):
    """A share and its exact 95% interval (Clopper and Pearson 1934)."""
    interval = stats.binomtest(int(hits), int(number)).proportion_ci(method="exact")
    return {"value": round(hits / number, 4), "low": round(interval.low, 4), "high": round(interval.high, 4),
            "count": int(hits), "of": int(number)}


def predictive(sensitivity, specificity, prevalence):
    """PPV and NPV at a prevalence, by Bayes."""
    hit, alarm = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    well, miss = specificity * (1 - prevalence), (1 - sensitivity) * prevalence
    return {"ppv": round(hit / (hit + alarm), 4), "npv": round(well / (well + miss), 4)}


def reliability(positive, probability, bins=10):
    """Bins of equal count: mean probability against the share of positives; Brier score; expected calibration error."""
    order = np.argsort(probability)
    rows = []
    for part in np.array_split(order, bins):
        rows.append({"probability": round(float(probability[part].mean()), 4), **share(int(positive[part].sum()), len(part))})
    error = np.mean([abs(row["probability"] - row["value"]) for row in rows])
    return {"bins": rows, "brier": round(float(np.mean((probability - positive) ** 2)), 4), "ece": round(float(error), 4)}
