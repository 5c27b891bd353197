//! Blackens burned-in text in DICOM files and tells the regions as JSON, one object a line. For measuring.
//!
//! Photographs are looked at alone. `mask_text ONNXRUNTIME MODEL_FOLDER CODEC OUT FILE…`: files that had text are written to OUT under their number.
#![allow(clippy::print_stdout, reason = "what it prints is its output")]

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use overread_deid::pixels::TextRemover;
use overread_dicom::read::{CodecHost, CodecLimits, Limits, Opened, Resolution, open};
use overread_domain::sentence;
use overread_infer::Runtime;
use serde_json::json;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [runtime, model, codec, out, files @ ..] = &args[..] else {
        return Err("mask_text ONNXRUNTIME MODEL_FOLDER CODEC OUT FILE…".into());
    };
    let mut remover = TextRemover::open(&Runtime::load(Path::new(runtime))?, Path::new(model), 1)?;
    let mut host = CodecHost::new(codec.into(), Vec::new(), CodecLimits::default());
    for (number, path) in files.iter().enumerate() {
        let line = match clean(&mut remover, &mut host, path, &Path::new(out).join(format!("{number}.dcm"))) {
            Ok(told) => told,
            Err(e) => json!({ "error": sentence(&*e) }),
        };
        println!("{line}");
    }
    Ok(())
}

fn clean(
    remover: &mut TextRemover,
    host: &mut CodecHost,
    path: &str,
    out: &Path,
) -> Result<serde_json::Value, Box<dyn Error>> {
    let start = Instant::now();
    let file = match open(Path::new(path), &Limits::default())? {
        Opened::Dicom(file) => file,
        Opened::Slide(_) => return Err("a whole slide".into()),
        Opened::Photograph(photograph) => {
            let grid = photograph.decode(0, Resolution::Full, host)?;
            let regions = remover.find(&grid, 0)?;
            return Ok(json!({
                "regions": regions, "columns": grid.size.columns, "rows": grid.size.rows,
                "seconds": start.elapsed().as_secs_f64(),
            }));
        }
    };
    let mut bytes = Vec::new();
    let cleaned = remover.clean(&file, host, &mut bytes)?;
    let seconds = start.elapsed().as_secs_f64();
    if !bytes.is_empty() {
        std::fs::write(out, bytes)?;
    }
    Ok(json!({
        "regions": cleaned.regions, "frames": cleaned.frames,
        "columns": cleaned.size.columns, "rows": cleaned.size.rows, "seconds": seconds,
    }))
}
