"""The data set in memory, and the one way an image becomes the network's input.

`grey` and `to_input` are the reference for every other implementation: float grey in
[0, 1] by ITU-R 601 luma, stretched to 224 x 224 with Pillow's antialiased bilinear filter
on float32, then (x - MEAN) / STD in one channel.
"""

import csv
import pathlib

import numpy as np
from PIL import Image

SIZE = 224
MEAN = 0.48
STD = 0.25
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def grey(path):
    """Float32 grey in [0, 1], full size, from an 8- or 16-bit file."""
    with Image.open(path) as image:
        if image.mode in ("I;16", "I;16B", "I"):
            return np.asarray(image).astype(np.float32) / 65535
        if image.mode == "L":
            return np.asarray(image, np.float32) / 255
        return np.asarray(image.convert("RGB"), np.float32) @ LUMA / 255


def stretch(image, size=SIZE):
    """Resize without keeping the aspect; the identity when the size is already right."""
    if image.shape == (size, size):
        return image.astype(np.float32)
    resized = Image.fromarray(image.astype(np.float32), "F").resize((size, size), Image.BILINEAR)
    return np.asarray(resized, np.float32)


def normalise(image):
    """What the network sees."""
    return (image.astype(np.float32) - np.float32(MEAN)) / np.float32(STD)


def to_input(path):
    """A file as the network's input, [1, 224, 224]."""
    return normalise(stretch(grey(path)))[None]


def read_split(path=pathlib.Path(__file__).with_name("split.csv")):
    """Rows of split.csv: file, patient, label, split."""
    with open(path, newline="") as handle:
        return list(csv.DictReader(handle))


def read_labels(data):
    """Rows of labels.csv, keyed by file: label, patient, organism."""
    with open(pathlib.Path(data) / "labels.csv", newline="") as handle:
        return {row["file"]: row for row in csv.DictReader(handle)}


def load_part(data, part):
    """Rows of one part of the split and their images, uint8 [n, 224, 224]."""
    rows = [row for row in read_split() if row["split"] == part]
    images = np.empty((len(rows), SIZE, SIZE), np.uint8)
    for index, row in enumerate(rows):
        images[index] = np.rint(stretch(grey(pathlib.Path(data) / row["file"])) * 255)
    return rows, images


def targets(rows):
    """1 where the label is pneumonia."""
    return np.array([row["label"] == "pneumonia" for row in rows], np.float32)
