"""`overread validate --results` beside scikit-learn: AUROC, sensitivity and specificity with intervals, 100,000 cases × 3 findings.

The Python side is what a data scientist would write: scikit-learn's `roc_auc_score`, and NumPy for the shares, over 1000 bootstrap resamples. It starts from
arrays that are in memory; our side includes start-up, reading the JSON lines and the label file, exact and DeLong intervals, the threshold table, the
reliability diagram, and writing record and page.
"""

import argparse
import csv
import json
import os
import pathlib
import subprocess
import tempfile
import time

import numpy as np
from sklearn.metrics import roc_auc_score

ROOT = pathlib.Path(__file__).resolve().parent.parent
OVERREAD = os.environ.get("OVERREAD_BIN", str(ROOT / "target/release/overread"))
FINDINGS = ("first", "second", "third")
RULE_OUT, RULE_IN = 0.2, 0.8


def make(folder, cases):
    """Writes results and labels, and returns (truth, probability) of each finding."""
    rng = np.random.default_rng(1)
    truth = {f: rng.random(cases) < share for f, share in zip(FINDINGS, (0.5, 0.1, 0.02))}
    score = {f: 1 / (1 + np.exp(-(2.0 * (truth[f] - 0.5) + rng.normal(0, 1.2, cases)))) for f in FINDINGS}
    decision = lambda p: "present" if p >= RULE_IN else "absent" if p <= RULE_OUT else "indeterminate"
    code = {"scheme": "SCT", "value": "404684003", "meaning": "Clinical finding"}
    with open(folder / "results.jsonl", "w") as results, open(folder / "labels.csv", "w") as labels:
        table = csv.writer(labels)
        table.writerow(["file", *FINDINGS])
        for i in range(cases):
            name, p = f"{i:06}.dcm", {f: float(score[f][i]) for f in FINDINGS}
            table.writerow([name, *(int(truth[f][i]) for f in FINDINGS)])
            findings = [
                {"label": f, "code": code, "probability": p[f], "decision": decision(p[f]), "rule_out": RULE_OUT, "rule_in": RULE_IN, "prevalence": 0.5, "experimental": False}
                for f in FINDINGS
            ]
            image = {"path": f"studies/{name}", "frame": 1, "status": "classified", "reason": None, "out_of_distribution": 1.0, "logits": [float(np.log(v / (1 - v))) for v in p.values()]}
            answer = {"program": "bench", "pack": {"id": "bench", "version": "1", "research_only": False}, "edition": "0" * 64, "status": "classified", "reason": None,
                      "findings": findings, "explanations": [], "images": [image]}
            study = {"study_instance_uid": f"2.25.{i}", "images": [f"studies/{name}"]}
            results.write(json.dumps({"schema": "overread.result/1", "source": f"studies/{name}", "study": study, "status": "classified", "reason": None,
                                      "results": [answer], "artifacts": [], "warnings": []}) + "\n")
    return {f: (truth[f], score[f]) for f in FINDINGS}


def figures(truth, score):
    """What is bootstrapped: AUROC, sensitivity and specificity at both operating points."""
    positive, negative = score[truth], score[~truth]
    return roc_auc_score(truth, score), *((positive >= t).mean() for t in (RULE_OUT, RULE_IN)), *((negative < t).mean() for t in (RULE_OUT, RULE_IN))


def python(sets, resamples):
    rng, found = np.random.default_rng(2), {}
    for name, (truth, score) in sets.items():
        drawn = []
        for _ in range(resamples):
            pick = rng.integers(0, len(truth), len(truth))
            drawn.append(figures(truth[pick], score[pick]))
        found[name] = (figures(truth, score), np.percentile(drawn, [2.5, 97.5], axis=0))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--resamples", type=int, default=1000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        sets = make(folder, args.cases)
        command = [OVERREAD, "validate", "--results", folder / "results.jsonl", "--labels", folder / "labels.csv", "--out", folder / "out"]
        ours = []
        for _ in range(3):
            started = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            ours.append(time.perf_counter() - started)
        record = json.loads((folder / "out/validation.json").read_text())
        started = time.perf_counter()
        theirs = python(sets, args.resamples)
        spent = time.perf_counter() - started
    for finding in record["findings"]:
        (area, *_), interval = theirs[finding["label"]]
        auroc = finding["cases"]["auroc"]
        assert abs(auroc["value"] - area) < 1e-9, "the two sides must say the same"
        print(f"{finding['label']:8} AUROC {auroc['value']:.5f}: DeLong {auroc['low']:.5f}–{auroc['high']:.5f}, bootstrap {interval[0][0]:.5f}–{interval[1][0]:.5f}")
    best = sorted(ours)[1]
    print(f"\n{args.cases} cases, {len(sets)} findings; {args.resamples} resamples in Python; median of 3 runs of overread\n")
    print("| | overread | scikit-learn, bootstrap | ratio |\n| --- | --- | --- | --- |")
    print(f"| figures with intervals, s | {best:.2f} | {spent:.1f} | {spent / best:.0f}× |")


if __name__ == "__main__":
    main()
