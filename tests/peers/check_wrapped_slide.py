"""Compares a wrapped slide with the file it was made of, as other programs see both.

    check_wrapped_slide.py SLIDE FOLDER

Prints what OpenSlide sees in the folder's finest level and its pyramid, how far its pixels are from the slide's, whether highdicom sees the
same pixels, and what the levels' headers share.
"""

import io
import json
import pathlib
import sys

import highdicom
import numpy as np
import openslide
import pydicom
from PIL import ImageCms
from pydicom.encaps import parse_basic_offsets

SHARED = ["StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "PyramidUID", "ContainerIdentifier", "ImagedVolumeWidth", "ImagedVolumeHeight"]


def pixels(slide, level):
    return np.asarray(slide.read_region((0, 0), level, slide.level_dimensions[level]).convert("RGB")).astype(float)


def table(level):
    """Whether each offset is that of a frame."""
    data = level.PixelData
    offsets = parse_basic_offsets(data)
    first = 8 + 4 * len(offsets)
    begins = [data[first + at : first + at + 4] == b"\xfe\xff\x00\xe0" and data[first + at + 8 : first + at + 10] == b"\xff\xd8" for at in offsets]
    return len(offsets) == level.NumberOfFrames and all(begins)


def main():
    scanned, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    files = sorted(folder.glob("*.dcm"), key=lambda path: int(path.stem))
    levels = [pydicom.dcmread(path) for path in files]
    one, other = openslide.OpenSlide(scanned), openslide.OpenSlide(str(files[0]))
    apart = pixels(one, 0) - pixels(other, 0)
    seen = highdicom.imread(files[0]).get_total_pixel_matrix()
    profile = ImageCms.ImageCmsProfile(io.BytesIO(levels[0].OpticalPathSequence[0].ICCProfile))
    print(
        json.dumps(
            {
                "levels": [list(size) for size in other.level_dimensions],
                "pictures_beside": len(other.associated_images),
                "microns": [float(other.properties[f"openslide.mpp-{axis}"]) for axis in "xy"],
                "mean_apart": float(np.abs(apart).mean()),
                "psnr": float(10 * np.log10(255**2 / (apart**2).mean())),
                # Two decoders of one JPEG.
                "highdicom_apart": float(np.abs(seen - pixels(other, 0)).max()),
                # Each level is the one above it, made smaller: their means are one.
                "means": [pixels(other, level).mean() for level in range(other.level_count)],
                "shared": all(len({str(level[name].value) for level in levels}) == 1 for name in SHARED)
                and len({level.DimensionOrganizationSequence[0].DimensionOrganizationUID for level in levels}) == 1,
                "instances": len({level.SOPInstanceUID for level in levels}),
                "study": levels[0].StudyInstanceUID,
                "series": levels[0].SeriesInstanceUID,
                "image_types": ["\\".join(level.ImageType) for level in levels],
                "lossy": [[values(level, "LossyImageCompressionMethod"), [float(r) for r in values(level, "LossyImageCompressionRatio")]] for level in levels],
                "tables": all(map(table, levels)),
                "profile": ImageCms.getProfileDescription(profile).strip(),
            }
        )
    )


def values(level, name):
    """As a list, also of one value."""
    found = level[name].value
    return [str(value) for value in ([found] if level[name].VM == 1 else found)]


if __name__ == "__main__":
    main()
