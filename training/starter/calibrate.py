"""Fit what lies between a logit and an answer: calibration, thresholds, the out-of-distribution model; write metadata and golden results.

Out of distribution is fitted on training images and gently changed copies of them; its limit lets through 95% of *changed* calibration images (another
codec, size, exposure), as images from elsewhere will be. Calibration and thresholds are fitted on cases apart from training: the
calibration part, or, where there are too few patients for one, on each fold answered by the network that did not see it.
"""

import argparse
import hashlib
import json
import pathlib

import numpy as np
import onnxruntime
from PIL import Image
from safetensors.numpy import load_file, save_file
from scipy.stats import beta
from sklearn.linear_model import LogisticRegression

from augment import gentle
from data import load, normalise, resize, targets
from describe import metadata
from programs import PROGRAMS
import pca as base

COMPONENTS, OWN_REFUSED, CONFIDENCE, FEW = 192, 0.05, 0.95, 20
RATES = (0.05, 0.10, 0.15, 0.20)  # the lowest that the number of patients can show is taken


class Answers:
    """The backbone and head of a pack folder."""

    def __init__(self, folder):
        self.session = onnxruntime.InferenceSession(pathlib.Path(folder) / "models/backbone.onnx", providers=["CPUExecutionProvider"])
        self.head = load_file(pathlib.Path(folder) / "head.safetensors")

    def run(self, images):
        """Logits and embeddings of float images."""
        pooled, embedding, batch = [], [], []
        def flush():
            out = self.session.run(["pooled", "embedding"], {"image": np.stack(batch)})
            pooled.append(out[0]), embedding.append(out[1]), batch.clear()
        for image in images:
            batch.append(normalise(image))
            if len(batch) == 32:
                flush()
        if batch:
            flush()
        return np.concatenate(pooled) @ self.head["weight"].T + self.head["bias"], np.concatenate(embedding).astype(np.float64)


def aggregate(program, logits):
    """One answer of a case's images, as `read::reader` makes it."""
    if program.over == "mean-logit":
        return logits.mean(0)
    if program.over == "top-mean-logit":
        return np.sort(logits, 0)[::-1][:program.top].mean(0)
    return logits.max(0)


def cases(program, rows, logits, label):
    """Logits and labels of cases, and the group (patient) of each."""
    names = [row[program.case] for row in rows]
    where = [[i for i, n in enumerate(names) if n == name] for name in sorted(set(names))]
    return (np.stack([aggregate(program, logits[w]) for w in where]), np.stack([label[w].max(0) for w in where]).astype(bool),
            np.array([rows[w[0]]["group"] for w in where]))


def most_errors(number):
    """The lowest rate that so many patients can show, and the most errors whose exact one-sided bound stays within it."""
    for rate in RATES:
        fine = [m for m in range(number) if beta.ppf(CONFIDENCE, m + 1, number - m) <= rate]
        if fine:
            return rate, max(fine)
    return None


def platt(logit, positive):
    """Slope and intercept; the prior of Platt (1999) keeps the slope finite where the classes are apart."""
    sick, well = positive.sum(), (~positive).sum()
    goal = np.where(positive, (sick + 1) / (sick + 2), 1 / (well + 2))
    fit = LogisticRegression(C=1e6, max_iter=1000).fit(np.tile(logit, 2)[:, None], np.repeat([True, False], len(logit)), np.concatenate([goal, 1 - goal]))
    return float(fit.coef_[0, 0]), float(fit.intercept_[0])


def finding(logit, positive, group):
    """Calibration, and the thresholds that the number of patients allows: a patient is missed where any of the positive cases is."""
    slope, intercept = platt(logit, positive)
    if slope <= 0.05:
        return {"experimental": True}  # ordered the wrong way on these cases: a score, no probability
    ill = np.sort([logit[positive & (group == g)].min() for g in set(group[positive])])
    healthy = np.sort([logit[~positive & (group == g)].max() for g in set(group[~positive])])[::-1]
    probability = lambda x: 1 / (1 + np.exp(-(slope * x + intercept)))
    out = {"experimental": len(ill) < FEW,
           "calibration": {"method": "platt", "slope": slope, "intercept": intercept, "reference_prevalence": round(float(positive.mean()), 4),
                           "cases": len(positive), "patients": len(set(group)), "positives": len(ill)}}
    misses, alarms = most_errors(len(ill)), most_errors(len(healthy))
    low = probability(ill[misses[1]]) - 1e-6 if misses and len(ill) >= FEW else None
    high = probability(healthy[alarms[1]]) + 1e-6 if alarms else None
    # Where the classes lie far apart the bound allows much: nothing is called `present` that is less likely than not, nor `absent` that is more.
    low, high = low and min(low, 0.5 - 1e-6), high and max(high, 0.5 + 1e-6)
    if low is not None and low > 2e-6:
        out["rule_out"] = {"probability": round(float(low), 6), "max_miss_rate": misses[0], "confidence": CONFIDENCE, "positive_patients": len(ill),
                           "misses": int((probability(ill) <= low).sum())}
    if high is not None and high < 1 - 2e-6:
        out["rule_in"] = {"probability": round(float(high), 6), "max_false_alarm_rate": alarms[0], "confidence": CONFIDENCE, "negative_patients": len(healthy),
                          "false_alarms": int((probability(healthy) >= high).sum())}
    return out


