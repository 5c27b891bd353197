"""Draws the slide of draw_slide.py as scanners' makers write it, from what OpenSlide's documentation tells of their formats:

    draw_scanner.py ndpi | scn | mrxs OUT MICRONS PLAN

ndpi: Hamamatsu, a TIFF whose levels are one JPEG each. scn: Leica, a BigTIFF with an XML description of its levels. mrxs: 3DHISTECH, a file beside
a folder of its name with an index and the JPEGs of all levels.
"""

import configparser
import io
import pathlib
import struct
import sys

import tifffile
from draw_slide import TILE, levels, picture
from PIL import Image


def jpeg(rgb):
    out = io.BytesIO()
    Image.fromarray(rgb).save(out, "JPEG", quality=98, subsampling=0)
    return out.getvalue()


def ndpi(out, microns, full):
    """Written by hand: no writer at hand puts a finished JPEG into a TIFF."""
    file = bytearray(b"II*\0" + bytes(4))
    link = 4
    for level, step in levels(full):
        stream, (high, wide) = jpeg(level), level.shape[:2]
        at = len(file)
        file += stream + bytes(len(stream) % 2)
        bits, density = len(file), len(file) + 6
        file += struct.pack("<3H", 8, 8, 8) + struct.pack("<2I", round(1e4 * TILE / microns / step), 1)
        maker = len(file)
        file += b"Hamamatsu\0"
        # Tag, type, count, value; from 65420 on: this is an NDPI, its magnification, and where its middle lies on the glass.
        entries = [(256, 4, 1, wide), (257, 4, 1, high), (258, 3, 3, bits), (259, 3, 1, 7), (262, 3, 1, 6), (271, 2, 10, maker), (273, 4, 1, at),
                   (277, 3, 1, 3), (278, 4, 1, high), (279, 4, 1, len(stream)), (282, 5, 1, density), (283, 5, 1, density), (296, 3, 1, 3),
                   (65420, 4, 1, 1), (65421, 11, 1, struct.unpack("<I", struct.pack("<f", 20 / step))[0]), (65422, 9, 1, 0), (65423, 9, 1, 0), (65424, 9, 1, 0)]
        file[link : link + 4] = struct.pack("<I", len(file))
        file += struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
        link = len(file)
        file += bytes(4)
    out.write_bytes(file)


def scn(out, microns, full):
    found = list(levels(full))
    high, wide = full.shape[:2]
    # The glass reaches beyond what was scanned, by a tile to the right and below.
    nm = round(1000 * microns / TILE)
    glass = f'sizeX="{(wide + TILE) * nm}" sizeY="{(high + TILE) * nm}"'
    dimensions = "".join(f'<dimension sizeX="{level.shape[1]}" sizeY="{level.shape[0]}" r="{n}" ifd="{n}"/>' for n, (level, _) in enumerate(found))
    description = (
        '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01" uuid="drawn">'
        f'<collection name="slide" uuid="drawn" {glass}><barcode/><image name="image" uuid="drawn">'
        f'<creationDate>2020-01-01T00:00:00Z</creationDate><device model="Leica SCN400" version="1"/><pixels sizeX="{wide}" sizeY="{high}">{dimensions}</pixels>'
        f'<view sizeX="{wide * nm}" sizeY="{high * nm}" offsetX="0" offsetY="0" spacingZ="0"/>'
        "<scanSettings><objectiveSettings><objective>20</objective></objectiveSettings><illuminationSettings><numericalAperture>0.4</numericalAperture>"
        "<illuminationSource>brightfield</illuminationSource></illuminationSettings></scanSettings></image></collection></scn>")
    with tifffile.TiffWriter(out, bigtiff=True) as writer:
        for level, step in found:
            first = {"description": description} if step == 1 else {}
            per_cm = (1e4 * TILE / microns / step,) * 2
            writer.write(level, tile=(128, 128), photometric="rgb", compression="zlib", metadata=None, resolution=per_cm, resolutionunit="CENTIMETER", **first)


def mrxs(out, microns, full):
    """One photograph of the camera is one picture of the finest level; a picture of the next holds two by two of them."""
    side, count, identity = 40, 3, "0123456789ABCDEF0123456789ABCDEF"
    across, down = -(-full.shape[1] // side), -(-full.shape[0] // side)
    folder = out.with_suffix("")
    folder.mkdir()
    out.write_bytes(jpeg(full[::8, ::8]))
    data, pages = bytearray(b"01.02" + identity.encode()), []
    for level, step in levels(full):
        pictures = []
        for y in range(0, down, step):
            for x in range(0, across, step):
                rgb = Image.new("RGB", (side, side), (255, 255, 255))
                part = level[y // step * side :][:side, x // step * side :][:, :side]
                rgb.paste(Image.fromarray(part), (0, 0))
                stored = io.BytesIO()
                rgb.save(stored, "JPEG", quality=98, subsampling=0)
                pictures.append((y * across + x, len(data), len(stored.getvalue()), 0))
                data += stored.getvalue()
        pages.append(pictures)
    (folder / "Data0000.dat").write_bytes(data)
    # Version and identity; the places of the two roots; for each level an empty page, then one with all of its pictures.
    index = bytearray(b"01.02" + identity.encode())
    roots = len(index) + 8
    at = roots + 4 * (count + 1)
    records, body = [], b""
    for pictures in pages:
        records.append(at + len(body))
        body += struct.pack("<ii", 0, at + len(body) + 8)
        body += struct.pack("<ii", len(pictures), 0) + b"".join(struct.pack("<iiii", *p) for p in pictures)
    index += struct.pack("<ii", roots, roots + 4 * count) + struct.pack(f"<{count}i", *records) + struct.pack("<i", 0) + body
    (folder / "Index.dat").write_bytes(index)
    about = configparser.ConfigParser()
    about.optionxform = str
    about["GENERAL"] = {"SLIDE_VERSION": "01.02", "SLIDE_ID": identity, "IMAGENUMBER_X": across, "IMAGENUMBER_Y": down, "CameraImageDivisionsPerSide": 1,
                        "OBJECTIVE_MAGNIFICATION": 20, "CURRENT_SLIDE_VERSION": "1.9"}
    about["HIERARCHICAL"] = {"HIER_COUNT": 1, "NONHIER_COUNT": 0, "INDEXFILE": "Index.dat", "HIER_0_NAME": "Slide zoom level", "HIER_0_COUNT": count,
                             **{f"HIER_0_VAL_{n}_SECTION": f"LEVEL_{n}" for n in range(count)}}
    about["DATAFILE"] = {"FILE_COUNT": 1, "FILE_0": "Data0000.dat"}
    for n in range(count):
        about[f"LEVEL_{n}"] = {"OVERLAP_X": 0, "OVERLAP_Y": 0, "MICROMETER_PER_PIXEL_X": microns / TILE * 2**n, "MICROMETER_PER_PIXEL_Y": microns / TILE * 2**n,
                               "IMAGE_FORMAT": "JPEG", "IMAGE_FILL_COLOR_BGR": 0xFFFFFF, "DIGITIZER_WIDTH": side, "DIGITIZER_HEIGHT": side,
                               "IMAGE_CONCAT_FACTOR": int(n > 0)}
    with open(folder / "Slidedat.ini", "w") as file:
        about.write(file)


if __name__ == "__main__":
    kind, out, microns, plan = sys.argv[1:]
    {"ndpi": ndpi, "scn": scn, "mrxs": mrxs}[kind](pathlib.Path(out), float(microns), picture(plan))
