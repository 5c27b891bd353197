//! Photographs come in over the API and become DICOM images, which go the way of all images.

use std::collections::HashSet;
use std::io::Write;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use overread_dicom::read::{CodecFailure, CodecHost, Limits, ReadError};
use overread_dicom::write::photograph::photograph;
use overread_dicom::write::{PhotographError, PhotographKind, Stamp, WrapHeader, WriteError, to_part10};
use overread_dicomweb::CodecFactory;
use overread_domain::{Clock, ContentHash};
use overread_http::Problem;
use overread_http::extract::Json;
use overread_store::Database;
use serde::Serialize;
use sha2::{Digest, Sha256};
use sqlx::Row;
use tempfile::TempPath;
use tokio::sync::Semaphore;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::EdgeError;
use crate::intake::{Arrival, Intake, Refusal};
use crate::photograph_form::{self, Form, PhotographForm, full};

/// Bytes that a picture may decode to: 55 million pixels of 8-bit colour. A few times as many are in memory meanwhile.
const DECODED: u64 = 160 << 20;

/// What the route works with.
pub struct Photographs {
    /// The edge's database.
    pub database: Database,
    /// The way in.
    pub intake: Intake,
    /// Makes a host for the codecs' child.
    pub codec: CodecFactory,
    /// The time.
    pub clock: Clock,
    /// Minutes that the site's clock is ahead of UTC.
    pub utc_offset_minutes: i16,
}

#[derive(Clone)]
struct Shared {
    photographs: Arc<Photographs>,
    /// One form's pictures are decoded at a time, which bounds memory.
    turn: Arc<Semaphore>,
}

/// The route: needs the scope `store`.
pub fn routes(photographs: Photographs) -> OpenApiRouter {
    let shared = Shared { photographs: Arc::new(photographs), turn: Arc::new(Semaphore::new(1)) };
    OpenApiRouter::new().routes(routes!(store)).with_state(shared)
}

/// Photographs that are durable, as one study.
#[derive(Serialize, ToSchema)]
pub struct StoredPhotographs {
    /// Study Instance UID.
    study: String,
    /// Series Instance UID.
    series: String,
    /// SOP Instance UIDs, in the order of the pictures.
    instances: Vec<String>,
}

/// Stores photographs as one study of DICOM images.
///
/// Each picture is turned as its EXIF orientation says; nothing else of the file but its samples is kept: no place, time, camera or preview. The answer
/// comes once everything is durable. A form that is sent again, pictures and fields alike, is the same study and is not stored twice.
#[utoipa::path(post, path = "/api/v1/photographs", tag = "photographs", operation_id = "store_photographs",
    request_body(content = PhotographForm, content_type = "multipart/form-data"),
    responses((status = 201, description = "They are durable.", body = StoredPhotographs),
              (status = 200, description = "They were durable before.", body = StoredPhotographs),
              (status = 413, description = "A picture, or all of them, are too large.", body = Problem, content_type = "application/problem+json"),
              (status = 415, description = "It is no form.", body = Problem, content_type = "application/problem+json"),
              (status = 422, description = "A field or a picture is not what it must be.", body = Problem, content_type = "application/problem+json"),
              (status = 507, description = "There is no room.", body = Problem, content_type = "application/problem+json")))]
async fn store(
    State(shared): State<Shared>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<StoredPhotographs>), Problem> {
    let this = &shared.photographs;
    if !this.intake.has_room() {
        return Err(full());
    }
    let form = photograph_form::read(&headers, body, this.intake.staging()).await?;
    let stamp = Stamp::new(this.clock.now().0.div_euclid(1000), this.utc_offset_minutes);
    let (kind, header) = form.header(stamp)?;
    let instances: Vec<String> =
        (0..form.pictures.len()).map(|index| uids(&form, index).instance.to_string()).collect();
    let answer = StoredPhotographs {
        study: header.uids.study.to_string(),
        series: header.uids.series.to_string(),
        instances,
    };
    let known = this.known(&answer.study).await?;
    if answer.instances.iter().all(|instance| known.contains(instance)) {
        return Ok((StatusCode::OK, Json(answer)));
    }
    let turn = Arc::clone(&shared.turn).acquire_owned().await.map_err(|e| Problem::internal(&e))?;
    let maker = Arc::clone(this);
    let made = tokio::task::spawn_blocking(move || {
        // Kept to the end of the work, also where nobody waits for it any more.
        let _turn = turn;
        maker.make(&form, &header, kind)
    });
    let made = made.await.map_err(|e| Problem::internal(&e))??;
    // What is known has been acknowledged, or is left of an attempt that was broken off: only the others go in.
    let missing = made.into_iter().zip(&answer.instances).filter(|(_, instance)| !known.contains(*instance));
    let accepted = missing.map(|(image, _)| this.accept(image));
    futures::future::try_join_all(accepted).await?;
    Ok((StatusCode::CREATED, Json(answer)))
}

