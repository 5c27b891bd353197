"""Draws whole slides of tiles with known grey values: `full` or `sparse` (a folder of DICOM objects, a level each) or `tiff` (a pyramid for OpenSlide).

    draw_slide.py KIND OUT MICRONS PLAN [torn | shredded | coarse | label]

A line of PLAN is a row of tiles of 200 x 200 pixels, MICRONS micrometres each: `.` is glass, a number the middle one of red, green and
blue, which lie 10 apart so that the tile has colour. The last row is 160 pixels high. Levels: 1, 2, 4.
"""

import pathlib
import sys

import numpy as np
import pydicom
import tifffile
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, VLWholeSlideMicroscopyImageStorage, generate_uid

TILE, CUT, STORED = 200, 40, 128


def picture(plan):
    rows = [line.split() for line in plan.splitlines()]
    out = np.full((len(rows) * TILE, len(rows[0]) * TILE, 3), 245, np.uint8)
    for y, row in enumerate(rows):
        for x, grey in enumerate(row):
            if grey != ".":
                out[y * TILE : (y + 1) * TILE, x * TILE : (x + 1) * TILE] = int(grey) + np.array([10, -10, 0])
    # A picture of one value is none: a grain of one, whose mean is none.
    out[::8, ::8] += 1
    out[4::8, ::8] -= 1
    return out[:-CUT]


def levels(full):
    for step in (1, 2, 4):
        high, wide = (side // step * step for side in full.shape[:2])
        yield full[:high, :wide].reshape(high // step, step, wide // step, step, 3).mean((1, 3)).round().astype(np.uint8), step


def tiles(level):
    high, wide = (-(-side // STORED) * STORED for side in level.shape[:2])
    # What lies beyond the slide is no part of it: an answer that knows it tells.
    padded = np.zeros((high, wide, 3), np.uint8)
    padded[: level.shape[0], : level.shape[1]] = level
    for y in range(0, high, STORED):
        for x in range(0, wide, STORED):
            yield x, y, padded[y : y + STORED, x : x + STORED]


def dicom(kind, out, microns, full, how):
    out.mkdir(exist_ok=True)
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    for level, step in levels(full):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = VLWholeSlideMicroscopyImageStorage, generate_uid()
        data = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = study, series, frame
        data.Modality, data.ImageType = "SM", ["ORIGINAL", "PRIMARY", "VOLUME", "NONE" if step == 1 else "RESAMPLED"]
        found = list(tiles(level))
        if kind == "sparse":
            # Glass has no frames there.
            found = [tile for tile in found if np.ptp(tile[2].astype(int).max(2) - tile[2].min(2)) > 4 or tile[2].min() < 200]
        elif how == "torn" and step == 4:
            found = found[:-1]
        data.TotalPixelMatrixRows, data.TotalPixelMatrixColumns = level.shape[:2]
        data.Rows = data.Columns = STORED
        data.NumberOfFrames = len(found)
        data.SamplesPerPixel, data.PhotometricInterpretation, data.PlanarConfiguration = 3, "RGB", 0
        data.BitsAllocated = data.BitsStored = 8
        data.HighBit, data.PixelRepresentation = 7, 0
        measures, shared = Dataset(), Dataset()
        if microns:
            measures.PixelSpacing = [microns / TILE * step / 1000] * 2
        shared.PixelMeasuresSequence = [measures]
        data.SharedFunctionalGroupsSequence = [shared]
        data.DimensionOrganizationType = "TILED_FULL" if kind == "full" else "TILED_SPARSE"
        if kind == "sparse":
            groups = []
            for x, y, _ in found:
                place, group = Dataset(), Dataset()
                place.ColumnPositionInTotalImagePixelMatrix, place.RowPositionInTotalImagePixelMatrix = x + 1, y + 1
                group.PlanePositionSlideSequence = [place]
                groups.append(group)
            data.PerFrameFunctionalGroupsSequence = groups
        data.PixelData = b"".join(tile.tobytes() for _, _, tile in found)
        data.save_as(out / f"level-{step}.dcm")
        if how == "label" and step == 4:
            # All of it is tissue of another grey: whoever reads it is told by the answer.
            data.ImageType = ["ORIGINAL", "PRIMARY", "LABEL", "NONE"]
            data.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = generate_uid()
            data.TotalPixelMatrixRows, data.TotalPixelMatrixColumns = (8 * n for n in level.shape[:2])
            data.save_as(out / "label.dcm")


def tiff(out, microns, full, how):
    with tifffile.TiffWriter(out, bigtiff=True) as writer:
        for level, step in levels(full):
            per_cm = 1e4 * TILE / microns / step if microns else None
            resolution = {"resolution": (per_cm, per_cm), "resolutionunit": "CENTIMETER"} if microns else {}
            writer.write(level, tile=(STORED, STORED), photometric="rgb", compression="zlib", subfiletype=0 if step == 1 else 1, metadata=None, **resolution)
            if how == "coarse":
                return
    if how in ("torn", "shredded"):
        with tifffile.TiffFile(out) as slide:
            page = slide.pages[2]
            tiles = list(zip(page.dataoffsets, page.databytecounts))
        with open(out, "r+b") as file:
            for offset, count in tiles if how == "shredded" else tiles[:1]:
                file.seek(offset)
                file.write(b"\xa5" * count)


if __name__ == "__main__":
    kind, out, microns, plan, *how = sys.argv[1:]
    full, how = picture(plan), how[0] if how else ""
    out, microns = pathlib.Path(out), float(microns)
    if kind == "tiff":
        tiff(out, microns, full, how)
    else:
        dicom(kind, out, microns, full, how)
