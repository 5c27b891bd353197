//! The pictures of a reading: each explained finding over the frame that it is about, else the plain image.

use overread_domain::{GridSize, sentence, sided};
use overread_infer::InferError;

use crate::intake::Study;
use crate::overlay::{self, PANEL, Picture, finding_line};
use crate::reader::{FrameExplanation, FrameRef, Reader, Reading};

/// A picture of a reading, and what it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drawn {
    /// The name of the finding it explains, or `image` for the plain picture of a study that was not assessed.
    pub label: String,
    /// Whether it shows a map of what spoke for the finding.
    pub explains: bool,
    /// How it was made, in a sentence.
    pub description: String,
    /// The pixels.
    pub picture: Picture,
}

/// A picture of a reading as a PNG, for keeping and sending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapturePicture {
    /// The name of the finding it explains, or `image` for the plain picture of a study that was not assessed.
    pub label: String,
    /// Whether it shows a map of what spoke for the finding.
    pub explains: bool,
    /// How it was made, in a sentence.
    pub description: String,
    /// The PNG file: 8-bit RGB.
    pub png: Vec<u8>,
    /// Its pixels.
    pub size: GridSize,
}

/// Why a picture was not made. Holds no identity.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// It could not be drawn.
    #[error("the picture cannot be drawn")]
    Draw(#[from] InferError),
    /// It could not be encoded.
    #[error("the picture cannot be encoded")]
    Png(#[from] image::ImageError),
}

impl Drawn {
    /// The picture as a PNG file: 8-bit RGB.
    ///
    /// # Errors
    /// It cannot be encoded.
    pub fn png(&self) -> Result<Vec<u8>, image::ImageError> {
        let mut bytes = std::io::Cursor::new(Vec::new());
        let Picture { width, height, rgb } = &self.picture;
        let encoder = image::codecs::png::PngEncoder::new(&mut bytes);
        image::ImageEncoder::write_image(encoder, rgb, *width, *height, image::ExtendedColorType::Rgb8)?;
        Ok(bytes.into_inner())
    }
}

/// Draws the pictures of a reading. One whose image cannot be decoded any more is left out.
///
/// # Errors
/// A picture cannot be drawn.
pub fn draw_all(reader: &mut Reader, study: &Study, reading: &Reading) -> Result<Vec<Drawn>, InferError> {
    let mut drawn = Vec::new();
    for (label, frame, map) in chosen(reading) {
        let Some(picture) = picture(reader, study, reading, &frame, map)? else { continue };
        let what = reading.findings.iter().find(|f| f.name() == label).map(finding_line);
        let description = match (map, what) {
            (Some(e), Some(what)) => format!("{} over the image; {what}", e.map.method),
            _ => "The image; not assessed".to_owned(),
        };
        let caveats = reading.program.pack.manifest.caveats();
        let description = caveats.iter().fold(description, |text, caveat| format!("{text}. {caveat}"));
        drawn.push(Drawn { label, explains: map.is_some(), description, picture });
    }
    Ok(drawn)
}

/// The pictures of a reading as PNG files, in memory.
///
/// # Errors
/// A picture cannot be drawn or encoded.
pub fn captures(
    reader: &mut Reader,
    study: &Study,
    reading: &Reading,
) -> Result<Vec<CapturePicture>, PictureError> {
    let drawn = draw_all(reader, study, reading)?;
    drawn
        .into_iter()
        .map(|d| {
            let size = GridSize::new(d.picture.width, d.picture.height);
            let png = d.png()?;
            Ok(CapturePicture { label: d.label, explains: d.explains, description: d.description, png, size })
        })
        .collect()
}

/// What is drawn: each explained finding over its frame, else the first frame that can be shown.
fn chosen(reading: &Reading) -> Vec<(String, FrameRef, Option<&FrameExplanation>)> {
    if reading.explanations.is_empty() {
        let first = reading.frames.iter().find(|f| !f.logits.is_empty()).or(reading.frames.first());
        return first.map(|f| ("image".to_owned(), f.frame.clone(), None)).into_iter().collect();
    }
    reading.explanations.iter().map(|e| (sided(&e.map.label, e.side), e.frame.clone(), Some(e))).collect()
}

/// The picture of one frame; none where it cannot be decoded, which the reading has already told.
fn picture(
    reader: &mut Reader,
    study: &Study,
    reading: &Reading,
    frame: &FrameRef,
    map: Option<&FrameExplanation>,
) -> Result<Option<Picture>, InferError> {
    let file = &study.images[frame.image];
    if let Some(slide) = reading.slides.iter().find(|slide| slide.image == frame.image) {
        return Ok(Some(overlay::draw(&slide.overview, reading, map)?));
    }
    if file.slide {
        return match reader.slide_picture(study, frame.image, PANEL) {
            Ok(grid) => Ok(Some(overlay::draw(&grid, reading, map)?)),
            Err(e) => {
                tracing::warn!("a slide cannot be shown: {}", sentence(&e));
                Ok(None)
            }
        };
    }
    let (columns, rows) = (file.header.columns.max(1), file.header.rows.max(1));
    let scale = f64::from(PANEL) / f64::from(columns.max(rows));
    let side = |n: u32| ((f64::from(n) * scale.min(1.0)).round() as u32).max(1);
    match reader.picture(file, frame.frame, GridSize::new(side(columns), side(rows))) {
        Ok(grid) => Ok(Some(overlay::draw(&grid, reading, map)?)),
        Err(e) => {
            tracing::warn!("an image cannot be shown: {}", sentence(&e));
            Ok(None)
        }
    }
}
