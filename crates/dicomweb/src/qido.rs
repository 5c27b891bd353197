//! QIDO-RS: searches for studies, series and instances (PS3.18 §10.6, edition 2025c).

use axum::extract::State;
use axum::http::HeaderValue;
use axum::response::Response;
use dicom_core::value::PrimitiveValue;
use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;
use overread_domain::{Identified, Uid};
use serde_json::{Map, Value as Json};

use crate::accept::must_take_json;
use crate::archive::{Level, Page, Scope};
use crate::body::typed;
use crate::problem::Problem;
use crate::query::{Include, Query};
use crate::wado::{Client, Named, Parameters};
use crate::{Shared, json};

/// Table 10.6.3-3.
const STUDY: &[Tag] = &[
    tags::STUDY_DATE,
    tags::STUDY_TIME,
    tags::ACCESSION_NUMBER,
    tags::INSTANCE_AVAILABILITY,
    tags::MODALITIES_IN_STUDY,
    tags::REFERRING_PHYSICIAN_NAME,
    tags::TIMEZONE_OFFSET_FROM_UTC,
    tags::RETRIEVE_URL,
    tags::PATIENT_NAME,
    tags::PATIENT_ID,
    tags::PATIENT_BIRTH_DATE,
    tags::PATIENT_SEX,
    tags::STUDY_INSTANCE_UID,
    tags::STUDY_ID,
    tags::NUMBER_OF_STUDY_RELATED_SERIES,
    tags::NUMBER_OF_STUDY_RELATED_INSTANCES,
];

/// Table 10.6.3-4; the UID above is always told.
const SERIES: &[Tag] = &[
    tags::MODALITY,
    tags::TIMEZONE_OFFSET_FROM_UTC,
    tags::SERIES_DESCRIPTION,
    tags::RETRIEVE_URL,
    tags::STUDY_INSTANCE_UID,
    tags::SERIES_INSTANCE_UID,
    tags::SERIES_NUMBER,
    tags::NUMBER_OF_SERIES_RELATED_INSTANCES,
    tags::PERFORMED_PROCEDURE_STEP_START_DATE,
    tags::PERFORMED_PROCEDURE_STEP_START_TIME,
    tags::REQUEST_ATTRIBUTES_SEQUENCE,
];

/// Table 10.6.3-5; the UIDs above are always told.
const INSTANCE: &[Tag] = &[
    tags::SOP_CLASS_UID,
    tags::SOP_INSTANCE_UID,
    tags::INSTANCE_AVAILABILITY,
    tags::TIMEZONE_OFFSET_FROM_UTC,
    tags::RETRIEVE_URL,
    tags::STUDY_INSTANCE_UID,
    tags::SERIES_INSTANCE_UID,
    tags::INSTANCE_NUMBER,
    tags::ROWS,
    tags::COLUMNS,
    tags::BITS_ALLOCATED,
    tags::NUMBER_OF_FRAMES,
];

/// `GET /studies`
pub(crate) async fn studies(
    shared: State<Shared>,
    parameters: Parameters,
    client: Client,
) -> Result<Response, Problem> {
    search(&shared, &parameters, &client, Level::Study, None).await
}

/// `GET /series`
pub(crate) async fn all_series(
    shared: State<Shared>,
    parameters: Parameters,
    client: Client,
) -> Result<Response, Problem> {
    search(&shared, &parameters, &client, Level::Series, None).await
}

/// `GET /instances`
pub(crate) async fn all_instances(
    shared: State<Shared>,
    parameters: Parameters,
    client: Client,
) -> Result<Response, Problem> {
    search(&shared, &parameters, &client, Level::Instance, None).await
}

/// `GET /studies/{study}/series`
pub(crate) async fn series(
    shared: State<Shared>,
    named: Named,
    parameters: Parameters,
    client: Client,
) -> Result<Response, Problem> {
    search(&shared, &parameters, &client, Level::Series, Some(&named.scope)).await
}

/// `GET /studies/{study}/instances`
pub(crate) async fn study_instances(
    shared: State<Shared>,
    named: Named,
    parameters: Parameters,
    client: Client,
) -> Result<Response, Problem> {
    search(&shared, &parameters, &client, Level::Instance, Some(&named.scope)).await
}

