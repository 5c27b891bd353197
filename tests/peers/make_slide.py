#!/usr/bin/env python3
"""A small whole slide as a DICOM object (VL Whole Slide Microscopy, TILED_FULL), with a patient who does not exist.

    make_slide.py OUT.dcm

96 columns and 64 rows in tiles of 32, 0.5 µm a pixel, the first pixel at X 20.5 mm, Y 31.25 mm, rows to smaller X and columns to smaller Y.
"""

import sys

from highdicom import SpecimenDescription
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

ROWS, COLUMNS, TILE, MILLIMETRES = 64, 96, 32, 0.0005
ROOT = "1.2.826.0.1.3680043.8.498.777"


def item(**values):
    """A data set of some attributes."""
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def coded(code):
    """An item of a code sequence."""
    return item(CodeValue=code.value, CodingSchemeDesignator=code.scheme_designator, CodeMeaning=code.meaning)


def header():
    """Patient, study, series, equipment and specimen."""
    specimen = SpecimenDescription(specimen_id="S26-1-A-1", specimen_uid=f"{ROOT}.5", issuer_of_specimen_id=None)
    return item(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.77.1.6", SOPInstanceUID=f"{ROOT}.4", StudyInstanceUID=f"{ROOT}.1", SeriesInstanceUID=f"{ROOT}.2",
        FrameOfReferenceUID=f"{ROOT}.3", PositionReferenceIndicator="SLIDE_CORNER", PatientID="P7", PatientName="Doe^Jane", PatientBirthDate="19600101",
        PatientSex="F", AccessionNumber="A7", StudyID="1", StudyDate="20260101", StudyTime="101010", ReferringPhysicianName="", Modality="SM",
        SeriesNumber=1, InstanceNumber=1, Manufacturer="Nobody", ManufacturerModelName="Model", DeviceSerialNumber="1", SoftwareVersions="1",
        ContentDate="20260101", ContentTime="101010", AcquisitionDateTime="20260101101010", ContainerIdentifier="S26-1-A-1",
        IssuerOfTheContainerIdentifierSequence=[item(LocalNamespaceEntityID="Laboratory")],
        ContainerTypeCodeSequence=[item(CodeValue="433466003", CodingSchemeDesignator="SCT", CodeMeaning="Microscope slide")],
        SpecimenDescriptionSequence=[specimen], AcquisitionContextSequence=[],
    )


def image(dataset):
    """The tiles and where they lie."""
    kind = ["DERIVED", "PRIMARY", "VOLUME", "NONE"]
    groups = item(
        PixelMeasuresSequence=[item(PixelSpacing=[MILLIMETRES, MILLIMETRES], SliceThickness=0.001)],
        WholeSlideMicroscopyImageFrameTypeSequence=[item(FrameType=kind)],
        OpticalPathIdentificationSequence=[item(OpticalPathIdentifier="1")],
    )
    path = item(
        OpticalPathIdentifier="1", IlluminationTypeCodeSequence=[coded(codes.DCM.BrightfieldIllumination)],
        IlluminationColorCodeSequence=[coded(codes.SCT.FullSpectrum)], ICCProfile=b"\0" * 128,
    )
    dataset.update(item(
        ImageType=kind, VolumetricProperties="VOLUME", Rows=TILE, Columns=TILE, TotalPixelMatrixRows=ROWS, TotalPixelMatrixColumns=COLUMNS,
        TotalPixelMatrixFocalPlanes=1, NumberOfOpticalPaths=1, NumberOfFrames=(ROWS // TILE) * (COLUMNS // TILE),
        TotalPixelMatrixOriginSequence=[item(XOffsetInSlideCoordinateSystem=20.5, YOffsetInSlideCoordinateSystem=31.25)],
        ImageOrientationSlide=[0, -1, 0, -1, 0, 0], ImagedVolumeWidth=COLUMNS * MILLIMETRES, ImagedVolumeHeight=ROWS * MILLIMETRES,
        ImagedVolumeDepth=1.0, FocusMethod="AUTO", ExtendedDepthOfField="NO", SpecimenLabelInImage="NO", BurnedInAnnotation="NO",
        DimensionOrganizationType="TILED_FULL", DimensionOrganizationSequence=[item(DimensionOrganizationUID=f"{ROOT}.6")],
        SharedFunctionalGroupsSequence=[groups], OpticalPathSequence=[path], SamplesPerPixel=3, PhotometricInterpretation="RGB",
        PlanarConfiguration=0, BitsAllocated=8, BitsStored=8, HighBit=7, PixelRepresentation=0, LossyImageCompression="01",
        LossyImageCompressionRatio=["12.5", "2"], LossyImageCompressionMethod=["ISO_10918_1", "ISO_15444_1"],
        PixelData=bytes(ROWS * COLUMNS * 3),
    ))


def main():
    """Writes the object."""
    dataset = header()
    image(dataset)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(sys.argv[1], enforce_file_format=True)


if __name__ == "__main__":
    main()
