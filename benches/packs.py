"""The starter packs beside the same graphs in Python, on the same files, in one run: pictures, whole slides, series.

What a pack answers does not matter here: most of these files are strangers to most packs, and a picture takes as long whether it is refused or not. That both
sides compute the same is checked: the logits of all pictures, and the probabilities of all tiles, are compared.

pictures  `overread classify` (start-up counts) beside a warm pool of processes of one thread each: pydicom or Pillow, the pack's preprocessing, ONNX Runtime
slides    a slide of 40,000 and one of 20,000 pixels a side beside openslide-python as WSInfer uses it: tiles at the full resolution, or at a fitting level
series    30, 60 and 300 CT slices beside pydicom and ONNX Runtime in one process: does memory grow?
"""

import argparse
import csv
import dataclasses
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import packs_made as made
import packs_python as python
from peers import OVERREAD, ROOT, Sampler

PARTS = ("pictures", "slides", "series")
STEPS = ("decode", "preprocess", "inference", "explain")


@dataclasses.dataclass
class Run:
    """What a command came to: seconds, seconds of all cores in it and in its children, peak memory of all of them together, output."""

    seconds: float
    core_seconds: float
    peak_mib: float
    output: str

    def costs(self):
        return {"seconds": self.seconds, "core_seconds": self.core_seconds, "peak_mib": self.peak_mib}


def run(*command):
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen([str(word) for word in command], stdout=output, stderr=errors, text=True)
        sampler = Sampler(process.pid, 0.02)
        sampler.start()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode, seconds = os.waitstatus_to_exitcode(status), time.perf_counter() - began
        peak = max((mib for _, mib in sampler.finish()), default=0.0)
        for file in (output, errors):
            file.seek(0)
        if process.returncode != 0:
            raise SystemExit(f"{command[0]} ended with {process.returncode}:\n{errors.read()[-2000:]}")
        return Run(seconds, usage.ru_utime + usage.ru_stime, peak, output.read())


def overread(pack, paths, *options):
    return run(OVERREAD, "classify", *paths, "--pack", pack, "--allow-untrusted", "--timings", "--format", "jsonl", *options)


def in_python(*words):
    """Costs of the Python side and what it tells."""
    done = run(sys.executable, pathlib.Path(python.__file__), *words)
    return {**done.costs(), **json.loads(done.output)}


def shares(output):
    """Share of each step in the time that all threads spent."""
    timings = [json.loads(line)["timings"] for line in output.splitlines()]
    spent = {step: sum(t[f"{step}_ms"] for t in timings) for step in STEPS}
    return {step: ms / max(sum(spent.values()), 1e-9) for step, ms in spent.items()}


def unsigned(folder, name, guarded=True):
    """A copy of a pack without its signature; where it is not guarded, without its check for strangers, so that tiles of another organ count."""
    pack = folder / name
    shutil.copytree(ROOT / "models" / name, pack)
    (pack / "signature.json").unlink(missing_ok=True)
    path = pack / "configs/metadata.json"
    manifest = json.loads(path.read_text())
    if not guarded:
        manifest["overread"].pop("out_of_distribution", None)
    path.write_text(json.dumps(manifest))
    return pack


# Pictures


def corpora(folder):
    """Pack, what its files are, and the files as (path, frame)."""
    from pydicom.uid import JPEGLSLossless

    files = lambda paths: [(path, 0) for path in paths]
    new = lambda name: made.folder_of(folder, name)
    radiographs = files(made.radiographs(new("radiographs")))
    yield "cxr-pneumonia", "64 radiographs, JPEG", radiographs
    yield "head-ct-haemorrhage", "4 CT series of 40 slices, JPEG-LS", files(made.series(new("ct"), "CT", 40, 4, JPEGLSLossless))
    yield "brain-mri-tumour", "4 MR series of 40 slices, uncompressed", files(made.series(new("mr"), "MR", 40, 4))
    yield "lung-histology", "64 tiles 768×768, JPEG", files(made.stained(new("tiles"), 768, 768))
    yield "skin-lesion", "64 pictures 1024×768, JPEG", files(made.stained(new("skin"), 1024, 768))
    yield "research/fundus", "64 pictures 1536×1536, JPEG", files(made.stained(new("fundus"), 1536, 1536))
    yield "research/echo-regurgitation", "one cine of 120 frames, JPEG", [(made.ECHO, frame) for frame in range(120)]


