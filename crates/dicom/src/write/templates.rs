//! Templates of PS3.16, one function for each, named by its TID.

use overread_domain::{BodySide, CodedConcept, Decision, Finding, NotAssessed};

use super::codes::{self, Code};
use super::content::{Item, Relationship};
use super::identity::{Algorithm, ResultIdentity};
use super::report::Report;
use super::source::{InstanceReference, SourceContext, SourceImage};
use Relationship::{Contains, HasAcqContext, HasConceptMod, HasObsContext};

type Items = Vec<(Relationship, Item)>;

/// With more images than this, groups leave them to the image library: a CT series would be
/// listed once for every finding.
const MOST_IMAGES_IN_A_GROUP: usize = 16;

/// Said in every report, because a result is not a diagnosis.
pub(crate) const CAUTION: &str =
    "Computed by software and not verified by a person. Not for clinical use without local validation.";

/// What the templates are filled with.
pub(crate) struct Fill<'a> {
    pub(crate) source: &'a SourceContext,
    pub(crate) algorithm: &'a Algorithm,
    pub(crate) identity: &'a ResultIdentity,
    pub(crate) report: &'a Report<'a>,
}

/// TID 1500 Measurement Report: the root of the tree.
pub(crate) fn tid_1500(fill: &Fill<'_>) -> Item {
    let modality = fill.source.images().first().map_or("", |i| i.modality.as_str());
    let procedure = fill.source.procedure().cloned().unwrap_or_else(|| codes::procedure(modality).into());
    let mut root = Item::container(codes::IMAGING_MEASUREMENT_REPORT)
        .template("1500")
        .with(HasConceptMod, tid_1204())
        .with_all(tid_1001(fill.algorithm))
        .with(HasConceptMod, Item::code(codes::PROCEDURE_REPORTED, procedure));
    if !fill.source.images().is_empty() {
        root = root.with(Contains, tid_1600(fill.source.images()));
    }
    if !fill.report.findings.is_empty() {
        let groups = fill.report.findings.iter().map(|f| (Contains, tid_1501(fill, f)));
        root = root.with(Contains, Item::container(codes::IMAGING_MEASUREMENTS).with_all(groups));
    }
    root.with(Contains, overall(fill.report))
}

/// TID 1500 row 12: what is said of the study as a whole.
fn overall(report: &Report<'_>) -> Item {
    let mut container = Item::container(codes::QUALITATIVE_EVALUATIONS);
    if let Some(reason) = report.not_assessed {
        container = container.with(Contains, Item::text(codes::COMMENT, &reason_text(reason)));
    }
    let caveats = report.caveats.iter().map(|caveat| (Contains, Item::text(codes::COMMENT, caveat)));
    container.with_all(caveats).with(Contains, Item::text(codes::COMMENT, CAUTION))
}

fn reason_text(reason: &NotAssessed) -> String {
    format!("Not assessed ({}): {}", reason.code, reason.message)
}

/// TID 1204 Language of Content Item and Descendants.
fn tid_1204() -> Item {
    Item::code(codes::LANGUAGE, codes::ENGLISH)
}

/// TID 1001 Observation Context: the observer is a device (TID 1002, TID 1004); patient and
/// procedure are those of the header.
fn tid_1001(algorithm: &Algorithm) -> Items {
    let mut items = vec![(HasObsContext, Item::code(codes::OBSERVER_TYPE, codes::DEVICE))];
    items.extend(tid_1004(algorithm));
    items
}

/// TID 1004 Device Observer Identifying Attributes: the edition.
fn tid_1004(algorithm: &Algorithm) -> Items {
    vec![
        (HasObsContext, Item::uid(codes::DEVICE_OBSERVER_UID, &algorithm.device_uid())),
        (HasObsContext, Item::text(codes::DEVICE_OBSERVER_NAME, &algorithm.name)),
        (HasObsContext, Item::text(codes::DEVICE_OBSERVER_MANUFACTURER, &algorithm.manufacturer)),
        (HasObsContext, Item::text(codes::DEVICE_OBSERVER_MODEL, &algorithm.name)),
        (HasObsContext, Item::text(codes::DEVICE_OBSERVER_SERIAL, &algorithm.edition.0)),
    ]
}

