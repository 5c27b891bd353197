"""Read a labelled folder with the binary and print its figures, per image and per group (patient, clip), for each finding of a program.

DIR holds images and labels.csv: a column file, the truth, and patient where there is one. A finding's truth is the column of its name (1: positive),
else the column label, where it holds the finding's name. Where the names differ, say --truth FINDING=COLUMN or --truth FINDING=COLUMN:VALUE[,VALUE].
With --split FILE --part NAME only the files of one part of a split are read. Images of a group become one answer as the pack aggregates a study.
"""

import argparse
import collections
import csv
import json
import os
import pathlib
import random
import subprocess
import tempfile

import numpy as np
from scipy import stats
from sklearn.metrics import roc_auc_score

PICTURES = {".webp", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm"}


def delong(truth, score):
    """AUROC with its 95% interval (DeLong, DeLong and Clarke-Pearson 1988), on the logit scale."""
    truth, score = np.asarray(truth, bool), np.asarray(score, float)
    positive, negative = score[truth], score[~truth]
    if min(len(positive), len(negative)) < 2:
        return (float("nan"),) * 3
    auc = roc_auc_score(truth, score)
    above = (stats.rankdata(np.concatenate([positive, negative]))[: len(positive)] - stats.rankdata(positive)) / len(negative)
    below = 1 - (stats.rankdata(np.concatenate([positive, negative]))[len(positive):] - stats.rankdata(negative)) / len(positive)
    variance = above.var(ddof=1) / len(positive) + below.var(ddof=1) / len(negative)
    if auc >= 1 or auc <= 0 or variance == 0:
        return auc, float("nan"), float("nan")
    logit, width = np.log(auc / (1 - auc)), 1.96 * np.sqrt(variance) / (auc * (1 - auc))
    return auc, *(1 / (1 + np.exp(-(logit + side * width))) for side in (-1, 1))


def share(hits, of):
    """A share with its exact 95% interval (Clopper-Pearson)."""
    if of == 0:
        return "none"
    interval = stats.binomtest(int(hits), int(of)).proportion_ci(method="exact")
    return f"{hits / of:.3f} ({interval.low:.3f}–{interval.high:.3f}, {hits} of {of})"


def overread(*arguments):
    """The lines that the binary prints, as JSON; some studies may fail."""
    run = subprocess.run([os.environ["OVERREAD_BIN"], *map(str, arguments)], capture_output=True, text=True)
    if run.returncode not in (0, 3):
        raise SystemExit(run.stderr)
    return [json.loads(line) for line in run.stdout.splitlines()]


def manifest(program):
    """The pack's own words."""
    for row in overread("pack", "ls", "--format", "jsonl"):
        if row["program"] == program:
            return json.loads((pathlib.Path(row["folder"]) / "configs/metadata.json").read_text())["overread"]
    raise SystemExit(f"no pack reads for program {program}; overread pack ls shows what there is")


def classify(program, files, *flags):
    """{file name: the program's result}, None where the file was not assessed."""
    answers, files = {}, list(files)
    if not files:
        return answers
    with tempfile.TemporaryDirectory() as folder:
        for file in files:
            (pathlib.Path(folder) / file.name).symlink_to(file.resolve())
        for result in overread("classify", folder, "--program", program, "--format", "jsonl", *flags):
            assessed = [one for one in result["results"] if one["status"] == "classified"]
            answers[pathlib.Path(result["source"]).name] = assessed[0] if assessed else None
    return answers


class Finding:
    """One finding of a pack: what is true of a row, what an image says, what a group of images says."""

    def __init__(self, pack, index, truth):
        self.index, self.spec, self.label = index, pack["findings"][index], pack["findings"][index]["label"]
        self.aggregation = pack.get("aggregation", {"method": "max-probability"})
        self.column, _, values = truth.get(self.label, "").partition(":")
        self.values = set(values.split(",")) if values else {"1", "1.0", "true", "True"}

    def true(self, row):
        if self.column:
            if self.column not in row:
                raise SystemExit(f"--truth {self.label}: labels.csv has no column {self.column}; it has {', '.join(row)}")
            return row[self.column] in self.values
        if self.label in row:
            return row[self.label] in self.values
        return row.get("label") == self.label

    def answer(self, result):
        """(logit, decision) of one image."""
        if result is None:
            return None
        found = result["findings"][self.index]
        return max(i["logits"][self.index] for i in result["images"] if i["status"] == "classified"), found["decision"]

    def together(self, answers):
        """(logit, decision) of a group, at the pack's own prevalence."""
        logits = sorted((a[0] for a in answers if a is not None), reverse=True)
        if not logits:
            return None
        method = self.aggregation["method"]
        counted = {"max-probability": logits[:1], "mean-logit": logits}.get(method, logits[: self.aggregation.get("top")])
        logit = float(np.mean(counted))
        calibration, decision = self.spec.get("calibration"), "indeterminate"
        if calibration:
            probability = 1 / (1 + np.exp(-(calibration["slope"] * logit + calibration["intercept"])))
            threshold = lambda key: (self.spec.get(key) or {}).get("probability")
            if threshold("rule_in") is not None and probability >= threshold("rule_in"):
                decision = "present"
            elif threshold("rule_out") is not None and probability <= threshold("rule_out"):
                decision = "absent"
        return logit, decision


def figures(name, truth, rows):
    """Prints one table of figures; rows are (logit, decision) or None."""
    kept = [(t, r) for t, r in zip(truth, rows) if r is not None]
    truth_kept, decisions = np.array([t for t, _ in kept], bool), np.array([r[1] for _, r in kept])
    auc = delong(truth_kept, [r[0] for _, r in kept])
    positive, negative = truth_kept.sum(), (~truth_kept).sum()
    print(f"\n{name}: {len(rows)}, of them positive {int(np.sum(truth))}")
    print(f"  refused (not assessed)     {share(len(rows) - len(kept), len(rows))}")
    print(f"  AUROC                      {auc[0]:.4f} (95% DeLong {auc[1]:.4f}–{auc[2]:.4f})")
    print(f"  sensitivity at rule-out    {share((truth_kept & (decisions != 'absent')).sum(), positive)}")
    print(f"  specificity at rule-out    {share((~truth_kept & (decisions == 'absent')).sum(), negative)}")
    print(f"  sensitivity at rule-in     {share((truth_kept & (decisions == 'present')).sum(), positive)}")
    print(f"  specificity at rule-in     {share((~truth_kept & (decisions != 'present')).sum(), negative)}")
    print(f"  indeterminate              {share((decisions == 'indeterminate').sum(), len(kept))}")


def faithfulness(finding, results):
    """The deletion test over positive images: how much the maps beat random and centre maps, bootstrap over images."""
    tests = [e["faithfulness"] for r in results if r for e in r["explanations"] if e["label"] == finding.label]
    if len(tests) < 2:
        print(f"\n{finding.label}, deletion test: {len(tests)} positive images are too few")
        return
    print(f"\n{finding.label}, deletion test on {len(tests)} positive images (area under the map's curve {np.mean([t['deletion_auc'] for t in tests]):.3f})")
    for other in ("random", "centre"):
        gain = np.array([t[f"{other}_auc"] - t["deletion_auc"] for t in tests])
        interval = stats.bootstrap((gain,), np.mean, rng=np.random.default_rng(1)).confidence_interval
        print(f"  beats {other:6} maps by      {gain.mean():.4f} (95% {interval.low:.4f} to {interval.high:.4f}), on {np.mean(gain > 0):.0%} of images")


def pointing(finding, rows, column, results):
    """The pointing game (Zhang 2018): is the map's highest cell in the box? Chance is the box's share of the image."""
    hits, areas = [], []
    for name, row in rows.items():
        maps = [e for e in (results.get(name) or {}).get("explanations", []) if e["label"] == finding.label]
        if not maps or not row[column].strip():
            continue
        left, top, right, bottom = map(float, row[column].replace(",", " ").split())
        x, y = maps[0]["peak"]
        hits.append(left <= x <= right and top <= y <= bottom)
        areas.append((right - left) * (bottom - top))
    if hits:
        print(f"\n{finding.label}, pointing game: {share(sum(hits), len(hits))}; chance, the boxes' share of the image, {np.mean(areas):.3f}")


def foreign(program, folder, most):
    """The share of a folder of strangers that the program refuses."""
    files = {f.name: f for f in sorted(folder.rglob("*")) if f.suffix.lower() in PICTURES}
    answers = classify(program, list(files.values())[:most], "--no-explain")
    print(f"  {folder.name:26} {share(sum(a is None for a in answers.values()), len(answers))}")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--finding", action="append", help="only this finding; may be given several times")
    parser.add_argument("--truth", action="append", default=[], metavar="FINDING=COLUMN[:VALUE,…]", help="where the truth of a finding stands")
    parser.add_argument("--group", default="patient", metavar="COLUMN", help="whose images become one answer (patient; clip)")
    parser.add_argument("--split", help="CSV with columns file and split")
    parser.add_argument("--part", default="test", help="which part of the split")
    parser.add_argument("--limit", type=int, metavar="N", help="only N files, drawn at random but always the same")
    parser.add_argument("--faithfulness", type=int, metavar="N", default=0, help="also test the explanations of N positive images of a finding")
    parser.add_argument("--boxes", metavar="COLUMN", help="also play the pointing game: left, top, right and bottom from 0 to 1")
    parser.add_argument("--foreign", type=pathlib.Path, nargs="+", default=[], metavar="DIR", help="also count what is refused of folders of strangers")
    parser.add_argument("--foreign-limit", type=int, default=500, metavar="N", help="at most so many files of each (500)")
    return parser.parse_args()


def rows_of(args):
    """{file: row of labels.csv}, of the part that is asked for."""
    with open(args.folder / "labels.csv") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    if args.split:
        with open(args.split) as file:
            part = {row["file"]: row for row in csv.DictReader(file) if row["split"] == args.part}
        # The split says who is who, where it does.
        rows = {name: row | part[name] for name, row in rows.items() if name in part}
    return dict(random.Random(1).sample(sorted(rows.items()), min(args.limit, len(rows)))) if args.limit else rows


def main():
    args = arguments()
    pack, rows = manifest(args.program), rows_of(args)
    truth = dict(one.split("=", 1) for one in args.truth)
    findings = [Finding(pack, i, truth) for i in range(len(pack["findings"]))]
    unknown = (set(args.finding or []) | set(truth)) - {f.label for f in findings}
    if unknown:
        raise SystemExit(f"the pack has no finding {', '.join(sorted(unknown))}; it has {', '.join(f.label for f in findings)}")
    findings = [f for f in findings if not args.finding or f.label in args.finding]
    files = {name: args.folder / name for name in rows}
    results = classify(args.program, files.values(), *([] if args.boxes else ["--no-explain"]))
    for finding in findings:
        true = {name: finding.true(row) for name, row in rows.items()}
        answers = {name: finding.answer(results[name]) for name in rows}
        figures(f"{finding.label}, images", list(true.values()), list(answers.values()))
        if all(args.group in row for row in rows.values()):
            groups = collections.defaultdict(list)
            for name, row in rows.items():
                groups[row[args.group]].append(name)
            together = [finding.together([answers[name] for name in names]) for names in groups.values()]
            figures(f"{finding.label}, by {args.group}", [any(true[name] for name in names) for names in groups.values()], together)
        if args.boxes:
            pointing(finding, {name: row for name, row in rows.items() if true[name]}, args.boxes, results)
        if args.faithfulness:
            positives = [files[name] for name in rows if true[name]][: args.faithfulness]
            faithfulness(finding, classify(args.program, positives, "--faithfulness").values())
    if args.foreign:
        print("\nstrangers refused")
        for folder in args.foreign:
            foreign(args.program, folder, args.foreign_limit)


if __name__ == "__main__":
    main()
