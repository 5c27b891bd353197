"""Make the thumbnails and labels.csv from the published archive (folder chest_xray/train with NORMAL and PNEUMONIA)."""

import argparse
import csv
import pathlib
import re

from PIL import Image

from dataset import SIZE
from split import patient_of


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--archive", required=True, help="chest_xray/train")
    parser.add_argument("--data", required=True, help="folder to write")
    args = parser.parse_args()
    out = pathlib.Path(args.data)
    out.mkdir(parents=True, exist_ok=True)
    with open(out / "labels.csv", "w", newline="") as handle:
        table = csv.writer(handle, lineterminator="\n")
        table.writerow(["file", "label", "patient", "organism"])
        for path in sorted(pathlib.Path(args.archive).glob("*/*.jpeg")):
            name = f"{path.stem}.webp"
            with Image.open(path) as image:
                image.convert("L").resize((SIZE, SIZE), Image.LANCZOS).save(out / name, quality=80)
            organism = re.search(r"bacteria|virus", path.stem)
            label = "normal" if path.parent.name == "NORMAL" else "pneumonia"
            table.writerow([name, label, patient_of(path.stem), organism.group(0) if organism else ""])


if __name__ == "__main__":
    main()