fn uids(form: &Form, index: usize) -> overread_dicom::write::ContentUids {
    // The same picture twice is two images.
    form.uids(&[&form.pictures[index].sha256[..], &(index as u64).to_be_bytes()].concat())
}

/// A DICOM image in staging.
struct Image {
    file: TempPath,
    bytes: u64,
    sha256: ContentHash,
    of: usize,
}

impl Photographs {
    /// SOP Instance UIDs of a study that are here already.
    async fn known(&self, study: &str) -> Result<HashSet<String>, Problem> {
        let failed = |e| Problem::internal(&EdgeError::query("looking for photographs")(e));
        let mut conn = self.database.read().await?;
        let rows = sqlx::query("SELECT sop_uid FROM instances WHERE study_uid = $1")
            .bind(study.to_owned())
            .fetch_all(&mut *conn)
            .await
            .map_err(failed)?;
        rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(failed)
    }

    /// Makes an image of each picture: all of them or none.
    fn make(&self, form: &Form, header: &WrapHeader, kind: PhotographKind) -> Result<Vec<Image>, Problem> {
        let mut host = (self.codec)();
        let of = form.pictures.len();
        let one = |(index, picture): (usize, &photograph_form::Picture)| {
            let bytes = std::fs::read(&picture.file).map_err(|e| Problem::internal(&e))?;
            let header = WrapHeader {
                uids: uids(form, index),
                number: index as u32 + 1,
                laterality: form.side(index),
                ..header.clone()
            };
            let image = wrap(bytes, &header, kind, &mut host).map_err(|e| refused(index + 1, &e))?;
            self.stage(&image, of)
        };
        form.pictures.iter().enumerate().map(one).collect()
    }

    fn stage(&self, image: &[u8], of: usize) -> Result<Image, Problem> {
        let write = || -> std::io::Result<TempPath> {
            let staging = self.intake.staging();
            let mut file = tempfile::Builder::new().prefix("photo-").suffix(".part").tempfile_in(staging)?;
            file.write_all(image)?;
            Ok(file.into_temp_path())
        };
        let file = write().map_err(|e| match e.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => full(),
            _ => Problem::internal(&e),
        })?;
        let sha256 = ContentHash::from_bytes(Sha256::digest(image).into());
        Ok(Image { file, bytes: image.len() as u64, sha256, of })
    }

    async fn accept(&self, image: Image) -> Result<(), Problem> {
        let arrival = Arrival {
            file: image.file.to_path_buf(),
            bytes: image.bytes,
            sha256: image.sha256,
            source: "upload".into(),
            expected: i64::try_from(image.of).ok(),
        };
        match self.intake.accept(arrival).await {
            // A conflict is the same form that came twice at once: it differs by its time alone, and the first counts.
            Ok(_) => Ok(()),
            Err(Refusal::Full) => Err(full()),
            Err(Refusal::Away) => {
                Err(Problem::busy("the database or the object store is away; send the form again later"))
            }
            Err(Refusal::Unreadable(why)) => Err(Problem::internal(&std::io::Error::other(why))),
        }
    }
}

fn wrap(
    bytes: Vec<u8>,
    header: &WrapHeader,
    kind: PhotographKind,
    host: &mut CodecHost,
) -> Result<Vec<u8>, PhotographError> {
    let limits = Limits { frame_bytes: DECODED, ..Limits::default() };
    Ok(to_part10(&photograph(bytes, header, kind, &limits, host)?)?)
}

/// Why a picture, counted from 1, became no image.
fn refused(number: usize, error: &PhotographError) -> Problem {
    let said = |why: String| Problem::unprocessable(format!("picture {number}: {why}"));
    match error {
        PhotographError::Read(ReadError::NotAnImage | ReadError::NotAFile) => {
            said("the content is no JPEG, PNG, TIFF or WebP picture, whatever its name says".into())
        }
        PhotographError::Read(ReadError::TooLarge { limit, .. }) => said(format!(
            "it decodes to more than {limit} bytes, which are {} million pixels of 8-bit colour; send it smaller",
            limit / 3_000_000
        )),
        PhotographError::Read(ReadError::Photograph { format, .. }) => {
            said(format!("the {format} picture cannot be decoded; take or send it again"))
        }
        PhotographError::Read(
            ReadError::Codec { source: CodecFailure::Start(_), .. } | ReadError::Io { .. },
        ) => Problem::internal(error),
        PhotographError::Read(_) => said("it cannot be decoded; take or send it again".into()),
        PhotographError::Dicom => said("it is DICOM already; store it by STOW-RS or C-STORE".into()),
        PhotographError::Several => said(error.to_string()),
        PhotographError::Write(WriteError::ImageSize { .. }) => {
            said("a DICOM image has at most 65535 rows and columns; send it smaller".into())
        }
        PhotographError::Write(WriteError::Value { name, tag, problem }) => {
            Problem::unprocessable(format!("{name} {tag}: {problem}"))
        }
        PhotographError::Write(_) => Problem::internal(error),
    }
}
