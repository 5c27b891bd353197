"""Images and labels in memory, the split, and the one way an image becomes the network's input.

`picture` is the reference for every other implementation: float colours in [0, 1] (grey by ITU-R 601 luma), stretched
with Pillow's antialiased bilinear filter on float32, then (x - MEAN) / STD, channels first.
"""

import csv
import hashlib
import pathlib

import numpy as np
from PIL import Image

MEAN, STD = np.float32(0.498), np.float32(0.502)  # what the ImageNet weights were trained with
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
HERE = pathlib.Path(__file__).parent


def read(path, channels):
    """The file as uint8 [height, width, channels], full size."""
    with Image.open(path) as image:
        rgb = np.asarray(image.convert("RGB"))
    return rgb if channels == 3 else np.rint(rgb.astype(np.float32) @ LUMA).astype(np.uint8)[..., None]


def resize(image, size):
    """Float32 [height, width, channels] in [0, 1], stretched."""
    image = image.astype(np.float32) / 255 if image.dtype == np.uint8 else image
    if image.shape[1::-1] == size:
        return image
    planes = [np.asarray(Image.fromarray(image[..., c], "F").resize(size, Image.BILINEAR)) for c in range(image.shape[2])]
    return np.stack(planes, -1)


def normalise(image):
    """What the network sees, channels first."""
    return np.ascontiguousarray(((image - MEAN) / STD).transpose(2, 0, 1), np.float32)


def rows_of_file(path):
    """Rows of a table, in the order of the file."""
    with open(path, newline="") as handle:
        return list(csv.DictReader(handle))


def rows_of(program, data):
    """Rows of labels.csv."""
    return rows_of_file(pathlib.Path(data) / program.data / "labels.csv")


def targets(program, rows):
    """1 where a finding is present, [rows, findings]."""
    def value(row, spec):
        column, _, wanted = spec.partition(":")
        return float(row[column] == (wanted or "1"))
    return np.array([[value(row, spec) for spec in program.labels.values()] for row in rows], np.float32)


def read_split(program):
    """file → (group, part), as `split.py` wrote it."""
    with open(HERE / "splits" / f"{program.name}.csv", newline="") as handle:
        return {row["file"]: (row["group"], row.get("split") or row["part"]) for row in csv.DictReader(handle)}


def load(program, data, parts):
    """Rows of the parts with their group, and their images, uint8."""
    split = read_split(program)
    rows = [dict(row, group=split[row["file"]][0], part=split[row["file"]][1]) for row in rows_of(program, data)
            if split.get(row["file"], ("", ""))[1] in parts]
    return rows, [read(pathlib.Path(data) / program.data / row["file"], program.channels) for row in rows]


def digest(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
