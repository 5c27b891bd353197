#!/usr/bin/env python3
"""What Python's csv and the package geojson read in the tiles of a slide that Overread wrote.

    check_tiles.py TILES.csv TILES.geojson

Prints one line of JSON. A feature that is not valid by RFC 7946 (geojson's validation), or whose id is no UUID, is listed among the errors.
"""

import csv
import json
import sys
import uuid

import geojson


def complaints(feature):
    """What is wrong with a feature."""
    wrong = list(feature.errors() or [])
    if not isinstance(feature.geometry, geojson.Polygon):
        wrong.append(f"{type(feature.geometry).__name__} is no polygon")
    if str(uuid.UUID(feature.id)) != feature.id:
        wrong.append(f"{feature.id} is not how a UUID is printed")
    return wrong


def told(feature):
    """Its outline's bounds and its properties."""
    xs, ys = zip(*geojson.utils.coords(feature))
    return {"bounds": [min(xs), min(ys), max(xs), max(ys)], "properties": feature.properties}


def main():
    """Reads both files."""
    table, outlines = sys.argv[1:]
    with open(table, newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    with open(outlines, encoding="utf-8") as file:
        read = geojson.load(file)
    assert isinstance(read, geojson.FeatureCollection), type(read)
    json.dump({
        "columns": lines[0],
        "lines": len(lines) - 1,
        "last_line": [int(v) for v in lines[-1][:4]] + [float(v) for v in lines[-1][4:]],
        "features": len(read.features),
        "ids": len({f.id for f in read.features}),
        "errors": [wrong for f in read.features for wrong in complaints(f)][:10],
        "last_features": [told(f) for f in read.features[-2:]],
    }, sys.stdout)


if __name__ == "__main__":
    main()