/// TID 1600 Image Library: one group for each modality and size, so that what is common is said once.
fn tid_1600(images: &[SourceImage]) -> Item {
    let mut groups: Vec<Vec<&SourceImage>> = Vec::new();
    let key = |i: &SourceImage| (i.modality.clone(), i.rows, i.columns);
    for image in images {
        match groups.iter_mut().find(|g| key(g[0]) == key(image)) {
            Some(group) => group.push(image),
            None => groups.push(vec![image]),
        }
    }
    let groups = groups.into_iter().map(|group| {
        let entries = group.iter().map(|i| (Contains, Item::image(None, &i.reference)));
        let container = Item::container(codes::IMAGE_LIBRARY_GROUP).with_all(tid_1602(group[0]));
        (Contains, container.with_all(entries))
    });
    Item::container(codes::IMAGE_LIBRARY).with_all(groups)
}

/// TID 1602 Image Library Entry Descriptors.
fn tid_1602(image: &SourceImage) -> Items {
    let modality = codes::modality(&image.modality).map(|m| Item::code(codes::MODALITY, m));
    let pixels =
        |concept: Code, n: Option<u32>| n.map(|n| Item::number(concept, f64::from(n), codes::PIXELS));
    let rows = pixels(codes::PIXEL_DATA_ROWS, image.rows);
    let columns = pixels(codes::PIXEL_DATA_COLUMNS, image.columns);
    [modality, rows, columns].into_iter().flatten().map(|i| (HasAcqContext, i)).collect()
}

/// TID 1501 Measurement and Qualitative Evaluation Group: one finding.
///
/// The group names the finding it is about (121071), present or not; whether it is there is the
/// qualitative evaluation under the finding's own code.
fn tid_1501(fill: &Fill<'_>, finding: &Finding) -> Item {
    let name = finding.name();
    let mut group = Item::container(codes::MEASUREMENT_GROUP)
        .with_all(tid_4108(fill, finding))
        .with(Contains, Item::code(codes::FINDING, finding.code.clone()));
    group = group.with_all(finding_site(finding));
    group = group.with_all(tid_4019(fill.algorithm, finding));
    if fill.source.images().len() <= MOST_IMAGES_IN_A_GROUP {
        let images = fill.source.images().iter().filter(|image| may_show(image, finding.laterality));
        group = group.with_all(
            images.map(|i| (Contains, Item::image(Some(codes::SOURCE_OF_MEASUREMENT), &i.reference))),
        );
    }
    let answered = finding.decision != Decision::NotAssessed;
    if let Some(probability) = finding.probability.filter(|_| answered) {
        group = group.with(Contains, tid_300(codes::PROBABILITY, probability.get(), codes::NO_UNITS));
    }
    group =
        group.with(Contains, qualitative_evaluation(finding.code.clone(), codes::decision(finding.decision)));
    group = group.with_all(comments(fill.report, finding).into_iter().map(|c| (Contains, c)));
    let explanations = fill.report.explanations.iter().filter(|e| e.finding == name);
    group.with_all(explanations.map(|e| (Contains, Item::image(Some(codes::VISUAL_EXPLANATION), &e.image))))
}

/// Where the finding is, and on which side; a side without a site stands for itself.
fn finding_site(finding: &Finding) -> Option<(Relationship, Item)> {
    let side = finding.laterality.map(|side| {
        let side = if side == BodySide::Right { codes::RIGHT } else { codes::LEFT };
        (HasConceptMod, Item::code(codes::LATERALITY, side))
    });
    match &finding.site {
        Some(site) => Some((HasConceptMod, Item::code(codes::FINDING_SITE, site.clone()).with_all(side))),
        None => side,
    }
}