def pictures(folder, repeat):
    folder, rows = made.folder_of(folder, "pictures"), []
    for name, what, items in corpora(folder):
        pack, paths = unsigned(folder, name), sorted({path for path, _ in items})
        overread(pack, paths)
        explained, plain = [], []
        for _ in range(repeat):
            plain.append(overread(pack, paths, "--no-explain"))
            explained.append(overread(pack, paths))
        theirs, as_written, exact = python.pool(pack, items, repeat)
        full = overread(pack, paths, "--no-explain", "--full-decode")
        by_frame = lambda logits: {(str(path), frame + 1): answer for (path, frame), answer in zip(items, logits)}
        ours = lambda runs: per_image(len(items), [(r.seconds, r.core_seconds) for r in runs])
        rows.append(
            {
                "pack": pathlib.Path(name).name,
                "files": what,
                "images": len(items),
                "overread": ours(explained),
                "overread_no_explain": ours(plain),
                "python": per_image(len(items), theirs),
                "shares": shares(explained[-1].output),
                "overread_peak_mib": max(r.peak_mib for r in explained),
                "as_written": apart(logits_by_frame(plain[0].output), by_frame(as_written)),
                "exact": apart(logits_by_frame(full.output), by_frame(exact)),
            }
        )
    return rows


def per_image(images, runs):
    """Medians of seconds and core seconds an image."""
    seconds, core_seconds = (statistics.median(times) / images for times in zip(*runs))
    return {"seconds": seconds, "core_seconds": core_seconds}


def logits_by_frame(output):
    images = (image for line in output.splitlines() for image in json.loads(line)["results"][0]["images"])
    return {(image["path"], image["frame"]): image["logits"] for image in images if image["logits"]}


def apart(ours, theirs):
    """How far the numbers of what both read are apart at most, and of how many."""
    both = ours.keys() & theirs.keys()
    if not both:
        raise SystemExit("the two sides read nothing in common")
    distances = [abs(a - b) for key in both for a, b in zip(ours[key], theirs[key])]
    return {"compared": len(both), "apart": max(distances), "apart_median": statistics.median(distances)}


def print_pictures(rows):
    columns = ("pack", "files", "images/s", "… without explanations", "Python", "ratio", "core time an image, ms: overread", "Python")
    columns += ("decode / preprocess / inference / explain", "logits apart at most", "… resized as floats")
    print("| " + " | ".join(columns) + " |\n" + "| --- " * len(columns) + "|")
    for row in rows:
        ours, plain, theirs = row["overread"], row["overread_no_explain"], row["python"]
        print(
            f"| {row['pack']} | {row['files']} | {1 / ours['seconds']:.0f} | {1 / plain['seconds']:.0f} | {1 / theirs['seconds']:.0f} "
            f"| {theirs['seconds'] / ours['seconds']:.1f}× | {1e3 * ours['core_seconds']:.1f} | {1e3 * theirs['core_seconds']:.1f} "
            f"| {steps(row, STEPS)} | {row['as_written']['apart']:.3f} | {row['exact']['apart']:.4f} |"
        )


def steps(row, names):
    return " / ".join(f"{100 * row['shares'][step]:.0f}" for step in names) + "%"


# Slides


def slides(folder, sides, downsamples):
    folder = made.folder_of(folder, "slides")
    pack, rows = unsigned(folder, "lung-histology", guarded=False), []
    for side in sides:
        path, out = folder / f"{side}.tiff", folder / f"out-{side}"
        made.slide(path, side, downsamples)
        done = overread(pack, [path], "--out", out)
        ours = table(next(out.rglob("*tiles.csv")))
        row = {"side": side, "file_mib": path.stat().st_size / 2**20, "levels": downsamples}
        row["overread"] = {"tiles": len(ours), **done.costs(), "shares": shares(done.output)}
        for name, options in (("python_full", []), ("python_level", ["--best-level"])):
            told = in_python("slide", pack, path, "--out", folder / "theirs.csv", *options)
            row[name] = {**told, **apart(ours, table(folder / "theirs.csv"))}
        path.unlink()
        rows.append(row)
    return rows


