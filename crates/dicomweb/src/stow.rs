//! STOW-RS: storing objects (PS3.18 §10.5, edition 2025c). Objects go part by part into the staging folder and in
//! batches to the archive, whatever the size of the body.

use axum::body::{Body, BodyDataStream};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt;
use overread_domain::Uid;
use serde_json::{Map, Value as Json, json};
use tokio::task::JoinHandle;

use crate::Shared;
use crate::accept::{must_take_json, split};
use crate::archive::{FailureReason, ReceivedFile, Scope, StoreOutcome};
use crate::body::typed;
use crate::multipart::{Event, Parser};
use crate::problem::Problem;
use crate::receive::{Arrived, ReceiveError, Receiver};
use crate::wado::{Client, Named};

/// `POST /studies`
pub(crate) async fn store(
    State(shared): State<Shared>,
    client: Client,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    take(shared, client, &headers, body, None).await
}

/// `POST /studies/{study}`
pub(crate) async fn store_in(
    State(shared): State<Shared>,
    named: Named,
    client: Client,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    take(shared, client, &headers, body, Some(named.scope.study)).await
}

async fn take(
    shared: Shared,
    client: Client,
    headers: &HeaderMap,
    body: Body,
    study: Option<Uid>,
) -> Result<Response, Problem> {
    must_take_json(&client.accepts)?;
    let form = form(headers)?;
    let limit = shared.archive.limits().body_bytes;
    let stated = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if stated.is_some_and(|n| n > limit) {
        return Err(too_large(limit));
    }
    let incoming =
        Incoming { stream: body.into_data_stream(), bytes: 0, limit, idle: shared.archive.limits().idle };
    let mut request = Request {
        shared,
        study,
        receiver: None,
        parts: 0,
        waiting: Vec::new(),
        storing: None,
        results: Vec::new(),
    };
    let read = match form {
        Form::Single => request.single(incoming).await,
        Form::Parts(boundary) => request.parts(incoming, &boundary).await,
    };
    // What was handed over already is waited for even when the rest is refused: it is told how many were stored.
    request.settle().await;
    if let Err(mut problem) = read {
        let kept = request.results.iter().filter(|r| r.outcome.is_kept()).count();
        if kept > 0 {
            problem.detail = format!("{}; {kept} objects before that are stored", problem.detail);
        }
        return Err(problem);
    }
    Ok(answer(&request.results, request.study.as_ref(), &client))
}

enum Form {
    Single,
    Parts(String),
}

/// What the body is, by its Content-Type.
fn form(headers: &HeaderMap) -> Result<Form, Problem> {
    let unsupported = |why: &str| Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why);
    let text = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let mut fields = split(text, ';').into_iter();
    let media = fields.next().unwrap_or_default().trim().to_ascii_lowercase();
    let parameter = |wanted: &str| {
        split(text, ';').into_iter().skip(1).find_map(|f| {
            let (name, value) = f.split_once('=')?;
            name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim().trim_matches('"').to_owned())
        })
    };
    match media.as_str() {
        "application/dicom" => Ok(Form::Single),
        "multipart/related" => {
            let kind = parameter("type").unwrap_or_else(|| "application/dicom".to_owned());
            if !kind.eq_ignore_ascii_case("application/dicom") {
                return Err(unsupported(
                    "objects are taken as application/dicom alone, not as metadata and bulk data",
                ));
            }
            let boundary = parameter("boundary").filter(|b| (1..=70).contains(&b.len()));
            let boundary = boundary
                .ok_or_else(|| Problem::bad("Content-Type names no boundary of 1 to 70 characters"))?;
            Ok(Form::Parts(boundary))
        }
        _ => Err(unsupported(
            "send multipart/related; type=\"application/dicom\", or one object as application/dicom",
        )),
    }
}

fn too_large(limit: u64) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than the limit of {limit} bytes"))
}

/// The body, bounded in size and in silence.
struct Incoming {
    stream: BodyDataStream,
    bytes: u64,
    limit: u64,
    idle: std::time::Duration,
}

