//! Which programs were asked about a study, and why each took it or did not.

use schemars::JsonSchema;
use serde::Serialize;

use crate::intake::{ImageFile, Study};
use crate::program::Program;

/// One program beside one study.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Considered {
    /// The program's name.
    pub program: String,
    /// Whether it read the study; what it says is in the results.
    pub taken: bool,
    /// A stable word for why it was not read, such as `patient-age`; that of the first image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What of the study fits, or why it was not read, in a sentence.
    pub why: String,
}

impl Considered {
    /// What a program makes of a study by what its images state.
    pub fn new(study: &Study, program: &Program) -> Self {
        let fits = study.images.iter().find(|image| program.accepts(image).is_ok());
        let why = fits.map_or_else(|| refusals(study, program), |image| matched(image, program));
        let first = study.images.iter().find_map(|image| program.accepts(image).err());
        let code = first.filter(|_| fits.is_none()).map(|why| why.code);
        Self { program: program.name.clone(), taken: fits.is_some(), code, why }
    }

    /// A program that was not asked.
    pub fn unasked(program: &str, code: &str, why: &str) -> Self {
        Self { program: program.to_owned(), taken: false, code: Some(code.to_owned()), why: why.to_owned() }
    }
}

/// What an image states that the program was made for.
fn matched(image: &ImageFile, program: &Program) -> String {
    if image.photograph {
        return "a photograph does not say what it shows: every program for photographs is asked".into();
    }
    let (stated, intended) = (&image.header, &program.pack.manifest.intended_use);
    let parts = [
        ("modality", &stated.modality, true),
        ("body part", &stated.body_part_examined, !intended.body_parts.is_empty()),
        ("view", &stated.view_position, !intended.views.is_empty()),
    ];
    let said = |(name, value, counts): (&str, &Option<String>, bool)| {
        value.as_ref().filter(|_| counts).map(|value| format!("{name} {value}"))
    };
    format!("{} matched", parts.into_iter().filter_map(said).collect::<Vec<_>>().join(", "))
}

/// Why no image of the study is one of the program's, each reason once.
fn refusals(study: &Study, program: &Program) -> String {
    let mut reasons: Vec<String> = vec![];
    for image in &study.images {
        if let Err(why) = program.accepts(image)
            && !reasons.contains(&why.message)
        {
            reasons.push(why.message);
        }
    }
    if reasons.is_empty() { "none of its files could be opened".into() } else { reasons.join("; ") }
}
