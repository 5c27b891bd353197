//! Metrics in Prometheus' text format. Labels are route patterns, statuses and our own words: never a part of an address.

use std::fmt::Write;
use std::sync::OnceLock;
use std::time::Duration;

use axum::extract::{FromRef, State};
use axum::http::header;
use axum::response::IntoResponse;
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use overread_domain::sentence;
use overread_store::jobs;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Common;

/// Upper bounds of duration buckets, in seconds.
const BUCKETS: &[f64] = &[0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// The process's recorder. There is one: clones and later calls of [`Meter::install`] are the same.
#[derive(Clone)]
pub struct Meter(PrometheusHandle);

/// Another recorder was installed before ours.
#[derive(Debug, thiserror::Error)]
#[error("the metrics recorder cannot be installed")]
pub struct MeterError(#[from] BuildError);

static INSTALLED: OnceLock<Result<PrometheusHandle, String>> = OnceLock::new();

impl Meter {
    /// Makes the recorder the one that `metrics::counter!` and its like write to. All durations are named `…_seconds`.
    ///
    /// A process where another recorder was installed before has none of these metrics: the log says so, the door opens all the same.
    pub fn install() -> Self {
        let installed = INSTALLED.get_or_init(|| install().map_err(|error| sentence(&error)));
        match installed {
            Ok(handle) => Self(handle.clone()),
            Err(error) => {
                tracing::warn!(error, "metrics are not recorded");
                Self(PrometheusBuilder::new().build_recorder().handle())
            }
        }
    }

    /// Everything recorded, in Prometheus' text format.
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Folds what was recorded into its buckets now and then, so that memory stays flat where nobody asks for metrics.
    pub(crate) async fn upkeep(self) {
        let mut tick = tokio::time::interval(Duration::from_secs(5));
        loop {
            tick.tick().await;
            self.0.run_upkeep();
        }
    }
}

fn install() -> Result<PrometheusHandle, MeterError> {
    let handle = PrometheusBuilder::new().set_buckets(BUCKETS)?.install_recorder()?;
    metrics::describe_counter!("overread_http_requests_total", "HTTP requests by route pattern and status.");
    metrics::describe_histogram!("overread_http_request_seconds", "Time until an answer's head was sent.");
    Ok(handle)
}

/// Metrics: need the scope `read`.
pub fn routes<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Common: FromRef<S>,
{
    OpenApiRouter::new().routes(routes!(metrics_text))
}

/// Metrics in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "health", operation_id = "metrics",
    responses((status = 200, description = "The metrics.", body = String, content_type = "text/plain")))]
async fn metrics_text(State(common): State<Common>) -> impl IntoResponse {
    let mut text = common.meter.render();
    if let Some(bytes) = resident_bytes() {
        text.push_str("# HELP process_resident_memory_bytes Resident memory size in bytes.\n");
        text.push_str("# TYPE process_resident_memory_bytes gauge\n");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "process_resident_memory_bytes {bytes}");
    }
    // Counted at the time of asking, not remembered: a kind that has no job any more has no line.
    let counts = jobs::counts(&common.db).await;
    text.push_str(
        "# HELP overread_store_up Whether the database answered.\n# TYPE overread_store_up gauge\n",
    );
    let _ = writeln!(text, "overread_store_up {}", u8::from(counts.is_ok()));
    text.push_str("# HELP overread_jobs Durable jobs by kind and state.\n# TYPE overread_jobs gauge\n");
    for count in counts.unwrap_or_default() {
        let (kind, state) = (label(&count.kind), label(&count.state));
        let _ = writeln!(text, "overread_jobs{{kind=\"{kind}\",state=\"{state}\"}} {}", count.count);
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

/// A label's value as the text format wants it.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Memory of this process that is in RAM, in bytes; none where `/proc` is not.
pub fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}