impl Incoming {
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        let next = tokio::time::timeout(self.idle, self.stream.next()).await;
        let silent = |_| {
            Problem::new(StatusCode::REQUEST_TIMEOUT, "the sender fell silent before the end of the body")
        };
        let Some(chunk) = next.map_err(silent)? else { return Ok(None) };
        let chunk = chunk.map_err(|_| Problem::bad("the body ends before its stated end"))?;
        self.bytes += chunk.len() as u64;
        if self.bytes > self.limit { Err(too_large(self.limit)) } else { Ok(Some(chunk)) }
    }
}

/// What became of one object.
struct Stored {
    /// SOP class and instance, if they could be read.
    uids: Option<(Uid, Uid)>,
    scope: Option<Scope>,
    outcome: StoreOutcome,
}

impl StoreOutcome {
    const fn is_kept(self) -> bool {
        matches!(self, Self::Stored | Self::Duplicate | Self::StoredWith(_))
    }
}

struct Request {
    shared: Shared,
    study: Option<Uid>,
    receiver: Option<Receiver>,
    parts: u32,
    waiting: Vec<ReceivedFile>,
    storing: Option<JoinHandle<Vec<Stored>>>,
    results: Vec<Stored>,
}

impl Request {
    async fn single(&mut self, mut incoming: Incoming) -> Result<(), Problem> {
        self.begin()?;
        while let Some(chunk) = incoming.next().await? {
            self.data(chunk).await?;
        }
        self.end().await?;
        self.hand_over().await;
        Ok(())
    }

    async fn parts(&mut self, mut incoming: Incoming, boundary: &str) -> Result<(), Problem> {
        let mut parser = Parser::new(boundary);
        let mut ended = false;
        while !parser.is_done() {
            match parser.next(ended).map_err(|e| Problem::bad(e.to_string()))? {
                Some(Event::Part { media }) => {
                    self.begin()?;
                    if media.is_some_and(|m| m != "application/dicom") {
                        self.receiver = None;
                        self.refuse(None, FailureReason::CannotUnderstand);
                    }
                }
                Some(Event::Data(chunk)) => self.data(chunk).await?,
                Some(Event::PartEnd) => self.end().await?,
                Some(Event::End) => break,
                None => match incoming.next().await? {
                    Some(chunk) => parser.push(&chunk),
                    None => ended = true,
                },
            }
        }
        // The rest is read, so that the client is not cut off while it writes.
        while incoming.next().await?.is_some() {}
        if self.parts == 0 {
            return Err(Problem::bad("the body has no parts"));
        }
        self.hand_over().await;
        Ok(())
    }

    fn begin(&mut self) -> Result<(), Problem> {
        let limits = self.shared.archive.limits();
        self.parts += 1;
        if self.parts > limits.parts {
            let why = format!("the body has more parts than the limit of {}", limits.parts);
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, why));
        }
        self.receiver = Some(Receiver::new(self.shared.archive.staging(), limits.object_bytes));
        Ok(())
    }

    async fn data(&mut self, chunk: Bytes) -> Result<(), Problem> {
        let Some(receiver) = &mut self.receiver else { return Ok(()) };
        match receiver.data(chunk).await {
            Err(error) if error.is_full() => {
                self.receiver = None;
                self.results.push(Stored { uids: None, scope: None, outcome: StoreOutcome::Full });
                Ok(())
            }
            other => other.map_err(trouble),
        }
    }

    async fn end(&mut self) -> Result<(), Problem> {
        let Some(receiver) = self.receiver.take() else { return Ok(()) };
        match receiver.finish(self.study.clone(), self.shared.config.read.clone()).await {
            Ok(Arrived::Good(file)) => self.waiting.push(*file),
            Ok(Arrived::Refused(uids, reason)) => self.refuse(uids, reason),
            Err(error) if error.is_full() => {
                self.results.push(Stored { uids: None, scope: None, outcome: StoreOutcome::Full });
            }
            Err(error) => return Err(trouble(error)),
        }
        if self.waiting.len() >= self.shared.archive.limits().batch.max(1) {
            self.hand_over().await;
        }
        Ok(())
    }

    fn refuse(&mut self, uids: Option<(Uid, Uid)>, reason: FailureReason) {
        self.results.push(Stored { uids, scope: None, outcome: StoreOutcome::Failed(reason) });
    }

    /// Gives what waits to the archive, which works on it while more arrives; one batch at a time.
    async fn hand_over(&mut self) {
        let files = std::mem::take(&mut self.waiting);
        self.settle().await;
        if files.is_empty() {
            return;
        }
        let (archive, study) = (self.shared.archive.clone(), self.study.clone());
        self.storing = Some(tokio::spawn(async move {
            let mut stored: Vec<Stored> = files.iter().map(named).collect();
            let outcomes = archive.store(files, study.as_ref()).await;
            for (one, outcome) in stored.iter_mut().zip(outcomes) {
                one.outcome = outcome;
            }
            stored
        }));
    }

    async fn settle(&mut self) {
        let Some(storing) = self.storing.take() else { return };
        match storing.await {
            Ok(stored) => self.results.extend(stored),
            Err(error) => {
                tracing::error!(%error, "STOW-RS: the archive stopped while storing");
                let outcome = StoreOutcome::Failed(FailureReason::ProcessingFailure);
                self.results.push(Stored { uids: None, scope: None, outcome });
            }
        }
    }
}

