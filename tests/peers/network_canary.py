#!/usr/bin/env python3
"""A study that is marked wherever a patient can be named, and a search for the marks in all that somebody received.

    network_canary.py make FOLDER [NAME]    writes a child's chest radiograph with marks in its header and in its pixels;
                                            prints {"path", "study", "patient_id", "patient_name", "accession", "marks": {kind: mark}}
    network_canary.py search PLACE...       searches files and folders; prints [[kind, how, place], ...], each kind, way and file once

Searched are the bytes of every file (UTF-8, UTF-16 of both byte orders, base64 at its three alignments), the rows of every SQLite database, and what
Tesseract reads in the decoded pixels of every DICOM object and picture. A local test tool; the patient is made up.
"""

import argparse
import base64
import io
import json
import pathlib
import sqlite3
import subprocess
import sys
import warnings
import zlib

import numpy as np
import pydicom
from PIL import Image, ImageDraw, ImageFont
from pydicom.sequence import Sequence

import deid_canary
import make_samples

MARKS = {
    "name": "ZZCANARY", "secret": "QXSECRET", "number": "7743219", "birth date": "19410203", "date": "20010203",
    "UID": "1.2.826.0.1.3680043.10.99977", "burned-in name": "QUIXOTE",
}  # fmt: skip
# What the program asks for stays, so that there is an answer.
STAYS = ["BodyPartExamined", "ViewPosition", "PatientSex", "PatientAge", "PresentationIntentType", "PhotometricInterpretation", "PatientOrientation",
         "ImageLaterality", "PixelIntensityRelationship", "PresentationLUTShape", "BurnedInAnnotation", "LossyImageCompression", "RescaleType"]  # fmt: skip


def burn(data, text):
    """Writes into the picture, as a modality does in a corner."""
    picture = Image.fromarray(data.pixel_array)
    font = ImageFont.load_default(max(28, data.Rows // 24))
    left, top, right, bottom = ImageDraw.Draw(picture).textbbox((24, 24), text, font=font)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((left - 12, top - 12, right + 12, bottom + 12), fill=0)
    draw.text((24, 24), text, font=font, fill=255)
    data.PixelData = np.asarray(picture).tobytes()


def make(folder, name):
    folder.mkdir(parents=True, exist_ok=True)
    (sample,) = make_samples.children(folder, argparse.Namespace(studies=1, count=1, seed=name, kind="children"))
    path = pathlib.Path(sample["path"])
    deid_canary.KEEP.update(STAYS)
    original = pydicom.dcmread(path)
    deid_canary.plant(path, path)
    data = pydicom.dcmread(path)
    data.AnatomicRegionSequence = original.AnatomicRegionSequence
    for number, keyword in enumerate(["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"]):
        setattr(data, keyword, f"{deid_canary.ROOT}.{zlib.crc32(name.encode())}.{number}")
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.PatientName, data.PatientID, data.AccessionNumber = f"ZZCANARY^{name}", MARKS["number"], "QXSECRET1"
    data.BurnedInAnnotation = "YES"
    data.add_new(0x00091001, "OB", base64.b64encode(b"ZZCANARY in base64"))
    data.add_new(0x00090010, "LO", "MAKER")
    data.OriginalAttributesSequence = Sequence([])
    burn(data, "QUIXOTE 7743219")
    data.save_as(path)
    return {
        "path": str(path), "study": data.StudyInstanceUID, "patient_id": data.PatientID, "patient_name": str(data.PatientName),
        "accession": data.AccessionNumber, "marks": MARKS,
    }  # fmt: skip


def forms(mark):
    yield "UTF-8", mark.encode()
    yield "UTF-16LE", mark.encode("utf-16-le")
    yield "UTF-16BE", mark.encode("utf-16-be")
    for shift in range(3):
        # Without the characters at the ends, which also hold bits of the neighbours.
        whole = base64.b64encode(b"\0" * shift + mark.encode())
        end = (shift + len(mark)) * 8 // 6
        yield "base64", whole[-(-shift * 8 // 6) : end]


FORMS = [(kind, how, form) for kind, mark in MARKS.items() for how, form in forms(mark)]


def in_bytes(content):
    return {(kind, how) for kind, how, form in FORMS if form in content}


def in_database(path):
    """Rows as SQLite gives them: what lies in overflow pages in pieces is whole here."""
    found = set()
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in database.execute(f'SELECT * FROM "{table}"'):
                text = b"\n".join(v if isinstance(v, bytes) else str(v).encode() for v in row)
                found |= {(kind, f"{how} in a row") for kind, how in in_bytes(text)}
    return found


def read(picture):
    """What Tesseract reads, at one and at two times the size."""
    text = ""
    for scale in (1, 2):
        stream = io.BytesIO()
        picture.resize((picture.width * scale, picture.height * scale)).save(stream, "PNG")
        text += subprocess.run(["tesseract", "-", "-", "--psm", "11"], input=stream.getvalue(), capture_output=True, check=True).stdout.decode()
    return text.upper()


def in_pixels(path, content):
    try:
        if content[128:132] == b"DICM":
            data = pydicom.dcmread(path)
            if "PixelData" not in data:
                return set()
            array = data.pixel_array.astype(float)
            low, high = array.min(), array.max()
            picture = Image.fromarray(((array - low) / max(high - low, 1) * 255).astype(np.uint8)).convert("L")
        elif content[:4] == b"\x89PNG" or content[:3] == b"\xff\xd8\xff":
            picture = Image.open(io.BytesIO(content)).convert("L")
        else:
            return set()
    except Exception as error:
        raise SystemExit(f"pixels of {path} cannot be searched: {error}")
    text = read(picture)
    return {(kind, "pixels") for kind, mark in MARKS.items() if mark in text}


def files(place):
    place = pathlib.Path(place)
    return [p for p in place.rglob("*") if p.is_file()] if place.is_dir() else [place]


def picture_in(content):
    """A message's body, where it is a picture or a DICOM object."""
    for start in (content.find(b"\n\n\x89PNG"), content.find(b"\n\n" + bytes(128) + b"DICM")):
        if start >= 0:
            return content[start + 2 :]
    return None


def search(places):
    found = set()
    for path in [f for place in places for f in files(place)]:
        content = path.read_bytes()
        hits = in_bytes(content) | in_pixels(path, content)
        if content[:15] == b"SQLite format 3":
            hits |= in_database(path)
        if body := picture_in(content):
            hits |= in_pixels(io.BytesIO(body), body)
        found |= {(kind, how, str(path)) for kind, how in hits}
    return sorted(found)


def main():
    """Reads the command line."""
    warnings.simplefilter("ignore")
    pydicom.config.settings.reading_validation_mode = pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
    if sys.argv[1] == "make":
        print(json.dumps(make(pathlib.Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else "One")))
    else:
        print(json.dumps(search(sys.argv[2:])))


if __name__ == "__main__":
    main()
