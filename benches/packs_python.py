"""The packs in Python, as a user would write it: what `packs.py` compares with. Run as a program it reads a slide or a series once."""

import argparse
import collections
import csv
import json
import multiprocessing
import os
import pathlib
import time

import numpy as np
from PIL import Image

CORES = os.cpu_count()
FILTERS = {"bilinear-antialias": Image.BILINEAR, "bicubic-antialias": Image.BICUBIC, "lanczos3-antialias": Image.LANCZOS}


class Model:
    """A pack's whole graph, and its manifest by hand; without threads it makes tensors and nothing else. All starter packs stretch a picture."""

    def __init__(self, pack, threads):
        self.manifest = json.loads((pathlib.Path(pack) / "configs/metadata.json").read_text())["overread"]
        self.spec = self.manifest["preprocessing"]
        if threads is None:
            return
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Other processes decode meanwhile: threads that spin would take their cores.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        graph = pathlib.Path(pack) / self.manifest["model"]["fused"]
        self.session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def logits(self, tensors):
        return self.session.run([self.manifest["model"]["logits"]], {self.manifest["model"]["input"]: np.stack(tensors)})[0]

    def tensor(self, picture, exact=False):
        """Of a picture of Pillow: 8-bit grey or colour, or grey from 0 to 1 as float. Pillow rounds what it makes of 8 bits to 8 bits, unless it is exact."""
        if picture.mode != "F":
            picture = picture.convert("L" if self.spec["channels"] == 1 else "RGB")
        scale = 1 if picture.mode == "F" else 255
        planes = [plane.convert("F") for plane in picture.split()] if exact else [picture]
        small = [plane.resize((self.spec["width"], self.spec["height"]), FILTERS[self.spec["filter"]]) for plane in planes]
        values = np.dstack([np.asarray(plane, np.float32) for plane in small]) / scale
        normal = (values - np.array(self.spec["mean"], np.float32)) / np.array(self.spec["std"], np.float32)
        return np.ascontiguousarray(normal.transpose(2, 0, 1))

    def picture(self, path, frame=0):
        """A photograph, or a frame of a DICOM file as it is to be shown."""
        if pathlib.Path(path).suffix != ".dcm":
            return Image.open(path)
        import pydicom
        from pydicom.pixels import apply_modality_lut, apply_voi_lut, pixel_array
        from pydicom.uid import JPEGBaseline8Bit

        data = pydicom.dcmread(path, defer_size=1024)
        frames = int(data.get("NumberOfFrames", 1))
        # Of pydicom's decoders for JPEG the fastest.
        plugin = "pillow" if data.file_meta.TransferSyntaxUID == JPEGBaseline8Bit else ""
        pixels = pixel_array(path, index=frame, decoding_plugin=plugin) if frames > 1 else data.pixel_array
        if data.SamplesPerPixel == 3:
            return Image.fromarray(self.region(data, pixels))
        values = apply_modality_lut(pixels, data)
        if isinstance(self.spec["voi"], dict):
            window = self.spec["voi"]["windows"][0]
            low = window["center"] - window["width"] / 2
            shown = ((values - low) / window["width"]).clip(0, 1)
        else:
            shown = apply_voi_lut(values, data) / (2**data.BitsStored - 1)
        return Image.fromarray(shown.astype(np.float32))

    def region(self, data, pixels):
        """The largest region in two dimensions, where the pack takes that."""
        flat = [r for r in data.get("SequenceOfUltrasoundRegions", []) if r.RegionSpatialFormat == 1]
        if self.spec.get("region") != "ultrasound" or not flat:
            return pixels
        sides = lambda r: (r.RegionLocationMinX0, r.RegionLocationMinY0, r.RegionLocationMaxX1 + 1, r.RegionLocationMaxY1 + 1)
        left, top, right, bottom = max(map(sides, flat), key=lambda s: (s[2] - s[0]) * (s[3] - s[1]))
        return pixels[top:bottom, left:right]

    def probabilities(self, logits):
        lines = [f["calibration"] for f in self.manifest["findings"]]
        slope, intercept = (np.array([line[key] for line in lines]) for key in ("slope", "intercept"))
        return 1 / (1 + np.exp(-(slope * logits + intercept)))


def _start(pack):
    global worker
    worker = Model(pack, 1)


def _work(item):
    began = time.process_time()
    logits = worker.logits([worker.tensor(worker.picture(*item))])[0]
    return logits, time.process_time() - began


def _work_exactly(item):
    return worker.logits([worker.tensor(worker.picture(*item), exact=True)])[0]


