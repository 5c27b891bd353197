"""Write split.csv: patients into train, calibration and held-out test, stratified by class.

A patient is the number in the file name (`IM-0115`, `NORMAL2-IM-0115` and any third name with
that number are taken as one child; so are all files of one `person` number). Byte-identical
files are kept once, and patients that share one are merged.
"""

import argparse
import csv
import hashlib
import pathlib
import re

import numpy as np

from dataset import read_labels

SEED = 20180222
SHARES = (("calibration", 0.12), ("test", 0.12))


def patient_of(name):
    """The patient that a file name points at."""
    number = re.search(r"IM-(\d+)", name)
    if number:
        return f"IM-{number.group(1)}"
    return re.match(r"person\d+", name).group(0)


def groups(data, names):
    """Kept files by patient, with patients that share identical bytes merged."""
    first, parent, kept = {}, {}, {}
    def root(patient):
        while parent.get(patient, patient) != patient:
            patient = parent[patient]
        return patient
    for name in sorted(names):
        digest = hashlib.sha256((pathlib.Path(data) / name).read_bytes()).hexdigest()
        patient = patient_of(name)
        if digest in first:
            parent[root(patient)] = root(patient_of(first[digest]))
            continue
        first[digest] = name
        kept[name] = patient
    return {name: root(patient) for name, patient in kept.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="folder with labels.csv and the images")
    args = parser.parse_args()
    labels = read_labels(args.data)
    patient = groups(args.data, labels)
    by_patient = {}
    for name, who in patient.items():
        by_patient.setdefault(who, set()).add(labels[name]["label"])
    assert all(len(found) == 1 for found in by_patient.values()), "a patient of two classes"
    generator, part = np.random.default_rng(SEED), {}
    for label in ("normal", "pneumonia"):
        whose = sorted(who for who, found in by_patient.items() if label in found)
        generator.shuffle(whose)
        start = 0
        for name, share in SHARES:
            stop = start + round(share * len(whose))
            part.update(dict.fromkeys(whose[start:stop], name))
            start = stop
        part.update(dict.fromkeys(whose[start:], "train"))
    with open(pathlib.Path(__file__).with_name("split.csv"), "w", newline="") as handle:
        out = csv.writer(handle, lineterminator="\n")
        out.writerow(["file", "patient", "label", "split"])
        for name in sorted(patient):
            out.writerow([name, patient[name], labels[name]["label"], part[patient[name]]])


if __name__ == "__main__":
    main()
