"""Crates may use only what ARCHITECTURE.md's table says: compares the table with cargo's own metadata."""

import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def table():
    """Rows `| `crate` | owns | may use | must never know |` of the house's table: what each may use, and the crates, in bold, that it must not reach."""
    may, never = {}, {}
    for line in (ROOT / "ARCHITECTURE.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        name = re.fullmatch(r"`([a-z0-9]+)`", cells[0])
        if name and len(cells) == 4:
            may[name[1]] = set(re.findall(r"[a-z0-9]+", cells[2].replace("–", "")))
            never[name[1]] = {word for bold in re.findall(r"\*\*(.+?)\*\*", cells[3]) for word in re.findall(r"[a-z0-9]+", bold)}
    return may, never


def cargo():
    """Direct dependencies between our crates, and all that each crate reaches: cargo's resolved graph with every feature, without what only tests use."""
    text = subprocess.run(
        ["cargo", "metadata", "--format-version", "1", "--all-features", "--locked"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout
    metadata = json.loads(text)
    names = {package["id"]: package["name"] for package in metadata["packages"]}
    graph = {}
    for node in metadata["resolve"]["nodes"]:
        kept = [d["pkg"] for d in node["deps"] if any(kind["kind"] != "dev" for kind in d["dep_kinds"])]
        graph[names[node["id"]]] = graph.get(names[node["id"]], set()) | {names[pkg] for pkg in kept}
    ours = [names[member] for member in metadata["workspace_members"]]
    short = lambda found: {n.removeprefix("overread-") for n in found if n.startswith("overread-")}
    direct = {crate.removeprefix("overread-"): short(graph[crate]) for crate in ours}
    return direct, {crate.removeprefix("overread-"): short(reached(graph, crate)) for crate in ours}


def reached(graph, start):
    found, wanted = set(), [start]
    while wanted:
        for name in graph.get(wanted.pop(), set()) - found:
            found.add(name)
            wanted.append(name)
    return found


def main():
    (may, never), (direct, reach) = table(), cargo()
    wrong = [f"{crate} is not in ARCHITECTURE.md's table" for crate in direct if crate not in may]
    for crate, used in direct.items():
        # Even the binary must not carry the tests' peers.
        allowed = set(direct) - {"testkit"} if may.get(crate) == {"all"} else may.get(crate, set())
        wrong += [f"{crate} uses {other}, which the table does not allow" for other in sorted(used - allowed)]
    for crate, forbidden in never.items():
        wrong += [f"{crate} reaches {other}, directly or through others, and must not" for other in sorted(reach.get(crate, set()) & forbidden)]
    if not {"deid", "hl7", "edge"} <= never.get("service", set()):
        wrong.append("ARCHITECTURE.md's table does not keep service from deid, hl7 and edge")
    for line in wrong:
        print(line, file=sys.stderr)
    if not wrong:
        print("the arrows are those of ARCHITECTURE.md; service reaches", ", ".join(sorted(reach["service"])))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
