#!/usr/bin/env python3
"""Images with a patient's name burned in, and what pydicom says of them after it was blackened.

    burned_in.py make FOLDER       writes one file of each kind; prints [{"path", "kind", "boxes": [[x0, y0, x1, y1], …]}, …]
    burned_in.py judge PAIRS.json  [{"original", "cleaned", "regions", "boxes"}, …] → what became of each: the greatest
                                   difference outside the regions, whether every box is one flat value in every frame,
                                   and attributes

A local test tool; the patient is made up.
"""

import io
import json
import pathlib
import sys

import numpy as np
import pydicom
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit,
    JPEGLSLossless, MultiFrameGrayscaleByteSecondaryCaptureImageStorage, RLELossless, SecondaryCaptureImageStorage,
)

COLUMNS, ROWS = 320, 240
TEXTS = [("QUIXOTE^DULCINEA", (20, 16), 18), ("ID 47110815", (180, 200), 14)]


def drawn():
    """How white the text makes each pixel, 0 to 1, and the boxes of its lines."""
    image = Image.new("L", (COLUMNS, ROWS))
    draw = ImageDraw.Draw(image)
    boxes = []
    for text, at, size in TEXTS:
        font = ImageFont.load_default(size)
        draw.text(at, text, font=font, fill=255)
        boxes.append([int(n) for n in draw.textbbox(at, text, font=font)])
    return np.asarray(image) / 255.0, boxes


def tissue(frame=0):
    """A smooth picture with a little noise, 0 to 1."""
    y, x = np.mgrid[0:ROWS, 0:COLUMNS]
    body = np.exp(-(((x - 160 - 4 * frame) / 90) ** 2 + ((y - 120) / 70) ** 2))
    return np.clip(0.1 + 0.5 * body + np.random.default_rng(frame).normal(0, 0.01, body.shape), 0, 1)


def new(path, photometric, bits, signed=False, samples=1, frames=1, syntax=ExplicitVRLittleEndian):
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    data = FileDataset(
        str(path), {}, file_meta=meta, preamble=bytes(128),
        is_implicit_VR=syntax.is_implicit_VR, is_little_endian=syntax.is_little_endian,
    )
    data.SOPClassUID = MultiFrameGrayscaleByteSecondaryCaptureImageStorage if frames > 1 else SecondaryCaptureImageStorage
    for number, name in enumerate(("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")):
        setattr(data, name, f"2.25.{4711 + number}")
    data.PatientName, data.PatientID, data.PatientBirthDate, data.PatientSex = "QUIXOTE^DULCINEA", "47110815", "", ""
    data.StudyDate = data.StudyTime = data.AccessionNumber = data.StudyID = data.ReferringPhysicianName = ""
    data.Modality, data.ConversionType, data.SeriesNumber, data.InstanceNumber = "OT", "WSD", 1, 1
    data.Laterality = data.PatientOrientation = ""
    data.Rows, data.Columns, data.SamplesPerPixel, data.PhotometricInterpretation = ROWS, COLUMNS, samples, photometric
    data.BitsAllocated, data.BitsStored, data.HighBit = 8 if bits <= 8 else 16, bits, bits - 1
    data.PixelRepresentation = int(signed)
    if samples == 3:
        data.PlanarConfiguration = 0
    if frames > 1:
        data.NumberOfFrames = frames
        data.PageNumberVector = list(range(1, frames + 1))
        data.FrameIncrementPointer = 0x00182001
        data.BurnedInAnnotation = "YES"
    return data


def grey(path, bits, inverted=False, signed=False, frames=1, syntax=ExplicitVRLittleEndian, compressor=None):
    """A grey file; `compressor` encodes it afterwards."""
    text, _ = drawn()
    data = new(path, "MONOCHROME1" if inverted else "MONOCHROME2", bits, signed, frames=frames, syntax=syntax)
    shown = np.stack([np.maximum(tissue(f), text) for f in range(frames)])
    stored = np.round((1 - shown if inverted else shown) * (2**bits - 1)) - (2 ** (bits - 1) if signed else 0)
    kind = ("i" if signed else "u") + ("1" if bits <= 8 else "2")
    data.PixelData = stored.astype((">" if syntax == ExplicitVRBigEndian else "<") + kind).tobytes()
    data["PixelData"].VR = "OW" if bits > 8 else "OB"
    if compressor:
        data.compress(compressor, generate_instance_uid=False)
    data.save_as(path, enforce_file_format=True)


