#!/usr/bin/env python3
"""The calls that OHIF's DICOMweb data source makes for a study, from the list of studies to pixels, and what it needs in the answers.

    dicomweb_ohif.py BASE [--study UID ...] [--token TOKEN] [--without CALL ...]

BASE is the DICOMweb root, such as http://127.0.0.1:8042/dicom-web. Without --study, every study that the server lists is opened. --without
leaves out calls that a server is known not to offer (thumbnail, rendered, bulkdata). Prints one JSON object with what was asked and seen;
exits with 1 and a line for each complaint where OHIF would show an error or an empty screen.
"""

import argparse
import collections
import io
import json
import sys
import urllib.parse

import requests
from PIL import Image

JSON = "application/dicom+json"
# OHIF asks for frames in whatever syntax they are stored; sites that omit the quotation marks are common.
FRAMES = ('multipart/related; type=application/octet-stream; transfer-syntax=*', 'multipart/related; type="application/octet-stream"; transfer-syntax=*')
STUDY_FIELDS = "00081030,00080060,00080090,00100030"
SERIES_FIELDS = "0008103E,00080021"
NATIVE = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"}
UNKNOWN_UID = "2.25.17"


def value(item, tag, default=None):
    """The first value of an attribute in the DICOM JSON model."""
    values = item.get(tag, {}).get("Value") or [default]
    return values[0]


def parts(response):
    """Header lines and bytes of each part of a multipart answer; a single-part answer is one part."""
    kind = response.headers["Content-Type"]
    if not kind.startswith("multipart/related"):
        return [(kind, response.content)]
    words = dict(p.strip().split("=", 1) for p in kind.split(";")[1:] if "=" in p)
    boundary = b"--" + words["boundary"].strip('"').encode()
    found = []
    for part in (b"\r\n" + response.content).split(b"\r\n" + boundary)[1:-1]:
        head, body = part.split(b"\r\n\r\n", 1)
        lines = [line.split(":", 1) for line in head.decode().split("\r\n") if ":" in line]
        headers = {name.strip().lower(): text.strip() for name, text in lines}
        found.append((headers.get("content-type", ""), body))
    return found


