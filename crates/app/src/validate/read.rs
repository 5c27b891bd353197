//! The cases of a label file, read: each as one study of all its files.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use overread_dicom::read::Limits;
use overread_domain::Uid;
use overread_infer::Runtime;
use overread_read::reader::{Options, Reader};
use overread_read::{Overrides, Program, Study, StudyResult, Workers, batch};
use sha2::{Digest, Sha256};

use super::join::named;
use super::labels::Labels;
use crate::children;
use crate::classify::Progress;
use crate::cli::{Format, Lines, ValidateArgs};

/// Reads the cases and returns their results, one a line.
pub fn read(
    args: &ValidateArgs,
    folder: &Path,
    labels: &Labels,
    program: &Program,
    runtime: &Runtime,
) -> Result<String> {
    let cases = match &args.group {
        Some(column) => labels.groups(column)?,
        None => (0..labels.len()).map(|row| vec![row]).collect(),
    };
    let files: Vec<Vec<PathBuf>> =
        cases.iter().map(|rows| rows.iter().map(|row| folder.join(labels.file(*row))).collect()).collect();
    refuse_missing(folder, labels)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = Workers::split(args.workers.map_or(cores, usize::from), files.len());
    let hosts = children::hosts()?;
    let limits = Limits::default();
    let bar = Progress::start(if args.format == Lines::Json { Format::Jsonl } else { Format::Text });
    bar.expect(files.len());
    let mut lines = String::new();
    batch::in_order(
        &files,
        workers.readers,
        || {
            Ok::<_, anyhow::Error>(Reader::new(
                runtime.clone(),
                hosts(),
                limits.clone(),
                workers.threads_each,
            ))
        },
        |reader, files| serde_json::to_string(&answer(reader, files, program, &limits)),
        |line| {
            bar.step();
            // A result that cannot be written as JSON leaves an empty line; its label is then missed by name.
            lines.push_str(&line.unwrap_or_default());
            lines.push('\n');
        },
    )?;
    bar.done();
    Ok(lines)
}

fn refuse_missing(folder: &Path, labels: &Labels) -> Result<()> {
    let files = (0..labels.len()).map(|row| labels.file(row));
    let missing: Vec<&str> = files.filter(|file| !folder.join(file).is_file()).collect();
    if !missing.is_empty() {
        let text = named(&missing, "has a label and is no file", "have labels and are no files");
        bail!("{text} in {}; choose rows with --where or --split, or name another folder", folder.display());
    }
    Ok(())
}

fn answer(reader: &mut Reader, files: &[PathBuf], program: &Program, limits: &Limits) -> StudyResult {
    let study = Study::of_files(uid(files), files, &Overrides::default(), limits);
    let reading = reader.read(&study, program, Options::default());
    let mut result = StudyResult::new(&study, &[reading], false);
    // Files that could not be opened belong to the case all the same.
    result.source = files.first().cloned().unwrap_or_default();
    result.study.images = files.to_vec();
    result
}

/// A case has no Study Instance UID of its own: it gets one from its files' paths.
fn uid(files: &[PathBuf]) -> Uid {
    let mut hash = Sha256::new();
    for file in files {
        hash.update(file.as_os_str().as_encoded_bytes());
        hash.update([0]);
    }
    let mut bits = [0; 16];
    bits.copy_from_slice(&hash.finalize()[..16]);
    Uid::from_hash(bits)
}
