//! `overread wrap`: a picture as a DICOM radiograph without any patient.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use overread_dicom::read::{self, Limits, Opened, Resolution};
use overread_dicom::write::wrap::{DxGeometry, wrap_radiograph};
use overread_dicom::write::{ContentUids, GreyPixels, WrapHeader, to_part10};
use overread_domain::{Channels, CodedConcept, ImageGrid, PixelSpacing, Samples};
use sha2::{Digest, Sha256};

use crate::children;
use crate::classify::now;
use crate::cli::WrapArgs;

pub fn run(args: &WrapArgs) -> Result<ExitCode> {
    let place = || args.picture.display().to_string();
    let opened = read::open(&args.picture, &Limits::default()).with_context(place)?;
    if matches!(opened, Opened::Dicom(_)) {
        bail!("{} is DICOM already", place());
    }
    if matches!(opened, Opened::Slide(_)) {
        bail!("{} is a whole slide, which classify reads as it is", place());
    }
    let mut codec = children::hosts()?();
    let grid = opened.decode(0, Resolution::Full, &mut codec).with_context(place)?;
    let bytes = std::fs::read(&args.picture).with_context(place)?;
    let mut header = WrapHeader::new(ContentUids::of_picture(&Sha256::digest(&bytes)), now());
    header.description = Some("Picture wrapped as DICOM".into());
    header.region = (args.body_part == "CHEST").then(|| CodedConcept::new("SCT", "51185008", "Chest"));
    header.body_part = Some(args.body_part.clone());
    header.view.clone_from(&args.view);
    header.burned_in = args.nothing_burned_in.then_some(false);
    header.lossy = bytes.starts_with(&[0xff, 0xd8]);
    let geometry = args.imager_pixel_spacing.map(|mm| DxGeometry {
        spacing: PixelSpacing { row_mm: mm, column_mm: mm },
        // As chest radiographs are shown: the patient's left at the right, feet below.
        orientation: ["L".into(), "F".into()],
    });
    let object = match grey(&grid)? {
        Grey::Eight(values) => {
            wrap_radiograph(&header, grid.size, GreyPixels::U8(&values), geometry.as_ref())
        }
        Grey::Sixteen(values) => {
            let pixels = GreyPixels::U16 { bits_stored: grid.bits_stored, values: &values };
            wrap_radiograph(&header, grid.size, pixels, geometry.as_ref())
        }
    }
    .with_context(place)?;
    std::fs::write(&args.out, to_part10(&object)?)
        .with_context(|| format!("writing {}", args.out.display()))?;
    Ok(ExitCode::SUCCESS)
}

enum Grey {
    Eight(Vec<u8>),
    Sixteen(Vec<u16>),
}

fn grey(grid: &ImageGrid) -> Result<Grey> {
    Ok(match (&grid.samples, grid.channels) {
        (Samples::U8(v), Channels::Grey) => Grey::Eight(v.clone()),
        (Samples::U16(v), Channels::Grey) => Grey::Sixteen(v.clone()),
        (Samples::U8(v), Channels::Rgb) => Grey::Eight(luma(v, |n| n.round() as u8)),
        (Samples::U16(v), Channels::Rgb) => Grey::Sixteen(luma(v, |n| n.round() as u16)),
        _ => bail!("the picture has samples of a kind that photographs do not have"),
    })
}

/// ITU-R BT.601 luma.
fn luma<T: Copy + Into<f32>>(rgb: &[T], round: impl Fn(f32) -> T) -> Vec<T> {
    rgb.chunks_exact(3)
        .map(|p| round(0.299 * p[0].into() + 0.587 * p[1].into() + 0.114 * p[2].into()))
        .collect()
}
