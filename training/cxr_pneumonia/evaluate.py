"""Held-out patients, seen for the first time: figures with intervals, robustness, shortcuts, foreign images.

Writes docs/evidence.json and figures into the pack, and heldout_predictions.csv beside this file.
"""

import argparse
import csv
import json
import pathlib

import cv2
import matplotlib
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score, roc_curve

from calibrate import by_patient, foreign_images
from dataset import load_part, read_labels, targets
from measures import auroc, predictive, reliability, share
from pack import Pack, sigmoid

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402

HERE = pathlib.Path(__file__).parent


def at_thresholds(positive, probability, spec):
    """What the two thresholds do, counted over cases."""
    low, high = spec["rule_out"]["probability"], spec["rule_in"]["probability"]
    absent, present = probability <= low, probability >= high
    out = {
        "sensitivity_at_rule_out": share((positive & ~absent).sum(), positive.sum()),
        "specificity_at_rule_out": share((~positive & absent).sum(), (~positive).sum()),
        "sensitivity_at_rule_in": share((positive & present).sum(), positive.sum()),
        "specificity_at_rule_in": share((~positive & ~present).sum(), (~positive).sum()),
        "indeterminate": share((~absent & ~present).sum(), len(positive)),
    }
    out["rule_in_at_prevalence"] = {
        str(p): predictive(out["sensitivity_at_rule_in"]["value"], out["specificity_at_rule_in"]["value"], p) for p in (0.1, 0.3, 0.74)}
    out["rule_out_at_prevalence"] = {
        str(p): predictive(out["sensitivity_at_rule_out"]["value"], out["specificity_at_rule_out"]["value"], p) for p in (0.1, 0.3, 0.74)}
    return out


def changes():
    """Named ways in which the same image may arrive."""
    size = (224, 224)
    code = lambda kind, quality: lambda x: cv2.imdecode(cv2.imencode(kind, (x * 255).astype(np.uint8), quality)[1], 0).astype(np.float32) / 255
    down = lambda n, how: lambda x: cv2.resize(cv2.resize(x, (n, n), interpolation=how), size, interpolation=cv2.INTER_LINEAR)
    def border(x, margin=16):
        out = np.full_like(x, x.mean())
        out[margin:-margin, margin:-margin] = x[margin:-margin, margin:-margin]
        return out
    def corners(x, side=48):
        out = x.copy()
        for rows in (slice(0, side), slice(-side, None)):
            for columns in (slice(0, side), slice(-side, None)):
                out[rows, columns] = x.mean()
        return out
    return {
        "JPEG quality 40": code(".jpg", [cv2.IMWRITE_JPEG_QUALITY, 40]), "JPEG quality 75": code(".jpg", [cv2.IMWRITE_JPEG_QUALITY, 75]),
        "128 pixels and back": down(128, cv2.INTER_AREA), "160 pixels and back": down(160, cv2.INTER_CUBIC),
        "gamma 0.7": lambda x: x**0.7, "gamma 1.4": lambda x: x**1.4, "contrast 0.7": lambda x: (x - 0.5) * 0.7 + 0.5,
        "darker by 0.1": lambda x: np.clip(x - 0.1, 0, 1), "mirrored": lambda x: x[:, ::-1].copy(),
        "borders blanked": border, "corners blanked (markers)": corners,
    }


def shortcuts(train, train_label, images, label):
    """What a linear model makes of things that are not the lungs."""
    def outside(stack, margin=16):
        mask = np.ones(stack.shape[1:], bool)
        mask[margin:-margin, margin:-margin] = False
        small = np.stack([cv2.resize(np.where(mask, x, 0).astype(np.float32), (28, 28), interpolation=cv2.INTER_AREA).ravel() for x in stack])
        return small / 255
    histogram = lambda stack: np.stack([np.histogram(x, 32, (0, 255))[0] / x.size for x in stack])
    out = {}
    for name, view in (("border of 16 pixels, linear on 28x28", outside), ("intensity histogram, 32 bins", histogram)):
        model = LogisticRegression(C=1.0, max_iter=2000).fit(view(train), train_label)
        out[name] = auroc(label, model.decision_function(view(images)))
    brightness = images.reshape(len(images), -1).mean(1)
    out["mean brightness alone"] = auroc(label, brightness if roc_auc_score(label, brightness) > 0.5 else -brightness)
    return out


