"""Stores files over DICOMweb, finds and retrieves them again in every way, and compares pixels with pydicom's.

Usage: dicomweb.py URL FILE...

The studies of the files must be the only ones that the server has.
"""

import io
import sys

import numpy as np
import requests
from dicomweb_client.api import DICOMwebClient
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.pixels import apply_modality_lut
from pydicom.uid import UID, ExplicitVRLittleEndian

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
    found = client.search_for_instances(study, search_filters={"SOPInstanceUID": instance}, fields=["BitsStored"])
    assert [i["00080018"]["Value"] for i in found] == [[instance]]
    assert client.search_for_studies(search_filters={"PatientID": "nobody at all"}) == []
    assert client.search_for_series(study, search_filters={"Modality": "XX"}) == []


def pages(client, datasets):
    """One by one, or all by following the warnings: each study once. Counts are those of what was stored."""
    wanted = {d.StudyInstanceUID: {e.SOPInstanceUID for e in datasets if e.StudyInstanceUID == d.StudyInstanceUID} for d in datasets}
    uid = lambda found: Dataset.from_json(found).StudyInstanceUID
    singly = [uid(s) for n in range(len(wanted)) for s in client.search_for_studies(limit=1, offset=n)]
    assert sorted(singly) == sorted(wanted), singly
    assert client.search_for_studies(limit=1, offset=len(wanted)) == []
    assert sorted(uid(s) for s in client.search_for_studies(get_remaining=True)) == sorted(wanted)
    for found in client.search_for_studies(fields=["all"]):
        study = Dataset.from_json(found)
        assert study.NumberOfStudyRelatedInstances == len(wanted[study.StudyInstanceUID]), study.StudyInstanceUID
    described = next((d for d in datasets if d.get("StudyDescription")), None)
    if described is not None:
        filters = {"StudyInstanceUID": described.StudyInstanceUID}
        assert "00081030" not in client.search_for_studies(search_filters=filters)[0]
        found = client.search_for_studies(search_filters=filters, fields=["StudyDescription"])[0]
        assert Dataset.from_json(found).StudyDescription == described.StudyDescription.strip()


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
    # Without a transfer syntax in `Accept` it is Explicit VR Little Endian (PS3.18 §8.7.3.5.2), named or not.
    for accept in ("application/dicom", ("application/dicom", ExplicitVRLittleEndian)):
        explicit = client.retrieve_instance(study, series, instance, media_types=(accept,))
        assert explicit.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
        compare(explicit.pixel_array, dataset.pixel_array, syntax, f"explicit by {accept}")
    # `*` is the syntax that is stored. The client asks for it where the caller says nothing, whatever its documentation says.
    for accept in (None, (("application/dicom", "*"),)):
        stored = client.retrieve_instance(study, series, instance, media_types=accept)
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
    windowed(client, dataset)
    if dataset.get("SamplesPerPixel", 1) == 3 and dataset.pixel_array.dtype == np.uint8:
        full = client.retrieve_instance_frames_rendered(study, series, instance, [1], media_types=("image/png",))
        got = np.asarray(Image.open(io.BytesIO(full)))
        compare(got, frame_of(dataset, 1), dataset.file_meta.TransferSyntaxUID, "rendered")


def transformation(dataset):
    """Where the rescale of the first frame is: an enhanced object has it in a functional group."""
    for groups in (dataset.get("PerFrameFunctionalGroupsSequence", []), dataset.get("SharedFunctionalGroupsSequence", [])):
        if groups and "PixelValueTransformationSequence" in groups[0]:
            return groups[0].PixelValueTransformationSequence[0]
    return dataset


def windowed(client, dataset):
    """The window of the URL, as PS3.3 §C.11.2.1.2.1 draws it."""
    if dataset.get("SamplesPerPixel", 1) != 1 or dataset.PhotometricInterpretation == "PALETTE COLOR":
        return
    values = apply_modality_lut(frame_of(dataset, 1), transformation(dataset)).astype(np.float64)
    center, width = float(np.median(values)) + 20, max(float(np.ptp(values)) / 3, 2)
    study, series, instance = dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID
    got = client.retrieve_instance_frames_rendered(
        study, series, instance, [1], media_types=("image/png",), params={"window": f"{center},{width}"}
    )
    wanted = np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0, 1) * 255
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        wanted = 255 - wanted
    seen = np.ones(values.shape, bool)
    if "PixelPaddingValue" in dataset:
        seen = frame_of(dataset, 1) != dataset.PixelPaddingValue
    apart = np.abs(np.asarray(Image.open(io.BytesIO(got))).astype(np.float64) - wanted)[seen].max()
    assert apart <= 1, f"a window apart by {apart}"


def refused(url, client, dataset):
    """What is not there, and what is asked for in a form that it cannot be given in."""
    study, series, instance = dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID
    beyond = int(dataset.get("NumberOfFrames", 1)) + 1
    for call in (
        lambda: client.retrieve_instance_metadata(study, series, UID("2.25.404")),
        lambda: client.retrieve_study(UID("2.25.404")),
        lambda: client.retrieve_instance_frames(study, series, instance, [beyond]),
        lambda: client.retrieve_bulkdata(f"{url}/studies/{study}/series/{series}/instances/{instance}/bulkdata/00100010"),
    ):
        assert status_of(call) == 404
    own = f"{url}/studies/{study}/series/{series}/instances/{instance}"
    json, file = "application/dicom+json", 'multipart/related; type="application/dicom"'
    for path, accept, status in (
        (f"{own}/metadata", 'multipart/related; type="application/dicom+xml"', 406),
        (own, f"{file}; transfer-syntax=1.2.840.10008.1.2.4.112", 406),
        (own, "image/gif", 406),
        (f"{own}/frames/1", 'multipart/related; type="image/jxl"', 406),
        (f"{own}/rendered", "image/gif", 406),
        (f"{own}/rendered?window=wide", "image/png", 400),
        (f"{own}/frames/0", "*/*", 400),
        (f"{url}/studies?Colour=red", json, 400),
        (f"{url}/studies?limit=-1", json, 400),
        (f"{url}/patients", json, 404),
    ):
        answer = requests.get(path, headers={"Accept": accept}, timeout=60)
        assert answer.status_code == status, (path, answer.status_code)
        assert answer.headers["Content-Type"] == "application/problem+json", (path, answer.headers)
        assert answer.json()["status"] == status and answer.json()["detail"], path


def status_of(call):
    try:
        call()
    except requests.HTTPError as error:
        return error.response.status_code
    return 200


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
            refused(sys.argv[1].rstrip("/"), client, dataset)
        except Exception as error:
            raise RuntimeError(path) from error
    pages(client, datasets)
    print(f"{len(datasets)} instances agree")


if __name__ == "__main__":
    main()
