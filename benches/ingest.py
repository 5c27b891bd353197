"""Overread's edge beside Orthanc as receivers of CT slices, on the same disk, with the same senders, in one run.

C-STORE over 1 and 4 associations by `send_flood` (crates/dimse/examples: 512x512 slices of 16 bit, pixels made once, so that the sender is not
what is measured), and STOW-RS over 4 connections by the sender below. Each receiver starts on an empty folder for each measurement, the two take
turns, the median counts. Both acknowledge a slice when it is synced: Orthanc by its `SyncStorageArea` (its index is not), Overread its file, folder
and database. Afterwards each receiver must list every slice that it acknowledged.

    ingest.py [--count N] [--repeat N] [--dir FOLDER] [--only orthanc|overread] [--json FILE]
    ingest.py --long [--count 100000] [--size 128x128]      Overread alone: is its memory flat?
"""

import argparse
import http.client
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import threading
import time

import peers

FLOOD = os.environ.get("OVERREAD_FLOOD", str(peers.ROOT / "target/release/examples/send_flood"))
BOUNDARY = "overread-bench-5d1c"
WAYS = {"C-STORE, 1 association": ("dimse", 1), "C-STORE, 4 associations": ("dimse", 4), "STOW-RS, 4 connections": ("stow", 4)}


def edge_config(peer):
    """An edge that keeps what it gets: no study becomes complete during the measurement."""
    return f"""
[edge]
data = "{peer.path}/data"
[edge.http]
bind = "127.0.0.1:{peer.http_port}"
[edge.dimse]
bind = "127.0.0.1:{peer.dicom_port}"
[edge.completion]
quiet_seconds = 86400.0
[link]
url = "http://127.0.0.1:{peer.service_port}"
token = "nobody-is-there"
"""


def receiver(name, folder):
    return peers.Orthanc(folder) if name == "orthanc" else peers.Overread("edge", edge_config, folder)


def send_dimse(peer, connections, count, size="512x512"):
    """What send_flood says of itself."""
    command = [FLOOD, "127.0.0.1", str(peer.dicom_port), peer.title, "--associations", str(connections), "--count", str(count), "--size", size]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


