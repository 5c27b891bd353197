"""Burned-in text: what is left of it, and what is lost with it, on DICOM files whose texts are annotated.

    eval_deid.py DIR [--clean DIR]     DIR: *.dcm, each with a .json of the form
        {"annotation": [{"key": {"text", "bbox"}, "value": {"text", "bbox": [x0, y0, x1, y1]}}]}

`value` boxes identify the patient. The judge is Tesseract, which has nothing in common with the detector. A quarter of
the files, chosen by the hash of their names, is kept back: figures are printed apart, and nothing may be tuned on them.
Names and texts of patients are not printed.
"""

import argparse
import difflib
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import pydicom
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOOLS = pathlib.Path(os.environ.get("OVERREAD_TOOLS", ROOT / ".tools"))
BIN = pathlib.Path(os.environ.get("OVERREAD_EXAMPLES", ROOT / "target/release/examples"))
OVERREAD = pathlib.Path(os.environ.get("OVERREAD_BIN", ROOT / "target/release/overread"))
MARGIN = 8  # pixels around an annotated box that count as the box's own


def words(text):
    return {w for w in re.split(r"[^A-Z0-9]+", text.upper()) if len(w) >= 3}


def views(dataset):
    """Grey pictures of the first frame: the full range, and the header's window."""
    pixels = dataset.pixel_array
    if dataset.get("NumberOfFrames", 1) > 1:
        pixels = pixels[0]
    if pixels.ndim == 3:
        return [pixels.mean(axis=2)]
    values = pixels * float(dataset.get("RescaleSlope") or 1) + float(dataset.get("RescaleIntercept") or 0)
    low, high = values.min(), values.max()
    shown = [(values - low) / max(high - low, 1)]
    if dataset.get("WindowCenter") not in (None, ""):
        first = lambda v: float(v[0] if isinstance(v, pydicom.multival.MultiValue) else v)
        centre, width = first(dataset.WindowCenter), max(first(dataset.WindowWidth), 1)
        shown.append(np.clip((values - centre) / width + 0.5, 0, 1))
    return [view * 255 for view in shown]


def ocr(picture, psm, height=None):
    """Tesseract's reading of a grey picture in both polarities, at several sizes where the height of its text is given."""
    if picture.size == 0 or picture.max() == picture.min():
        return []
    read = []
    for polarity in (picture, 255 - picture):
        image = Image.fromarray(polarity.astype(np.uint8))
        scale = max(1.0, 32 / height) if height else max(1.0, min(4.0, 1400 / max(image.size)))
        image = image.resize([round(n * scale) for n in image.size], Image.BICUBIC)
        with tempfile.NamedTemporaryFile(suffix=".png") as file:
            image.save(file.name)
            said = subprocess.run(
                ["tesseract", file.name, "stdout", "--psm", str(psm)], capture_output=True, text=True,
                env={**os.environ, "OMP_THREAD_LIMIT": "1"},
            )
        read.append(" ".join(said.stdout.split()))
    return read


def readable(pictures, box, text):
    """Whether Tesseract reads a text, or a word of it, in its box."""
    x0, y0, x1, y1 = box
    for picture in pictures:
        inside = picture[y0:y1, x0:x1]
        if inside.max() == inside.min():
            continue
        crop = picture[max(0, y0 - 4) : y1 + 4, max(0, x0 - 6) : x1 + 6]
        for said in ocr(crop, 7, y1 - y0):
            plain = lambda t: re.sub(r"[^A-Z0-9]", "", t.upper())
            if words(text) & words(said):
                return True
            if plain(said) and difflib.SequenceMatcher(None, plain(text), plain(said)).ratio() >= 0.6:
                return True
    return False


def boxes(path, shape):
    """The annotated boxes that lie in the picture: (identifies, text, box)."""
    for pair in json.loads(path.with_suffix(".json").read_text())["annotation"]:
        for kind, it in pair.items():
            x0, y0, x1, y1 = it.get("bbox", [0, 0, 0, 0])
            if it["text"] and x1 > x0 and 0 <= y0 and y1 <= shape[0] and x0 < shape[1]:
                yield kind == "value", it["text"], (x0, y0, x1, y1)


def wilson(hits, total):
    """The 95 % interval of Wilson, in percent."""
    if not total:
        return "–"
    z, p = 1.96, hits / total
    middle, half = p + z * z / (2 * total), z * (p * (1 - p) / total + z * z / (4 * total * total)) ** 0.5
    return "{:.1f}–{:.1f}".format(*(100 * (middle + side * half) / (1 + z * z / total) for side in (-1, 1)))


def masked(told):
    mask = np.zeros((told["rows"], told["columns"]), bool)
    for r in told["regions"]:
        mask[r["top"] : r["bottom"], r["left"] : r["right"]] = True
    return mask


def mask_text(files, out):
    library = next((TOOLS / "onnxruntime/onnxruntime/capi").glob("libonnxruntime.so.*"))
    command = [BIN / "mask_text", library, ROOT / "models/text-detection", BIN / "codec", out, *files]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [json.loads(line) for line in lines]


