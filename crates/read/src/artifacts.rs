//! A reading as files: overlay PNG, secondary capture, structured report; of a slide also its tiles and its maps.

use std::io::{BufWriter, Write as _};
use std::path::PathBuf;

use overread_dicom::read::Opened;
use overread_dicom::write::{
    Algorithm, Capture, InstanceReference, Release, Report, ResultIdentity, SourceContext, Stamp,
    VisualExplanation, WriteError, capture::secondary_capture, report::structured_report, to_part10,
};
use overread_domain::{GridSize, Uid};
use overread_infer::{InferError, Pack};

use crate::intake::Study;
use crate::pictures::{self, Drawn};
use crate::reader::{Reader, Reading};
use crate::result::Artifact;
use crate::slide::SlideMap;
use crate::tiles::TilesError;

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
    /// The tiles of a slide could not be written.
    #[error("{path} cannot be written")]
    Tiles {
        /// The file.
        path: PathBuf,
        /// Why.
        source: TilesError,
    },
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
        for (index, slide) in reading.slides.iter().enumerate() {
            let stem = format!("{program}.slide-{}", index + 1);
            artifacts.extend(self.write_tiles(&stem, slide, pack, &study_uid(study))?);
            let plane = slide.plane(reader, study);
            for (label, spec) in pack.manifest.findings.iter().enumerate() {
                let object = slide.dicom(pack, label, plane, &source, (&algorithm, &identity, self.stamp))?;
                let name = format!("{stem}.{}.map.dcm", file_word(&spec.label));
                artifacts.push(self.save(&name, "parametric-map", &object)?);
            }
        }
        Ok(artifacts)
    }

    /// The tiles of a slide as a table and as outlines.
    fn write_tiles(
        &self,
        stem: &str,
        slide: &SlideMap,
        pack: &Pack,
        study: &Uid,
    ) -> Result<[Artifact; 2], ArtifactError> {
        let name = format!("{study} {}", slide.image);
        let (table, outlines) = (
            self.folder.join(format!("{stem}.tiles.csv")),
            self.folder.join(format!("{stem}.tiles.geojson")),
        );
        let file = |path: &PathBuf| {
            let made = std::fs::create_dir_all(&self.folder).and_then(|()| std::fs::File::create(path));
            made.map(BufWriter::new).map_err(|source| ArtifactError::Write { path: path.clone(), source })
        };
        let failed = |path: &PathBuf| {
            let path = path.clone();
            move |source| ArtifactError::Tiles { path, source }
        };
        let (mut lines, mut shapes) = (file(&table)?, file(&outlines)?);
        slide.csv(pack, &mut lines).and_then(|()| Ok(lines.flush()?)).map_err(failed(&table))?;
        slide
            .geojson(pack, &name, &mut shapes)
            .and_then(|()| Ok(shapes.flush()?))
            .map_err(failed(&outlines))?;
        Ok([
            Artifact { kind: "tiles-csv".into(), path: table },
            Artifact { kind: "tiles-geojson".into(), path: outlines },
        ])
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

/// A label as a part of a file's name.
fn file_word(label: &str) -> String {
    label.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' }).collect()
}

fn study_uid(study: &Study) -> Uid {
    study.uid.clone().unwrap_or_else(|| crate::intake::uid_of_path(study.source()))
}
