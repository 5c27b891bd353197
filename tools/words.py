"""No claim of diagnosis or certification, no path of somebody's machine, no registry host in what is shipped."""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
# A Cargo.lock must record its registry; this file names what it looks for.
EXEMPT = {"Cargo.lock", "fuzz/Cargo.lock", "LICENSE", "tools/words.py"}
PATTERNS = {
    "a result is never called a diagnosis": re.compile(r"\b(the|a|our|its|final) diagnosis (is|was|of)\b", re.I),
    "the product is never called certified": re.compile(r"\b(FDA|CE)[- ](cleared|marked|approved|certified)\b|\bis certified\b", re.I),
    "a path of somebody's machine": re.compile(r"(?<![\w.])/(root|home/\w+|work)/"),
    "a registry's host": re.compile(r"\b(crates\.io|pypi\.org|pythonhosted\.org|registry\.npmjs\.org)\b"),
}


def main():
    names = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    wrong = []
    for name in names.splitlines():
        path = ROOT / name
        if name in EXEMPT or not path.is_file():
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            wrong += [f"{name}:{number}: {why}" for why, pattern in PATTERNS.items() if pattern.search(line)]
    for line in wrong:
        print(line, file=sys.stderr)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