def rgb():
    text, _ = drawn()
    base = np.stack([tissue() * share for share in (1.0, 0.8, 0.6)], axis=2)
    return np.round(np.maximum(base, text[:, :, None] * np.array([1.0, 1.0, 0.2])) * 255).astype(np.uint8)


def colour(path, kind):
    pixels = rgb()
    ybr = np.asarray(Image.fromarray(pixels).convert("YCbCr"))
    photometric = {"rgb": "RGB", "planar": "RGB", "rle": "RGB", "full": "YBR_FULL"}.get(kind, "YBR_FULL_422")
    data = new(path, photometric, 8, samples=3)
    if kind in ("rgb", "rle"):
        data.PixelData = pixels.tobytes()
    elif kind == "planar":
        data.PlanarConfiguration = 1
        data.PixelData = pixels.transpose(2, 0, 1).tobytes()
    elif kind == "full":
        data.PixelData = ybr.tobytes()
    elif kind == "422":
        luma = ybr[:, :, 0].reshape(ROWS, -1, 2)
        data.PixelData = np.concatenate([luma, ybr[:, ::2, 1:]], axis=2).tobytes()
    elif kind == "jpeg":
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", quality=95)
        data.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        data.PixelData = encapsulate([stream.getvalue()])
        data["PixelData"].is_undefined_length = True
    data["PixelData"].VR = "OB"
    if kind == "rle":
        data.compress(RLELossless, generate_instance_uid=False)
    data.save_as(path, enforce_file_format=True)


def make(folder):
    folder = pathlib.Path(folder)
    kinds = {
        "grey8": lambda p: grey(p, 8),
        "grey12": lambda p: grey(p, 12),
        "grey16-monochrome1": lambda p: grey(p, 16, inverted=True),
        "grey16-signed-implicit": lambda p: grey(p, 16, signed=True, syntax=ImplicitVRLittleEndian),
        "grey12-big-endian": lambda p: grey(p, 12, syntax=ExplicitVRBigEndian),
        "grey12-jpeg2000": lambda p: grey(p, 12, compressor=JPEG2000Lossless),
        "grey16-jpegls": lambda p: grey(p, 16, compressor=JPEGLSLossless),
        "grey8-frames": lambda p: grey(p, 8, frames=3),
        "rgb": lambda p: colour(p, "rgb"),
        "rgb-planar": lambda p: colour(p, "planar"),
        "rgb-rle": lambda p: colour(p, "rle"),
        "ybr-full": lambda p: colour(p, "full"),
        "ybr-422": lambda p: colour(p, "422"),
        "ybr-jpeg": lambda p: colour(p, "jpeg"),
    }
    _, boxes = drawn()
    made = []
    for kind, write in kinds.items():
        path = folder / f"{kind}.dcm"
        write(path)
        made.append({"path": str(path), "kind": kind, "boxes": boxes})
    print(json.dumps(made))


def frames(dataset):
    """frames × rows × columns × samples"""
    pixels = dataset.pixel_array
    return pixels.reshape(int(dataset.get("NumberOfFrames", 1)), dataset.Rows, dataset.Columns, -1).astype(np.int64)


def judge(pair):
    original, cleaned = pydicom.dcmread(pair["original"]), pydicom.dcmread(pair["cleaned"])
    before, after = frames(original), frames(cleaned)
    outside = np.ones(before.shape[1:3], bool)
    for r in pair["regions"]:
        # Chroma that is stored for pairs of pixels goes for both.
        outside[r["top"] : r["bottom"], r["left"] // 2 * 2 : (r["right"] + 1) // 2 * 2] = False
    flat = all(
        (after[f, y0:y1, x0:x1] == after[f, y0, x0]).all() for f in range(len(after)) for x0, y0, x1, y1 in pair["boxes"]
    )
    return {
        "elsewhere": int(np.abs(before - after)[:, outside].max()),
        "flat": bool(flat),
        "outside_share": float(outside.mean()),
        "frames": len(after),
        "transfer_syntax": str(cleaned.file_meta.TransferSyntaxUID),
        "burned_in": cleaned.get("BurnedInAnnotation", ""),
        "photometric": cleaned.PhotometricInterpretation,
        "lossy": cleaned.get("LossyImageCompression", ""),
    }


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(sys.argv[2])
    else:
        print(json.dumps([judge(pair) for pair in json.loads(pathlib.Path(sys.argv[2]).read_text())]))
