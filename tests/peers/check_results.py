#!/usr/bin/env python3
"""What highdicom and pydicom read in the objects that Overread writes.

    check_results.py SR.dcm [SC.dcm ...] [--json]

Each file is told by its SOP class: structured reports are read with highdicom's `srread`, key object
selections (rejection notes) with its document class, images with pydicom. Prints one document:
{"reports": [...], "notes": [...], "images": [...]}, in the order given. Exits
with 1 where a file cannot be read as what it claims to be. A local test tool: it prints what is in
the objects, the patient included.
"""

import argparse
import json
import re
import sys
import warnings

import highdicom as hd
import pydicom
from highdicom.sr import srread
from highdicom.sr.utils import find_content_items
from pydicom.sr.codedict import codes

COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"
KEY_OBJECT_SELECTION = "1.2.840.10008.5.1.4.1.1.88.59"
DECISIONS = {
    ("SCT", "52101004"): "present",
    ("SCT", "272519000"): "absent",
    ("SCT", "373068000"): "indeterminate",
    ("SCT", "373121007"): "not-assessed",
}
PROBABILITY = ("DCM", "122157")
COMMENT = ("DCM", "121106")


def key(item):
    """Scheme and value of a code."""
    code = item[0] if hasattr(item, "__len__") else item
    value = code.get("CodeValue") or code.get("LongCodeValue")
    return (code.CodingSchemeDesignator, value)


def named(content, scheme, value):
    """The items of a content sequence with a concept name."""
    return [i for i in content if "ConceptNameCodeSequence" in i and key(i.ConceptNameCodeSequence) == (scheme, value)]


def text(content, scheme, value):
    """The text or UID of the first item with a concept name."""
    found = named(content, scheme, value)
    if not found:
        return None
    item = found[0]
    return item.TextValue if item.ValueType == "TEXT" else item.UID


def finding(group):
    """One measurement group (TID 1501), read with highdicom's accessors."""
    content = group[0].ContentSequence
    label = group.finding_type
    evaluations = {(e.name.scheme_designator, e.name.value): e.value for e in group.get_qualitative_evaluations()}
    answer = evaluations.get((label.scheme_designator, label.value))
    measured = [m for m in group.get_measurements() if (m.name.scheme_designator, m.name.value) == PROBABILITY]
    parameters = [i.TextValue for i in named(content, "DCM", "111002")]
    return {
        "label": {"scheme": label.scheme_designator, "value": label.value, "meaning": label.meaning},
        "sites": [{"scheme": s.value.scheme_designator, "value": s.value.value} for s in group.finding_sites],
        "laterality": [s.laterality.meaning for s in group.finding_sites if s.laterality],
        "decision": DECISIONS.get((answer.scheme_designator, answer.value)) if answer else None,
        "probability": measured[0].value if measured else None,
        "unit": measured[0].unit.value if measured else None,
        "parameters": dict(p.split("=", 1) for p in parameters),
        "algorithm_name": text(content, "DCM", "111001"),
        "algorithm_version": text(content, "DCM", "111003"),
        "tracking_identifier": group.tracking_identifier,
        "tracking_uid": group.tracking_uid,
        "comments": [i.TextValue for i in named(content, *COMMENT)],
        "source_images": [i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for i in named(content, "DCM", "121112")],
        "explanations": [i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for i in named(content, "DCM", "130401")],
    }


def header(dataset):
    """What every object of a study shares."""
    def value(keyword):
        found = dataset.get(keyword)
        return None if found is None or str(found) == "" else str(found)

    equipment = dataset.get("ContributingEquipmentSequence", [])
    return {
        "sop_class": value("SOPClassUID"),
        "sop_instance": value("SOPInstanceUID"),
        "series": value("SeriesInstanceUID"),
        "study": value("StudyInstanceUID"),
        "modality": value("Modality"),
        "charset": value("SpecificCharacterSet"),
        "accession": value("AccessionNumber"),
        "patient_id": value("PatientID"),
        "patient_name": value("PatientName"),
        "series_description": value("SeriesDescription"),
        "edition": value("DeviceSerialNumber"),
        "device_uid": equipment[0].get("DeviceUID") if equipment else None,
    }


def evidence(dataset, keyword):
    """The instances of a hierarchical reference."""
    return [
        sop.ReferencedSOPInstanceUID
        for study in dataset.get(keyword, [])
        for series in study.ReferencedSeriesSequence
        for sop in series.ReferencedSOPSequence
    ]