/// A file before the archive has said anything about it.
fn named(file: &ReceivedFile) -> Stored {
    let scope = Scope {
        study: file.study.clone(),
        series: Some(file.series.clone()),
        instance: Some(file.instance.clone()),
    };
    Stored {
        uids: Some((file.sop_class.clone(), file.instance.clone())),
        scope: Some(scope),
        outcome: StoreOutcome::Failed(FailureReason::ProcessingFailure),
    }
}

fn trouble(error: ReceiveError) -> Problem {
    match error {
        ReceiveError::TooLarge(_) => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
        _ => Problem::internal("an object could not be received", &error),
    }
}

/// The Store Instances Response Module (annex I.2) and the status of table 10.5.3-1.
fn answer(results: &[Stored], study: Option<&Uid>, client: &Client) -> Response {
    let us = |value: u16| json!({ "vr": "US", "Value": [value] });
    let (mut kept, mut failed, mut unnamed) = (Vec::new(), Vec::new(), Vec::new());
    for result in results {
        let mut item = Map::new();
        if let Some((class, instance)) = &result.uids {
            item.insert("00081150".into(), json!({ "vr": "UI", "Value": [class.as_str()] }));
            item.insert("00081155".into(), json!({ "vr": "UI", "Value": [instance.as_str()] }));
        }
        let list = match result.outcome {
            StoreOutcome::Stored | StoreOutcome::Duplicate => &mut kept,
            StoreOutcome::StoredWith(warning) => {
                item.insert("00081196".into(), us(warning));
                &mut kept
            }
            StoreOutcome::Failed(reason) => {
                item.insert("00081197".into(), us(reason.code()));
                if result.uids.is_some() { &mut failed } else { &mut unnamed }
            }
            StoreOutcome::Full => {
                item.insert("00081197".into(), us(FailureReason::OutOfResources.code()));
                if result.uids.is_some() { &mut failed } else { &mut unnamed }
            }
        };
        if let Some(scope) = result.scope.as_ref().filter(|_| result.outcome.is_kept()) {
            item.insert("00081190".into(), json!({ "vr": "UR", "Value": [client.url(scope)] }));
        }
        list.push(Json::Object(item));
    }
    let full = results.iter().any(|r| r.outcome == StoreOutcome::Full);
    let status = match (kept.len(), failed.len() + unnamed.len()) {
        (_, 0) => StatusCode::OK,
        (0, _) if full => StatusCode::INSUFFICIENT_STORAGE,
        (0, _) => StatusCode::CONFLICT,
        _ => StatusCode::ACCEPTED,
    };
    let mut document = Map::new();
    let of = results.iter().find_map(|r| r.scope.as_ref().map(|s| &s.study)).or(study);
    if let Some(study) = of.filter(|_| !kept.is_empty()) {
        let url = client.url(&Scope { study: study.clone(), series: None, instance: None });
        document.insert("00081190".into(), json!({ "vr": "UR", "Value": [url] }));
    }
    for (tag, items) in [("00081198", failed), ("00081199", kept), ("0008119A", unnamed)] {
        if !items.is_empty() {
            document.insert(tag.into(), json!({ "vr": "SQ", "Value": items }));
        }
    }
    let mut response = typed("application/dicom+json", Json::Object(document).to_string());
    *response.status_mut() = status;
    response
}
