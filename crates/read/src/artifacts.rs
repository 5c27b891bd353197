//! A reading as files: overlay PNG, secondary capture, structured report.

use std::path::PathBuf;

use overread_dicom::read::Opened;
use overread_dicom::write::{
    Algorithm, Capture, InstanceReference, Release, Report, ResultIdentity, SourceContext, Stamp,
    VisualExplanation, WriteError, capture::secondary_capture, report::structured_report, to_part10,
};
use overread_domain::{Explanation, GridSize, Uid};
use overread_infer::InferError;

use crate::intake::{Study, sentence};
use crate::overlay::{self, PANEL, Picture, finding_line};
use crate::reader::{FrameRef, Reader, Reading};
use crate::result::Artifact;

/// The folder of one study's result files.
pub struct ArtifactFolder {
    folder: PathBuf,
    stamp: Stamp,
}

/// Why a result file was not written. Holds no identity.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The file system refused.
    #[error("{path} cannot be written; check the folder's rights and space")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The PNG could not be encoded.
    #[error("{path} cannot be encoded")]
    Png {
        /// The file.
        path: PathBuf,
        /// Why.
        source: image::ImageError,
    },
    /// The DICOM object could not be made.
    #[error("the DICOM object cannot be made")]
    Dicom(#[from] WriteError),
    /// The picture could not be drawn.
    #[error("the picture cannot be drawn")]
    Draw(#[from] InferError),
}

impl ArtifactFolder {
    /// A folder, made when the first file is written, and the time that the objects state.
    pub const fn new(folder: PathBuf, stamp: Stamp) -> Self {
        Self { folder, stamp }
    }

    /// Writes the files of a reading. A study that was not assessed gets them too, with the reason.
    ///
    /// # Errors
    /// A file that cannot be written. A picture that cannot be decoded any more is left out, and the report is still written.
    pub fn write(
        &self,
        reader: &mut Reader,
        study: &Study,
        reading: &Reading,
    ) -> Result<Vec<Artifact>, ArtifactError> {
        let pack = &reading.program.pack;
        let program = &reading.program.name;
        let algorithm = Algorithm {
            name: pack.manifest.id.clone(),
            version: pack.version.clone(),
            edition: pack.edition.clone(),
            manufacturer: "Overread".into(),
        };
        let identity = ResultIdentity { program: program.clone(), case_version: 1 };
        let source = source_context(reader, study, reading)?;
        let mut artifacts = Vec::new();
        let mut visual = Vec::new();
        for (number, (label, frame, map)) in pictures(reading).into_iter().enumerate() {
            let Some(picture) = self.picture(reader, study, reading, &frame, map)? else { continue };
            let stem = format!("{program}.{}", number + 1);
            artifacts.push(self.save_png(&format!("{stem}.overlay.png"), &picture)?);
            let what = reading.findings.iter().find(|f| f.label == label).map(finding_line);
            let description = match (map, what) {
                (Some(map), Some(what)) => format!("{} over the image; {what}", map.method),
                _ => "The image; not assessed".to_owned(),
            };
            let capture = Capture {
                label: &label,
                number: number as u32 + 1,
                description: &description,
                size: GridSize::new(picture.width, picture.height),
                rgb: &picture.rgb,
            };
            let object = secondary_capture(&source, &algorithm, &identity, self.stamp, &capture)?;
            if map.is_some() {
                visual.push(VisualExplanation { label, image: InstanceReference::to(&object)? });
            }
            let name = format!("{stem}.capture.dcm");
            artifacts.push(self.save(&name, "secondary-capture", &to_part10(&object)?)?);
        }
        let report = Report {
            findings: &reading.findings,
            not_assessed: reading.not_assessed.as_ref(),
            explanations: &visual,
            predecessors: &[],
            release: Release::Preliminary,
        };
        let object = structured_report(&source, &algorithm, &identity, self.stamp, &report)?;
        artifacts.push(self.save(
            &format!("{program}.report.dcm"),
            "structured-report",
            &to_part10(&object)?,
        )?);
        Ok(artifacts)
    }

    /// The picture of one frame; none where it cannot be decoded, which the reading has already told.
    fn picture(
        &self,
        reader: &mut Reader,
        study: &Study,
        reading: &Reading,
        frame: &FrameRef,
        map: Option<&Explanation>,
    ) -> Result<Option<Picture>, ArtifactError> {
        let file = &study.images[frame.image];
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

    fn save_png(&self, name: &str, picture: &Picture) -> Result<Artifact, ArtifactError> {
        let path = self.folder.join(name);
        let mut bytes = std::io::Cursor::new(Vec::new());
        let view = image::codecs::png::PngEncoder::new(&mut bytes);
        image::ImageEncoder::write_image(
            view,
            &picture.rgb,
            picture.width,
            picture.height,
            image::ExtendedColorType::Rgb8,
        )
        .map_err(|source| ArtifactError::Png { path, source })?;
        self.save(name, "overlay-png", &bytes.into_inner())
    }

    fn save(&self, name: &str, kind: &str, bytes: &[u8]) -> Result<Artifact, ArtifactError> {
        let path = self.folder.join(name);
        let written = std::fs::create_dir_all(&self.folder).and_then(|()| std::fs::write(&path, bytes));
        written.map_err(|source| ArtifactError::Write { path: path.clone(), source })?;
        Ok(Artifact { kind: kind.into(), path })
    }
}

/// What is drawn: each explained finding over its frame, else the first frame that can be shown.
fn pictures(reading: &Reading) -> Vec<(String, FrameRef, Option<&Explanation>)> {
    if reading.explanations.is_empty() {
        let first = reading.frames.iter().find(|f| !f.logits.is_empty()).or(reading.frames.first());
        return first.map(|f| ("image".to_owned(), f.frame.clone(), None)).into_iter().collect();
    }
    reading.explanations.iter().map(|e| (e.map.label.clone(), e.frame.clone(), Some(&e.map))).collect()
}

/// Patient, study and images of the source; a photograph has a study of its own and no patient.
fn source_context(reader: &Reader, study: &Study, reading: &Reading) -> Result<SourceContext, ArtifactError> {
    let mut context: Option<SourceContext> = None;
    let mut seen = std::collections::BTreeSet::new();
    for outcome in reading.frames.iter().filter(|f| seen.insert(f.frame.image)) {
        let file = &study.images[outcome.frame.image];
        let Ok(Opened::Dicom(opened)) = reader.reopen(file) else { continue };
        match &mut context {
            None => context = SourceContext::from_image(opened.dataset()).ok(),
            Some(context) => context.add_image(opened.dataset())?,
        }
    }
    Ok(context.unwrap_or_else(|| SourceContext::for_study(study_uid(study))))
}

fn study_uid(study: &Study) -> Uid {
    study.uid.clone().unwrap_or_else(|| crate::intake::uid_of_path(study.source()))
}
