//! `overread wrap --kind slide`: scanners' files as DICOM whole slides without any patient, a file a level.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use overread_dicom::read::{self, CodecHost, Limits, Opened, Slide};
use overread_dicom::write::{ContentUids, SlideWrap, wrap_slide};
use sha2::{Digest, Sha256};

use super::header;
use crate::children::Hosts;
use crate::cli::WrapArgs;
use crate::table;

/// Slides of one study, a series each. The same slides are the same study.
pub fn slides(args: &WrapArgs, hosts: &Hosts) -> Result<()> {
    if args.imager_pixel_spacing.is_some() || args.view.is_some() || !args.laterality.is_empty() {
        bail!(
            "--imager-pixel-spacing, --view and --laterality are for pictures of a body: leave them out for a slide"
        );
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut hosts: Vec<CodecHost> = (0..cores).map(|_| hosts()).collect();
    let mut set = Sha256::new_with_prefix(format!("slide {:?}", args.body_part));
    for path in &args.pictures {
        let hash = check(path).and_then(|()| content(path));
        set.update(hash.with_context(|| path.display().to_string())?);
    }
    let set = set.finalize();
    for (index, path) in args.pictures.iter().enumerate() {
        let folder = match args.pictures.len() {
            1 => args.out.clone(),
            _ => args.out.join(format!("{}", index + 1)),
        };
        let mut uids = ContentUids::of_set(&set, &index.to_be_bytes());
        uids.series = ContentUids::of_set(&[&set[..], &index.to_be_bytes()].concat(), &[]).series;
        one(args, path, &folder, uids, &mut hosts).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

fn one(
    args: &WrapArgs,
    path: &Path,
    folder: &Path,
    uids: ContentUids,
    hosts: &mut [CodecHost],
) -> Result<()> {
    let Some(first) = hosts.first_mut() else { bail!("no thread to read with") };
    let slide = Slide::of_file(path.to_owned(), first)?;
    let header = header(args, uids, 0);
    let microns = args.microns_per_pixel.map(|side| (side, side));
    let limits = Limits::default();
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let bar = ProgressBar::no_length();
    if let Ok(style) = ProgressStyle::with_template("{bar:32} {pos}/{len} tiles, {per_sec}, {eta} left") {
        bar.set_style(style);
    }
    let told = |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    };
    let wrap = SlideWrap { slide: &slide, header: &header, microns, limits: &limits };
    let levels = wrap_slide(&wrap, folder, hosts, &told)
        .with_context(|| format!("wrapping it into {}", folder.display()))?;
    bar.finish_and_clear();
    table::remark(&format!("{} levels of the slide are in {}", levels.len(), folder.display()));
    Ok(())
}

/// Refuses what is no slide of a scanner.
fn check(path: &Path) -> Result<()> {
    match read::open(path, &Limits { file_bytes: u64::MAX, ..Limits::default() })? {
        Opened::Slide(_) => Ok(()),
        Opened::Dicom(_) => bail!("it is DICOM already; store it as it is"),
        Opened::Photograph(_) => {
            bail!("it is a picture and no whole slide; wrap it with --kind skin or another kind")
        }
    }
}

/// A hash of the file, and of the others that hold a part of the slide.
fn content(path: &Path) -> Result<[u8; 32]> {
    let mut hash = Sha256::new();
    let mut files = vec![path.to_owned()];
    for part in read::slide_parts(path) {
        if part.is_file() {
            files.push(part);
        } else if let Ok(folder) = std::fs::read_dir(&part) {
            let mut found = folder.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
            found.sort();
            files.extend(found.into_iter().filter(|path| path.is_file()));
        }
    }
    for file in files {
        std::io::copy(&mut File::open(file)?, &mut hash)?;
    }
    Ok(hash.finalize().into())
}
