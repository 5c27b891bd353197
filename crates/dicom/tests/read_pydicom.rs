//! Every test file of pydicom, read by pydicom and by us.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use overread_dicom::read::{Limits, Opened, ReadError, Resolution, open};
use overread_domain::{ImageGrid, for_samples};
use serde_json::Value;

/// How a file came out, in the order of the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Outcome {
    Same,
    Within2,
    NoPixels,
    RefusedByBoth,
    OnlyWe,
    Fail,
}

#[test]
fn every_file_of_pydicom_reads_the_same() {
    let tools = support::tools();
    let out = tempfile::tempdir().unwrap();
    let index = dump(&tools, out.path());
    let mut host = support::host();
    let mut table: BTreeMap<Outcome, Vec<String>> = BTreeMap::new();
    for entry in index.as_array().unwrap() {
        let path = PathBuf::from(entry["path"].as_str().unwrap());
        let (outcome, note) = judge(&path, entry, out.path(), &mut host);
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        table.entry(outcome).or_default().push(format!("{name:<50} {note}"));
    }
    for (outcome, files) in &table {
        println!("== {outcome:?}: {} files", files.len());
        files.iter().for_each(|f| println!("   {f}"));
    }
    let failed = table.get(&Outcome::Fail);
    assert!(failed.is_none(), "{} files differ: {failed:#?}", failed.map_or(0, Vec::len));
    assert!(table[&Outcome::Same].len() > 100, "the corpus is not whole");
}

fn dump(tools: &Path, out: &Path) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/peers/pixels.py");
    let python = tools.join("venv/bin/python");
    let site =
        Command::new(&python).args(["-c", "import pydicom; print(pydicom.__path__[0])"]).output().unwrap();
    let package = PathBuf::from(String::from_utf8(site.stdout).unwrap().trim());
    let status = Command::new(python)
        .arg(script)
        .arg(out)
        .arg(package.join("data/test_files"))
        .arg(tools.join("samples/data_store/data"))
        .status()
        .unwrap();
    assert!(status.success(), "tests/peers/pixels.py failed; run ./x setup");
    serde_json::from_slice(&std::fs::read(out.join("index.json")).unwrap()).unwrap()
}

fn judge(
    path: &Path,
    entry: &Value,
    out: &Path,
    host: &mut overread_dicom::read::CodecHost,
) -> (Outcome, String) {
    let opened = open(path, &Limits::default());
    if entry["no_pixels"].as_bool() == Some(true) {
        return match opened {
            Ok(file) => match file.decode(0, Resolution::Full, host) {
                Ok(_) => (Outcome::OnlyWe, "pydicom finds no pixel data".to_owned()),
                Err(ReadError::NoPixels) => (Outcome::NoPixels, String::new()),
                Err(error) => (Outcome::RefusedByBoth, chain(&error)),
            },
            // pydicom is forced to read anything; a file cut short or a text is no object to us.
            Err(error @ (ReadError::Truncated { .. } | ReadError::NotAnImage)) => {
                (Outcome::RefusedByBoth, chain(&error))
            }
            Err(error) => (Outcome::Fail, chain(&error)),
        };
    }
    let theirs = entry["frames"].as_array();
    let first = opened.and_then(|file| file.decode(0, Resolution::Full, host).map(|_| file));
    match (theirs, first) {
        (None, Err(error)) => (Outcome::RefusedByBoth, chain(&error)),
        (None, Ok(_)) => (Outcome::OnlyWe, entry["error"].as_str().unwrap_or("").chars().take(90).collect()),
        (Some(_), Err(error)) => (Outcome::Fail, chain(&error)),
        (Some(frames), Ok(file)) => compare_frames(&file, frames, out, host),
    }
}

