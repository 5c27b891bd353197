#!/usr/bin/env python3
"""`dicomweb-client`, the Python library, against a DICOMweb server: store, search, retrieve, compare.

    dicomweb_second_client.py BASE FILE... [--token TOKEN] [--without rendered] [--foreign]

Stores the files by STOW-RS, finds them by QIDO-RS, fetches them by WADO-RS and compares the data sets, the frames and the metadata with the
files. With --foreign they are there already and only fetched. Prints what was compared as JSON; exits with 1 where something differs.
"""

import argparse
import json
import pathlib
import sys

import numpy as np
import pydicom
import requests
from dicomweb_client.api import DICOMwebClient
from pydicom.encaps import generate_frames


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base")
    parser.add_argument("files", nargs="+")
    parser.add_argument("--token")
    parser.add_argument("--without", action="append", default=[], choices=["rendered"])
    parser.add_argument("--foreign", action="store_true")
    args = parser.parse_args()
    session = requests.Session()
    if args.token:
        session.headers["Authorization"] = f"Bearer {args.token}"
    client = DICOMwebClient(args.base, session=session)
    files = [pydicom.dcmread(path) for path in args.files]
    wrong = []
    if not args.foreign:
        answer = client.store_instances(files)
        kept = {item.ReferencedSOPInstanceUID for item in answer.get("ReferencedSOPSequence", [])}
        wrong += [f"not stored: {f.SOPInstanceUID}" for f in files if f.SOPInstanceUID not in kept]
        wrong += [f"refused: {item.ReferencedSOPInstanceUID}" for item in answer.get("FailedSOPSequence", [])]
    for file in files:
        wrong += [f"{pathlib.Path(file.filename).name}: {what}" for what in compare(client, file, "rendered" not in args.without)]
    print(json.dumps({"compared": len(files), "wrong": wrong}, indent=1))
    for complaint in wrong:
        print(complaint, file=sys.stderr)
    sys.exit(1 if wrong else 0)


def fragments(file):
    """The encapsulated frames, whatever the offset table says."""
    return list(generate_frames(file.PixelData, number_of_frames=int(file.get("NumberOfFrames", 1))))


def compare(client, file, rendered):
    study, series, sop = file.StudyInstanceUID, file.SeriesInstanceUID, file.SOPInstanceUID
    found = client.search_for_instances(study, series, search_filters={"SOPInstanceUID": sop})
    if [pydicom.Dataset.from_json(f).SOPInstanceUID for f in found] != [sop]:
        return [f"search finds {len(found)} instances for one UID"]
    wrong = []
    metadata = pydicom.Dataset.from_json(client.retrieve_instance_metadata(study, series, sop), bulk_data_uri_handler=lambda *_: None)
    for keyword in ("PatientID", "PatientName", "StudyDate", "Modality", "Rows", "SOPClassUID", "InstanceNumber"):
        if metadata.get(keyword) != file.get(keyword):
            wrong.append(f"metadata: {keyword} differs")
    # `*`: as it is stored, without transcoding.
    fetched = client.retrieve_instance(study, series, sop, media_types=(("application/dicom", "*"),))
    if fetched.file_meta.TransferSyntaxUID != file.file_meta.TransferSyntaxUID:
        wrong.append("instance: another transfer syntax")
    # Group lengths, padding and offset tables are the writer's: a sender may leave them out or write its own.
    tags = sorted(tag for tag in set(fetched.keys()) | set(file.keys()) if tag.element and tag != 0xFFFCFFFC)
    differing = [str(tag) for tag in tags if fetched.get(tag) != file.get(tag)]
    if file.file_meta.TransferSyntaxUID.is_compressed and fragments(fetched) == fragments(file):
        differing = [tag for tag in differing if tag != "(7FE0,0010)"]
    if differing:
        wrong.append(f"instance: another data set at {', '.join(differing)}")
    if "PixelData" in file:
        frames = client.retrieve_instance_frames(study, series, sop, [1], media_types=("image/jpeg", ("application/octet-stream", "*")))
        array = file.pixel_array if not file.file_meta.TransferSyntaxUID.is_compressed else None
        if array is not None:
            first = array if int(file.get("NumberOfFrames", 1)) == 1 else array[0]
            # Octets are little endian, whatever the file is.
            octets = np.ascontiguousarray(first, first.dtype.newbyteorder("<")).tobytes()
            if frames[0][: first.nbytes] != octets:
                wrong.append("frames: other pixels")
        elif not frames[0]:
            wrong.append("frames: none")
        if rendered and not client.retrieve_instance_rendered(study, series, sop, media_types=("image/png",)).startswith(b"\x89PNG"):
            wrong.append("rendered: no PNG")
    return wrong


if __name__ == "__main__":
    main()