/// Whether a finding of a side may have been taken from an image: all but those of the other side.
fn may_show(image: &SourceImage, side: Option<BodySide>) -> bool {
    let stated = image.laterality.as_deref().and_then(BodySide::parse);
    side.is_none() || stated.is_none() || stated == side
}

fn comments(report: &Report<'_>, finding: &Finding) -> Vec<Item> {
    let mut comments = Vec::new();
    let reason = finding.reason.as_ref().or(report.not_assessed);
    if let (Decision::NotAssessed, Some(reason)) = (finding.decision, reason) {
        comments.push(Item::text(codes::COMMENT, &reason_text(reason)));
    }
    if let Some(score) = finding.score {
        let text = format!("Uncalibrated score {score:.3}: it orders cases and is not a probability.");
        comments.push(Item::text(codes::COMMENT, &text));
    }
    if finding.experimental {
        let text = "Experimental: fewer than 20 patients with this finding stand behind it.";
        comments.push(Item::text(codes::COMMENT, text));
    }
    comments
}

/// TID 4108 Tracking Identifier.
fn tid_4108(fill: &Fill<'_>, finding: &Finding) -> Items {
    let name = format!("{} {}", fill.identity.program, finding.name());
    let uid = fill.identity.tracking_uid(fill.source.study(), &finding.name());
    vec![
        (HasObsContext, Item::text(codes::TRACKING_IDENTIFIER, &name)),
        (HasObsContext, Item::uid(codes::TRACKING_UID, &uid)),
    ]
}

/// TID 4019 Algorithm Identification. Thresholds and prevalence are parameters that the
/// edition was set with: `name=value`, probabilities from 0 to 1.
fn tid_4019(algorithm: &Algorithm, finding: &Finding) -> Items {
    let parameters = [
        finding.rule_out.map(|p| format!("rule-out threshold={}", p.get())),
        finding.rule_in.map(|p| format!("rule-in threshold={}", p.get())),
        finding.prevalence.map(|p| format!("prevalence={}", p.get())),
    ];
    let mut items = vec![
        (HasConceptMod, Item::text(codes::ALGORITHM_NAME, &algorithm.name)),
        (HasConceptMod, Item::text(codes::ALGORITHM_VERSION, &algorithm.version)),
    ];
    let parameters = parameters.into_iter().flatten();
    items.extend(parameters.map(|p| (HasConceptMod, Item::text(codes::ALGORITHM_PARAMETERS, &p))));
    items
}

/// TID 300 Measurement.
fn tid_300(concept: Code, value: f64, unit: Code) -> Item {
    Item::number(concept, value, unit)
}

/// A qualitative evaluation of TID 1501: the finding's own code as the question, the decision as the answer.
fn qualitative_evaluation(finding: CodedConcept, answer: Code) -> Item {
    Item::code(finding, answer)
}

/// TID 2010 Key Object Selection: a note that withdraws objects. Documents are referenced as COMPOSITE, captures as IMAGE.
pub(crate) fn tid_2010(algorithm: &Algorithm, withdrawn: &[InstanceReference], reason: &str) -> Item {
    const DOCUMENTS: &str = "1.2.840.10008.5.1.4.1.1.88.";
    let objects = withdrawn.iter().map(|object| match object.class.as_str().starts_with(DOCUMENTS) {
        true => (Contains, Item::composite(object)),
        false => (Contains, Item::image(None, object)),
    });
    Item::container(codes::REJECTED_FOR_QUALITY)
        .template("2010")
        .with(HasConceptMod, Item::code(codes::DOCUMENT_TITLE_MODIFIER, codes::OTHER_FAILURE))
        .with(HasConceptMod, tid_1204())
        .with_all(tid_1001(algorithm))
        .with(Contains, Item::text(codes::KEY_OBJECT_DESCRIPTION, reason))
        .with_all(objects)
}
