//! The child that holds OpenSlide: reads questions from its standard input, writes pixels to its standard output.
//!
//! It has no keys and no environment; memory, time and open files are limited before it reads a slide. It opens the files it is told
//! to, since a slide may consist of several.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use overread_openslide::{OpenSlide, Slide};
use rustix::process::Resource;

use super::foreign::{Description, PROFILE_BYTES, Question, Region, Wanted};
use crate::read::codec::wire::{Answer, Greeting};
use crate::read::codec::worker::{allow_cpu, limit, pipes, refuse};

/// Questions are short: a path and five numbers.
const QUESTION_BYTES: u32 = 64 << 10;
/// Files that one slide may consist of at a time, and the pipes.
const OPEN_FILES: u64 = 64;

/// Reads slides for a host until it closes the pipe: what a child process runs, and nothing else.
pub fn slide_worker_main(library: &Path) -> ExitCode {
    // Loaded before the limits: the loader reads files and maps code.
    let library = OpenSlide::load(library);
    match pipes().and_then(|(mut input, mut output)| serve(&library, &mut input, &mut output)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(2),
    }
}

fn serve(
    library: &Result<OpenSlide, String>,
    input: &mut impl Read,
    output: &mut impl Write,
) -> io::Result<()> {
    let greeting = Greeting::read(input)?;
    limit(Resource::As, greeting.memory_bytes)?;
    limit(Resource::Core, 0)?;
    limit(Resource::Fsize, 0)?;
    limit(Resource::Nofile, OPEN_FILES)?;
    let mut open: Option<(PathBuf, Slide<'_>)> = None;
    while let Some(question) = next(input)? {
        allow_cpu(greeting.cpu_seconds)?;
        let library = match library {
            Ok(library) => library,
            Err(why) => {
                refuse(&format!("OpenSlide cannot be loaded: {why}"), output)?;
                continue;
            }
        };
        match answer(library, &mut open, &question) {
            Ok((answer, bytes)) => {
                answer.write(output)?;
                output.write_all(&bytes)?;
            }
            Err(why) => {
                // The library answers nothing more of a slide of which it could not read a part.
                open = None;
                refuse(&without_path(&why, &question.path), output)?;
            }
        }
        output.flush()?;
    }
    Ok(())
}

fn next(input: &mut impl Read) -> io::Result<Option<Question>> {
    let mut length = [0; 4];
    match input.read_exact(&mut length) {
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let length = u32::from_le_bytes(length);
    if length > QUESTION_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut text = vec![0; length as usize];
    input.read_exact(&mut text)?;
    Ok(Some(serde_json::from_slice(&text)?))
}

fn answer<'library>(
    library: &'library OpenSlide,
    open: &mut Option<(PathBuf, Slide<'library>)>,
    question: &Question,
) -> Result<(Answer, Vec<u8>), String> {
    if open.as_ref().is_none_or(|(path, _)| *path != question.path) {
        *open = Some((question.path.clone(), library.slide(&question.path)?));
    }
    let Some((_, slide)) = open else { return Err("the slide was lost".to_owned()) };
    let head = Answer { ok: true, columns: 0, rows: 0, components: 3, width: 1, bytes: 0 };
    let (head, bytes) = match question.wanted {
        Wanted::Description => (head, serde_json::to_vec(&describe(slide)?).map_err(|e| e.to_string())?),
        Wanted::IccProfile => (head, slide.icc_profile(PROFILE_BYTES)?),
        Wanted::Region(Region { level, left, top, columns, rows }) => {
            (Answer { columns, rows, ..head }, slide.rgb(level, left, top, columns, rows)?)
        }
    };
    Ok((Answer { bytes: bytes.len() as u64, ..head }, bytes))
}

fn describe(slide: &Slide<'_>) -> Result<Description, String> {
    let levels = slide.levels()?.into_iter().map(|l| (l.size.0, l.size.1, l.downsample)).collect();
    let side =
        |name| slide.property(name).and_then(|text| text.parse::<f64>().ok()).filter(|m| m.is_finite());
    let microns_per_pixel = side("openslide.mpp-x").zip(side("openslide.mpp-y"));
    Ok(Description { levels, microns_per_pixel })
}

/// What the library says may name the file, and a file's name may tell who the patient is.
fn without_path(why: &str, path: &Path) -> String {
    let mut why = why.replace(&*path.to_string_lossy(), "the slide");
    if let Some(name) = path.file_name() {
        why = why.replace(&*name.to_string_lossy(), "the slide");
    }
    why
}