def table(path):
    """Probabilities of a table of tiles by their place."""
    with open(path) as file:
        lines = list(csv.DictReader(file))
    values = lambda line: [float(value) for name, value in line.items() if name.startswith("prob_")]
    return {(int(line["minx"]), int(line["miny"])): values(line) for line in lines}


def print_slides(rows):
    print("| slide | reader | tiles | wall, s | tiles/s | overread is | core time a tile, ms | peak memory, MiB | probabilities apart at most (median), tiles |")
    print("| --- " * 9 + "|")
    readers = {"overread": "overread", "python_full": "Python, full resolution", "python_level": "Python, fitting level"}
    for row in rows:
        for key, name in readers.items():
            side, rate = row[key], lambda side: side["tiles"] / side["seconds"]
            beside = f"{rate(row['overread']) / rate(side):.1f}×" if side is not row["overread"] else ""
            same = f"{side['apart']:.4f} ({side['apart_median']:.4f}), {side['compared']}" if "apart" in side else ""
            print(
                f"| {row['side']}² | {name} | {side['tiles']} | {side['seconds']:.1f} | {rate(side):.0f} | {beside} "
                f"| {1e3 * side['core_seconds'] / side['tiles']:.1f} | {side['peak_mib']:.0f} | {same} |"
            )
    last = rows[-1]
    print(f"\nlevels {last['levels']}; decode / preprocess / inference in all threads: {steps(last['overread'], STEPS[:3])}")


# Series


def series(folder, counts=(30, 60, 300)):
    folder = made.folder_of(folder, "series")
    pack, rows = unsigned(folder, "head-ct-haemorrhage"), []
    for count in counts:
        slices = made.folder_of(folder, f"series-{count}")
        made.series(slices, "CT", count)
        done = overread(pack, [slices])
        told = in_python("series", pack, slices)
        rows.append({"slices": count, "overread": {**done.costs(), "shares": shares(done.output)}, "python": told})
        shutil.rmtree(slices)
    return rows


def print_series(rows):
    print("| CT slices, uncompressed | reader | wall a slice, ms | overread is | core time a slice, ms | peak memory, MiB |")
    print("| --- | --- | --- | --- | --- | --- |")
    for row in rows:
        for name in ("overread", "python"):
            side, each = row[name], lambda seconds: 1e3 * seconds / row["slices"]
            beside = f"{side['seconds'] / row['overread']['seconds']:.1f}×" if name == "python" else ""
            print(f"| {row['slices']} | {name} | {each(side['seconds']):.1f} | {beside} | {each(side['core_seconds']):.1f} | {side['peak_mib']:.0f} |")
    many = rows[-1]["overread"]
    for row in rows[:-1]:
        print(f"\n{rows[-1]['slices']} slices take {many['peak_mib'] / row['overread']['peak_mib']:.2f} times the memory of {row['slices']}", end="")
    print(f"\ndecode / preprocess / inference / explain: {steps(many, STEPS)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, action="append", help="this part; may be given several times (all)")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each measurement of pictures; the median counts")
    parser.add_argument("--sides", default="20000,40000", help="sides of the slides, pixels")
    parser.add_argument("--levels", default="1,2,4,8,16", help="downsamples of the slides' levels; many scanners write 1,4,16")
    parser.add_argument("--format", choices=("text", "json"), default="text")
    args = parser.parse_args()
    numbers = lambda text: [int(n) for n in text.split(",")]
    measure = {
        "pictures": lambda folder: pictures(folder, args.repeat),
        "slides": lambda folder: slides(folder, numbers(args.sides), numbers(args.levels)),
        "series": series,
    }
    show = {"pictures": print_pictures, "slides": print_slides, "series": print_series}
    found = {"cores": python.CORES}
    if args.format == "text":
        print(f"{python.CORES} cores\n")
    with tempfile.TemporaryDirectory(prefix="overread-packs-") as folder:
        for part in args.only or PARTS:
            found[part] = measure[part](folder)
            if args.format == "text":
                show[part](found[part])
                print(flush=True)
    if args.format == "json":
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