def figures(folder, positive, probability, own, far, near, limit):
    """ROC, reliability and out-of-distribution scores."""
    fig, axes = pyplot.subplots(1, 2, figsize=(10, 4.8))
    x, y, _ = roc_curve(positive, probability)
    axes[0].plot(x, y, color="#1f5fa8")
    axes[0].plot([0, 1], [0, 1], ":", color="grey")
    axes[0].set(xlabel="1 - specificity", ylabel="sensitivity", title=f"Held-out patients, AUROC {roc_auc_score(positive, probability):.3f}")
    table = reliability(positive, probability)["bins"]
    middle = np.array([row["value"] for row in table])
    ends = np.array([[row["value"] - row["low"], row["high"] - row["value"]] for row in table]).T.clip(0)
    axes[1].errorbar([row["probability"] for row in table], middle, ends, fmt="o", color="#1f5fa8", capsize=3)
    axes[1].plot([0, 1], [0, 1], ":", color="grey")
    axes[1].set(xlabel="calibrated probability (mean of the bin)", ylabel="share with pneumonia", title="Reliability, tenths of patients, exact 95% intervals")
    fig.tight_layout()
    fig.savefig(folder / "roc-reliability.png", dpi=80)
    fig, axis = pyplot.subplots(figsize=(10, 4.2))
    bins = np.geomspace(0.2, 60, 70)
    for name, scores in (("own, held out", own), ("adults' chests", near), *far.items()):
        axis.hist(np.clip(scores, 0.2, 60), bins, histtype="step", linewidth=1.8, label=name, weights=np.full(len(scores), 1 / max(len(scores), 1)))
    axis.axvline(limit, color="black", linestyle="--", label="limit")
    axis.set(xscale="log", xlabel="out-of-distribution score", ylabel="share of the set's images", title="Above the limit: not assessed")
    axis.legend(fontsize=8, ncols=2)
    fig.tight_layout()
    fig.savefig(folder / "out-of-distribution.png", dpi=80)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--far", nargs="*", default=[])
    parser.add_argument("--near")
    parser.add_argument("--pack", required=True)
    args = parser.parse_args()
    pack, docs = Pack(args.pack), pathlib.Path(args.pack) / "docs"
    docs.mkdir(exist_ok=True)
    ours = pack.manifest()
    spec, ood = ours["findings"][0], ours["out_of_distribution"]
    calibrated = lambda logit: sigmoid(spec["calibration"]["slope"] * logit + spec["calibration"]["intercept"])

    rows, images = load_part(args.data, "test")
    label = targets(rows).astype(bool)
    plain = lambda stack: (image.astype(np.float32) / 255 for image in stack)
    pooled, embedding = pack.run(plain(images))
    logit, own = pack.logit(pooled), pack.ood(embedding, ood["residual_variance"])
    with open(HERE / "heldout_predictions.csv", "w", newline="") as handle:
        out = csv.writer(handle, lineterminator="\n")
        out.writerow(["file", "patient", "label", "logit", "probability", "ood_score"])
        for row, one, score in zip(rows, logit, own):
            out.writerow([row["file"], row["patient"], row["label"], f"{one:.5f}", f"{calibrated(one):.6f}", f"{score:.4f}"])

    kept = own <= ood["threshold"]
    top, positive = by_patient([r for r, k in zip(rows, kept) if k], logit[kept])
    probability = calibrated(top)
    organism = {name: row["organism"] for name, row in read_labels(args.data).items()}
    kind = np.array([organism[row["file"]] for row in rows])
    evidence = {
        "parts": {part: {"images": len(r := load_part(args.data, part)[0]), "patients": len({x["patient"] for x in r})} for part in ("train", "calibration", "test")},
        "held_out": {
            "images": {"auroc": auroc(label, logit), "auroc_assessed": auroc(label[kept], logit[kept]), "refused": share((~kept).sum(), len(kept)),
                       **at_thresholds(label[kept], calibrated(logit[kept]), spec)},
            "patients": {"auroc": auroc(positive, top), **at_thresholds(positive, probability, spec), "reliability": reliability(positive, probability)},
            "subgroups": {name: auroc(label[(kind == name) | ~label], logit[(kind == name) | ~label]) for name in ("bacteria", "virus")},
        },
        "robustness": {}, "shortcuts": {}, "out_of_distribution": {"limit": ood["threshold"]},
    }
    for name, change in changes().items():
        altered = np.stack([change(image.astype(np.float32) / 255) for image in images])
        other = pack.run(altered, ("pooled", "embedding"))
        other_logit = pack.logit(other[0])
        evidence["robustness"][name] = {
            "auroc": auroc(label, other_logit), "mean_probability_change": round(float(np.abs(calibrated(other_logit) - calibrated(logit)).mean()), 4),
            "refused": round(float((pack.ood(other[1], ood["residual_variance"]) > ood["threshold"]).mean()), 4)}
    train_rows, train = load_part(args.data, "train")
    evidence["shortcuts"] = shortcuts(train, targets(train_rows).astype(bool), images, label)
    far = {}
    for folder in [*args.far, *([args.near] if args.near else [])]:
        scores = pack.ood(pack.run(foreign_images(folder, 1), ("embedding",))[0], ood["residual_variance"])
        far[pathlib.Path(folder).name] = scores
        evidence["out_of_distribution"][pathlib.Path(folder).name] = share((scores > ood["threshold"]).sum(), len(scores))
    near = far.pop(pathlib.Path(args.near).name) if args.near else np.array([])
    (docs / "evidence.json").write_text(json.dumps(evidence, indent=2) + "\n")
    figures(docs, positive, probability, own, far, near, ood["threshold"])
    print(json.dumps(evidence["held_out"]["images"]["auroc"]), json.dumps(evidence["held_out"]["patients"]["auroc"]), json.dumps(evidence["out_of_distribution"]))


if __name__ == "__main__":
    main()