def identity(path):
    """What the original's header tells of the patient, and the identifying texts in its pixels."""
    dataset = pydicom.dcmread(path, stop_before_pixels=True)
    names = ("PatientName", "PatientID", "PatientBirthDate", "InstitutionName", "AccessionNumber", "ReferringPhysicianName")
    told = " ".join(str(dataset.get(name) or "") for name in names)
    return {w for w in words(told.replace("^", " ")) if len(w) >= 4}


def header_leaks(files, folder):
    """Identifying words that pydicom still finds in the headers of objects that left, by file."""
    sources = []
    for number, path in enumerate(files):
        masked_file = folder / f"{number}.dcm"
        sources.append(masked_file if masked_file.exists() else path)
    command = [OVERREAD, "deid", *sources, "--profile", "radiology", "--pixels-cleaned", "--out", folder / "left", "--report", folder / "report.json"]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # its status tells of quarantined files, which the report lists
    report = json.loads((folder / "report.json").read_text())["files"]
    left = {file["input"]: file["output"] for file in report if file["outcome"] == "written"}
    leaks, written = 0, len(left)
    for path, source in zip(files, sources):
        if str(source) not in left:
            continue
        texts = []
        dataset = pydicom.dcmread(folder / "left" / left[str(source)], stop_before_pixels=True)
        dataset.walk(lambda _, e: texts.append(str(e.value)) if e.VR != "SQ" else None)
        leaks += bool(identity(path) & words(" ".join(texts)))
    return leaks, written


def figures(title, files):
    total = before = after = exposed = covered = 0
    lost, seconds, errors = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for number, (path, told) in enumerate(zip(files, mask_text(files, folder))):
            if "error" in told:
                errors.append(told["error"])
                continue
            seconds.append(told["seconds"])
            original = views(pydicom.dcmread(path))
            out = folder / f"{number}.dcm"
            cleaned = views(pydicom.dcmread(out)) if out.exists() else original
            mask, own = masked(told), np.zeros(original[0].shape, bool)
            secrets = set()
            for identifies, text, (x0, y0, x1, y1) in boxes(path, original[0].shape):
                own[max(0, y0 - MARGIN) : y1 + MARGIN, max(0, x0 - MARGIN) : x1 + MARGIN] = True
                if identifies:
                    total += 1
                    covered += mask[y0:y1, max(0, x0) : x1].mean() >= 0.9
                    secrets |= words(text)
                    before += readable(original, (x0, y0, x1, y1), text)
                    left = readable(cleaned, (x0, y0, x1, y1), text)
                    after += left
                    if left:
                        print(f"  still read: {hashlib.sha256(path.name.encode()).hexdigest()[:8]} box {x0},{y0},{x1},{y1}")
            seen = set().union(*(words(t) for t in ocr(cleaned[0], 11)))
            exposed += bool(secrets & seen)
            lost.append((mask & ~own).sum() / (~own).sum())
        leaks, written = header_leaks(files, folder)
    print(f"{title}: {len(files)} files, {total} identifying boxes")
    print(f"  unreadable after:  {total - after}/{total} = {100 * (total - after) / max(total, 1):.1f}% ({wilson(total - after, total)})  (Tesseract read {before} before, {after} after)")
    print(f"  blackened to nine tenths or more: {covered}/{total} = {100 * covered / max(total, 1):.1f}% ({wilson(covered, total)})")
    print(f"  files in which it reads an identifying word anywhere: {exposed}/{len(lost)}")
    print(f"  masked outside the annotated boxes: {100 * np.mean(lost):.2f}% of the area (worst file {100 * np.max(lost):.2f}%)")
    print(f"  header leaks found by pydicom: {leaks} of {written} objects that left")
    print(f"  seconds a file: {np.mean(seconds):.2f}; not done: {len(errors)} {errors[:3] or ''}", flush=True)


def clean(folder):
    """False alarms: what goes from files that are said to hold no text."""
    files = sorted(p for p in folder.rglob("*") if p.suffix in (".dcm", ".jpeg", ".png", ".webp"))
    # A few hundred say enough.
    files = files[:: max(1, len(files) // 200)]
    with tempfile.TemporaryDirectory() as out:
        told = [t for t in mask_text(files, out) if "error" not in t]
    shares = [masked(t).mean() for t in told]
    untouched = sum(not t["regions"] for t in told)
    print(f"clean ({folder.name}): {len(told)} files, {untouched} untouched, {100 * np.mean(shares):.2f}% of the area masked (worst {100 * np.max(shares):.2f}%)")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--clean", type=pathlib.Path, nargs="+", default=[],
                        help="DICOM files and pictures without text, for false alarms")
    parser.add_argument("--part", choices=["development", "kept-back"], help="one part alone")
    args = parser.parse_args()
    if not shutil.which("tesseract"):
        sys.exit("tesseract is missing, and nobody else may judge: apt-get install tesseract-ocr")
    files = [p for p in args.folder.rglob("*.dcm") if p.with_suffix(".json").exists()]
    if not files:
        sys.exit(f"{args.folder}: no .dcm with a .json beside it")
    files.sort(key=lambda p: hashlib.sha256(p.name.encode()).hexdigest())
    kept = len(files) // 4
    for title, part in (("development", files[kept:]), ("kept-back", files[:kept])):
        if part and args.part in (None, title):
            figures(title, part)
    for folder in args.clean:
        clean(folder)


if __name__ == "__main__":
    main()
