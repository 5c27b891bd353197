//! What a model said of each tile of a slide, as other programs read it: a table (CSV) and outlines (GeoJSON). Pure: no files.
//!
//! Both are written tile by tile, so a slide of a hundred thousand of them costs no memory. Nothing is decided of a tile: a pack's thresholds
//! are those of a case, so no tile is classified by its numbers.

use std::borrow::Borrow;
use std::io::Write;

pub use overread_domain::ValueKind;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// One tile of a slide: where it lies in pixels of the full resolution, from the top left, and what was said of it.
#[derive(Clone, Debug, PartialEq)]
pub struct TileRecord {
    /// Column of its first pixel.
    pub left: u64,
    /// Row of its first pixel.
    pub top: u64,
    /// Columns.
    pub width: u64,
    /// Rows.
    pub height: u64,
    /// A number from 0 to 1 for each label, in the order of the labels; none of a tile that was refused.
    pub values: Vec<f64>,
    /// Why it was refused: the code of the reason.
    pub refused: Option<String>,
}

/// Why tiles were not written.
#[derive(Debug, thiserror::Error)]
pub enum TilesError {
    /// A tile that was read has another number of values than there are labels.
    #[error("the tile at column {left}, row {top} has {found} values for {expected} labels")]
    Count {
        /// Its first column.
        left: u64,
        /// Its first row.
        top: u64,
        /// Labels.
        expected: usize,
        /// Values.
        found: usize,
    },
    /// A value that is not from 0 to 1.
    #[error(
        "the tile at column {left}, row {top} has the value {value} for {label:?}, which is not from 0 to 1"
    )]
    Range {
        /// Its first column.
        left: u64,
        /// Its first row.
        top: u64,
        /// The label.
        label: String,
        /// The value.
        value: f64,
    },
    /// A line of the table cannot be written.
    #[error("the table of tiles cannot be written; check the folder's rights and space")]
    Table(#[from] csv::Error),
    /// An outline cannot be written.
    #[error("the outlines of tiles cannot be written; check the folder's rights and space")]
    Outline(#[from] serde_json::Error),
    /// What surrounds the lines or outlines cannot be written.
    #[error("the file of tiles cannot be written; check the folder's rights and space")]
    Write(#[from] std::io::Error),
}

/// What the column of a label is called: `prob_tumor`, or `score_tumor` where the numbers are not calibrated for tiles.
pub fn column(label: &str, kind: ValueKind) -> String {
    match kind {
        ValueKind::Probability => format!("prob_{label}"),
        ValueKind::Score => format!("score_{label}"),
    }
}

/// Writes the tiles that were read as a table: `WSInfer`'s columns `minx,miny,width,height,prob_<label>…`, one line a tile, in the order given.
///
/// A column of scores is named `score_<label>`, which programs that look for `prob_` do not find: they would take a score for a probability.
/// A number is printed with the digits that give it back exactly.
///
/// # Errors
/// A tile's values do not fit the labels or are not from 0 to 1, or the writer fails.
pub fn write_csv<T: Borrow<TileRecord>>(
    out: impl Write,
    tiles: impl IntoIterator<Item = T>,
    labels: &[String],
    kind: ValueKind,
) -> Result<(), TilesError> {
    let mut table = csv::Writer::from_writer(out);
    let place = ["minx", "miny", "width", "height"].map(str::to_owned);
    table.write_record(place.into_iter().chain(labels.iter().map(|label| column(label, kind))))?;
    for tile in tiles {
        let tile = tile.borrow();
        if tile.refused.is_some() {
            continue;
        }
        let values = checked(tile, labels)?;
        let place = [tile.left, tile.top, tile.width, tile.height].map(|n| n.to_string());
        table.write_record(place.into_iter().chain(values.iter().map(f64::to_string)))?;
    }
    table.flush()?;
    Ok(())
}

/// Writes all tiles as a `GeoJSON` `FeatureCollection` (RFC 7946 but for its coordinates, which are pixels, not degrees), as `QuPath` imports it: tile
/// objects with a measurement for each label, named like the table's columns.
///
/// A tile that was refused has no measurement, the class `Ignore*` (`QuPath` leaves such objects out of what it counts) and the reason in its
/// metadata. A feature's id is a UUID that is a function of `slide` and the tile's place, so that an import can be repeated; `slide` is any
/// text that tells the slide from others, such as its UID or its content's hash.
///
/// # Errors
/// A tile's values do not fit the labels or are not from 0 to 1, or the writer fails.
pub fn write_geojson<T: Borrow<TileRecord>>(
    mut out: impl Write,
    slide: &str,
    tiles: impl IntoIterator<Item = T>,
    labels: &[String],
    kind: ValueKind,
) -> Result<(), TilesError> {
    let columns: Vec<String> = labels.iter().map(|label| column(label, kind)).collect();
    out.write_all(br#"{"type":"FeatureCollection","features":["#)?;
    for (index, tile) in tiles.into_iter().enumerate() {
        let tile = tile.borrow();
        out.write_all(if index == 0 { b"\n" } else { b",\n" })?;
        let properties = match &tile.refused {
            None => measured(checked(tile, labels)?, &columns),
            Some(reason) => refused(reason),
        };
        let feature = Feature {
            kind: "Feature",
            id: feature_id(slide, tile),
            geometry: json!({"type": "Polygon", "coordinates": [ring(tile)]}),
            properties,
        };
        serde_json::to_writer(&mut out, &feature)?;
    }
    out.write_all(b"\n]}\n")?;
    out.flush()?;
    Ok(())
}

/// RFC 7946 §3.2, in the order in which people read it.
#[derive(Serialize)]
struct Feature {
    #[serde(rename = "type")]
    kind: &'static str,
    id: Uuid,
    geometry: Value,
    properties: Value,
}

fn measured(values: &[f64], columns: &[String]) -> Value {
    let measurements: serde_json::Map<_, _> =
        columns.iter().cloned().zip(values.iter().map(|value| json!(value))).collect();
    json!({"objectType": "tile", "measurements": measurements})
}

fn refused(reason: &str) -> Value {
    json!({"objectType": "tile", "classification": {"name": "Ignore*"}, "metadata": {"refused": reason}})
}

/// The corners, the first one again at the end; counter-clockwise where Y points up, as RFC 7946 §3.1.6 wants outer rings.
fn ring(tile: &TileRecord) -> [[u64; 2]; 5] {
    let (left, top) = (tile.left, tile.top);
    let (right, bottom) = (left.saturating_add(tile.width), top.saturating_add(tile.height));
    [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
}

/// A UUID of version 8 (RFC 9562 §5.8) from a hash of the slide and the place.
fn feature_id(slide: &str, tile: &TileRecord) -> Uuid {
    let mut hash = Sha256::new();
    hash.update(b"overread-tile-1");
    hash.update((slide.len() as u64).to_be_bytes());
    hash.update(slide);
    for number in [tile.left, tile.top, tile.width, tile.height] {
        hash.update(number.to_be_bytes());
    }
    let mut bits = [0; 16];
    bits.copy_from_slice(&hash.finalize()[..16]);
    Uuid::new_v8(bits)
}

/// The values of a tile that was read.
fn checked<'a>(tile: &'a TileRecord, labels: &[String]) -> Result<&'a [f64], TilesError> {
    let (left, top) = (tile.left, tile.top);
    let (expected, found) = (labels.len(), tile.values.len());
    if expected != found {
        return Err(TilesError::Count { left, top, expected, found });
    }
    match tile.values.iter().zip(labels).find(|(value, _)| !(0.0..=1.0).contains(*value)) {
        Some((&value, label)) => Err(TilesError::Range { left, top, label: label.clone(), value }),
        None => Ok(&tile.values),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tile(left: u64, top: u64, values: &[f64]) -> TileRecord {
        TileRecord { left, top, width: 350, height: 256, values: values.to_vec(), refused: None }
    }

    fn out_of_focus(left: u64, top: u64) -> TileRecord {
        TileRecord { refused: Some("out-of-distribution".into()), ..tile(left, top, &[]) }
    }

    fn labels(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn table(tiles: &[TileRecord], names: &[&str], kind: ValueKind) -> String {
        let mut out = Vec::new();
        write_csv(&mut out, tiles, &labels(names), kind).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn outlines(slide: &str, tiles: &[TileRecord], names: &[&str], kind: ValueKind) -> Value {
        let mut out = Vec::new();
        write_geojson(&mut out, slide, tiles, &labels(names), kind).unwrap();
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn the_table_has_a_line_for_each_tile_that_was_read_in_the_order_given() {
        let tiles = [tile(700, 512, &[0.1, 0.9]), out_of_focus(0, 0), tile(350, 0, &[1.0, 1e-9])];
        assert_eq!(
            table(&tiles, &["tumor", "stroma"], ValueKind::Probability),
            "minx,miny,width,height,prob_tumor,prob_stroma\n\
             700,512,350,256,0.1,0.9\n\
             350,0,350,256,1,0.000000001\n"
        );
        assert_eq!(table(&[], &["a"], ValueKind::Score), "minx,miny,width,height,score_a\n");
    }

    #[test]
    fn a_label_may_hold_whatever_a_csv_quotes() {
        let written = table(&[tile(0, 0, &[0.5, 0.25])], &["a,b", "say \"x\""], ValueKind::Probability);
        let mut lines = csv::Reader::from_reader(written.as_bytes());
        let header = lines.headers().unwrap().clone();
        assert_eq!((&header[4], &header[5]), ("prob_a,b", "prob_say \"x\""));
        assert_eq!(&lines.records().next().unwrap().unwrap()[5], "0.25");
    }

    #[test]
    fn an_outline_closes_around_the_tile() {
        let read = outlines("1.2.3", &[tile(350, 512, &[0.75])], &["tumor"], ValueKind::Probability);
        assert_eq!(read["type"], "FeatureCollection");
        let feature = &read["features"][0];
        assert_eq!(
            feature["geometry"],
            json!({"type": "Polygon", "coordinates": [[[350, 512], [700, 512], [700, 768], [350, 768], [350, 512]]]})
        );
        assert_eq!(
            feature["properties"],
            json!({"objectType": "tile", "measurements": {"prob_tumor": 0.75}})
        );
        // The surveyor's formula: positive is counter-clockwise where Y points up.
        let ring: Vec<[f64; 2]> =
            serde_json::from_value(feature["geometry"]["coordinates"][0].clone()).unwrap();
        let twice: f64 = ring.windows(2).map(|w| w[0][0] * w[1][1] - w[1][0] * w[0][1]).sum();
        assert!((twice - 2.0 * 350.0 * 256.0).abs() < 1e-6, "{twice}");
    }

    #[test]
    fn a_refused_tile_is_shown_without_a_number() {
        let read = outlines("1.2.3", &[out_of_focus(0, 0)], &["tumor"], ValueKind::Score);
        assert_eq!(
            read["features"][0]["properties"],
            json!({
                "objectType": "tile",
                "classification": {"name": "Ignore*"},
                "metadata": {"refused": "out-of-distribution"}
            })
        );
        assert_eq!(outlines("1.2.3", &[], &["tumor"], ValueKind::Score)["features"], json!([]));
    }

    #[test]
    fn a_score_is_not_called_a_probability() {
        let read = outlines("1.2.3", &[tile(0, 0, &[0.5])], &["tumor"], ValueKind::Score);
        assert_eq!(read["features"][0]["properties"]["measurements"], json!({"score_tumor": 0.5}));
        assert!(!table(&[tile(0, 0, &[0.5])], &["tumor"], ValueKind::Score).contains("prob"));
    }

    #[test]
    fn ids_are_functions_of_slide_and_place() {
        let tiles = [tile(0, 0, &[0.5]), tile(350, 0, &[0.5]), tile(0, 350, &[0.5])];
        let ids = |slide: &str| -> Vec<Uuid> {
            let read = outlines(slide, &tiles, &["a"], ValueKind::Score);
            let features = read["features"].as_array().unwrap();
            features
                .iter()
                .map(|f| serde_json::from_value::<String>(f["id"].clone()).unwrap().parse().unwrap())
                .collect()
        };
        let (one, two) = (ids("1.2.3"), ids("1.2.4"));
        assert_eq!(one, ids("1.2.3"));
        let all: std::collections::BTreeSet<_> = one.iter().chain(&two).collect();
        assert_eq!(all.len(), 6);
        assert!(all.iter().all(|id| id.get_version_num() == 8));
    }

    #[test]
    fn what_is_no_number_from_0_to_1_is_refused_and_said_where() {
        let write = |values: &[f64]| {
            let tiles = [tile(0, 0, &[0.5]), tile(350, 256, values)];
            let labels = labels(&["tumor"]);
            let csv = write_csv(Vec::new(), &tiles, &labels, ValueKind::Score).unwrap_err().to_string();
            let json = write_geojson(Vec::new(), "s", &tiles, &labels, ValueKind::Score);
            assert_eq!(csv, json.unwrap_err().to_string());
            csv
        };
        assert_eq!(
            write(&[f64::NAN]),
            "the tile at column 350, row 256 has the value NaN for \"tumor\", which is not from 0 to 1"
        );
        assert!(write(&[1.5]).contains("1.5"));
        assert_eq!(write(&[0.5, 0.5]), "the tile at column 350, row 256 has 2 values for 1 labels");
    }

    #[test]
    fn a_writer_that_fails_is_told() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let tiles = [tile(0, 0, &[0.5])];
        let labels = labels(&["tumor"]);
        write_csv(Full, &tiles, &labels, ValueKind::Score).unwrap_err();
        write_geojson(Full, "s", &tiles, &labels, ValueKind::Score).unwrap_err();
    }
}
