//! Programs of the field read the tiles of a slide: Python's `csv`, and `geojson` with its validation.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::fs::File;
use std::io::BufWriter;

use overread_read::tiles::{TileRecord, ValueKind, write_csv, write_geojson};
use overread_testkit::tools;
use serde_json::{Value, json};

/// As many tiles as a large slide has.
const TILES: u64 = 100_000;

fn tiles() -> Vec<TileRecord> {
    let tile = |i: u64| TileRecord {
        left: i % 400 * 350,
        top: i / 400 * 350,
        width: 350,
        height: 350,
        values: if i % 10 == 9 { vec![] } else { vec![i as f64 / TILES as f64, 1.0 / (i + 1) as f64] },
        refused: (i % 10 == 9).then(|| "out-of-distribution".into()),
    };
    (0..TILES).map(tile).collect()
}

#[test]
fn python_reads_a_large_slide_to_the_last_digit() {
    let folder = tempfile::tempdir().unwrap();
    let (table, outlines) = (folder.path().join("tiles.csv"), folder.path().join("tiles.geojson"));
    let labels = ["tumor, \"high grade\"".to_owned(), "Drüse".to_owned()];
    let tiles = tiles();
    let create = |path| BufWriter::new(File::create(path).unwrap());
    write_csv(create(&table), &tiles, &labels, ValueKind::Probability).unwrap();
    write_geojson(create(&outlines), "1.2.3", &tiles, &labels, ValueKind::Probability).unwrap();

    let read: Value = serde_json::from_str(&tools::python("check_tiles.py", &[&table, &outlines])).unwrap();
    assert_eq!(
        read["columns"],
        json!(["minx", "miny", "width", "height", "prob_tumor, \"high grade\"", "prob_Drüse"])
    );
    assert_eq!(
        (&read["lines"], &read["features"], &read["ids"]),
        (&json!(90_000), &json!(TILES), &json!(TILES))
    );
    assert_eq!(read["errors"], json!([]));
    // A refused tile has an outline and no line, so the last line is of the tile before the last.
    let last = &tiles[TILES as usize - 2];
    assert_eq!(read["last_line"], json!([last.left, last.top, 350, 350, last.values[0], last.values[1]]));
    assert_eq!(
        read["last_features"][0],
        json!({
            "bounds": [last.left, last.top, last.left + 350, last.top + 350],
            "properties": {
                "objectType": "tile",
                "measurements": {"prob_tumor, \"high grade\"": last.values[0], "prob_Drüse": last.values[1]}
            }
        })
    );
    assert_eq!(read["last_features"][1]["properties"]["metadata"]["refused"], "out-of-distribution");
}