/// `GET /studies/{study}/series/{series}/instances`
pub(crate) async fn instances(
    shared: State<Shared>,
    named: Named,
    parameters: Parameters,
    client: Client,
) -> Result<Response, Problem> {
    search(&shared, &parameters, &client, Level::Instance, Some(&named.scope)).await
}

async fn search(
    shared: &Shared,
    parameters: &Parameters,
    client: &Client,
    level: Level,
    within: Option<&Scope>,
) -> Result<Response, Problem> {
    must_take_json(&client.accepts)?;
    let pairs = parameters.0.iter().map(|(n, v)| (n.as_str(), v.as_str()));
    let mut query = Query::parse(pairs, shared.archive.limits().rows)?;
    if let Some(series) = within.and_then(|w| w.series.as_ref()) {
        query.within(tags::SERIES_INSTANCE_UID, series);
    }
    if let Some(scope) = within {
        query.within(tags::STUDY_INSTANCE_UID, &scope.study);
    }
    let page = shared.archive.search(level, &query).await?;
    let defaults = defaults(level, within);
    let row = |row: &Identified<InMemDicomObject>| shown(row.reveal(), level, &query, &defaults, client);
    let rows: Vec<Json> = page.rows.iter().map(|r| Json::Object(row(r))).collect();
    let mut response = typed("application/dicom+json", serde_json::to_vec(&rows).unwrap_or_default());
    warn(&mut response, &page, &query);
    Ok(response)
}

/// The warnings of §10.6.3.2 and §8.3.4.2.
fn warn(response: &mut Response, page: &Page, query: &Query) {
    const LITERAL: &str = "299 overread \"The fuzzymatching parameter is not supported. Only literal matching has been performed.\"";
    const MORE: &str = "299 overread \"There are additional results that can be requested; use offset.\"";
    if query.fuzzy && !page.fuzzy {
        response.headers_mut().append("warning", HeaderValue::from_static(LITERAL));
    }
    if page.more {
        response.headers_mut().append("warning", HeaderValue::from_static(MORE));
    }
}

/// What an answer shows unasked: also of the levels above, where the URL does not name them (§10.6.3.3).
fn defaults(level: Level, within: Option<&Scope>) -> Vec<Tag> {
    let study = if within.is_none() { STUDY } else { &[] };
    let series = if within.is_none_or(|w| w.series.is_none()) { SERIES } else { &[] };
    match level {
        Level::Study => STUDY.to_vec(),
        Level::Series => [study, SERIES].concat(),
        Level::Instance => [study, series, INSTANCE].concat(),
    }
}

/// The attributes of a row that the answer shows.
fn shown(
    row: &InMemDicomObject,
    level: Level,
    query: &Query,
    defaults: &[Tag],
    client: &Client,
) -> Map<String, Json> {
    let asked = |tag: Tag| query.matches.iter().any(|m| m.path.first() == Some(&tag));
    let mut kept = InMemDicomObject::new_empty();
    for element in row {
        let tag = element.header().tag;
        if query.include == Include::All || defaults.contains(&tag) || query.include.has(tag) || asked(tag) {
            kept.put(element.clone());
        }
    }
    let mut put = |tag, vr, text: &str| kept.put(InMemElement::new(tag, vr, PrimitiveValue::from(text)));
    if let Some(scope) = scope(row, level) {
        put(tags::RETRIEVE_URL, VR::UR, &client.url(&scope));
    }
    if row.get(tags::INSTANCE_AVAILABILITY).is_none() && level != Level::Series {
        put(tags::INSTANCE_AVAILABILITY, VR::CS, "ONLINE");
    }
    json::data_set(&kept, None)
}

fn scope(row: &InMemDicomObject, level: Level) -> Option<Scope> {
    let uid = |tag| row.get(tag).and_then(|e| e.to_str().ok()).and_then(|t| Uid::parse(&t).ok());
    let study = uid(tags::STUDY_INSTANCE_UID)?;
    Some(match level {
        Level::Study => Scope { study, series: None, instance: None },
        Level::Series => Scope { study, series: Some(uid(tags::SERIES_INSTANCE_UID)?), instance: None },
        Level::Instance => Scope {
            study,
            series: Some(uid(tags::SERIES_INSTANCE_UID)?),
            instance: Some(uid(tags::SOP_INSTANCE_UID)?),
        },
    })
}
