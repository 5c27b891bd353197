"""Stores files over DICOMweb, finds and retrieves them again in every way, and compares pixels with pydicom's.

Usage: dicomweb.py URL FILE...
"""

import io
import sys

import numpy as np
from dicomweb_client.api import DICOMwebClient
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian

# Lossy JPEG decoders round differently: levels of 255.
LOSSY = {"1.2.840.10008.1.2.4.50": 6}


def compare(got, wanted, syntax, what):
    assert got.shape == wanted.shape, (what, got.shape, wanted.shape)
    apart = np.abs(got.astype(np.int64) - wanted.astype(np.int64)).max()
    assert apart <= LOSSY.get(syntax, 0), (what, apart)


def as_array(data, dataset, wanted):
    """A frame of octets with the shape and type of pydicom's."""
    return np.frombuffer(data, dtype=wanted.dtype.newbyteorder("<")).reshape(wanted.shape)


def frame_of(dataset, number):
    pixels = dataset.pixel_array
    return pixels[number - 1] if int(dataset.get("NumberOfFrames", 1)) > 1 else pixels


def searches(client, dataset):
    study, series, instance = dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID
    studies = client.search_for_studies(search_filters={"StudyInstanceUID": study}, fields=["StudyDescription"])
    assert len(studies) == 1 and Dataset.from_json(studies[0]).StudyInstanceUID == study
    name = str(dataset.get("PatientName", ""))
    if name:
        found = client.search_for_studies(search_filters={"PatientName": name.lower()[:2] + "*"})
        assert study in [Dataset.from_json(s).StudyInstanceUID for s in found]
    found = client.search_for_series(study, search_filters={"Modality": dataset.Modality})
    assert series in [Dataset.from_json(s).SeriesInstanceUID for s in found]
    found = [Dataset.from_json(s) for s in client.search_for_instances(study, series)]
    assert instance in [i.SOPInstanceUID for i in found]
    assert client.search_for_studies(search_filters={"PatientID": "nobody at all"}) == []


def metadata(client, dataset):
    study, series, instance = dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID
    for documents in (
        client.retrieve_study_metadata(study),
        client.retrieve_series_metadata(study, series),
        [client.retrieve_instance_metadata(study, series, instance)],
    ):
        document = next(d for d in documents if d["00080018"]["Value"][0] == instance)
        read = Dataset.from_json(document, bulk_data_uri_handler=lambda *_: b"")
        for keyword in ("Rows", "Columns", "PatientName", "ImageType", "PixelSpacing", "WindowCenter"):
            assert read.get(keyword) == dataset.get(keyword), (keyword, read.get(keyword), dataset.get(keyword))
    return document["7FE00010"]["BulkDataURI"]


def retrieved(client, dataset):
    study, series, instance = dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID
    syntax = dataset.file_meta.TransferSyntaxUID
    explicit = client.retrieve_instance(study, series, instance)
    assert explicit.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    compare(explicit.pixel_array, dataset.pixel_array, syntax, "explicit")
    stored = client.retrieve_instance(study, series, instance, media_types=(("application/dicom", "*"),))
    assert stored.file_meta.TransferSyntaxUID == syntax
    assert stored.PixelData == dataset.PixelData
    assert instance in [d.SOPInstanceUID for d in client.retrieve_study(study)]
    assert instance in [d.SOPInstanceUID for d in client.retrieve_series(study, series)]


def frames(client, dataset, bulk):
    study, series, instance = dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID
    syntax = dataset.file_meta.TransferSyntaxUID
    count = int(dataset.get("NumberOfFrames", 1))
    numbers = sorted({1, count})
    for media in (None, (("application/octet-stream", "1.2.840.10008.1.2.1"),)):
        got = client.retrieve_instance_frames(study, series, instance, numbers, media_types=media)
        assert len(got) == len(numbers)
        for number, data in zip(numbers, got):
            wanted = frame_of(dataset, number)
            compare(as_array(data, dataset, wanted), wanted, syntax, f"frame {number}")
    media = {"1.2.840.10008.1.2.4.50": "image/jpeg", "1.2.840.10008.1.2.4.90": "image/jp2"}.get(syntax)
    if media:
        got = client.retrieve_instance_frames(study, series, instance, [count], media_types=((media, syntax),))
        assert got[0][:2] in (b"\xff\xd8", b"\xff\x4f")
    parts = client.retrieve_bulkdata(bulk)
    assert sum(map(len, parts)) == dataset.pixel_array.nbytes


def rendered(client, dataset):
    study, series, instance = dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID
    for media in ("image/png", "image/jpeg"):
        whole = client.retrieve_instance_rendered(study, series, instance, media_types=(media,))
        assert Image.open(io.BytesIO(whole)).size == (dataset.Columns, dataset.Rows)
    parameters = {"viewport": "64,64"}
    small = client.retrieve_instance_frames_rendered(
        study, series, instance, [1], media_types=("image/png",), params=parameters
    )
    picture = Image.open(io.BytesIO(small))
    assert max(picture.size) == 64
    if dataset.get("SamplesPerPixel", 1) == 3 and dataset.pixel_array.dtype == np.uint8:
        full = client.retrieve_instance_frames_rendered(study, series, instance, [1], media_types=("image/png",))
        got = np.asarray(Image.open(io.BytesIO(full)))
        compare(got, frame_of(dataset, 1), dataset.file_meta.TransferSyntaxUID, "rendered")


def main():
    client = DICOMwebClient(sys.argv[1])
    datasets = [dcmread(path) for path in sys.argv[2:]]
    answer = client.store_instances(datasets)
    stored = {item.ReferencedSOPInstanceUID for item in answer.ReferencedSOPSequence}
    assert stored == {d.SOPInstanceUID for d in datasets}, answer
    for path, dataset in zip(sys.argv[2:], datasets):
        try:
            searches(client, dataset)
            bulk = metadata(client, dataset)
            retrieved(client, dataset)
            frames(client, dataset, bulk)
            rendered(client, dataset)
        except Exception as error:
            raise RuntimeError(path) from error
    print(f"{len(datasets)} instances agree")


if __name__ == "__main__":
    main()
