//! `POST /api/v1/patients/erase`.

use axum::extract::State;
use axum::http::StatusCode;
use overread_http::extract::Json;
use overread_http::{Actor, Problem};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Who;
use super::erasure::{Asked, Erasure};

/// Longest value of Patient ID and its issuer (PS3.5: VR LO), and of a reason.
const LONGEST: usize = 64;
const LONGEST_REASON: usize = 500;

/// The route: needs the scope `operate`.
pub fn routes(erasure: Erasure) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(erase)).with_state(erasure)
}

/// Whom to erase. It has no `Debug`: it names a patient.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Erase {
    /// Patient ID (0010,0020), as the images have it.
    #[schema(
        min_length = 1,
        max_length = 64,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\x9f\s][^\x00-\x1f\x7f-\x9f]*$"
    )]
    patient_id: String,
    /// Issuer of Patient ID (0010,0021), where the images have one.
    #[serde(default)]
    #[schema(max_length = 64, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    issuer: String,
    /// Why; it is audited, and names nobody.
    #[schema(
        min_length = 1,
        max_length = 500,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\x9f\s][^\x00-\x1f\x7f-\x9f]*$"
    )]
    reason: String,
}

/// A patient who is erased.
#[derive(Serialize, ToSchema)]
pub struct Erased {
    /// The random id under which the patient was kept: it is in the audit log, and names the job.
    patient: String,
    /// Studies that go, or lose the patient's images.
    studies: i64,
}

/// Erases a patient.
///
/// On return the patient's key is destroyed, durably: nothing that was sealed with it opens any more, in no copy either. Their rows and objects are removed by a
/// job (`erase`), and the service forgets their studies by others (`forget`).
#[utoipa::path(post, path = "/api/v1/patients/erase", tag = "patients", operation_id = "erase_patient", request_body = Erase,
    responses((status = 202, description = "The key is destroyed; the rest follows.", body = Erased),
              (status = 404, description = "Nobody is known under that Patient ID and issuer.", body = Problem, content_type = "application/problem+json"),
              (status = 409, description = "The reason repeats the Patient ID.", body = Problem, content_type = "application/problem+json"),
              (status = 422, description = "A field is not what it must be.", body = Problem, content_type = "application/problem+json"),
              (status = 503, description = "Rows of an older version are still being sealed, or the database is away.", body = Problem, content_type = "application/problem+json")))]
async fn erase(
    State(erasure): State<Erasure>,
    actor: Actor,
    Json(body): Json<Erase>,
) -> Result<(StatusCode, Json<Erased>), Problem> {
    let who = Who::new(&body.issuer, &body.patient_id, "");
    let long = |text: &str, most: usize| text.chars().count() > most || text.chars().any(char::is_control);
    if body.patient_id.trim().is_empty() || long(&body.patient_id, LONGEST) || long(&body.issuer, LONGEST) {
        return Err(Problem::unprocessable(
            "patient_id has 1 to 64 characters, issuer up to 64; none is a control character",
        ));
    }
    if body.reason.trim().is_empty() || long(&body.reason, LONGEST_REASON) {
        return Err(Problem::unprocessable("reason has 1 to 500 characters; none is a control character"));
    }
    if who.is_named_in(&body.reason) {
        return Err(Problem::conflict(
            "the reason repeats the Patient ID; it is kept, so it must name nobody",
        ));
    }
    match erasure.ask(&who, body.reason.trim(), &actor.name).await {
        Ok(Asked::Erased { patient, studies }) => {
            Ok((StatusCode::ACCEPTED, Json(Erased { patient: patient.to_string(), studies })))
        }
        Ok(Asked::Unknown { alike: 0 }) => {
            Err(Problem::not_found("nobody is known under that Patient ID and issuer"))
        }
        Ok(Asked::Unknown { .. }) => Err(Problem::not_found(
            "nobody is known under that Patient ID and issuer, but somebody is under that Patient ID and another issuer: give issuer as the images have it \
             (0010,0021), or leave it out where they have none",
        )),
        Ok(Asked::NotYet) => Err(Problem::busy(
            "rows of an older version are still being sealed, and nobody knows yet whose they are; ask again when the job `seal` is gone",
        )),
        Err(e) if e.is_passing() => Err(Problem::busy("the database or the vault is away; ask again")),
        Err(e) => Err(Problem::internal(&e)),
    }
}
