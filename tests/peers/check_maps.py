#!/usr/bin/env python3
"""What highdicom and pydicom read in the parametric maps that Overread writes.

    check_maps.py MAP.dcm [MAP.dcm ...]

Prints one line of JSON: a list with one object a file, a cell that is NaN as null. A warning of a library about our object is a failure. A local
test tool: it prints what is in the objects, the patient included.
"""

import json
import math
import sys
import warnings

import highdicom as hd
import numpy as np
import pydicom
from highdicom.spatial import PixelToReferenceTransformer


def plain(array):
    """An array as lists, NaN as None."""
    return [[None if math.isnan(v) else v for v in row] for row in array.tolist()]


def quantities(mapping):
    """What a mapped value is a quantity of: the concept of each item, by the name of the item."""
    return {i.ConceptNameCodeSequence[0].CodeMeaning: i.ConceptCodeSequence[0].CodeMeaning for i in mapping.QuantityDefinitionSequence}


def window(image):
    """The first cells as they are shown, 0 black and 1 white."""
    item = image.SharedFunctionalGroupsSequence[0].FrameVOILUTSequence[0]
    shown = image.get_total_pixel_matrix(apply_voi_transform=True, apply_real_world_transform=False)
    return {"function": item.get("VOILUTFunction"), "shown": plain(shown[:1])}


def main():
    """Reads the files."""
    warnings.simplefilter("error")
    read = []
    for path in sys.argv[1:]:
        image = hd.pm.ParametricMap.from_file(path)
        dataset = pydicom.dcmread(path)
        frames = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns)
        assert frames.dtype == np.float32, frames.dtype
        matrix = image.get_total_pixel_matrix(apply_real_world_transform=False)
        real = image.get_total_pixel_matrix(apply_real_world_transform=True)
        assert np.array_equal(matrix, real, equal_nan=True)
        rows, columns = matrix.shape
        to_slide = PixelToReferenceTransformer.for_image(dataset, for_total_pixel_matrix=True)
        corners = np.array([[0, 0], [3, 0], [0, 1], [columns - 1, rows - 1]])
        shared = dataset.SharedFunctionalGroupsSequence[0]
        mapping = shared.RealWorldValueMappingSequence[0]
        read.append({
            "instance": dataset.SOPInstanceUID, "series": dataset.SeriesInstanceUID, "study": dataset.StudyInstanceUID,
            "frame_of_reference": dataset.FrameOfReferenceUID, "patient_id": dataset.PatientID, "patient_name": str(dataset.PatientName),
            "container": dataset.get("ContainerIdentifier"),
            "specimens": [s.SpecimenIdentifier for s in dataset.get("SpecimenDescriptionSequence", [])],
            "matrix": plain(matrix), "frames": [plain(f) for f in frames],
            "spacing": [float(v) for v in shared.PixelMeasuresSequence[0].PixelSpacing],
            "positions": to_slide(corners).tolist(),
            "frame_positions": [
                [float(p.XOffsetInSlideCoordinateSystem), float(p.YOffsetInSlideCoordinateSystem)]
                for p in (g.PlanePositionSlideSequence[0] for g in dataset.PerFrameFunctionalGroupsSequence)
            ],
            "padding": math.isnan(dataset.FloatPixelPaddingValue), "quantities": quantities(mapping), "unit": mapping.MeasurementUnitsCodeSequence[0].CodeValue,
            "explanation": mapping.LUTExplanation, "mapped": [mapping.DoubleFloatRealWorldValueFirstValueMapped, mapping.DoubleFloatRealWorldValueLastValueMapped],
            "window": window(image), "label": dataset.ContentLabel, "lossy": dataset.LossyImageCompression,
            "ratio": [float(v) for v in np.atleast_1d(dataset.get("LossyImageCompressionRatio", []))],
            "sources": [s.ReferencedSOPInstanceUID for s in dataset.get("SourceImageSequence", [])],
            "referenced": [i.ReferencedSOPInstanceUID for s in dataset.get("ReferencedSeriesSequence", []) for i in s.ReferencedInstanceSequence],
        })
    json.dump(read, sys.stdout)


if __name__ == "__main__":
    main()
