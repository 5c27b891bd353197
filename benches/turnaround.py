"""From the last image's acknowledgement to the report in the PACS, less the quiet period.

A radiograph of a child goes out of a real Orthanc by C-STORE to `overread all`; the clock starts when Orthanc says that it was acknowledged, and
stops when Orthanc's own REST API lists the structured report in the same study. In between lie the quiet period, de-identification, the link, the
reading with its explanation, re-identification, the report and the capture, and their C-STORE back. Studies go one after the other, then all at once.

    turnaround.py [--count N] [--quiet SECONDS] [--json FILE]
"""

import argparse
import json
import os
import pathlib
import statistics
import tempfile
import time

import peers


def config(orthanc, quiet):
    def of(peer):
        return f"""
[edge]
data = "{peer.path}/edge"
[edge.http]
bind = "127.0.0.1:{peer.http_port}"
[edge.dimse]
bind = "127.0.0.1:{peer.dicom_port}"
[edge.completion]
quiet_seconds = {quiet}
[edge.destination.pacs]
kind = "dimse"
host = "127.0.0.1"
port = {orthanc.dicom_port}
ae_title = "{orthanc.title}"
[service]
data = "{peer.path}/service"
[service.http]
bind = "127.0.0.1:{peer.service_port}"
"""

    return of


def release(overread):
    """Programs start in shadow; a person switches them."""
    url = f"http://127.0.0.1:{overread.service_port}/api/v1/programs/cxr-pneumonia/mode"
    status, said = peers.http("PUT", url, {"mode": "review-all", "reason": "benchmark"}, {"Content-Type": "application/json"})
    if status >= 300:
        raise SystemExit(f"the program's mode was not changed: {status} {said[:500]}")


def has_report(orthanc, sample):
    query = {"Level": "Series", "Query": {"StudyInstanceUID": sample["study"], "Modality": "SR"}}
    return json.loads(peers.http("POST", f"{orthanc.url}/tools/find", query)[1])


def send(orthanc, sample):
    """Sends a study from Orthanc; returns the moment when it knew that the last image was acknowledged."""
    uploaded = json.loads(peers.http("POST", f"{orthanc.url}/instances", pathlib.Path(sample["path"]).read_bytes())[1])
    status, said = peers.http("POST", f"{orthanc.url}/modalities/overread/store", {"Resources": [uploaded["ParentStudy"]], "Synchronous": True})
    if status != 200:
        raise SystemExit(f"Orthanc could not send: {said[:500]}")
    return time.perf_counter()


def one_by_one(orthanc, samples, quiet):
    times = []
    for sample in samples:
        acknowledged = send(orthanc, sample)
        peers.wait_for("the report", lambda: has_report(orthanc, sample), pause=0.01)
        times.append(time.perf_counter() - acknowledged - quiet)
    return times


def at_once(orthanc, samples, quiet):
    """Seconds from the last acknowledgement to the last report, less the quiet period."""
    acknowledged = [send(orthanc, sample) for sample in samples][-1]
    waiting = list(samples)
    while waiting:
        peers.wait_for("a report", lambda: has_report(orthanc, waiting[0]), pause=0.02)
        waiting = [sample for sample in waiting[1:] if not has_report(orthanc, sample)]
    return time.perf_counter() - acknowledged - quiet


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--quiet", type=float, default=2.0)
    parser.add_argument("--dir", help="a folder on the disk that is to be measured")
    parser.add_argument("--json", type=pathlib.Path, help="write every measurement to this file")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.dir) as folder, peers.Orthanc(folder) as orthanc:
        with peers.Overread("all", config(orthanc, args.quiet), folder) as overread:
            modality = {"AET": overread.title, "Host": "127.0.0.1", "Port": overread.dicom_port}
            peers.http("PUT", f"{orthanc.url}/modalities/overread", modality)
            peers.wait_for("the service", lambda: peers.answers(f"http://127.0.0.1:{overread.service_port}/readyz"))
            release(overread)
            made = [peers.make_samples("children", f"{folder}/{seed}", "--seed", seed, "--studies", args.count) for seed in ("warm", "one", "all")]
            one_by_one(orthanc, made[0][:2], args.quiet)
            single = sorted(one_by_one(orthanc, made[1], args.quiet))
            together = at_once(orthanc, made[2], args.quiet)
            peak = peers.memory(overread.process.pid)[0]
    tenth = single[min(len(single) - 1, round(0.9 * (len(single) - 1)))]
    print(f"{os.cpu_count()} cores, radiographs of 1 to 2 MB, quiet period of {args.quiet} s taken off\n")
    print("| last acknowledgement → report in Orthanc | seconds |\n| --- | --- |")
    print(f"| one study, median of {len(single)} | {statistics.median(single):.2f} |")
    print(f"| one study, 90th percentile | {tenth:.2f} |")
    print(f"| {args.count} studies at once, the last of them | {together:.2f} |")
    print(f"\npeak memory of all processes together: {peak:.0f} MiB")
    if args.json:
        args.json.write_text(json.dumps({"one_by_one": single, "at_once": together, "peak_mib": peak}, indent=1))


if __name__ == "__main__":
    main()