class StowSender:
    """Sends one slice under many UIDs. The pixels are one object in memory; only the pieces around UIDs are new for each slice."""

    def __init__(self, sample, batch=10):
        data = pathlib.Path(sample["path"]).read_bytes()
        self.lengths = len(sample["study"]), len(sample["series"]), len(sample["sop"])
        marks = [sample[key].encode() for key in ("study", "series", "sop")]
        for place, mark in enumerate(marks):
            # Longest first would matter if one UID began another; these are hashes.
            data = data.replace(mark, b"\0<%d>\0" % place)
        self.pieces, self.batch = [], batch
        while True:
            at, place = min(((data.find(b"\0<%d>\0" % p), p) for p in range(3) if b"\0<%d>\0" % p in data), default=(-1, None))
            if place is None:
                self.pieces.append(data)
                break
            self.pieces += [data[:at], place]
            data = data[at + 5 :]

    def slices(self, study, series, numbers):
        """The body of one request, piece by piece."""
        for number in numbers:
            yield f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
            uids = [self.uid(0, study), self.uid(1, study, series), self.uid(2, study, series, number)]
            for piece in self.pieces:
                yield uids[piece] if isinstance(piece, int) else piece
            yield b"\r\n"
        yield f"--{BOUNDARY}--\r\n".encode()

    def uid(self, level, *parts):
        """As long as the sample's, so that no length in the file changes."""
        digits = "".join(f"{part:012}" for part in parts)
        return ("2.25.1" + digits.rjust(self.lengths[level] - 6, "7")).encode()

    def connect(self, peer, connection, run, count, latencies):
        channel = http.client.HTTPConnection("127.0.0.1", peer.http_port, timeout=120)
        headers = {"Content-Type": f'multipart/related; type="application/dicom"; boundary={BOUNDARY}', "Accept": "application/dicom+json"}
        for first in range(0, count, self.batch):
            body = list(self.slices(run * 10 + connection, 1, range(first, min(first + self.batch, count))))
            began = time.perf_counter()
            channel.request("POST", "/dicom-web/studies", iter(body), {**headers, "Content-Length": str(sum(map(len, body)))})
            answer = channel.getresponse()
            content = json.loads(answer.read())
            kept = len(content.get("00081199", {}).get("Value", []))
            if answer.status != 200 or kept != min(self.batch, count - first):
                raise SystemExit(f"{peer.name}: STOW-RS answered {answer.status} and kept {kept}")
            latencies.append(time.perf_counter() - began)
        channel.close()

    def send(self, peer, connections, count):
        latencies, run = [], int(time.time()) % 1_000_000
        shares = [count // connections + (n < count % connections) for n in range(connections)]
        threads = [threading.Thread(target=self.connect, args=(peer, n, run, share, latencies)) for n, share in enumerate(shares)]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - began
        return {"slices": count, "seconds": seconds, "slices_per_second": count / seconds}


def listed(peer):
    """How many instances the receiver says it has, by QIDO-RS."""
    studies = json.loads(peers.http("GET", f"{peer.stow}?limit=1000&includefield=00201208")[1])
    return sum(int(study["00201208"]["Value"][0]) for study in studies)


def measure(name, way, connections, count, sample, folder):
    with receiver(name, folder) as peer:
        idle = peers.memory(peer.process.pid)[1]
        result = send_dimse(peer, connections, count) if way == "dimse" else StowSender(sample).send(peer, connections, count)
        result["idle_mib"], result["peak_mib"] = idle, peers.memory(peer.process.pid)[0]
        if (kept := listed(peer)) != count:
            raise SystemExit(f"{name} acknowledged {count} slices and lists {kept}")
        return result


def compare(args, folder):
    sample = peers.make_samples("ct", folder / "sample")[0]
    names = [args.only] if args.only else ["orthanc", "overread"]
    runs = {(way, name): [] for way in WAYS for name in names}
    for _ in range(args.repeat):
        for way, (kind, connections) in WAYS.items():
            for name in names:
                runs[way, name].append(measure(name, kind, connections, args.count, sample, folder))
    median = statistics.median
    rates = {key: median(r["slices_per_second"] for r in results) for key, results in runs.items()}
    peaks = {key: max(r["peak_mib"] for r in results) for key, results in runs.items()}
    print(f"{os.cpu_count()} cores, {args.count} slices of 512x512, 16 bit, each measurement on an empty folder, median of {args.repeat}\n")
    print("| slices a second | " + " | ".join(names) + " | ratio |\n| --- |" + " --- |" * (len(names) + 1))
    for way in WAYS:
        ratio = f"{rates[way, 'overread'] / rates[way, 'orthanc']:.1f}×" if not args.only else ""
        print(f"| {way} | " + " | ".join(f"{rates[way, name]:.0f}" for name in names) + f" | {ratio} |")
    print("\n| peak memory, MiB | " + " | ".join(names) + " |\n| --- |" + " --- |" * len(names))
    for way in WAYS:
        print(f"| {way} | " + " | ".join(f"{peaks[way, name]:.0f}" for name in names) + " |")
    return {f"{way}, {name}": results for (way, name), results in runs.items()}


def long(args, folder):
    """One large study an association: memory over time, and speed by tenths of the run."""
    with receiver("overread", folder) as peer:
        send_dimse(peer, 4, 100, args.size)
        sampler = peers.Sampler(peer.process.pid, 1.0)
        sampler.start()
        parts = [send_dimse(peer, 4, args.count // 10, args.size) for _ in range(10)]
        samples = sampler.finish()
        peak = peers.memory(peer.process.pid)[0]
        kept = listed(peer)
    sent = args.count // 10 * 10 + 100
    if kept != sent:
        raise SystemExit(f"overread acknowledged {sent} slices and lists {kept}")
    tenth = max(1, len(samples) // 10)
    means = [statistics.mean(mib for _, mib in samples[n * tenth : (n + 1) * tenth] or samples[-1:]) for n in range(10)]
    print(f"{sent} slices of {args.size} over 4 associations: peak {peak:.0f} MiB\n")
    print("| tenth of the run | slices a second | memory, MiB |\n| --- | --- | --- |")
    for n, (part, mean) in enumerate(zip(parts, means), 1):
        print(f"| {n} | {part['slices_per_second']:.0f} | {mean:.0f} |")
    print(f"\nthe last tenth holds {means[-1] - means[1]:+.0f} MiB more than the second")
    return {"parts": parts, "samples": samples, "peak_mib": peak}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, help="slices of each measurement (1000; --long: 100000)")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--dir", help="a folder on the disk that is to be measured")
    parser.add_argument("--only", choices=["orthanc", "overread"])
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--size", default="128x128", help="of the slices of --long")
    parser.add_argument("--json", type=pathlib.Path, help="write every measurement to this file")
    args = parser.parse_args()
    args.count = args.count or (100_000 if args.long else 1000)
    with tempfile.TemporaryDirectory(dir=args.dir) as folder:
        results = (long if args.long else compare)(args, pathlib.Path(folder))
    if args.json:
        args.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
