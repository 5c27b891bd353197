"""`overread deid` beside dicom-anonymizer, dicognito and dicom-anonymization (Rust), on the same CT slices, in one run.

The slices are of 512 KiB: 512x512 pixels of 16 bit, in studies of 100, with the header of a real scanner (pydicom's CT_small.dcm). The peers run
as their documentation says, and dicom-anonymizer also in its best form: a warm pool of one process a core. Each measurement starts on an empty
folder; the commands take turns and the median counts. Start-up counts for all but the pool. Files are in the page cache for everybody, and nobody
syncs them. They do not do the same: ours looks a second time at every byte that goes out, the peers do not. Nobody looks at pixels here; what that costs
is a figure of its own.

    deid.py [--count N] [--repeat N] [--json FILE]
"""

import argparse
import hashlib
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOOLS = pathlib.Path(os.environ.get("OVERREAD_TOOLS", ROOT / ".tools"))
OVERREAD = os.environ.get("OVERREAD_BIN", str(ROOT / "target/release/overread"))
CORES = os.cpu_count()
REQUIREMENTS = ROOT / "benches/deid-requirements.txt"


def peers_python():
    """The peers' own environment, made where it is missing."""
    home = TOOLS / "deid-bench"
    stamp = home / f".{hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:16]}"
    if not stamp.exists():
        shutil.rmtree(home, ignore_errors=True)
        venv.create(home, with_pip=True)
        pip = [home / "bin/pip", "install", "-q", "--disable-pip-version-check", "--require-hashes", "--no-deps", "-r", REQUIREMENTS]
        subprocess.run(pip, check=True)
        stamp.touch()
    return str(home / "bin/python")


def rust_peer():
    """`dcmanon` of the crate dicom-anonymization, built where it is missing; --locked takes the versions and hashes of its own lock file."""
    home = TOOLS / "dicom-anonymization-0.3.1"
    binary = home / "bin/dcmanon"
    if not binary.exists():
        install = ["cargo", "install", "-q", "dicom-anonymization", "--version", "=0.3.1", "--locked", "--root", home, "--bin", "dcmanon"]
        subprocess.run(install, check=True)
    return str(binary)


def make_slices(folder, count):
    """Writes slices; returns their folder and bytes."""
    import numpy as np
    import pydicom
    from pydicom.data import get_testdata_file

    data = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    body = np.kron(data.pixel_array, np.ones((4, 4)))
    rng, root = np.random.default_rng(1), "1.2.826.0.1.3680043.10.1442"
    data.Rows, data.Columns = body.shape
    data.PatientName, data.ReferringPhysicianName, data.InstitutionName = "Doe^Jane", "Miller^Ann", "Springfield General"
    folder.mkdir()
    for number in range(count):
        study = number // 100
        data.StudyInstanceUID, data.SeriesInstanceUID = f"{root}.{study}", f"{root}.{study}.1"
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"{root}.{study}.1.{number}"
        data.PatientID, data.InstanceNumber = f"P{study:07}", number
        data.PixelData = (body + rng.normal(0, 12, body.shape)).astype("<i2").tobytes()
        data.save_as(folder / f"{number:05}.dcm")
    return folder, sum(path.stat().st_size for path in folder.iterdir())


def timed(command, out, count):
    """Seconds of a command that writes `count` files into a folder."""
    out.mkdir()
    began = time.perf_counter()
    run = subprocess.run([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    seconds = time.perf_counter() - began
    written = sum(path.is_file() for path in out.rglob("*"))
    if run.returncode or written != count:
        sys.exit(f"{command[0]} wrote {written} of {count} files: {run.stderr[-500:]}")
    shutil.rmtree(out)
    return seconds


POOL = """
import json, multiprocessing, pathlib, sys, time
from dicomanonymizer import anonymize_dicom_file

def one(pair):
    anonymize_dicom_file(*pair)

if __name__ == "__main__":
    source, out, cores = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3])
    pairs = [(str(path), str(out / path.name)) for path in sorted(source.iterdir())]
    with multiprocessing.get_context("spawn").Pool(cores) as pool:
        pool.map(one, pairs[: 2 * cores], chunksize=1)
        began = time.perf_counter()
        pool.map(one, pairs, chunksize=4)
        print(json.dumps(time.perf_counter() - began))
"""


def pooled(python, script, source, out, count):
    """Seconds of a warm pool of dicom-anonymizer."""
    out.mkdir()
    run = subprocess.run([python, script, source, out, str(CORES)], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    if len(list(out.iterdir())) != count:
        sys.exit("the pool of dicom-anonymizer did not write every file")
    shutil.rmtree(out)
    return json.loads(run.stdout.splitlines()[-1])


def measure(folder, count, repeat):
    python, dcmanon = peers_python(), rust_peer()
    source, size = make_slices(folder / "in", count)
    script, out = folder / "pool.py", folder / "out"
    script.write_text(POOL)
    ways = {
        "overread deid": lambda: timed([OVERREAD, "deid", source, "--profile", "radiology", "--pixels-cleaned", "--out", out], out, count),
        "overread deid, 1 thread": lambda: timed([OVERREAD, "deid", source, "--profile", "radiology", "--pixels-cleaned", "--out", out, "--workers", 1], out, count),
        "dicom-anonymizer": lambda: timed([pathlib.Path(python).parent / "dicom-anonymizer", source, out], out, count),
        f"dicom-anonymizer, warm pool of {CORES}": lambda: pooled(python, script, source, out, count),
        "dicom-anonymization (Rust)": lambda: timed([dcmanon, "anonymize", "-r", "-i", source, "-o", out], out, count),
        "dicognito": lambda: timed([python, "-m", "dicognito", "--quiet", "-o", out, source], out, count),
    }
    # The peers do not look at pixels: what that costs is told apart. Of each series three slices are looked at.
    seen = lambda: timed([OVERREAD, "deid", source, "--profile", "radiology", "--out", out], out, count)
    print(f"with text removed from the pixels and Tesseract's look, once: {count / seen():.1f} files/s", file=sys.stderr)
    seconds = {name: [] for name in ways}
    for turn in range(repeat + 1):
        for name, way in ways.items():
            taken = way()
            # The first turn fills caches.
            if turn:
                seconds[name].append(taken)
    return {name: statistics.median(times) for name, times in seconds.items()}, size


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="slices (1000)")
    parser.add_argument("--repeat", type=int, default=5, help="runs of each command (5)")
    parser.add_argument("--json", type=pathlib.Path, help="write the figures here too")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        medians, size = measure(pathlib.Path(folder), args.count, args.repeat)
    ours = medians["overread deid"]
    print(f"{CORES} cores, {args.count} CT slices of {size / args.count / 1024:.0f} KiB\n")
    print("| | files/s | MB/s | overread deid is |\n| --- | --- | --- | --- |")
    for name, seconds in medians.items():
        print(f"| {name} | {args.count / seconds:.0f} | {size / seconds / 1e6:.0f} | {seconds / ours:.1f}× as fast |")
    if args.json:
        args.json.write_text(json.dumps({"cores": CORES, "count": args.count, "bytes": size, "seconds": medians}, indent=1) + "\n")


if __name__ == "__main__":
    main()
