"""Write splits/PROGRAM.csv: groups (patients) into train, calibration and test, or into folds; stratified by the rarest finding.

Byte-identical files are kept once. Where nobody says whose an image is, images that are nearly identical at 24 x 24 pixels
(correlation above 0.95) count as one group: neighbouring slices of one patient mostly do.
"""

import argparse
import collections
import csv

import numpy as np
from PIL import Image

from data import HERE, digest, rows_of, targets
from programs import PROGRAMS

SEED, SHARES, ALIKE = 20261126, (("test", 0.17), ("calibration", 0.15)), 0.95


def alike(paths):
    """Connected components of near-identical images."""
    small = np.stack([np.asarray(Image.open(p).convert("L").resize((24, 24), Image.BOX), np.float64).ravel() for p in paths])
    small -= small.mean(1, keepdims=True)
    small /= np.linalg.norm(small, axis=1, keepdims=True)
    parent = list(range(len(paths)))
    def root(i):
        while parent[i] != i:
            i = parent[i]
        return i
    for i, j in zip(*np.where(np.triu(small @ small.T > ALIKE, 1))):
        parent[root(int(i))] = root(int(j))
    return [f"like-{root(i)}" for i in range(len(paths))]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", choices=PROGRAMS)
    parser.add_argument("--data", required=True)
    args = parser.parse_args()
    program = PROGRAMS[args.program]
    rows, seen = [], set()
    for row in rows_of(program, args.data):
        key = digest(f"{args.data}/{program.data}/{row['file']}")
        if key not in seen:
            rows.append(row)
        seen.add(key)
    label = targets(program, rows)
    groups = [row[program.group] for row in rows] if program.group else alike([f"{args.data}/{program.data}/{r['file']}" for r in rows])
    rarity = label.sum(0).argsort()
    members = collections.defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    strata, part, generator = collections.defaultdict(list), {}, np.random.default_rng(SEED)
    for group, those in members.items():
        found = label[those].max(0)
        strata[next((int(f) for f in rarity if found[f]), -1)].append(group)
    if program.folds:
        number = 0
        for stratum in sorted(strata):
            generator.shuffle(strata[stratum])
            for group in strata[stratum]:
                part[group] = f"fold{number % program.folds}"
                number += 1
    else:
        for stratum in sorted(strata):
            whose, start = strata[stratum], 0
            generator.shuffle(whose)
            total, images = sum(len(members[g]) for g in whose), 0
            want = [(name, share * total) for name, share in SHARES]
            for group in whose:
                while want and images >= want[0][1]:
                    images, want = 0, want[1:]
                part[group] = want[0][0] if want else "train"
                images += len(members[group])
    (HERE / "splits").mkdir(exist_ok=True)
    with open(HERE / "splits" / f"{program.name}.csv", "w", newline="") as handle:
        out = csv.writer(handle, lineterminator="\n")
        out.writerow(["file", "group", "split"])
        out.writerows([row["file"], group, part[group]] for row, group in zip(rows, groups))
    count = collections.Counter(part[g] for g in groups)
    print(program.name, dict(count), "groups", dict(collections.Counter(part.values())), "largest", max(map(len, members.values())))
    for name in sorted(count):
        print("  ", name, dict(zip(program.labels, label[[part[g] == name for g in groups]].sum(0).astype(int))))


if __name__ == "__main__":
    main()
