//! A reading as files: overlay PNG, secondary capture, structured report.

use std::path::PathBuf;

use overread_dicom::read::Opened;
use overread_dicom::write::{
    Algorithm, Capture, InstanceReference, Release, Report, ResultIdentity, SourceContext, Stamp,
    VisualExplanation, WriteError, capture::secondary_capture, report::structured_report, to_part10,
};
use overread_domain::{GridSize, Uid};
use overread_infer::InferError;

use crate::intake::Study;
use crate::pictures::{self, Drawn};
use crate::reader::{Reader, Reading};
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
        for (index, drawn) in pictures::draw_all(reader, study, reading)?.into_iter().enumerate() {
            let number = index as u32 + 1;
            let stem = format!("{program}.{number}");
            artifacts.push(self.save_png(&format!("{stem}.overlay.png"), &drawn)?);
            let capture = Capture {
                label: &drawn.label,
                number,
                description: &drawn.description,
                size: GridSize::new(drawn.picture.width, drawn.picture.height),
                rgb: &drawn.picture.rgb,
            };
            let object = secondary_capture(&source, &algorithm, &identity, self.stamp, &capture)?;
            if drawn.explains {
                visual
                    .push(VisualExplanation { finding: drawn.label, image: InstanceReference::to(&object)? });
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
            caveats: &pack.manifest.caveats(),
        };
        let object = structured_report(&source, &algorithm, &identity, self.stamp, &report)?;
        artifacts.push(self.save(
            &format!("{program}.report.dcm"),
            "structured-report",
            &to_part10(&object)?,
        )?);
        Ok(artifacts)
    }

    fn save_png(&self, name: &str, drawn: &Drawn) -> Result<Artifact, ArtifactError> {
        let png =
            drawn.png().map_err(|source| ArtifactError::Png { path: self.folder.join(name), source })?;
        self.save(name, "overlay-png", &png)
    }

    fn save(&self, name: &str, kind: &str, bytes: &[u8]) -> Result<Artifact, ArtifactError> {
        let path = self.folder.join(name);
        let written = std::fs::create_dir_all(&self.folder).and_then(|()| std::fs::write(&path, bytes));
        written.map_err(|source| ArtifactError::Write { path: path.clone(), source })?;
        Ok(Artifact { kind: kind.into(), path })
    }
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
