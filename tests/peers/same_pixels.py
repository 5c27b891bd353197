#!/usr/bin/env python3
"""Whether pydicom sees the same pixels in pairs of files.

    same_pixels.py PAIRS.json

PAIRS.json holds a list of [original, copy]. Prints a list of [outcome, words] in the same order: "same", "unread" where
pydicom cannot decode the original, or "differs". Bits outside Bits Stored do not count. A local test tool.
"""

import json
import pathlib
import sys
import warnings

import numpy
import pydicom


def pixels(path):
    """The samples of a file, bits outside Bits Stored shifted out; floats as they are."""
    dataset = pydicom.dcmread(path, force=True)
    array = dataset.pixel_array
    if array.dtype.kind == "f":
        return array
    unused = array.dtype.itemsize * 8 - int(dataset.get("BitsStored", array.dtype.itemsize * 8))
    return array << unused if 0 < unused < array.dtype.itemsize * 8 else array


def judge(original, copy):
    """One pair."""
    try:
        before = pixels(original)
    except Exception as error:  # whatever a peer's plugins raise
        return ["unread", type(error).__name__]
    try:
        after = pixels(copy)
    except Exception as error:
        return ["differs", f"the copy cannot be read: {error!r}"]
    return ["same", ""] if numpy.array_equal(before, after) else ["differs", f"{before.shape} {after.shape}"]


def main():
    """Reads the command line."""
    warnings.simplefilter("ignore")
    pairs = json.loads(pathlib.Path(sys.argv[1]).read_text())
    print(json.dumps([judge(*pair) for pair in pairs]))


if __name__ == "__main__":
    main()
