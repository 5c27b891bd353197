#!/usr/bin/env python3
"""Marked identity in DICOM objects: plants it everywhere, and looks for it with pydicom.

    deid_canary.py plant FOLDER FILE...    writes a marked copy of each file, prints their paths
    deid_canary.py find FILE...            prints, for each file, the list of [where, mark] that pydicom finds

A local test tool.
"""

import base64
import json
import pathlib
import sys
import warnings

import pydicom
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

NAME, SECRET, NUMBER, BIRTH, DATE, ROOT = "ZZCANARY", "QXSECRET", "7743219", "19410203", "20010203", "1.2.826.0.1.3680043.10.99977"
MARKS = [NAME, SECRET, NUMBER, BIRTH, DATE, ROOT]
# Groups whose attributes somebody fills in.
GROUPS = {0x0008, 0x0010, 0x0018, 0x0020, 0x0032, 0x0038, 0x0040, 0x2200, 0x4008}
# Without them the object is another one, or none.
KEEP = {
    "SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality", "ImageType", "ValueType", "ConversionType",
    "ContinuityOfContent", "RelationshipType", "CodingSchemeDesignator", "PatientBirthDate", "EncapsulatedDocument", "MIMETypeOfEncapsulatedDocument",
}  # fmt: skip
# What the patient is known by, and what people write about.
NUMBERS = ["PatientID", "AccessionNumber", "StudyID", "AdmissionID", "RequestedProcedureID", "MedicalRecordLocator"]
WRITTEN = ["StudyDescription", "SeriesDescription", "ImageComments", "PatientComments", "AdditionalPatientHistory", "ProtocolName", "InstitutionName",
           "ReasonForStudy", "DerivationDescription", "ContrastBolusAgent", "Occupation", "PatientAddress"]  # fmt: skip


def value_for(vr, number):
    """A marked value, or none for representations without text."""
    return {
        "PN": f"{NAME}^Pat", "LO": f"{NAME} {number}", "SH": NAME, "ST": f"by {NAME}", "LT": f"of {NAME}", "UT": f"at {NAME}", "UC": NAME,
        "AE": NAME, "CS": NAME, "DA": DATE, "DT": f"{DATE}121314", "UI": f"{ROOT}.{number}",
    }.get(vr)  # fmt: skip


def nested():
    """An item with marks in it."""
    item, inner = Dataset(), Dataset()
    inner.PatientName, inner.PatientID, inner.ReferencedSOPInstanceUID = f"{NAME}^In", NUMBER, f"{ROOT}.7"
    inner.private_block(0x0009, NAME, create=True).add_new(1, "LO", NAME)
    item.StudyDescription, item.PatientName, item.CodeMeaning = f"for {NAME}", f"{NAME}^Out", NAME
    item.ReferencedPatientSequence = Sequence([inner])
    return item


def plant(path, out):
    data = pydicom.dcmread(path)
    data.walk(lambda ds, e: ds.pop(e.tag) if e.tag.is_private else None)
    for number, (tag, entry) in enumerate(sorted(DicomDictionary.items())):
        group, keyword = tag >> 16, entry[4]
        value = value_for(entry[0], number)
        if value and group in GROUPS and keyword and keyword not in KEEP and (keyword not in data or data[keyword].VM <= 1):
            data.add_new(tag, entry[0], value)
    for keyword in NUMBERS:
        setattr(data, keyword, NUMBER)
    for keyword in WRITTEN:
        setattr(data, keyword, f"{SECRET} chest")
    data.PatientBirthDate = BIRTH
    for number, keyword in enumerate(["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"]):
        setattr(data, keyword, f"{ROOT}.{number}")
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.file_meta.SourceApplicationEntityTitle = NAME
    data.file_meta.PrivateInformationCreatorUID, data.file_meta.PrivateInformation = ROOT, NAME.encode()
    data.preamble = (NAME * 16).encode()
    for keyword in ["ReferencedStudySequence", "OtherPatientIDsSequence", "RequestAttributesSequence", "ReferencedImageSequence", "OriginalAttributesSequence",
                    "ProcedureCodeSequence", "ContributingEquipmentSequence", "AnatomicRegionSequence"]:  # fmt: skip
        setattr(data, keyword, Sequence([nested()]))
    block = data.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0C, "LO", NAME)
    block.add_new(0x0D, "CS", NAME)
    block = data.private_block(0x0029, NAME, create=True)
    for element, (vr, value) in enumerate([("LO", NAME), ("UN", NAME.encode()), ("OB", NAME.encode("utf-16-le")), ("SQ", [nested()]), ("UN", base64.b64encode(NAME.encode()))]):
        block.add_new(element, vr, value)
    data.add_new(0x60003000, "OW", (NAME * 2).encode())
    data.add_new(0x60004000, "LT", NAME)
    data.add_new(0x50003000, "OW", (NAME * 2).encode())
    data.save_as(out)


def forms(mark):
    """The mark in the encodings that a file may hold it in."""
    inner = base64.b64encode(mark.encode())[:-4]
    return [mark.encode(), mark.encode("utf-16-le"), mark.encode("utf-16-be"), inner]


def find(path):
    found, whole = [], pathlib.Path(path).read_bytes()

    def look(dataset, where):
        for element in dataset:
            here = f"{where}{element.tag}"
            if element.VR == "SQ":
                for item in element.value:
                    look(item, here + ">")
                continue
            value = element.value
            text = value if isinstance(value, bytes) else "\\".join(map(str, value if element.VM > 1 else [value])).encode()
            found.extend([here, mark] for mark in MARKS if any(form in text for form in forms(mark)))

    data = pydicom.dcmread(path)
    look(data.file_meta, "meta ")
    look(data, "")
    found.extend(["bytes", mark] for mark in MARKS if any(form in whole for form in forms(mark)))
    return found


def main():
    """Reads the command line."""
    warnings.simplefilter("ignore")
    pydicom.config.settings.reading_validation_mode = pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
    if sys.argv[1] == "plant":
        folder, written = pathlib.Path(sys.argv[2]), []
        for path in sys.argv[3:]:
            out = folder / pathlib.Path(path).name
            plant(path, out)
            written.append(str(out))
        print(json.dumps(written))
    else:
        print(json.dumps([find(path) for path in sys.argv[2:]]))


if __name__ == "__main__":
    main()
