//! A program: one intended use. Which images it reads, by which pack, at which prevalence.

use std::sync::Arc;

use overread_dicom::read::Header;
use overread_domain::{NotAssessed, Probability};
use overread_infer::Pack;
use overread_infer::manifest::IntendedUse;

use crate::intake::ImageFile;

/// One intended use.
#[derive(Clone)]
pub struct Program {
    /// Its name, such as `cxr-pneumonia`.
    pub name: String,
    /// The edition that reads for it.
    pub pack: Arc<Pack>,
    /// The prevalence that probabilities are stated for; the pack's reference prevalence if none.
    pub prevalence: Option<Probability>,
}

impl Program {
    /// The program that a pack was made for, at the pack's own prevalence.
    pub fn of_pack(pack: Arc<Pack>) -> Self {
        Self { name: pack.manifest.program.clone(), pack, prevalence: None }
    }

    /// Whether this image is what the program was made for.
    ///
    /// # Errors
    /// The reason why not, for the report.
    pub fn accepts(&self, image: &ImageFile) -> Result<(), NotAssessed> {
        let intended = &self.pack.manifest.intended_use;
        if image.photograph {
            return if intended.photographs {
                Ok(())
            } else {
                refuse("photograph", format!("{} reads DICOM images, not photographs", self.name))
            };
        }
        self.accepts_header(intended, &image.header)?;
        if image.slide && self.pack.manifest.slides.is_none() {
            let message = format!(
                "{} reads pictures, not whole slides: its pack does not state the size of a tile",
                self.name
            );
            return refuse("whole-slide", message);
        }
        Ok(())
    }

    fn accepts_header(&self, intended: &IntendedUse, header: &Header) -> Result<(), NotAssessed> {
        let name = &self.name;
        let listed = |list: &[String], value: &str| list.iter().any(|l| l.eq_ignore_ascii_case(value));
        let modality = header.modality.as_deref().unwrap_or("");
        if !listed(&intended.modalities, modality) {
            let wanted = intended.modalities.join(", ");
            let stated = if modality.is_empty() { "none" } else { modality };
            return refuse("modality", format!("{name} reads modality {wanted}; this image states {stated}"));
        }
        if let Some(part) = header.body_part_examined.as_deref()
            && !intended.body_parts.is_empty()
            && !listed(&intended.body_parts, part)
        {
            let wanted = intended.body_parts.join(", ");
            return refuse("body-part", format!("{name} reads {wanted}; this image states {part}"));
        }
        if let Some(view) = header.view_position.as_deref()
            && !intended.views.is_empty()
            && !listed(&intended.views, view)
        {
            let wanted = intended.views.join(", ");
            return refuse("view-position", format!("{name} reads views {wanted}; this image states {view}"));
        }
        if let (Some(age), Some([youngest, oldest])) = (header.patient_age_years, intended.age_years)
            && (age < youngest || age >= oldest + 1.0)
        {
            // The age itself may identify (over 89) and is not needed: the range is.
            return refuse(
                "patient-age",
                format!("{name} reads patients aged {youngest} to {oldest} years; this one is outside"),
            );
        }
        Ok(())
    }
}

fn refuse(code: &str, message: String) -> Result<(), NotAssessed> {
    Err(NotAssessed { code: code.into(), message })
}
