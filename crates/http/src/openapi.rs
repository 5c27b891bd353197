//! The OpenAPI 3.1 document of a door, made from its routes.

use axum::Router;
use axum::http::header;
use axum::routing::get;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Components, ContentBuilder, OpenApi, Ref, RefOr, ResponseBuilder, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::{Auth, Problem, problem};

/// Where the document is served.
pub const PATH: &str = "/api/v1/openapi.json";

/// Name of the security scheme.
const BEARER: &str = "bearer";

/// Adds what all routes have in common: title, version, the bearer scheme where this door asks for a token, and that every refusal is a problem
/// document.
pub fn finish(mut api: OpenApi, title: &str, version: &str, auth: Auth) -> OpenApi {
    title.clone_into(&mut api.info.title);
    version.clone_into(&mut api.info.version);
    api.info.description =
        Some("A second reading of medical images. Not for clinical use without local validation.".into());
    api.info.license = None;
    let components = api.components.get_or_insert_with(Components::new);
    if auth == Auth::Token {
        let description = Some("An API token: `overread token new`.");
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(description).build();
        components.add_security_scheme(BEARER, SecurityScheme::Http(scheme));
        api.security = Some(vec![SecurityRequirement::new::<_, [&str; 0], &str>(BEARER, [])]);
    }
    components.schemas.insert(Problem::name().into_owned(), <Problem as PartialSchema>::schema());
    for item in api.paths.paths.values_mut() {
        for (_, operation) in operations_mut(item) {
            let reference = RefOr::<Schema>::Ref(Ref::from_schema_name(Problem::name()));
            let refusal = ResponseBuilder::new()
                .description("Any refusal: a problem document (RFC 9457).")
                .content(problem::MEDIA_TYPE, ContentBuilder::new().schema(Some(reference)).build())
                .build();
            operation.responses.responses.entry("default".into()).or_insert(RefOr::T(refusal));
        }
    }
    api
}

/// The route that serves the document.
pub(crate) fn route(api: &OpenApi) -> Result<Router, serde_json::Error> {
    let text = serde_json::to_string_pretty(api)?;
    Ok(Router::new()
        .route(PATH, get(move || async move { ([(header::CONTENT_TYPE, "application/json")], text) })))
}

/// Each documented operation as a method and an address whose parameters are `1`, without those that are open to all: what a test of a role asks
/// without a token, to see 401 everywhere.
pub fn guarded_operations(api: &OpenApi) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    for (path, item) in &api.paths.paths {
        let mut item = item.clone();
        for (method, operation) in operations_mut(&mut item) {
            let open = operation
                .security
                .as_ref()
                .is_some_and(|s| s.iter().all(|one| *one == SecurityRequirement::default()));
            if !open {
                found.push((method, fill(path)));
            }
        }
    }
    found
}

/// An address of a pattern: `/jobs/{id}` becomes `/jobs/1`.
fn fill(pattern: &str) -> String {
    let part = |part: &str| if part.starts_with('{') { "1".to_owned() } else { part.to_owned() };
    pattern.split('/').map(part).collect::<Vec<_>>().join("/")
}

fn operations_mut(item: &mut PathItem) -> Vec<(&'static str, &mut Operation)> {
    let all = [
        ("GET", &mut item.get),
        ("PUT", &mut item.put),
        ("POST", &mut item.post),
        ("DELETE", &mut item.delete),
        ("HEAD", &mut item.head),
        ("PATCH", &mut item.patch),
    ];
    all.into_iter().filter_map(|(method, operation)| operation.as_mut().map(|o| (method, o))).collect()
}
