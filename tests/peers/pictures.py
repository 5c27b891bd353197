#!/usr/bin/env python3
"""Makes picture files as cameras and people make them, and compares DICOM images with them.

    pictures.py make FOLDER                      good and bad picture files
    pictures.py check (PICTURE IMAGE)...         each DICOM image shows its picture, upright, and keeps nothing else of its file

The good files hold the word CANARY wherever a picture's file has room for words: maker, artist, comment, text.
"""

import json
import pathlib
import sys

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin
from pydicom import dcmread

MARK = "CANARY"
# JPEG and WebP decoders round differently: levels of 255.
LOSSY = 6
WIDTH, HEIGHT = 96, 64


def scene():
    """No two corners alike, so that every turn shows; smooth, so that lossy codecs keep it."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return Image.fromarray(np.stack([x * 2, y * 3, 255 - (x + y)], -1).astype(np.uint8))


def exif(turn):
    """What a phone writes: how to turn it, who made it, where it was taken."""
    data = Image.Exif()
    data[0x0112], data[0x010F], data[0x013B], data[0x0132] = turn, f"{MARK} maker", f"{MARK} artist", "2020:02:02 02:02:02"
    place = data.get_ifd(0x8825)
    place[1], place[2], place[3], place[4] = "N", (52.0, 31.0, 12.0), "E", (13.0, 24.0, 36.0)
    place[0x1D] = f"{MARK} 20"
    return data


def good(folder):
    picture, text = scene(), PngImagePlugin.PngInfo()
    text.add_text("Comment", f"{MARK} comment")
    for turn in (1, 3, 6, 8, 5):
        picture.save(folder / f"turned-{turn}.jpg", quality=95, exif=exif(turn), comment=f"{MARK} comment".encode())
    picture.convert("L").save(folder / "grey.jpg", quality=95)
    picture.save(folder / "text.png", pnginfo=text, exif=exif(6))
    alpha = picture.convert("RGBA")
    alpha.putalpha(128)
    alpha.save(folder / "alpha.png")
    picture.save(folder / "artist.tiff", tiffinfo={315: f"{MARK} artist"}, compression="tiff_lzw")
    picture.save(folder / "lossless.webp", lossless=True, exif=exif(3))
    picture.save(folder / "lossy.webp", quality=95, exif=exif(8))


def bad(folder):
    picture, other = scene(), ImageOps.invert(scene())
    picture.save(folder / "animated.png", save_all=True, append_images=[other])
    picture.save(folder / "animated.webp", save_all=True, append_images=[other])
    picture.save(folder / "pages.tiff", save_all=True, append_images=[other])
    picture.save(folder / "animated.gif", save_all=True, append_images=[other])
    (folder / "letter.jpg").write_text(f"Dear colleague, the pictures of {MARK} are attached.\n" * 9)
    whole = (folder / "turned-1.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "head.png").write_bytes((folder / "text.png").read_bytes()[:60])
    (folder / "empty.png").write_bytes(b"")
    # 400 million pixels in 50 kB.
    Image.new("L", (20_000, 20_000)).save(folder / "bomb.png")
    # Few pixels, but more of them in a row than DICOM can count.
    Image.new("L", (70_000, 2)).save(folder / "wide.png")


def shown(path):
    """The samples as a person sees them, transparency over black."""
    picture = ImageOps.exif_transpose(Image.open(path))
    if picture.mode == "RGBA":
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, (0, 0, 0, 255)), picture)
    return np.asarray(picture.convert("RGB")).astype(int)


def check(picture, image):
    data = dcmread(image)
    wanted, got = shown(picture), data.pixel_array.astype(int)
    if got.ndim == 2:
        wanted = np.rint(wanted @ [0.299, 0.587, 0.114]).astype(int)
    assert got.shape == wanted.shape, (picture, got.shape, wanted.shape)
    lossy = pathlib.Path(picture).suffix in (".jpg", ".webp")
    apart = np.abs(got - wanted).max()
    assert apart <= (LOSSY if lossy else 1), (picture, apart)
    kept = pathlib.Path(image).read_bytes()
    for word in (b"Exif", b"CANARY maker", b"CANARY artist", b"CANARY comment", b"CANARY 20", b"2020:02:02", b"20200202"):
        assert word not in kept, (picture, word)
    keywords = ("SOPClassUID", "Modality", "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber")
    keywords += ("StudyDescription", "BodyPartExamined", "BurnedInAnnotation", "ImageLaterality", "InstanceNumber", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    return {keyword: str(data.get(keyword, "")) for keyword in keywords}


def main():
    if sys.argv[1] == "make":
        folder = pathlib.Path(sys.argv[2])
        good(folder)
        bad(folder)
    else:
        pairs = sys.argv[2:]
        print(json.dumps([check(picture, image) for picture, image in zip(pairs[::2], pairs[1::2])]))


if __name__ == "__main__":
    main()
