"""Fit what lies between a logit and an answer: calibration, two thresholds, the out-of-distribution model.

Out of distribution is fitted on training images (gently changed copies too), all thresholds on calibration patients. Its limit lets
through 95% of calibration images that were gently changed (another codec, size, exposure), as images from elsewhere will be.
One half of each foreign set is looked at here, the other half is left for `evaluate.py`.
"""

import argparse
import json
import pathlib

import numpy as np
from safetensors.numpy import load_file, save_file
from scipy.stats import beta
from sklearn.linear_model import LogisticRegression

from augment import GENTLE, augment
from dataset import grey, load_part, stretch
from pack import Pack, ood_score, sigmoid

COMPONENTS, OWN_REFUSED, RATE, CONFIDENCE = 192, 0.05, 0.05, 0.95
# A foreign image counts as an image: at most so many of a set are run.
FOREIGN = 400


def by_patient(rows, logits):
    """One (highest logit, label) a patient: a case is a patient."""
    top, label = {}, {}
    for row, logit in zip(rows, logits):
        top[row["patient"]] = max(float(logit), top.get(row["patient"], -np.inf))
        label[row["patient"]] = row["label"] == "pneumonia"
    return np.array(list(top.values())), np.array(list(label.values()))


def platt(logit, positive):
    """Slope and intercept of the logistic calibration, without regularisation."""
    fit = LogisticRegression(C=1e9).fit(logit[:, None], positive)
    return float(fit.coef_[0, 0]), float(fit.intercept_[0])


def most_misses(number):
    """The most errors of `number` at which the exact one-sided bound stays within RATE."""
    return max(m for m in range(number) if beta.ppf(CONFIDENCE, m + 1, number - m) <= RATE)


def thresholds(probability, positive):
    """Rule-out and rule-in, each the most generous that its bound allows, never overlapping."""
    sick, well = np.sort(probability[positive]), np.sort(probability[~positive])[::-1]
    # Just below the first positive that may not be missed; just above the first negative that may not be called.
    low, high = sick[most_misses(len(sick))] - 1e-6, well[most_misses(len(well))] + 1e-6
    if low >= high:
        middle = (low + high) / 2
        low, high = middle - 1e-6, middle + 1e-6
    return (
        {"probability": round(float(low), 6), "max_miss_rate": RATE, "confidence": CONFIDENCE,
         "positive_patients": len(sick), "misses": int((sick <= low).sum())},
        {"probability": round(float(high), 6), "max_false_alarm_rate": RATE, "confidence": CONFIDENCE,
         "negative_patients": len(well), "false_alarms": int((well >= high).sum())},
    )


def fit_ood(embedding, components=COMPONENTS):
    """Probabilistic PCA by its closed form (Tipping and Bishop 1999, eq. 7 and 8)."""
    mean = embedding.mean(0)
    _, singular, rows = np.linalg.svd(embedding - mean, full_matrices=False)
    variance = singular**2 / (len(embedding) - 1)
    left = variance[components:].sum() / (embedding.shape[1] - components)
    return mean, rows[:components], variance[:components], float(left)


def foreign_images(folder, half):
    """Every other image of a folder, evenly over it, in a fixed order."""
    files = sorted(p for p in pathlib.Path(folder).iterdir() if p.suffix in (".webp", ".png", ".jpg", ".jpeg"))[half::2]
    return (stretch(grey(path)) for path in files[:: max(1, len(files) // FOREIGN)][:FOREIGN])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--far", nargs="*", default=[], help="folders of other kinds of images")
    parser.add_argument("--near", help="folder of adults' chest radiographs")
    parser.add_argument("--pack", required=True)
    args = parser.parse_args()
    pack, rng = Pack(args.pack), np.random.default_rng(7)
    folder = pathlib.Path(args.pack)

    rows, images = load_part(args.data, "train")
    chosen = rng.permutation(len(rows))[:2600]
    plain = (images[i].astype(np.float32) / 255 for i in chosen)
    changed = (augment(images[i].astype(np.float32) / 255, rng, GENTLE) for i in chosen)
    embedding = np.concatenate([pack.run(part, ("embedding",))[0] for part in (plain, changed)]).astype(np.float64)
    mean, components, variance, left = fit_ood(embedding)

    rows, images = load_part(args.data, "calibration")
    pooled, embedding = pack.run(image.astype(np.float32) / 255 for image in images)
    logit, positive = by_patient(rows, pack.logit(pooled))
    slope, intercept = platt(logit, positive)
    rule_out, rule_in = thresholds(sigmoid(slope * logit + intercept), positive)
    score = ood_score(embedding, mean, components, variance, left)
    gentle = (augment(image.astype(np.float32) / 255, rng, GENTLE) for image in images)
    changed = ood_score(pack.run(gentle, ("embedding",))[0], mean, components, variance, left)
    limit = float(np.quantile(changed, 1 - OWN_REFUSED))
    for name in [*args.far, *([args.near] if args.near else [])]:
        found = ood_score(pack.run(foreign_images(name, 0), ("embedding",))[0], mean, components, variance, left)
        print(f"{pathlib.Path(name).name}: {np.mean(found > limit):.3f} refused, median {np.median(found):.2f}")
    print(f"own: limit {limit:.3f}, refused {np.mean(score > limit):.4f}, median {np.median(score):.3f}; "
          f"thresholds {rule_out} {rule_in}; platt {slope:.3f} {intercept:.3f}")

    tensors = load_file(folder / "head.safetensors")
    tensors |= {"ood.mean": mean, "ood.components": components, "ood.variance": variance}
    save_file({k: np.ascontiguousarray(v, np.float32) for k, v in tensors.items()}, folder / "head.safetensors")
    metadata = json.loads(pathlib.Path(__file__).with_name("metadata.json").read_text())
    ours = metadata["overread"]
    ours["findings"][0] |= {
        "calibration": {"method": "platt", "slope": slope, "intercept": intercept, "reference_prevalence": round(float(positive.mean()), 4),
                        "patients": len(positive), "positives": int(positive.sum())},
        "rule_out": rule_out, "rule_in": rule_in,
    }
    ours["out_of_distribution"] = {
        "method": "ppca-mahalanobis", "threshold": limit, "residual_variance": left,
        "own_refused": {"calibration": round(float(np.mean(score > limit)), 4), "calibration_changed": OWN_REFUSED}}
    (folder / "configs").mkdir(exist_ok=True)
    (folder / "configs/metadata.json").write_text(json.dumps(metadata, indent=2) + "\n")


if __name__ == "__main__":
    main()
