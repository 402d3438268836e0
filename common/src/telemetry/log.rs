//! Logs and traces: setting them up, and writing out the last of them at the end.

use std::time::Instant;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use super::stderr;
use crate::config::{Log, LogFormat};

/// Logging and tracing of this process, until it is dropped.
#[derive(Debug)]
#[must_use = "dropping it writes out what is still under way and stops it"]
pub struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

/// The filter in `LONGSHORE_LOG` cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "log.filter: expected a filter such as \"info\" or \"info,common=debug\", found another text"
)]
pub struct InvalidFilter;

/// Silenced unless asked for: lapin logs returned messages with their bodies, and its own errors, which
/// the engine tells once and in better words.
const QUIET: &str = "lapin=off,sqlx=warn";

/// The exported spans: all ordinary ones, and those that exist for the export alone.
const TRACED: &str = "info,longshore::trace=trace";

impl Telemetry {
    /// Starts logging to standard error and, where `OTEL_EXPORTER_OTLP_ENDPOINT` is set, exporting
    /// traces by OTLP over HTTP. `program` is the service name.
    ///
    /// # Errors
    /// The filter cannot be read.
    pub fn start(program: &str, config: &Log) -> Result<Self, InvalidFilter> {
        let filter = filter_of(&config.filter)?;
        let lines = tracing_subscriber::fmt::layer().with_writer(|| stderr::Line);
        let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
        let lines = match config.format {
            LogFormat::Json => lines.json().flatten_event(true).boxed(),
            LogFormat::Text => lines.with_ansi(colours).boxed(),
            LogFormat::Short => lines
                .with_ansi(colours)
                .with_target(false)
                .with_timer(SinceStart(Instant::now()))
                .boxed(),
        };
        let traces = exporter(program);
        let spans = match &traces {
            Some(traces) => Some(
                tracing_opentelemetry::layer()
                    .with_tracer(traces.tracer("longshore"))
                    // The log's filter does not limit traces.
                    .with_filter(filter_of(TRACED)?),
            ),
            None => None,
        };
        stderr::log_panics();
        // A second start in one process (tests, all in one) keeps the set-up of the first one.
        let _ = tracing_subscriber::registry()
            .with(lines.with_filter(filter))
            .with(spans)
            .try_init();
        Ok(Self { traces })
    }
}

/// Seconds since the start, for one person who watches.
struct SinceStart(Instant);

impl FormatTime for SinceStart {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        write!(writer, "{:8.3}s", self.0.elapsed().as_secs_f64())
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(traces) = &self.traces {
            // There is nobody left to tell.
            let _ = traces.shutdown();
        }
        stderr::flush();
    }
}

fn filter_of(directives: &str) -> Result<EnvFilter, InvalidFilter> {
    EnvFilter::builder()
        .parse(format!("{QUIET},{directives}"))
        .map_err(|_| InvalidFilter)
}

fn exporter(program: &str) -> Option<SdkTracerProvider> {
    std::env::var_os("OTEL_EXPORTER_OTLP_ENDPOINT").filter(|endpoint| !endpoint.is_empty())?;
    let exporter = match opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .build()
    {
        Ok(exporter) => exporter,
        Err(error) => {
            // Telemetry is not set up yet, so this goes where logs will go.
            stderr::say(&format!(
                "OTEL_EXPORTER_OTLP_ENDPOINT: traces are not exported: {error}"
            ));
            return None;
        }
    };
    let resource = opentelemetry_sdk::Resource::builder()
        .with_service_name(program.to_owned())
        .build();
    Some(
        SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource)
            .build(),
    )
}