def report(path):
    """A structured report."""
    sr = srread(path)
    if not isinstance(sr, hd.sr.Comprehensive3DSR):
        raise ValueError(f"{path} is {type(sr).__name__}")
    root = sr.content
    overall = [i for i in root[0].ContentSequence if "ConceptNameCodeSequence" in i and key(i.ConceptNameCodeSequence) == ("UMLS", "C0034375")]
    comments = [i.TextValue for c in overall for i in named(c.ContentSequence, *COMMENT)]
    reasons = [re.fullmatch(r"Not assessed \(([^)]*)\): (.*)", c, re.DOTALL) for c in comments]
    reason = next((m for m in reasons if m), None)
    groups = root.get_image_measurement_groups() if named(root[0].ContentSequence, "DCM", "126010") else []
    return header(sr) | {
        "title": root[0].ConceptNameCodeSequence[0].CodeMeaning,
        "template": root[0].ContentTemplateSequence[0].TemplateIdentifier,
        "completion": sr.CompletionFlag,
        "verification": sr.VerificationFlag,
        "preliminary": sr.PreliminaryFlag,
        "observer_uid": text(root[0].ContentSequence, "DCM", "121012"),
        "findings": [finding(g) for g in groups],
        "not_assessed": {"code": reason[1], "message": reason[2]} if reason else None,
        "comments": comments,
        "evidence": evidence(sr, "CurrentRequestedProcedureEvidenceSequence"),
        "predecessors": evidence(sr, "PredecessorDocumentsSequence"),
        "requests": [str(r.AccessionNumber) for r in sr.get("ReferencedRequestSequence", [])],
        "image_library": [
            i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
            for library in named(root[0].ContentSequence, "DCM", "111028")
            for group in library.ContentSequence
            for i in group.ContentSequence
            if i.ValueType == "IMAGE"
        ],
    }


def note(path):
    """A key object selection document: what it withdraws, why, and where the instances are."""
    document = hd.ko.KeyObjectSelectionDocument.from_dataset(pydicom.dcmread(path))
    root = document.content[0]
    modifiers = [key(i.ConceptCodeSequence) for i in named(root.ContentSequence, "DCM", "113011")]
    references = [i.ReferencedSOPSequence[0] for i in document.content.get_references()]
    return header(document) | {
        "title": key(root.ConceptNameCodeSequence),
        "template": root.ContentTemplateSequence[0].TemplateIdentifier,
        "modifiers": modifiers,
        "description": text(root.ContentSequence, "DCM", "113012"),
        "observer_uid": text(root.ContentSequence, "DCM", "121012"),
        "withdrawn": [s.ReferencedSOPInstanceUID for s in references],
        "value_types": [i.ValueType for i in document.content.get_references()],
        "resolved": [list(document.resolve_reference(s.ReferencedSOPInstanceUID)) for s in references],
        "evidence": evidence(document, "CurrentRequestedProcedureEvidenceSequence"),
        "requests": [str(r.AccessionNumber) for r in document.get("ReferencedRequestSequence", [])],
    }


def image(path):
    """An image, with the sum of its samples as a check of the pixels."""
    dataset = pydicom.dcmread(path)
    pixels = dataset.pixel_array
    return header(dataset) | {
        "image_type": list(dataset.ImageType),
        "conversion": dataset.get("ConversionType"),
        "photometric": dataset.PhotometricInterpretation,
        "shape": list(pixels.shape),
        "sum": int(pixels.astype("int64").sum()),
        "burned_in": dataset.get("BurnedInAnnotation"),
        "derivation": dataset.get("DerivationDescription"),
        "sources": [i.ReferencedSOPInstanceUID for i in dataset.get("SourceImageSequence", [])],
    }


def main():
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", help="DICOM files that Overread wrote")
    parser.add_argument("--json", action="store_true", help="one line of JSON (the default is indented)")
    args = parser.parse_args()
    # A peer's warning about our objects is a failure, not noise.
    warnings.simplefilter("error")
    read = {"reports": [], "notes": [], "images": []}
    for path in args.files:
        class_uid = pydicom.dcmread(path, stop_before_pixels=True).SOPClassUID
        if class_uid == COMPREHENSIVE_3D_SR:
            read["reports"].append(report(path))
        elif class_uid == KEY_OBJECT_SELECTION:
            read["notes"].append(note(path))
        else:
            read["images"].append(image(path))
    print(json.dumps(read, ensure_ascii=False, indent=None if args.json else 2))


if __name__ == "__main__":
    sys.exit(main())