class Viewer:
    """What a person does in OHIF, as calls."""

    def __init__(self, base, token, without):
        self.base, self.without = base.rstrip("/"), set(without)
        self.session = requests.Session()
        if token:
            self.session.headers["Authorization"] = f"Bearer {token}"
        self.complaints, self.calls = [], collections.Counter()

    def check(self, holds, complaint):
        if not holds:
            self.complaints.append(complaint)
        return bool(holds)

    def get(self, call, path, accept, params=None):
        """A GET that must succeed; None where it does not."""
        url = path if path.startswith("http") else self.base + path
        # As a browser encodes: JavaScript's encodeURIComponent leaves these characters as they are.
        query = urllib.parse.urlencode(params or {}, safe="*!'()~", quote_via=urllib.parse.quote)
        response = self.session.get(url, params=query, headers={"Accept": accept} if accept else {}, timeout=120)
        self.calls[call] += 1
        # 204 is QIDO's other way of saying that nothing matched.
        said = " ".join(response.text[:200].split()) if response.status_code >= 300 else ""
        good = self.check(response.status_code in (200, 204), f"{call}: {response.status_code} for {path} {params or ''}: {said}")
        return response if good else None

    def search(self, call, path, **params):
        """A QIDO search: a list in the DICOM JSON model."""
        response = self.get(call, path, JSON, params)
        if response is None or response.status_code == 204:
            return []
        kind = response.headers.get("Content-Type", "")
        self.check(kind.split(";")[0] in (JSON, "application/json"), f"{call}: Content-Type {kind}")
        return response.json()

    def list_studies(self, **more):
        """The study list, as OHIF's QIDO parameters are for an empty filter."""
        asked = {"limit": 101, "offset": 0, "fuzzymatching": "false", "includefield": STUDY_FIELDS, **more}
        return self.search("studies", "/studies", **asked)

    def filters(self, study):
        """Each filter of the study list finds the study; one that does not match it leaves it out."""
        uid = value(study, "0020000D")
        name = value(study, "00100010", {}).get("Alphabetic", "")
        date, modality = value(study, "00080020"), value(study, "00080061")
        wanted = {
            "StudyInstanceUID": uid,
            "PatientName": f"*{name.split('^')[0][:6]}*" if name else None,
            "00100020": value(study, "00100020"),
            "AccessionNumber": value(study, "00080050"),
            "ModalitiesInStudy": modality,
            "StudyDate": f"{date}-{date}" if date else None,
        }
        for key, filter_value in wanted.items():
            if filter_value:
                found = [value(s, "0020000D") for s in self.list_studies(**{key: filter_value})]
                self.check(uid in found, f"studies: {key}={filter_value} does not find the study")
        for key, filter_value in {"StudyDate": "19010101-19010102", "AccessionNumber": "NO-SUCH", "ModalitiesInStudy": "XC"}.items():
            found = [value(s, "0020000D") for s in self.list_studies(**{key: filter_value})]
            self.check(uid not in found, f"studies: {key}={filter_value} finds a study that has none of it")

    def open(self, study):
        """Opens one study: its series, their metadata, then pixels."""
        uid = value(study, "0020000D")
        for tag, what in {"00100010": "patient's name", "00100020": "patient id", "00080061": "modalities", "00201208": "instances"}.items():
            self.check(tag in study, f"studies: no {what} ({tag}), so the list shows an empty cell")
        self.check(isinstance(value(study, "00100010", {}), dict), "studies: a person's name is an object with Alphabetic")
        self.filters(study)
        series = self.search("series", f"/studies/{uid}/series", includefield=SERIES_FIELDS)
        self.check(series, f"series: study {uid} lists none")
        listed = 0
        for one in series:
            for tag in ("0020000E", "00080060"):
                self.check(value(one, tag), f"series: no {tag}")
            self.check(value(one, "0020000D", uid) == uid, "series: of another study")
            listed += self.open_series(uid, one)
        self.check(listed == int(value(study, "00201208", listed)), f"studies: NumberOfStudyRelatedInstances is not {listed}")
        return {"study": uid, "series": len(series), "instances": listed}

    def open_series(self, study, series):
        uid = value(series, "0020000E")
        path = f"/studies/{study}/series/{uid}"
        instances = self.search("instances", f"{path}/instances")
        response = self.get("metadata", f"{path}/metadata", JSON)
        if response is None:
            return 0
        metadata = response.json()
        self.check(len(metadata) == len(instances), f"metadata: {len(metadata)} of {len(instances)} instances")
        number = value(series, "00201209")
        self.check(number is None or int(number) == len(instances), f"series: NumberOfSeriesRelatedInstances {number} is not {len(instances)}")
        for one in metadata:
            for tag in ("0020000D", "0020000E", "00080018", "00080016"):
                self.check(value(one, tag), f"metadata: no {tag}")
            pixels = one.get("7FE00010", {})
            self.check("InlineBinary" not in pixels, "metadata: pixels inside the metadata")
            self.check(not any(tag.startswith("0002") for tag in one), "metadata: file meta information is no part of it")
        ordered = sorted(metadata, key=lambda m: value(m, "00200013", 0))
        for one in {id(m): m for m in (ordered[:1] + ordered[-1:])}.values():
            if value(one, "00280010"):
                self.pixels(path, one)
            self.bulk(one)
        if metadata and value(metadata[0], "00280010") and "thumbnail" not in self.without:
            self.picture("thumbnail", f"{path}/instances/{value(metadata[0], '00080018')}/thumbnail", {"accept": "image/jpeg"})
            self.picture("thumbnail", f"{path}/thumbnail", {"accept": "image/jpeg"})
        return len(metadata)

    def pixels(self, path, one):
        """First and last frame, as the image loader asks, then the same rendered."""
        instance = f"{path}/instances/{value(one, '00080018')}"
        frames = int(value(one, "00280008", 1) or 1)
        for number in sorted({1, frames}):
            for accept in FRAMES:
                response = self.get("frames", f"{instance}/frames/{number}", accept)
                if response is not None:
                    self.frame(one, parts(response), 1)
        if frames > 1:
            response = self.get("frames", f"{instance}/frames/1,2", FRAMES[0])
            if response is not None:
                self.frame(one, parts(response), 2)
        if "rendered" not in self.without:
            self.picture("rendered", f"{instance}/rendered", {"accept": "image/jpeg"}, one)
            self.picture("rendered", f"{instance}/frames/{frames}/rendered", None, one)

    def frame(self, one, found, wanted):
        """One frame's bytes: OHIF's decoder needs the transfer syntax, and for native pixels the exact length."""
        if not self.check(len(found) == wanted, f"frames: {len(found)} parts for {wanted} frames"):
            return
        for kind, body in found:
            words = dict(p.strip().split("=", 1) for p in kind.split(";")[1:] if "=" in p)
            syntax = words.get("transfer-syntax", "").strip('"')
            # PS3.18 table 8.7.3-5: octet-stream without the parameter is explicit VR little endian.
            if kind.startswith("application/octet-stream") and (syntax or "1.2.840.10008.1.2.1") in NATIVE:
                bits = int(value(one, "00280100")) * int(value(one, "00280002", 1))
                length = -(-int(value(one, "00280010")) * int(value(one, "00280011")) * bits // 8)
                self.check(length <= len(body) <= length + 1, f"frames: {len(body)} bytes for a frame of {length}")
            else:
                self.check(syntax or kind.startswith("image/"), f"frames: a part without transfer syntax: {kind}")
                self.check(len(body) > 100, f"frames: a compressed frame of {len(body)} bytes")

    def picture(self, call, path, params, one=None):
        """A consumer format: it must be a picture, and where the instance is given, as large."""
        response = self.get(call, path, "image/jpeg", params)
        if response is None:
            return
        try:
            picture = Image.open(io.BytesIO(parts(response)[0][1]))
            picture.load()
        except OSError as error:
            self.complaints.append(f"{call}: no picture: {error}")
            return
        if one is not None:
            size = (int(value(one, "00280011")), int(value(one, "00280010")))
            self.check(picture.size == size, f"{call}: {picture.size} instead of {size}")

    def bulk(self, one):
        """Whatever the metadata points to can be fetched, as one part or many."""
        if "bulkdata" in self.without:
            return
        for tag, attribute in one.items():
            uri = attribute.get("BulkDataURI")
            if uri and tag != "7FE00010":
                where = uri if uri.startswith("http") else f"{self.base}/{uri.lstrip('/')}"
                response = self.get("bulkdata", where, "application/octet-stream, */*;q=0.5")
                self.check(response is None or all(len(body) for _, body in parts(response)), f"bulkdata: nothing for {tag}")

    def strangers(self):
        """What is not there is told so."""
        found = self.search("studies", "/studies", StudyInstanceUID=UNKNOWN_UID)
        self.check(found == [], "studies: an unknown study is found")
        status = self.session.get(f"{self.base}/studies/{UNKNOWN_UID}/series/{UNKNOWN_UID}/metadata", headers={"Accept": JSON}, timeout=60).status_code
        self.check(status == 404, f"metadata: {status} for an unknown series")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base")
    parser.add_argument("--study", action="append", default=[])
    parser.add_argument("--token")
    parser.add_argument("--without", action="append", default=[], choices=["thumbnail", "rendered", "bulkdata"])
    args = parser.parse_args()
    viewer = Viewer(args.base, args.token, args.without)
    listed = {value(s, "0020000D"): s for s in viewer.list_studies()}
    viewer.check(listed, "studies: the list is empty")
    viewer.check(all(uid in listed for uid in args.study), "studies: not all of the wanted ones are listed")
    opened = [viewer.open(listed[uid]) for uid in args.study or listed if uid in listed]
    viewer.strangers()
    print(json.dumps({"studies": opened, "calls": viewer.calls, "complaints": viewer.complaints}, indent=1))
    for complaint in sorted(set(viewer.complaints)):
        print(complaint, file=sys.stderr)
    sys.exit(1 if viewer.complaints else 0)


if __name__ == "__main__":
    main()
