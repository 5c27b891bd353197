//! Logs on standard error, and traces by OpenTelemetry where its standard variables ask for them. Spans name routes, kinds of jobs and our own numbers:
//! no address and no patient.

use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Variables that ask for traces (OpenTelemetry specification, OTLP exporter configuration).
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// Hands over what is left when the process ends.
pub struct Telemetry(Option<SdkTracerProvider>);

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(Err(e)) = self.0.take().map(|provider| provider.shutdown()) {
            tracing::debug!("the last traces were not handed over: {e}");
        }
    }
}

/// Starts logging at `level` unless `OVERREAD_LOG` says otherwise, and tracing for a role: `name` is its service name unless `OTEL_SERVICE_NAME` says otherwise.
pub fn start(level: &str, name: &'static str) -> Result<Telemetry> {
    let filter = EnvFilter::try_from_env("OVERREAD_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_filter(filter);
    let registry = tracing_subscriber::registry().with(log);
    if ENDPOINTS.iter().all(|variable| std::env::var_os(variable).is_none()) {
        registry.init();
        return Ok(Telemetry(None));
    }
    let provider = provider(name).context("setting up traces")?;
    // Spans of our own rooms alone, whatever the log shows.
    let ours =
        tracing_subscriber::filter::filter_fn(|meta| meta.is_span() && meta.target().starts_with("overread"));
    let traces = tracing_opentelemetry::layer().with_tracer(provider.tracer("overread")).with_filter(ours);
    registry.with(traces).init();
    Ok(Telemetry(Some(provider)))
}

fn provider(name: &'static str) -> Result<SdkTracerProvider> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    // A collector that is away must not keep the process from ending.
    let client = reqwest::blocking::Client::builder().timeout(Duration::from_secs(5)).build()?;
    let exporter = SpanExporter::builder().with_http().with_http_client(Sender(client)).build()?;
    let resource = opentelemetry_sdk::Resource::builder();
    let resource = if std::env::var_os("OTEL_SERVICE_NAME").is_some() {
        resource
    } else {
        resource.with_service_name(name)
    };
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build())
}

/// Sends from the exporter's own thread, which knows no runtime.
#[derive(Debug)]
struct Sender(reqwest::blocking::Client);

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let sent =
            self.0.request(parts.method, parts.uri.to_string()).headers(parts.headers).body(body).send()?;
        let status = sent.status();
        Ok(Response::builder().status(status).body(sent.bytes()?)?)
    }
}