def pool(pack, items, repeat):
    """A warm pool of processes of one thread each over (path, frame), `repeat` times: seconds and core seconds of each run, logits, exact logits."""
    runs = []
    with multiprocessing.get_context("spawn").Pool(CORES, _start, (str(pack),)) as workers:
        workers.map(_work, items[: 2 * CORES])
        for _ in range(repeat):
            began = time.perf_counter()
            logits, core_seconds = zip(*workers.map(_work, items, chunksize=1))
            runs.append((time.perf_counter() - began, sum(core_seconds)))
        return runs, logits, workers.map(_work_exactly, items)


def read_series(pack, folder):
    """One series on all cores, 16 slices at once: decoded in one thread, as the usual script does."""
    model, logits = Model(pack, CORES), []
    for batch in batched(sorted(pathlib.Path(folder).glob("*.dcm")), 16):
        logits.extend(model.logits([model.tensor(model.picture(path)) for path in batch]))
    return {"slices": len(logits)}


class Tiles:
    """The tiles of a slide: side in pixels of the full resolution, read there or, kinder, at the level that the tensor can do with."""

    def __init__(self, pack, path, best_level):
        import openslide

        self.model = Model(pack, None)
        self.slide = openslide.OpenSlide(path)
        self.side = round(self.model.manifest["slides"]["tile_microns"] / float(self.slide.properties["openslide.mpp-x"]))
        wanted = self.side / self.model.spec["width"]
        self.level = self.slide.get_best_level_for_downsample(wanted) if best_level else 0
        self.read_side = round(self.side / self.slide.level_downsamples[self.level])

    def tensor(self, place):
        return self.model.tensor(self.slide.read_region(place, self.level, (self.read_side,) * 2).convert("RGB"))

    def places(self):
        """The tiles whose middle is tissue."""
        mask, shrunk = tissue(self.slide)
        columns, rows = (n // self.side for n in self.slide.dimensions)
        middle = lambda n, most: min(int((n + 0.5) * self.side / shrunk), most - 1)
        grid = ((column, row) for row in range(rows) for column in range(columns))
        return [(c * self.side, r * self.side) for c, r in grid if mask[middle(r, mask.shape[0]), middle(c, mask.shape[1])]]


def tissue(slide):
    """Mask of tissue on a thumbnail, with WSInfer's steps and numbers (saturation, median of 7, above 7, closed by 6), and its downsample."""
    from scipy import ndimage

    thumbnail = slide.get_thumbnail((2048, 2048)).convert("HSV")
    saturation = ndimage.median_filter(np.asarray(thumbnail)[..., 1], 7)
    return ndimage.binary_closing(saturation > 7, np.ones((6, 6))), slide.dimensions[0] / thumbnail.width


def _open(*args):
    global tiles
    tiles = Tiles(*args)


def _tensors(places):
    return np.stack([tiles.tensor(place) for place in places])


def loaded(workers, batches):
    """Batches with their tensors; each process is two ahead, as PyTorch's loader is."""
    waiting = collections.deque()
    for batch in batches:
        waiting.append((batch, workers.apply_async(_tensors, (batch,))))
        if len(waiting) > 2 * CORES:
            batch, tensors = waiting.popleft()
            yield batch, tensors.get()
    for batch, tensors in waiting:
        yield batch, tensors.get()


def read_slide(pack, path, out, best_level):
    """WSInfer's way: tissue on a thumbnail, tiles from a loader of processes, batches of 32 on all cores, a table."""
    rows = []
    with multiprocessing.get_context("spawn").Pool(CORES, _open, (pack, path, best_level)) as workers:
        told, model = Tiles(pack, path, best_level), Model(pack, CORES)
        for places, tensors in loaded(workers, batched(told.places(), 32)):
            chances = model.probabilities(model.logits(tensors))
            rows.extend((*place, *values) for place, values in zip(places, chances))
    with open(out, "w") as file:
        table = csv.writer(file)
        table.writerow(["minx", "miny", *(f"prob_{f['label']}" for f in model.manifest["findings"])])
        table.writerows(rows)
    return {"tiles": len(rows), "level": told.level, "read_side": told.read_side}


def batched(items, count):
    return (items[i : i + count] for i in range(0, len(items), count))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("slide", "series"))
    parser.add_argument("pack")
    parser.add_argument("path")
    parser.add_argument("--out")
    parser.add_argument("--best-level", action="store_true")
    args = parser.parse_args()
    told = read_series(args.pack, args.path) if args.kind == "series" else read_slide(args.pack, args.path, args.out, args.best_level)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
