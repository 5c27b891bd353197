//! One study is of one patient.

use overread_dicom::read::PatientMark;
use overread_domain::NotAssessed;

use crate::intake::Study;

/// Why a study whose files state different patients is not read; none if they state one, or do not say. A Study Instance UID that was given
/// twice joins what must not be one answer.
pub fn objection(study: &Study) -> Option<NotAssessed> {
    let mut stated: Vec<PatientMark> = vec![];
    for image in &study.images {
        let patient = image.header.patient;
        if stated.iter().any(|other| other.is_of_another(&patient)) {
            return Some(NotAssessed {
                code: "two-patients".into(),
                message: "the files of the study state different patients, so none of them was read; give each patient's files a Study Instance UID of their own".into(),
            });
        }
        if !stated.contains(&patient) {
            stated.push(patient);
        }
    }
    None
}
