//! The objects of a result: where each of them is, and how all of them begin.

use dicom_dictionary_std::uids;
use dicom_object::InMemDicomObject;
use overread_domain::Uid;

use super::identity::{Algorithm, ResultIdentity};
use super::modules::{self, Series};
use super::source::{InstanceReference, SourceContext};
use super::stamp::Stamp;

/// An object of a result; a label tells it from the result's others of its kind.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind<'a> {
    Report,
    Capture(&'a str),
    Rejection,
    Map(&'a str),
}

/// What the objects of a kind share.
struct Form {
    /// What their UIDs are derived from.
    name: &'static str,
    class: &'static str,
    modality: &'static str,
    /// Series Number, to which the version of the case is added.
    number: u32,
    /// What Series Description says after the program.
    description: &'static str,
}

impl Kind<'_> {
    const fn form(self) -> Form {
        let (name, class, modality, number, description) = match self {
            Self::Report => ("report", uids::COMPREHENSIVE3_DSR_STORAGE, "SR", 9000, ""),
            Self::Capture(_) => {
                ("capture", uids::SECONDARY_CAPTURE_IMAGE_STORAGE, "OT", 9500, " explanation")
            }
            Self::Rejection => {
                ("rejection", uids::KEY_OBJECT_SELECTION_DOCUMENT_STORAGE, "KO", 10_000, " withdrawal")
            }
            Self::Map(_) => ("map", uids::PARAMETRIC_MAP_STORAGE, "OT", 10_500, " map"),
        };
        Form { name, class, modality, number, description }
    }

    const fn label(&self) -> &str {
        match self {
            Self::Capture(label) | Self::Map(label) => label,
            Self::Report | Self::Rejection => "",
        }
    }
}

/// Where an object of a result is or will be.
pub(crate) fn reference(
    source: &SourceContext,
    algorithm: &Algorithm,
    identity: &ResultIdentity,
    kind: Kind<'_>,
) -> InstanceReference {
    let form = kind.form();
    let uid = |name: &str, label| identity.uid(source.study(), &algorithm.edition, name, label);
    InstanceReference {
        series: uid(&format!("{}-series", form.name), ""),
        class: Uid::parse(form.class).expect("a UID of the standard is a UID"),
        instance: uid(form.name, kind.label()),
    }
}

/// Begins an object of a result: SOP Common, patient and study of the source, a series of ours in which it has the number, the edition as the equipment.
pub(crate) fn begin(
    source: &SourceContext,
    algorithm: &Algorithm,
    identity: &ResultIdentity,
    stamp: Stamp,
    kind: Kind<'_>,
    number: u32,
) -> InMemDicomObject {
    let (form, reference) = (kind.form(), reference(source, algorithm, identity, kind));
    let mut object = InMemDicomObject::new_empty();
    modules::sop_common(&mut object, form.class, &reference.instance);
    let stamp = modules::patient_and_study(&mut object, source, stamp);
    let series = Series {
        uid: reference.series,
        modality: form.modality,
        number: form.number + identity.case_version % 500,
        description: format!("Overread {}{}", identity.program, form.description),
    };
    modules::series_and_instance(&mut object, &series, number, stamp);
    modules::equipment(&mut object, algorithm);
    modules::contributing_equipment(&mut object, algorithm, stamp);
    object
}
