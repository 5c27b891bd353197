//! Another engine reads what would go out: Tesseract, where it is installed.
//!
//! The detector's own word is no proof that nothing is left. Tesseract has nothing in common with it, and what it still
//! reads of what identifies the patient stops an object.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use overread_domain::{GridSize, ImageGrid};

use super::error::PixelError;
use super::views::views;

/// Tokens of fewer letters and digits are read by chance.
const SHORTEST: usize = 3;
/// Tokens of so many letters and digits may be part of a longer one, or spread over a line.
const WITHIN: usize = 5;
const SPREAD: usize = 7;

/// Tesseract on this machine.
#[derive(Clone, Debug)]
pub struct SecondLook {
    program: PathBuf,
}

impl SecondLook {
    /// Tesseract under this name or path. None if there is none: then nobody looks a second time, and the caller says so.
    pub fn find(program: &Path) -> Option<Self> {
        let asked = Command::new(program)
            .arg("--version")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        asked.is_ok_and(|status| status.success()).then(|| Self { program: program.to_owned() })
    }

    /// The tokens of `identifying` that are still read in a frame: words and numbers of three letters or digits and more,
    /// whatever their case. Short ones must stand alone, as chance spells them within longer ones; long ones may be spread over
    /// a line, as dates and numbers in groups are. What is read is kept in memory alone.
    ///
    /// # Errors
    /// [`PixelError::SecondLook`]: Tesseract fails.
    pub fn still_read(&self, grid: &ImageGrid, identifying: &[String]) -> Result<Vec<String>, PixelError> {
        let (mut read, mut lines) = (Vec::new(), Vec::new());
        for view in views(grid) {
            for inverted in [false, true] {
                let text = self.read(&picture(&view.planes, grid.size, inverted))?;
                read.extend(tokens(&text));
                lines.extend(text.lines().map(run_together).filter(|line| line.len() >= SPREAD));
            }
        }
        let mut found: Vec<String> = identifying.iter().flat_map(|text| tokens(text)).collect();
        found.sort();
        found.dedup();
        found.retain(|token| {
            let inside = token.chars().count() >= WITHIN;
            read.iter().any(|r| r == token || inside && r.contains(token.as_str()))
                || token.len() >= SPREAD && lines.iter().any(|line| line.contains(token.as_str()))
        });
        Ok(found)
    }

    /// The text that Tesseract reads in a picture (PGM over its standard input).
    fn read(&self, picture: &[u8]) -> Result<String, PixelError> {
        let failed = |why: String| PixelError::SecondLook { why };
        let mut child = Command::new(&self.program)
            .args(["stdin", "stdout", "--psm", "11"])
            .env("OMP_THREAD_LIMIT", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| failed(format!("cannot be started ({}); install it again", e.kind())))?;
        let mut input = child.stdin.take().ok_or_else(|| failed("has no standard input".into()))?;
        // It reads all before it writes; a refusal shows in its status.
        let _ = input.write_all(picture);
        drop(input);
        let output = child.wait_with_output().map_err(|e| failed(format!("failed ({})", e.kind())))?;
        if !output.status.success() {
            return Err(failed(format!(
                "ended with {}; check that its English data are there",
                output.status
            )));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Letters and digits in capitals, split at all else.
fn tokens(text: &str) -> Vec<String> {
    let parts = text.split(|c: char| !c.is_alphanumeric());
    parts.filter(|p| p.chars().count() >= SHORTEST).map(str::to_uppercase).collect()
}

/// The letters and digits of a line in capitals.
fn run_together(line: &str) -> String {
    line.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_uppercase).collect()
}

/// A binary PGM, enlarged until its longest side has two thousand pixels: Tesseract reads letters of 20 pixels and more.
/// `inverted` shows white as black.
fn picture(planes: &[Vec<f32>], size: GridSize, inverted: bool) -> Vec<u8> {
    let times = (2000 / size.columns.max(size.rows).max(1)).clamp(1, 4) as usize;
    let columns = size.columns as usize;
    let mut bytes = format!("P5\n{} {}\n255\n", columns * times, size.rows as usize * times).into_bytes();
    for row in 0..size.rows as usize * times {
        for column in 0..columns * times {
            let at = row / times * columns + column / times;
            let grey = planes.iter().map(|p| p[at]).sum::<f32>() / planes.len() as f32;
            let grey = if inverted { 1.0 - grey } else { grey };
            bytes.push((grey.clamp(0.0, 1.0) * 255.0) as u8);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tesseract_is_none_and_no_silence() {
        assert!(SecondLook::find(Path::new("/nonexistent/tesseract")).is_none());
    }

    #[test]
    fn tokens_are_words_and_numbers() {
        assert_eq!(tokens("Doe^Jane 12/11/1970 m"), ["DOE", "JANE", "1970"]);
    }

    #[test]
    fn pictures_are_enlarged() {
        let pgm = picture(&[vec![0.0, 1.0]], GridSize::new(2, 1), true);
        assert!(pgm.starts_with(b"P5\n8 4\n255\n"));
        assert_eq!(pgm[pgm.len() - 8..], [255, 255, 255, 255, 0, 0, 0, 0]);
    }
}
