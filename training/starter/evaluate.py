"""Held-out cases, seen for the first time: changes of the image, shortcuts, foreign images. Writes docs/evidence.json and figures into the pack.

The figures of the card's first table are those of `overread validate` (`validation.json`, made before by `figures.sh`); here is what it does not ask: how the
answer stands when the same picture arrives differently, what a linear model makes of things that are not the organ, and whether the product refuses the
other programs' images. Where the program was cross-validated, each fold is answered by the network that did not see it.
"""

import argparse
import json
import os
import pathlib
import subprocess

import cv2
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler
from sklearn.pipeline import make_pipeline

from calibrate import Answers
from data import load, resize, targets
from programs import PROGRAMS
from pca import ood_score

SOME = 150  # images of each foreign folder


def changes(program):
    """Named ways in which the same image may arrive; float [height, width, channels] in [0, 1]."""
    def code(quality):
        def change(x):
            flag = cv2.IMREAD_COLOR if x.shape[2] == 3 else cv2.IMREAD_GRAYSCALE
            return cv2.imdecode(cv2.imencode(".jpg", (x * 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality])[1], flag).reshape(x.shape) / np.float32(255)
        return change
    def half(x):
        small = cv2.resize(x, (x.shape[1] // 2, x.shape[0] // 2), interpolation=cv2.INTER_AREA)
        return cv2.resize(small, x.shape[1::-1], interpolation=cv2.INTER_LINEAR).reshape(x.shape)
    def margin(x):
        m = x.shape[0] // 14
        out = np.zeros_like(x)
        out[m:-m, m:-m] = x[m:-m, m:-m]
        return out
    def corners(x):
        s, out = x.shape[0] // 5, x.copy()
        for rows in (slice(0, s), slice(-s, None)):
            for columns in (slice(0, s), slice(-s, None)):
                out[rows, columns] = 0
        return out
    def reinhard(mean, spread):
        def change(x):
            lab = cv2.cvtColor(x.astype(np.float32), cv2.COLOR_RGB2Lab)
            m = lab.mean((0, 1))
            return np.clip(cv2.cvtColor((lab - m) * np.float32(spread) + m + np.array(mean, np.float32), cv2.COLOR_Lab2RGB), 0, 1)
        return change
    found = {"JPEG quality 40": code(40), "half the size and back": half, "gamma 0.7": lambda x: x**0.7, "gamma 1.4": lambda x: x**1.4,
             "contrast 0.7": lambda x: (x - 0.5) * 0.7 + 0.5, "margin blanked": margin, "corners blanked": corners}
    if program.mirror[0]:
        found["mirrored"] = lambda x: np.ascontiguousarray(x[:, ::-1])
    if program.channels == 3:
        found |= {"warmer": lambda x: np.clip(x * np.array([1.1, 1, 0.9], np.float32), 0, 1), "colder": lambda x: np.clip(x * np.array([0.9, 1, 1.1], np.float32), 0, 1)}
    if program.stain:
        # One step: the mean spread of L*, a*, b* between the tiles of this set, up and down.
        found |= {"stain: darker, redder": reinhard((-8, 6, -4), 1.15), "stain: paler, bluer": reinhard((8, -6, 4), 0.87)}
    return found


def mean_auroc(label, logit):
    return {k: round(float(roc_auc_score(label[:, i], logit[:, i])), 4) for i, k in enumerate(NAMES) if 0 < label[:, i].sum() < len(label)}


def held_out(program, data, pack, folds):
    """(rows, images, answers) for each part that some network did not see."""
    if not program.folds:
        return [(*load(program, data, {"test"}), Answers(pack))]
    return [(*load(program, data, {f"fold{n}"}), Answers(folds[n])) for n in range(program.folds)]


def shortcuts(program, data, parts):
    """What a linear model makes of the outer margin, and of the histogram, of the same images."""
    train = load(program, data, {"train"} if not program.folds else {"fold0", "fold1"})
    test = load(program, data, {"test"} if not program.folds else {"fold2"})
    def outside(images):
        out = []
        for image in images:
            small, m = cv2.resize(image, (28, 28), interpolation=cv2.INTER_AREA).reshape(28, 28, -1).astype(np.float32) / 255, 2
            small[m:-m, m:-m] = 0
            out.append(small.ravel())
        return np.stack(out)
    histogram = lambda images: np.stack([np.concatenate([np.histogram(i[..., c], 24, (0, 255))[0] / i[..., 0].size for c in range(i.shape[2])]) for i in images])
    found = {}
    for name, view in (("outer margin (a fourteenth of the side)", outside), ("histogram of intensity", histogram)):
        a, b = view(train[1]), view(test[1])
        scores = [make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=400)).fit(a, y).decision_function(b)
                  if 0 < y.sum() < len(y) else np.zeros(len(b)) for y in targets(program, train[0]).T]
        found[name] = mean_auroc(targets(program, test[0]), np.stack(scores, 1))
    return found


