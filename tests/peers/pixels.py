"""Dumps what pydicom reads of each file: stored pixels, modality and VOI output, frame by frame.

Usage: pixels.py OUT FOLDER...

Writes OUT/index.json: a list of {file, error} or {file, frames: [{shape, stored, dtype, modality,
voi, voi_range}]}, where the values name raw little-endian arrays in OUT. pydicom's defaults hold:
`pixel_array` converts YBR to RGB; a palette is applied here, because our reader applies it too.
"""

import json
import pathlib
import sys
import warnings

import numpy as np
import pydicom
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, pixel_array

warnings.simplefilter("ignore")


def save(out, name, array):
    array = np.ascontiguousarray(array)
    array.astype(array.dtype.newbyteorder("<")).tofile(out / name)
    return {"file": name, "dtype": array.dtype.name}


def frame_dataset(ds, index):
    """The data set with the frame's functional groups merged in, as apply_*_lut wants it."""
    groups = []
    for seq, i in (("SharedFunctionalGroupsSequence", 0), ("PerFrameFunctionalGroupsSequence", index)):
        if seq in ds and len(ds[seq].value) > i:
            groups.append(ds[seq].value[i])
    for group in groups:
        for macro in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
            if macro in group:
                for element in group[macro].value[0]:
                    ds[element.tag] = element
    return ds


def little_endian_palette(ds):
    """pydicom 3.0.2 reads palettes of OW in big-endian files with the bytes the wrong way round."""
    if ds.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRBigEndian:
        for colour in ("Red", "Green", "Blue"):
            element = ds.get(f"{colour}PaletteColorLookupTableData") and ds[f"{colour}PaletteColorLookupTableData"]
            if element and element.VR == "OW":
                element.value = np.frombuffer(element.value, ">u2").astype("<u2").tobytes()
    return ds


def voi_range(ds):
    """Lowest and highest output of apply_voi_lut, by pydicom's own rules."""
    if ds.get("VOILUTSequence"):
        return [0, 2 ** int(ds.VOILUTSequence[0].LUTDescriptor[2]) - 1]
    if ds.get("ModalityLUTSequence"):
        return [0, 2 ** int(ds.ModalityLUTSequence[0].LUTDescriptor[2]) - 1]
    bits = int(ds.BitsStored)
    low, high = (0, 2**bits - 1) if ds.PixelRepresentation == 0 else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    if ds.get("RescaleSlope") is not None and ds.get("RescaleIntercept") is not None:
        low, high = (float(v * ds.RescaleSlope + ds.RescaleIntercept) for v in (low, high))
    return [float(low), float(high)]


def dump(path, out, stem):
    ds = pydicom.dcmread(path, force=True)
    if not any(k in ds for k in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        return None
    if "TransferSyntaxUID" not in ds.file_meta:
        explicit, little = ds.original_encoding
        ds.file_meta.TransferSyntaxUID = (
            pydicom.uid.ImplicitVRLittleEndian if not explicit
            else pydicom.uid.ExplicitVRLittleEndian if little else pydicom.uid.ExplicitVRBigEndian
        )
    if ds.get("PhotometricInterpretation") == "PALETTE COLOR":
        little_endian_palette(ds)
    count = int(ds.get("NumberOfFrames") or 1)
    frames = []
    for index in range(count):
        # Large cines: the first two frames, one from the middle and the last say it all.
        if count > 6 and index not in (0, 1, count // 2, count - 1):
            frames.append(None)
            continue
        arr = ds.pixel_array if count == 1 else pixel_array(ds, index=index)
        one = frame_dataset(ds, index)
        entry = {"shape": list(arr.shape)}
        if ds.PhotometricInterpretation == "PALETTE COLOR":
            arr = apply_color_lut(arr, ds)
        name = f"{stem}_{index}"
        entry["stored"] = save(out, name + ".stored", arr)
        if ds.file_meta.TransferSyntaxUID == pydicom.uid.JPEGBaseline8Bit:
            # pydicom's own two decoders differ by up to 5 where chroma is subsampled; either is right.
            other = pixel_array(ds, index=index, decoding_plugin="pillow")
            entry["alternative"] = save(out, name + ".alternative", other)
        if ds.PhotometricInterpretation in ("MONOCHROME1", "MONOCHROME2") and arr.ndim == 2:
            modality = apply_modality_lut(arr, one)
            entry["modality"] = save(out, name + ".modality", modality.astype("float64"))
            has_voi = one.get("VOILUTSequence") or (one.get("WindowCenter") is not None and one.get("WindowWidth") is not None)
            if has_voi:
                try:
                    entry["voi"] = save(out, name + ".voi", apply_voi_lut(modality, one).astype("float64"))
                    entry["voi_range"] = voi_range(one)
                except Exception as error:  # pylint: disable=broad-except
                    entry["voi_error"] = repr(error)
        frames.append(entry)
    return {"frames": frames}


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    index = []
    for number, path in enumerate(p for f in sys.argv[2:] for p in sorted(pathlib.Path(f).rglob("*"))):
        if not path.is_file() or path.suffix in (".py", ".pyc", ".json", ".txt", ".dump", ".icc", ".gz", ".md"):
            continue
        try:
            result = dump(path, out, f"f{number}")
            result = {"no_pixels": True} if result is None else result
        except Exception as error:  # pylint: disable=broad-except
            result = {"error": f"{type(error).__name__}: {error}"[:300]}
        index.append({"path": str(path), **result})
    (out / "index.json").write_text(json.dumps(index))


if __name__ == "__main__":
    main()
