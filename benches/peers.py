"""What the benchmarks share: a private Orthanc, Overread's roles, their memory, the DICOM files that are sent."""

import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOOLS = pathlib.Path(os.environ.get("OVERREAD_TOOLS", ROOT / ".tools"))
OVERREAD = pathlib.Path(os.environ.get("OVERREAD_BIN", ROOT / "target/release/overread"))
PLUGINS = ("/usr/share/orthanc/plugins", "/usr/lib/orthanc/plugins", "/usr/lib/orthanc")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def http(method, url, body=None, headers=None, timeout=120):
    """Status and bytes of an answer, whatever the status; a dict or list is sent as JSON."""
    if isinstance(body, (dict, list)):
        body = json.dumps(body).encode()
    request = urllib.request.Request(url, body, headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def answers(url):
    """Whether a GET is answered with 200."""
    try:
        return http("GET", url, timeout=5)[0] == 200
    except OSError:
        return False


def wait_for(what, probe, seconds=120, pause=0.02):
    """The first true answer of a probe."""
    deadline = time.monotonic() + seconds
    while not (answer := probe()):
        if time.monotonic() > deadline:
            raise SystemExit(f"waited {seconds} s for {what}")
        time.sleep(pause)
    return answer


def memory(pid):
    """Peak and present resident memory in MiB of a process and those below it."""
    peak = now = 0.0
    for process in tree(pid):
        # One that has just ended has neither number.
        with contextlib.suppress(OSError, TypeError):
            status = pathlib.Path(f"/proc/{process}/status").read_text()
            peak += int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024
            now += int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024
    return peak, now


def tree(pid):
    """A process and those below it; a thread lists the children that it started itself."""
    below = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                below += pathlib.Path(f"/proc/{pid}/task/{thread}/children").read_text().split()
    return [pid] + [p for child in below for p in tree(int(child))]


class Sampler(threading.Thread):
    """Resident memory of a process over time, in seconds and MiB."""

    def __init__(self, pid, period):
        super().__init__(daemon=True)
        self.pid, self.period, self.samples, self.ended = pid, period, [], threading.Event()

    def run(self):
        began = time.monotonic()
        while not self.ended.wait(self.period):
            self.samples.append((time.monotonic() - began, memory(self.pid)[1]))

    def finish(self):
        self.ended.set()
        self.join()
        return self.samples


class Peer:
    """A server in a folder of its own; `with` ends it and removes the folder."""

    name = "peer"

    def __init__(self, parent=None):
        self.folder = tempfile.TemporaryDirectory(prefix=f"{self.name}-", dir=parent)
        self.path = pathlib.Path(self.folder.name)
        self.dicom_port, self.http_port, self.process = free_port(), free_port(), None

    def start(self, *command, ready, env=None):
        self.log = open(self.path / "log", "ab")
        self.process = subprocess.Popen(
            [str(word) for word in command], cwd=self.path, stdout=self.log, stderr=self.log, start_new_session=True, env=env
        )

        def is_ready():
            if self.process.poll() is not None:
                raise SystemExit(f"{self.name} ended with {self.process.returncode}:\n{(self.path / 'log').read_text()[-4000:]}")
            return answers(ready)

        wait_for(f"{self.name} to be ready", is_ready)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        self.log.close()
        self.folder.cleanup()


class Orthanc(Peer):
    """Debian's Orthanc with its DICOMweb plugin. It syncs stored files (`SyncStorageArea`), which is its default."""

    name, title = "orthanc", "ORTHANC"

    def __init__(self, parent=None, **settings):
        super().__init__(parent)
        plugin = next(p for folder in PLUGINS for p in pathlib.Path(folder).glob("libOrthancDicomWeb.so*"))
        config = {
            "Name": "overread-bench",
            "StorageDirectory": str(self.path / "storage"),
            "IndexDirectory": str(self.path / "storage"),
            "Plugins": [str(plugin)],
            "HttpPort": self.http_port,
            "DicomPort": self.dicom_port,
            "DicomAet": self.title,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomModalitiesInDatabase": True,
            "StableAge": 1,
            "DicomAssociationCloseDelay": 0,
            **settings,
        }
        (self.path / "orthanc.json").write_text(json.dumps(config))
        path = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
        self.url = f"http://127.0.0.1:{self.http_port}"
        self.stow = f"{self.url}/dicom-web/studies"
        self.start("Orthanc", self.path / "orthanc.json", ready=f"{self.url}/system", env={**os.environ, "PATH": path})

    def get(self, path):
        return json.loads(http("GET", self.url + path)[1])

    def count(self):
        return self.get("/statistics")["CountInstances"]


class Overread(Peer):
    """`overread edge` or `overread all`. `config` makes the configuration of a peer whose folder and ports are known."""

    name, title = "overread", "OVERREAD"

    def __init__(self, role, config, parent=None):
        super().__init__(parent)
        self.service_port = free_port()
        (self.path / "overread.toml").write_text(config(self))
        self.url = f"http://127.0.0.1:{self.http_port}"
        self.stow = f"{self.url}/dicom-web/studies"
        self.start(OVERREAD, role, "--config", self.path / "overread.toml", ready=f"{self.url}/readyz")


def make_samples(kind, folder, *options):
    """The manifest of `tests/peers/make_samples.py`."""
    command = [sys.executable, ROOT / "tests/peers/make_samples.py", kind, folder, *options]
    return json.loads(subprocess.run([str(c) for c in command], check=True, stdout=subprocess.PIPE, text=True).stdout)


def storescu(peer, *files):
    """Sends files on one association with DCMTK."""
    command = ["storescu", "-aet", "BENCH", "-aec", peer.title, "--required", "127.0.0.1", str(peer.dicom_port), *map(str, files)]
    subprocess.run(command, check=True)
