//! `overread wrap`: pictures as DICOM images without any patient: a radiograph, photographs that are one study, whole slides (`slide`).

mod slide;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use overread_dicom::read::{self, CodecHost, Limits, Opened, Resolution};
use overread_dicom::write::photograph::photograph;
use overread_dicom::write::wrap::{DxGeometry, wrap_radiograph};
use overread_dicom::write::{
    ContentUids, EyeDevice, GreyPixels, PhotographKind, WrapHeader, anatomy, to_part10,
};
use overread_domain::{Channels, ImageGrid, PixelSpacing, Samples};
use sha2::{Digest, Sha256};

use crate::children;
use crate::classify::now;
use crate::cli::{PictureKind, PictureSide, WrapArgs};

pub fn run(args: &WrapArgs) -> Result<ExitCode> {
    let hosts = children::hosts()?;
    if args.microns_per_pixel.is_some() && args.kind != PictureKind::Slide {
        bail!("--microns-per-pixel is for --kind slide alone");
    }
    match (args.kind, args.pictures.as_slice()) {
        (PictureKind::Slide, _) => slide::slides(args, &hosts)?,
        (PictureKind::Radiograph, [picture]) => radiograph(args, picture, &mut hosts())?,
        (PictureKind::Radiograph, _) => study(args, PhotographKind::Radiograph, &mut hosts())?,
        (PictureKind::Skin, _) => study(args, PhotographKind::Photograph, &mut hosts())?,
        (PictureKind::Eye, _) => {
            study(args, PhotographKind::Eye(EyeDevice::ExternalCamera), &mut hosts())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// One radiograph: DX where the spacing is known, else CR.
fn radiograph(args: &WrapArgs, picture: &Path, codec: &mut CodecHost) -> Result<()> {
    let place = || picture.display().to_string();
    let opened = read::open(picture, &Limits::default()).with_context(place)?;
    if matches!(opened, Opened::Dicom(_)) {
        bail!("{} is DICOM already", place());
    }
    if matches!(opened, Opened::Slide(_)) {
        bail!("{} is a whole slide: classify reads it as it is, and --kind slide wraps it", place());
    }
    let grid = opened.decode(0, Resolution::Full, codec).with_context(place)?;
    let bytes = std::fs::read(picture).with_context(place)?;
    let header = WrapHeader {
        description: Some("Picture wrapped as DICOM".into()),
        lossy: bytes.starts_with(&[0xff, 0xd8]),
        ..header(args, ContentUids::of_picture(&Sha256::digest(&bytes)), 0)
    };
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
    write(&args.out, &to_part10(&object)?)
}

/// Pictures of one study, in their order. The same pictures and sides are the same study.
fn study(args: &WrapArgs, kind: PhotographKind, codec: &mut CodecHost) -> Result<()> {
    let pictures = &args.pictures;
    if args.imager_pixel_spacing.is_some() {
        bail!("--imager-pixel-spacing is for one radiograph alone");
    }
    let sides = args.laterality.len();
    if sides > 1 && sides != pictures.len() {
        bail!(
            "--laterality names {sides} sides for {} pictures: give one for all, or one each",
            pictures.len()
        );
    }
    if args.kind == PictureKind::Eye && sides == 0 {
        bail!("a picture of an eye needs its side: --laterality R, or one each such as R,L");
    }
    let mut contents = vec![];
    let mut set = Sha256::new_with_prefix(format!("{kind:?} {:?}", args.body_part));
    for (index, picture) in pictures.iter().enumerate() {
        let bytes = std::fs::read(picture).with_context(|| picture.display().to_string())?;
        set.update(Sha256::digest(&bytes));
        set.update(side(args, index).unwrap_or("-"));
        contents.push(bytes);
    }
    let set = set.finalize();
    for (index, (picture, bytes)) in pictures.iter().zip(contents).enumerate() {
        let place = || picture.display().to_string();
        let mut uids = ContentUids::of_set(&set, &index.to_be_bytes());
        // A series has one side.
        uids.series =
            ContentUids::of_set(&[&set[..], side(args, index).unwrap_or("-").as_bytes()].concat(), &[])
                .series;
        let header = WrapHeader { number: index as u32 + 1, ..header(args, uids, index) };
        let object = photograph(bytes, &header, kind, &Limits::default(), codec).with_context(place)?;
        let path = match pictures.len() {
            1 => args.out.clone(),
            _ => args.out.join(format!("{}.dcm", index + 1)),
        };
        write(&path, &to_part10(&object)?)?;
    }
    Ok(())
}

fn header(args: &WrapArgs, uids: ContentUids, index: usize) -> WrapHeader {
    let mut header = WrapHeader::new(uids, now());
    let of_radiograph = (args.kind == PictureKind::Radiograph).then(|| "CHEST".to_owned());
    header.body_part = args.body_part.clone().or(of_radiograph);
    header.region = header.body_part.as_deref().and_then(anatomy::region);
    header.view.clone_from(&args.view);
    header.laterality = side(args, index).map(str::to_owned);
    header.burned_in = args.nothing_burned_in.then_some(false);
    header
}

/// The side of a picture: its own, or that of all.
fn side(args: &WrapArgs, index: usize) -> Option<&'static str> {
    let side = args.laterality.get(index).or(args.laterality.first())?;
    Some(if *side == PictureSide::R { "R" } else { "L" })
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let place = || format!("writing {}", path.display());
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).with_context(place)?;
    }
    std::fs::write(path, bytes).with_context(place)
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
