"""Gives all DICOM files below a folder one Study Instance UID, that of the first."""

import pathlib
import sys

import pydicom

study = None
for path in sorted(pathlib.Path(sys.argv[1]).rglob("*.dcm")):
    data = pydicom.dcmread(path)
    study = study or data.StudyInstanceUID
    data.StudyInstanceUID = study
    data.save_as(path)
