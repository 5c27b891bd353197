#!/usr/bin/env python3
"""Makes DICOM files for tests and benchmarks, each with a patient of its own, and tells what it made.

    make_samples.py ct FOLDER [--studies N] [--count SLICES]     512x512 CT slices, 16 bit, uncompressed
    make_samples.py children FOLDER [--count N]                  DX radiographs of children, one a study
    make_samples.py cine FOLDER [--count N]                      ultrasound multi-frame, JPEG

Prints a JSON array with one object for each file: path, study, series, sop, sop_class, transfer_syntax, patient_id, patient_name,
accession. The patients are made up, and their names hold a marked word (CANARY) that a test can look for where no name may be. UIDs are a
function of --seed: another seed is another set of studies. Data sets are written as DCMTK writes them, so that what it sends is what is in the file.
"""

import argparse
import itertools
import hashlib
import json
import os
import pathlib

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, JPEG2000Lossless

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOLS = pathlib.Path(os.environ.get("OVERREAD_TOOLS", ROOT / ".tools"))
SAMPLES = TOOLS / "samples"


def uid(*parts):
    """A UID under 2.25 that is a function of its parts."""
    return f"2.25.{int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:15])}"


def person(data, seed, number):
    """A made-up child."""
    data.PatientName = f"CANARY^Child {seed} {number:04}"
    data.PatientID = f"CANARY-{seed}-{number:04}"
    data.PatientBirthDate = f"{2019 + number % 4}{1 + number % 12:02}{1 + number % 28:02}"
    data.PatientSex = "FM"[number % 2]
    data.PatientAge = f"{3 + number % 4:03}Y"
    data.ReferringPhysicianName = "CANARY^Referrer"
    data.AccessionNumber = f"A{seed}{number:05}"
    data.StudyID = str(number + 1)
    data.StudyDate = data.SeriesDate = data.ContentDate = "20260102"
    data.StudyTime = data.SeriesTime = data.ContentTime = f"{8 + number % 10:02}{number % 60:02}00"
    data.InstitutionName = "CANARY Hospital"
    data.Manufacturer = "Overread tests"


def new(path, sop_class, kind, seed, study, series, number):
    """An uncompressed object with its UIDs."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    data.SpecificCharacterSet = "ISO_IR 192"
    data.SOPClassUID = sop_class
    data.StudyInstanceUID = uid(kind, seed, study)
    data.SeriesInstanceUID = uid(kind, seed, study, series)
    data.SOPInstanceUID = uid(kind, seed, study, series, number)
    data.SeriesNumber, data.InstanceNumber = series, number
    person(data, seed, study)
    return data


def coded(scheme, value, meaning):
    """An item of a code sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def pixels(data, array, stored):
    """Grey pixels; `stored` bits."""
    data.Rows, data.Columns = array.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = 16 if stored > 8 else 8
    data.BitsStored, data.HighBit, data.PixelRepresentation = stored, stored - 1, 0
    data.PixelData = array.astype("<u2" if stored > 8 else "u1").tobytes()
    data["PixelData"].VR = "OW" if stored > 8 else "OB"


def save(data, path):
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.save_as(path, enforce_file_format=True)
    return {
        "path": str(path),
        "study": data.StudyInstanceUID,
        "series": data.SeriesInstanceUID,
        "sop": data.SOPInstanceUID,
        "sop_class": data.SOPClassUID,
        "transfer_syntax": data.file_meta.TransferSyntaxUID,
        "patient_id": data.PatientID,
        "patient_name": str(data.PatientName),
        "accession": data.AccessionNumber,
    }


def ct(folder, args):
    """Slices of a phantom, over the real slice's pixels; no two are alike."""
    base = pydicom.dcmread(SAMPLES / "data_store/data/693_UNCI.dcm").pixel_array.astype(np.int32)
    base = np.clip(base - base.min(), 0, 4000).astype(np.uint16)
    for study in range(args.studies):
        for number in range(1, args.count + 1):
            path = folder / f"ct-{study:03}-{number:05}.dcm"
            data = new(path, CTImageStorage, "ct", args.seed, study, 1, number)
            data.Modality, data.BodyPartExamined = "CT", "CHEST"
            data.StudyDescription, data.SeriesDescription = "CT of a phantom", "Axial"
            data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
            data.PixelSpacing, data.SliceThickness = [0.7, 0.7], 1
            data.ImageOrientationPatient, data.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [-180, -180, float(number)]
            data.FrameOfReferenceUID, data.PositionReferenceIndicator = uid("ct", args.seed, study, "frame"), None
            data.PatientPosition, data.KVP, data.AcquisitionNumber = "HFS", None, None
            data.RescaleIntercept, data.RescaleSlope, data.RescaleType = -1024, 1, "HU"
            data.WindowCenter, data.WindowWidth = 40, 400
            pixels(data, np.roll(base, (number * 7, study * 13), (0, 1)), 12)
            yield save(data, path)


def children(folder, args):
    """The pictures of the package pneumonia-model-package, as a modality would send them."""
    from PIL import Image

    pictures = sorted((SAMPLES / "pneumonia_model_package/datasets/pneumonia-data/val").glob("*.jpeg"))
    for study, number in itertools.product(range(args.studies), range(1, args.count + 1)):
        path = folder / f"child-{study:03}-{number}.dcm"
        data = new(path, DigitalXRayImageStorageForPresentation, "child", args.seed, study, 1, number)
        data.Modality, data.BodyPartExamined, data.ViewPosition = "DX", "CHEST", "AP"
        data.StudyDescription, data.SeriesDescription = "Chest radiograph", "AP"
        data.PresentationIntentType, data.ImageType = "FOR PRESENTATION", ["DERIVED", "PRIMARY"]
        data.ImageLaterality, data.PatientOrientation = "U", ["L", "F"]
        data.PixelIntensityRelationship, data.PixelIntensityRelationshipSign = "LOG", -1
        data.ImagerPixelSpacing, data.DetectorType, data.PositionerType = [0.143, 0.143], None, None
        data.AnatomicRegionSequence, data.AcquisitionContextSequence = [coded("SCT", "51185008", "Chest")], []
        data.RescaleIntercept, data.RescaleSlope, data.RescaleType = 0, 1, "US"
        data.PresentationLUTShape, data.BurnedInAnnotation, data.LossyImageCompression = "IDENTITY", "NO", "01"
        data.WindowCenter, data.WindowWidth = 128, 256
        with Image.open(pictures[(study * args.count + number - 1) % len(pictures)]) as picture:
            pixels(data, np.asarray(picture.convert("L")), 8)
        if args.kind == "children-j2k":
            data.compress(JPEG2000Lossless, encoding_plugin="pylibjpeg", generate_instance_uid=False)
        yield save(data, path)


def cine(folder, args):
    """A real cine of 120 frames (JPEG), with a patient and UIDs of its own."""
    for study in range(args.count):
        path = folder / f"cine-{study:03}.dcm"
        data = pydicom.dcmread(SAMPLES / "data_store/data/color3d_jpeg_baseline.dcm")
        person(data, args.seed, study)
        data.StudyInstanceUID = uid("cine", args.seed, study)
        data.SeriesInstanceUID = uid("cine", args.seed, study, 1)
        data.SOPInstanceUID = uid("cine", args.seed, study, 1, 1)
        yield save(data, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["ct", "children", "children-j2k", "cine"])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--studies", type=int, default=1)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--seed", default="1")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    makers = {"ct": ct, "children": children, "children-j2k": children, "cine": cine}
    print(json.dumps(list(makers[args.kind](args.folder, args)), indent=0))


if __name__ == "__main__":
    main()