def refused(binary, pack, folder, files):
    """Share of files that the product does not assess with this pack."""
    paths = [str(pathlib.Path(folder) / f) for f in files]
    run = subprocess.run([binary, "classify", "--format", "jsonl", "--no-explain", "--allow-untrusted", "--pack", str(pack), *paths], stdout=subprocess.PIPE, check=True)
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(lines) == len(paths), f"{len(lines)} answers for {len(paths)} files"
    return sum(line["status"] == "not-assessed" for line in lines), len(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", choices=PROGRAMS)
    parser.add_argument("--data", required=True)
    parser.add_argument("--pack", required=True)
    parser.add_argument("--fold-packs", nargs="*", default=[])
    args = parser.parse_args()
    global NAMES
    program, pack, binary = PROGRAMS[args.program], pathlib.Path(args.pack), os.environ["OVERREAD_BIN"]
    NAMES = list(program.labels)
    parts = held_out(program, args.data, pack, args.fold_packs)
    label = np.concatenate([targets(program, rows) for rows, _, _ in parts])
    shown = [[resize(i, program.size) for i in images] for _, images, _ in parts]
    answer = lambda change: np.concatenate([a.run(np.clip(change(i), 0, 1).astype(np.float32) for i in those)[0] for those, (_, _, a) in zip(shown, parts)])
    evidence = {"images": mean_auroc(label, answer(lambda x: x)),
                "changes": {name: mean_auroc(label, answer(change)) for name, change in changes(program).items()},
                "shortcuts": shortcuts(program, args.data, parts), "foreign": {}, "own_refused": {}}
    for other in [*PROGRAMS.values()]:
        if other.name != program.name:
            rows = load_rows(other, args.data)
            evidence["foreign"][other.data] = refused(binary, pack, pathlib.Path(args.data) / other.data, rows)
    for extra in ("cxr_pneumonia", "cxr_adult_nih"):
        files = sorted(p.name for p in (pathlib.Path(args.data) / extra).glob("*.webp"))
        evidence["foreign"][extra] = refused(binary, pack, pathlib.Path(args.data) / extra, files[::max(1, len(files) // SOME)][:SOME])
    if not program.folds:
        evidence["own_refused"] = refused(binary, pack, pathlib.Path(args.data) / program.data, [r["file"] for r in parts[0][0]])
    else:
        shares = [refused(binary, args.fold_packs[n], pathlib.Path(args.data) / program.data, [r["file"] for r in parts[n][0]]) for n in range(program.folds)]
        evidence["own_refused"] = [sum(s[0] for s in shares), sum(s[1] for s in shares)]
    (pack / "docs").mkdir(exist_ok=True)
    (pack / "docs/evidence.json").write_text(json.dumps(evidence, indent=1) + "\n")
    print(json.dumps(evidence, indent=1))


def load_rows(program, data):
    """Some files of another program, evenly over its folder; of its test part where it has one."""
    from data import read_split
    files = sorted(f for f, (_, part) in read_split(program).items() if part in ("test", "fold0"))
    return files[::max(1, len(files) // SOME)][:SOME]


if __name__ == "__main__":
    main()
