"""Crates may use only what ARCHITECTURE.md's table says: compares the table with cargo's own metadata."""

import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def allowed():
    """Rows `| `crate` | owns | may use | must never know |` of the house's table."""
    arrows = {}
    for line in (ROOT / "ARCHITECTURE.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        name = re.fullmatch(r"`([a-z0-9]+)`", cells[0])
        if name and len(cells) == 4:
            arrows[name[1]] = set(re.findall(r"[a-z0-9]+", cells[2].replace("–", "")))
    return arrows


def actual():
    """Normal dependencies between our crates."""
    text = subprocess.run(
        ["cargo", "metadata", "--format-version", "1", "--no-deps", "--locked"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout
    arrows = {}
    for package in json.loads(text)["packages"]:
        used = {d["name"] for d in package["dependencies"] if d["name"].startswith("overread-") and d["kind"] is None}
        arrows[package["name"].removeprefix("overread-")] = {name.removeprefix("overread-") for name in used}
    return arrows


def main():
    table, crates = allowed(), actual()
    wrong = [f"{crate} is not in ARCHITECTURE.md's table" for crate in crates if crate not in table]
    for crate, used in crates.items():
        # Even the binary must not carry the tests' peers.
        may = set(crates) - {"testkit"} if table.get(crate) == {"all"} else table.get(crate, set())
        wrong += [f"{crate} uses {other}, which the table does not allow" for other in sorted(used - may)]
    if not table:
        wrong.append("ARCHITECTURE.md has no table of crates")
    for line in wrong:
        print(line, file=sys.stderr)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
