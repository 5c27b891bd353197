"""Both roles beside a real PACS, to look at: studies go out of Orthanc, results come back into it.

An Orthanc and `overread all` start on free ports of 127.0.0.1 with folders of their own. A radiograph that comes while the program is in `shadow` is read
and kept; then the program is switched, as a person does it, and further ones come back as structured report and secondary capture.

    demo_roles.py FOLDER [--once]   FOLDER holds the wrapped radiographs; --once ends it all, otherwise it stays up until Ctrl-C
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "benches"))
import peers  # noqa: E402
import turnaround  # noqa: E402

QUIET = 1


def say(text):
    print(f"   {text}", flush=True)


def command(overread, *words):
    """Runs a command of the binary as a person would, and shows both."""
    shown = ["overread", *words[:1], *(f'"{w}"' if " " in w else w for w in words[1:])]
    print(f"$ {' '.join(shown)}", flush=True)
    subprocess.run([peers.OVERREAD, *words, "--config", overread.path / "overread.toml"], check=True)


def send(orthanc, file):
    """Uploads a file to Orthanc and sends its study to Overread; returns Orthanc's id of the study."""
    stored = json.loads(peers.http("POST", f"{orthanc.url}/instances", file.read_bytes())[1])
    body = {"Resources": [stored["ParentStudy"]], "Synchronous": True}
    status, said = peers.http("POST", f"{orthanc.url}/modalities/overread/store", body)
    if status != 200:
        raise SystemExit(f"Orthanc could not send: {said[:500]}")
    return stored["ParentStudy"]


def modalities(orthanc, study):
    series = json.loads(peers.http("GET", f"{orthanc.url}/studies/{study}/series")[1])
    return sorted(s["MainDicomTags"]["Modality"] for s in series)


def cases(overread):
    return json.loads(peers.http("GET", f"http://127.0.0.1:{overread.service_port}/api/v1/cases")[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--once", action="store_true")
    args = parser.parse_args()
    films = sorted(args.folder.glob("*.dcm"))[:4]
    with peers.Orthanc() as orthanc, peers.Overread("all", turnaround.config(orthanc, QUIET)) as overread:
        body = {"AET": "OVERREAD", "Host": "127.0.0.1", "Port": overread.dicom_port}
        peers.http("PUT", f"{orthanc.url}/modalities/overread", body)
        command(overread, "doctor")
        say("Orthanc sends a radiograph; the program is in shadow, so its reading is kept and nothing is sent back")
        shadow = send(orthanc, films[0])
        peers.wait_for("the reading in shadow", lambda: b"cxr-pneumonia" in json.dumps(cases(overread)).encode())
        command(overread, "program", "mode", "cxr-pneumonia", "review-all", "--reason", "demo on public images")
        sent = [send(orthanc, film) for film in films[1:]]
        for study in sent:
            peers.wait_for("the report", lambda: {"SR", "OT"} <= set(modalities(orthanc, study)))
            say(f"study {study[:8]}… in Orthanc now holds {', '.join(modalities(orthanc, study))}")
        say(f"the one in shadow still holds {', '.join(modalities(orthanc, shadow))} alone")
        command(overread, "status")
        if not args.once:
            edge = f"http://127.0.0.1:{overread.http_port}"
            say(f"look around: Orthanc {orthanc.url}/app/explorer.html · edge {edge}/api/v1/status · Ctrl-C ends")
            try:
                while True:
                    time.sleep(3600)
            except KeyboardInterrupt:
                pass


if __name__ == "__main__":
    os.environ.setdefault("OVERREAD_LOG", "warn")
    main()