fn compare_frames(
    file: &Opened,
    frames: &[Value],
    out: &Path,
    host: &mut overread_dicom::read::CodecHost,
) -> (Outcome, String) {
    if file.frames() as usize != frames.len() {
        return (Outcome::Fail, format!("{} frames instead of {}", file.frames(), frames.len()));
    }
    let mut worst = 0.0f64;
    for (i, theirs) in frames.iter().enumerate().filter(|(_, f)| !f.is_null()) {
        let grid = match file.decode(i as u32, Resolution::Full, host) {
            Ok(grid) => grid,
            Err(error) => return (Outcome::Fail, format!("frame {i}: {}", chain(&error))),
        };
        match compare(&grid, theirs, out) {
            Ok(difference) => worst = worst.max(difference),
            Err(why) => return (Outcome::Fail, format!("frame {i}: {why}")),
        }
    }
    let header = file.header();
    let most = allowed(&header.transfer_syntax, &header.photometric);
    let note = format!("{} frames, {}, {}", frames.len(), header.transfer_syntax, header.photometric);
    if worst == 0.0 {
        (Outcome::Same, note)
    } else if worst <= most {
        (Outcome::Within2, format!("{note}: {worst}"))
    } else {
        (Outcome::Fail, format!("{note}: stored values differ by {worst}"))
    }
}

/// Grey levels that a value may differ by: lossy decoders round in their own ways, and so does YBR → RGB.
fn allowed(syntax: &str, photometric: &str) -> f64 {
    let suffix = syntax.strip_prefix("1.2.840.10008.1.2.4.").unwrap_or("");
    match suffix {
        "50" | "51" | "91" | "203" => 2.0,
        _ if photometric.starts_with("YBR_FULL") => 1.0,
        _ => 0.0,
    }
}

/// The largest difference of stored values, and an error where transforms differ.
fn compare(grid: &ImageGrid, theirs: &Value, out: &Path) -> Result<f64, String> {
    let stored = load(&theirs["stored"], out);
    let shape: Vec<u64> = theirs["shape"].as_array().unwrap().iter().map(|v| v.as_u64().unwrap()).collect();
    #[allow(clippy::useless_conversion, reason = "of the eight sample types one is f64 already")]
    let ours: Vec<f64> = for_samples!(&grid.samples, v => v.iter().map(|x| f64::from(*x)).collect());
    if shape[..2] != [u64::from(grid.size.rows), u64::from(grid.size.columns)] || ours.len() != stored.len() {
        return Err(format!("size {shape:?} and {:?}", grid.size));
    }
    let difference = |theirs: &[f64]| ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    let worst = match theirs.get("alternative") {
        Some(alternative) => difference(&stored).min(difference(&load(alternative, out))),
        None => difference(&stored),
    };
    if theirs.get("modality").is_none() {
        return Ok(worst);
    }
    // Transforms are judged on their stored values, apart from what a lossy decoder rounds.
    let modality = load(&theirs["modality"], out);
    for (stored, want) in stored.iter().zip(&modality) {
        let got = grid.modality.apply(*stored);
        if (got - want).abs() > 1e-9 * want.abs().max(1.0) {
            return Err(format!("modality value of {stored} is {got} instead of {want}"));
        }
    }
    if theirs.get("voi").is_some() {
        let range: Vec<f64> =
            theirs["voi_range"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
        let voi = grid.voi.first().ok_or("pydicom finds a VOI transform and we do not")?;
        let (low, span) = (range[0], range[1] - range[0]);
        for (value, want) in modality.iter().zip(load(&theirs["voi"], out)) {
            let got = voi.apply(*value) * span + low;
            if (got - want).abs() > 1e-6 * span.abs() {
                return Err(format!("VOI output of {value} is {got} instead of {want}"));
            }
        }
    }
    Ok(worst)
}

/// A raw array as numbers.
fn load(entry: &Value, out: &Path) -> Vec<f64> {
    let bytes = std::fs::read(out.join(entry["file"].as_str().unwrap())).unwrap();
    macro_rules! values {
        ($t:ty) => {
            bytes.as_chunks().0.iter().map(|b| <$t>::from_le_bytes(*b) as f64).collect()
        };
    }
    match entry["dtype"].as_str().unwrap() {
        "uint8" => values!(u8),
        "int8" => values!(i8),
        "uint16" => values!(u16),
        "int16" => values!(i16),
        "uint32" => values!(u32),
        "int32" => values!(i32),
        "float32" => values!(f32),
        "float64" => values!(f64),
        other => panic!("dtype {other}"),
    }
}

fn chain(error: &ReadError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
