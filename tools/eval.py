"""Read a labelled folder with the binary and print its figures, per image and per patient.

DIR holds images and labels.csv (columns file, label, and patient where there is one); a row is positive where its label
is the finding's. With --split FILE --part NAME only the files of one part of a split are read.
"""

import argparse
import collections
import csv
import json
import os
import pathlib
import subprocess
import tempfile

import numpy as np
from scipy import stats
from sklearn.metrics import roc_auc_score


def delong(truth, score):
    """AUROC with its 95% interval (DeLong, DeLong and Clarke-Pearson 1988), on the logit scale."""
    truth, score = np.asarray(truth, bool), np.asarray(score, float)
    positive, negative = score[truth], score[~truth]
    auc = roc_auc_score(truth, score)
    above = (stats.rankdata(np.concatenate([positive, negative]))[: len(positive)] - stats.rankdata(positive)) / len(negative)
    below = 1 - (stats.rankdata(np.concatenate([positive, negative]))[len(positive):] - stats.rankdata(negative)) / len(positive)
    variance = above.var(ddof=1) / len(positive) + below.var(ddof=1) / len(negative)
    if auc >= 1 or variance == 0:
        return auc, float("nan"), float("nan")
    logit, width = np.log(auc / (1 - auc)), 1.96 * np.sqrt(variance) / (auc * (1 - auc))
    return auc, *(1 / (1 + np.exp(-(logit + side * width))) for side in (-1, 1))


def share(hits, of):
    """A share with its exact 95% interval (Clopper-Pearson)."""
    if of == 0:
        return "none"
    interval = stats.binomtest(int(hits), int(of)).proportion_ci(method="exact")
    return f"{hits / of:.3f} ({interval.low:.3f}–{interval.high:.3f}, {hits} of {of})"


def classify(program, folder, finding):
    """{file name: (logit, probability, decision)}; None where the study was not assessed."""
    command = [os.environ["OVERREAD_BIN"], "classify", str(folder), "--program", program, "--format", "jsonl", "--no-explain"]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode not in (0, 3):
        raise SystemExit(run.stderr)
    answers = {}
    for line in run.stdout.splitlines():
        result = json.loads(line)
        answers[pathlib.Path(result["source"]).name] = None
        for one in result["results"]:
            index = next(i for i, f in enumerate(one["findings"]) if f["label"] == finding)
            found, images = one["findings"][index], [i for i in one["images"] if i["status"] == "classified"]
            if images:
                logit = max(image["logits"][index] for image in images)
                answers[pathlib.Path(result["source"]).name] = (logit, found["probability"], found["decision"])
    return answers


def figures(name, truth, rows):
    """Prints one table of figures; rows are (logit, probability, decision) or None."""
    kept = [(t, r) for t, r in zip(truth, rows) if r is not None]
    truth_kept, decisions = np.array([t for t, _ in kept], bool), np.array([r[2] for _, r in kept])
    auc = delong(truth_kept, [r[0] for _, r in kept])
    positive, negative = truth_kept.sum(), (~truth_kept).sum()
    print(f"\n{name}: {len(rows)}, of them positive {int(np.sum(truth))}, not assessed {len(rows) - len(kept)}")
    print(f"  AUROC                      {auc[0]:.4f} (95% DeLong {auc[1]:.4f}–{auc[2]:.4f})")
    print(f"  sensitivity at rule-out    {share((truth_kept & (decisions != 'absent')).sum(), positive)}")
    print(f"  specificity at rule-out    {share((~truth_kept & (decisions == 'absent')).sum(), negative)}")
    print(f"  sensitivity at rule-in     {share((truth_kept & (decisions == 'present')).sum(), positive)}")
    print(f"  specificity at rule-in     {share((~truth_kept & (decisions != 'present')).sum(), negative)}")
    print(f"  indeterminate              {share((decisions == 'indeterminate').sum(), len(kept))}")


def faithfulness(program, positives):
    """The deletion test over positive images: how much the maps beat random and centre maps, bootstrap over images."""
    command = [os.environ["OVERREAD_BIN"], "classify", *map(str, positives), "--program", program, "--format", "jsonl", "--faithfulness"]
    run = subprocess.run(command, capture_output=True, text=True)
    tests = [e["faithfulness"] for line in run.stdout.splitlines() for one in json.loads(line)["results"] for e in one["explanations"]]
    print(f"\nexplanations, deletion test on {len(tests)} positive images (area under the map's curve {np.mean([t['deletion_auc'] for t in tests]):.3f})")
    for other in ("random", "centre"):
        gain = np.array([t[f"{other}_auc"] - t["deletion_auc"] for t in tests])
        interval = stats.bootstrap((gain,), np.mean, rng=np.random.default_rng(1)).confidence_interval
        print(f"  beats {other:6} maps by      {gain.mean():.4f} (95% {interval.low:.4f} to {interval.high:.4f}), on {np.mean(gain > 0):.0%} of images")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--finding", default="pneumonia")
    parser.add_argument("--split", help="CSV with columns file and split")
    parser.add_argument("--part", default="test", help="which part of the split")
    parser.add_argument("--faithfulness", type=int, metavar="N", default=0, help="also test the explanations of the first N positive images")
    args = parser.parse_args()
    with open(args.folder / "labels.csv") as file:
        labels = {row["file"]: row for row in csv.DictReader(file)}
    if args.split:
        with open(args.split) as file:
            part = {row["file"]: row for row in csv.DictReader(file) if row["split"] == args.part}
        # The split says who is who, where it does.
        labels = {name: row | part[name] for name, row in labels.items() if name in part}
    with tempfile.TemporaryDirectory() as folder:
        for name in labels:
            (pathlib.Path(folder) / name).symlink_to((args.folder / name).resolve())
        answers = classify(args.program, folder, args.finding)
    truth = [row["label"] == args.finding for row in labels.values()]
    figures("images", truth, [answers[name] for name in labels])
    if all("patient" in row for row in labels.values()):
        patients = collections.defaultdict(list)
        for name, row in labels.items():
            patients[row["patient"]].append((row["label"] == args.finding, answers[name]))
        top = [max((a for _, a in of if a is not None), default=None) for of in patients.values()]
        figures("patients (highest image)", [any(t for t, _ in of) for of in patients.values()], top)
    if args.faithfulness:
        positives = [args.folder / name for name, row in labels.items() if row["label"] == args.finding]
        faithfulness(args.program, positives[: args.faithfulness])


if __name__ == "__main__":
    main()
