//! Cines: which frames of a clip are read, and what is said of its times.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::path::Path;

use serde_json::{Value, json};
use support::{changed, classified, python, samples};

/// A clip of 64 × 64 pixels whose frame n, from 0, is grey 50 + n mod 25, the upper half one less and the lower one more, and what it says of its times: `keyword=value …`.
const CLIP: &str = r"
import sys, pydicom
import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UltrasoundMultiFrameImageStorage, ExplicitVRLittleEndian, generate_uid
path, frames, timing = sys.argv[1:]
meta = FileMetaDataset()
meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ExplicitVRLittleEndian, UltrasoundMultiFrameImageStorage, generate_uid()
data = FileDataset(None, {}, file_meta=meta, preamble=b'\0' * 128)
data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
data.StudyInstanceUID, data.SeriesInstanceUID, data.Modality = generate_uid(), generate_uid(), 'US'
data.Rows, data.Columns, data.NumberOfFrames = 64, 64, int(frames)
data.SamplesPerPixel, data.PhotometricInterpretation = 1, 'MONOCHROME2'
data.BitsAllocated = data.BitsStored = 8
data.HighBit, data.PixelRepresentation = 7, 0
for word in timing.split():
    keyword, value = word.split('=')
    setattr(data, keyword, [float(v) for v in value.split(',')] if ',' in value else value)
grey = (49 + np.arange(int(frames)) % 25).astype(np.uint8)
data.PixelData = np.repeat(np.stack([grey, grey + 2], 1), 32 * 64).tobytes()
data.save_as(path)
";

/// Reads with `brightness`, whose logit of a picture is 6 × mean ÷ 255 − 3, as the mean over frames.
fn reading(input: &Path) -> Value {
    let packs = tempfile::tempdir().unwrap();
    let pack = changed("brightness", packs.path(), |m| {
        m["intended_use"]["modalities"] = json!(["US"]);
        m["aggregation"] = json!({"method": "mean-logit"});
    });
    classified(&pack, input, &["--no-explain"])[0].clone()
}

fn of_clip(frames: u32, timing: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.dcm");
    python(CLIP, &[path.as_os_str(), frames.to_string().as_ref(), timing.as_ref()]);
    reading(&path)
}

/// Frames that were read, from 0.
fn read(answer: &Value) -> Vec<u64> {
    let images = answer["results"][0]["images"].as_array().unwrap();
    images.iter().map(|i| i["frame"].as_u64().unwrap() - 1).collect()
}

fn decision(answer: &Value) -> &str {
    answer["results"][0]["findings"][0]["decision"].as_str().unwrap()
}

#[test]
fn frames_are_spread_over_the_heart_cycle() {
    let answer = of_clip(60, "FrameTime=40 HeartRate=60");
    let cycle = [1, 3, 6, 8, 11, 13, 16, 18, 21, 23];
    assert_eq!(read(&answer)[..10], cycle);
    assert_eq!(read(&answer).len(), 20);
    // The mean grey of these frames is 50 + 12; sampling is how a clip is looked at, so `absent` stands.
    let p = answer["results"][0]["findings"][0]["probability"].as_f64().unwrap();
    assert!(((p / (1.0 - p)).ln() - (6.0 * 62.0 / 255.0 - 3.0)).abs() < 0.001, "{p}");
    assert_eq!((&answer["warnings"], decision(&answer)), (&json!([]), "absent"));
    // R waves, as seconds of the clip.
    let answer = of_clip(60, "FrameTime=40 HeartRate=60 RWaveTimeVector=200,1200");
    assert_eq!(read(&answer), cycle.map(|f| f + 5));
}

#[test]
fn a_clip_that_misses_a_part_of_the_cycle_rules_nothing_out() {
    for (timing, said) in [
        ("FrameTime=40 HeartRate=60", "shorter than a heart cycle of 1000 ms"),
        ("FrameTime=0 HeartRate=60", "Frame Time of 0 ms cannot be"),
        ("FrameTime=40 HeartRate=9000", "Heart Rate of 9000 beats a minute cannot be"),
        ("FrameTimeVector=0,40,40 HeartRate=60", "Frame Time Vector has 3 times for 12 frames"),
    ] {
        let answer = of_clip(12, timing);
        let warning = answer["warnings"][0].as_str().unwrap();
        assert!(warning.contains(said), "{warning}");
        assert_eq!(decision(&answer), "indeterminate", "{timing}");
    }
}

#[test]
fn ten_thousand_frames_cost_eight_cycles() {
    let answer = of_clip(10_000, "FrameTime=40 HeartRate=60");
    assert_eq!((read(&answer).len(), decision(&answer)), (80, "absent"));
    // Without times they are read evenly, as far as that has an end.
    let answer = of_clip(10_000, "");
    assert_eq!((read(&answer).len(), decision(&answer)), (512, "indeterminate"));
}

#[test]
fn a_real_cine_without_a_heart_rate_is_read_whole() {
    // 120 frames of 33 ms in colour, JPEG; its Heart Rate is 0, which is what a device without electrodes writes.
    let answer = reading(&samples().join("data_store/data/color3d_jpeg_baseline.dcm"));
    assert_eq!(read(&answer), (0..120).collect::<Vec<_>>());
    assert_eq!(answer["warnings"], json!([]));
}