def golden(program, answers, tensors, ours, pack):
    """A synthetic picture with its tensor, logits and out-of-distribution score: what other implementations must repeat."""
    folder = pack / "golden"
    folder.mkdir(exist_ok=True)
    wide, high = 300, 260
    y, x = np.mgrid[0:high, 0:wide].astype(np.float64)
    planes = [127 + 90 * np.sin(x / (17 + 5 * c) + c) * np.cos(y / (23 - 4 * c)) + 30 * np.sin((x + y) / (5 + c)) for c in range(3)]
    picture = np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8)
    picture = picture if program.channels == 3 else picture[..., :1]
    path = folder / "waves.png"
    Image.fromarray(picture if program.channels == 3 else picture[..., 0]).save(path, optimize=True)
    image = resize(picture, program.size)
    logits, embedding = answers.run([image])
    score = base.ood_score(embedding, tensors["ood.mean"], tensors["ood.components"], tensors["ood.variance"], ours["out_of_distribution"]["residual_variance"])
    entry = {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "logits": [float(v) for v in logits[0]], "ood_score": float(score[0])}
    save_file({"waves.png": np.ascontiguousarray(image.transpose(2, 0, 1), np.float32)}, folder / "golden.safetensors")
    (folder / "golden.json").write_text(json.dumps([entry], indent=2) + "\n")


def store(pack, meta, model):
    """Write metadata and the out-of-distribution model into a pack; returns the head's tensors."""
    mean, components, variance, left = model
    meta["overread"]["out_of_distribution"]["residual_variance"] = left
    tensors = {k: v for k, v in load_file(pack / "head.safetensors").items() if not k.startswith("ood.")}
    tensors |= {"ood.mean": mean, "ood.components": components, "ood.variance": variance}
    tensors = {k: np.ascontiguousarray(v, np.float32) for k, v in tensors.items()}
    save_file(tensors, pack / "head.safetensors")
    (pack / "configs").mkdir(exist_ok=True)
    (pack / "configs/metadata.json").write_text(json.dumps(meta, indent=2) + "\n")
    return tensors


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", choices=PROGRAMS)
    parser.add_argument("--data", required=True)
    parser.add_argument("--pack", required=True)
    parser.add_argument("--fold-packs", nargs="*", default=[], help="packs that did not see fold 0, 1, …")
    args = parser.parse_args()
    program, pack, rng = PROGRAMS[args.program], pathlib.Path(args.pack), np.random.default_rng(7)
    answers = Answers(pack)
    parts = {f"fold{n}" for n in range(program.folds)} or {"train"}
    _, images = load(program, args.data, parts)
    chosen = rng.permutation(len(images))[:2400]
    copies = 1 if len(chosen) > 1200 else 3
    plain = [resize(images[i], program.size) for i in chosen]
    _, embedding = answers.run(plain + [gentle(p, rng) for p in plain for _ in range(copies)])
    mean, components, variance, left = base.fit_ood(embedding, min(COMPONENTS, len(chosen) // 4))
    score = lambda e: base.ood_score(e, mean, components, variance, left)

    logits, label, known, own, changed, fold_models = [], [], [], [], [], []
    for number, part in enumerate(sorted(parts) if program.folds else ["calibration"]):
        rows, images = load(program, args.data, {part})
        shown = [resize(image, program.size) for image in images]
        apart = Answers(args.fold_packs[number]) if program.folds else answers
        found, embedding = apart.run(shown)
        logits.append(found), label.append(targets(program, rows)), known.extend(rows)
        if program.folds:
            # A network of another fold has another embedding: its own model of it, fitted on what it was trained on, tells how far unseen patients lie.
            others = [resize(i, program.size) for i in load(program, args.data, parts - {part})[1]]
            _, seen = apart.run(others + [gentle(p, rng) for p in others])
            model = base.fit_ood(seen, min(COMPONENTS, len(others) // 4))
            fold_models.append(model)
            far = lambda e: base.ood_score(e, *model)
        else:
            far = score
        own.append(far(embedding))
        changed.append(far(apart.run(gentle(p, rng) for p in shown)[1]))
    own, changed = np.concatenate(own), np.concatenate(changed)
    limit = float(np.quantile(np.concatenate([own, changed]), 1 - OWN_REFUSED / (3 if program.folds else 2)))
    logit, positive, group = cases(program, known, np.concatenate(logits), np.concatenate(label))

    meta = metadata(program)
    ours = meta["overread"]
    for index, spec in enumerate(ours["findings"]):
        spec |= finding(logit[:, index], positive[:, index], group)
        print(spec["label"], {k: spec.get(k) for k in ("experimental", "calibration", "rule_out", "rule_in")})
    ours["out_of_distribution"] = {"method": "ppca-mahalanobis", "threshold": limit, "residual_variance": left,
                                   "own_refused": {"apart": round(float(np.mean(own > limit)), 4), "apart_changed": round(float(np.mean(changed > limit)), 4)}}
    print("own", ours["out_of_distribution"])
    tensors = store(pack, meta, (mean, components, variance, left))
    golden(program, answers, tensors, ours, pack)
    for folder, model in zip(args.fold_packs, fold_models):
        # The fold's network with its own model of what it knows; calibration and thresholds are those of all folds together.
        store(pathlib.Path(folder), meta, model)


if __name__ == "__main__":
    main()
