//! Photographs as people send them: turned, tiny, in inks, moving, deep, transparent.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use support::{overread, python, results, run, synthetic};

/// Makes pictures by Python lines that know `folder`, `Image` and `scene(mode)`: 128 × 96 of grey 100, its top right quarter 164.
const START: &str = r"
import sys
import numpy as np
from PIL import Image
folder = sys.argv[1]
def scene(mode='L', light=0):
    picture = Image.new('L', (128, 96), 100 + light)
    picture.paste(164 + light, (64, 0, 128, 48))
    return picture.convert(mode)
";

/// The results of a folder of pictures with `brightness`, whose logit of a picture is 6 × mean ÷ 255 − 3, by file name.
fn read(code: &str) -> BTreeMap<String, Value> {
    let folder = tempfile::tempdir().unwrap();
    python(&format!("{START}{code}"), &[folder.path().as_os_str()]);
    let mut command = overread();
    command.arg("classify").arg(folder.path()).arg("--pack").arg(synthetic("brightness"));
    let output = run(command.args(["--allow-untrusted", "--format", "jsonl"]));
    let name = |answer: &Value| {
        Path::new(answer["source"].as_str().unwrap()).file_name().unwrap().to_str().unwrap().to_owned()
    };
    results(&output).into_iter().map(|answer| (name(&answer), answer)).collect()
}

fn mean_grey(answer: &Value) -> f64 {
    let logit = answer["results"][0]["images"][0]["logits"][0].as_f64().unwrap();
    (logit + 3.0) / 6.0 * 255.0
}

fn peak(answer: &Value) -> [f64; 2] {
    let peak = &answer["results"][0]["explanations"][0]["peak"];
    [0, 1].map(|i| peak[i].as_f64().unwrap())
}

/// A quarter of 164 and three of 100.
const MEAN: f64 = 116.0;

#[test]
fn a_turned_photograph_is_read_upright() {
    let answers = read(
        r"
T = Image.Transpose
stored = {1: None, 2: T.FLIP_LEFT_RIGHT, 3: T.ROTATE_180, 4: T.FLIP_TOP_BOTTOM, 5: T.TRANSPOSE, 6: T.ROTATE_90, 7: T.TRANSVERSE, 8: T.ROTATE_270}
def turned(name, orientation, how, **options):
    exif = Image.Exif()
    exif[274] = orientation
    picture = scene('RGB') if how is None else scene('RGB').transpose(how)
    picture.save(f'{folder}/{name}', exif=exif, **options)
for orientation, how in stored.items():
    turned(f'{orientation}.jpg', orientation, how, quality=95)
for ending in ('png', 'webp', 'tiff'):
    turned(f'6.{ending}', 6, stored[6], **({'lossless': True} if ending == 'webp' else {}))
for wrong in (0, 9):
    turned(f'wrong-{wrong}.jpg', wrong, None, quality=95)
",
    );
    assert_eq!(answers.len(), 13);
    for (name, answer) in &answers {
        assert!((mean_grey(answer) - MEAN).abs() < 0.5, "{name}: {}", mean_grey(answer));
        let [x, y] = peak(answer);
        assert!(x > 0.5 && y < 0.5, "{name}: the bright corner is at {x}, {y}");
    }
}

#[test]
fn deep_transparent_and_ink_pictures_keep_their_grey() {
    let answers = read(
        r"
deep = np.asarray(scene()).astype(np.uint16) * 257
Image.fromarray(deep).save(f'{folder}/deep.png')
for mode in ('LA', 'RGBA'):
    picture = scene(mode, 0)
    picture.putalpha(255)
    picture.save(f'{folder}/opaque-{mode}.png')
clear = scene('RGBA')
alpha = Image.new('L', clear.size, 255)
alpha.paste(0, (0, 48, 128, 96))
clear.putalpha(alpha)
clear.save(f'{folder}/half.png')
scene('CMYK').save(f'{folder}/ink.jpg', quality=95)
scene('P').save(f'{folder}/palette.png')
scene('1').save(f'{folder}/bits.png')
",
    );
    for name in ["deep.png", "opaque-LA.png", "opaque-RGBA.png", "ink.jpg", "palette.png"] {
        assert!((mean_grey(&answers[name]) - MEAN).abs() < 1.0, "{name}: {}", mean_grey(&answers[name]));
    }
    // The lower half is clear and laid over black: (100 + 164) ÷ 4.
    assert!((mean_grey(&answers["half.png"]) - 66.0).abs() < 1.0, "{}", mean_grey(&answers["half.png"]));
    assert_eq!(answers["bits.png"]["status"], "classified");
}

#[test]
fn of_several_pictures_in_a_file_the_first_is_read_and_the_others_are_told() {
    let answers = read(
        r"
dark = scene('RGB', -60)
for name in ('moving.png', 'moving.webp', 'pages.tiff'):
    dark.save(f'{folder}/{name}', save_all=True, append_images=[scene('RGB', 60)], **({'lossless': True} if name.endswith('webp') else {}))
dark.save(f'{folder}/one.png')
scene('P').save(f'{folder}/moving.gif', save_all=True, append_images=[scene('P', 60)])
",
    );
    let decision = |name: &str| answers[name]["results"][0]["findings"][0]["decision"].clone();
    for name in ["moving.png", "moving.webp", "pages.tiff"] {
        assert!((mean_grey(&answers[name]) - 56.0).abs() < 1.0, "{name}: {}", mean_grey(&answers[name]));
        let warning = answers[name]["warnings"][0].as_str().unwrap();
        assert!(warning.contains("holds several pictures"), "{warning}");
        assert_eq!(decision(name), "indeterminate", "{name}");
    }
    assert_eq!((decision("one.png"), &answers["one.png"]["warnings"]), (json!("absent"), &json!([])));
    let gif = &answers["moving.gif"];
    assert_eq!((&gif["status"], &gif["reason"]["code"]), (&json!("failed"), &json!("unreadable")));
    assert!(gif["reason"]["message"].as_str().unwrap().contains("JPEG, PNG, TIFF or WebP"), "{gif}");
}

#[test]
fn a_picture_of_next_to_nothing_is_not_assessed() {
    let answers = read(
        "
for size in ((1, 1), (1, 3000), (63, 64)):
    Image.effect_noise(size, 50).save(f'{folder}/{size[0]}x{size[1]}.png')
",
    );
    assert_eq!(answers.len(), 3);
    for (name, answer) in &answers {
        assert_eq!(answer["reason"]["code"], "image-too-small", "{name}");
    }
}
