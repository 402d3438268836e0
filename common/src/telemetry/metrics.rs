//! Every metric there is. Names are declared here once, and nowhere else are metrics recorded.

mod instruments;

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{
    Counter, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::reason::ReasonCode;
use crate::tasks;

pub use instruments::{DestinationMetrics, LiveStream, OperationRun, QueueMetrics};

/// One metric, for `/metrics` and for the documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram` (of seconds).
    pub kind: &'static str,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// Its meaning.
    pub help: &'static str,
}

macro_rules! metrics_table {
    ($($const:ident = $name:literal, $kind:literal, [$($label:literal),*], $help:literal;)+) => {
        $(const $const: &str = $name;)+

        /// Every metric there is.
        pub const ALL: &[Metric] = &[
            $(Metric { name: $name, kind: $kind, labels: &[$($label),*], help: $help },)+
        ];
    };
}

metrics_table! {
    HTTP_REQUESTS = "longshore_http_requests_total", "counter", ["route", "status"],
        "Requests answered at the door.";
    HTTP_SECONDS = "longshore_http_request_seconds", "histogram", ["route"],
        "How long requests took.";
    LIVE = "longshore_live_streams", "gauge", [],
        "Callers that watch an event live at the moment.";
    RECEIVED = "longshore_events_received_total", "counter", ["type"],
        "Events accepted at the door: the broker has confirmed them.";
    WEBHOOKS = "longshore_source_requests_total", "counter", ["source", "result"],
        "Webhooks of providers at the door: accepted, ignored, handshake, or the code of the problem.";
    PUBLISHES = "longshore_publishes_total", "counter", ["result"],
        "Messages published: confirmed, unroutable, invalid, nacked, timed_out, blocked or disconnected.";
    CONFIRM_SECONDS = "longshore_publish_confirm_seconds", "histogram", [],
        "How long the broker took to confirm a message.";
    CONNECTED = "longshore_broker_connected", "gauge", ["role"],
        "1 while the connection for publishing, consuming or errands is up.";
    BLOCKED = "longshore_broker_blocked", "gauge", [],
        "1 while the broker takes no messages.";
    CONFIGURATION = "longshore_configuration", "gauge", ["hash"],
        "1 for the hash of the configuration that this process runs with; 0 for those it ran with before.";
    RELOADS = "longshore_configuration_reloads_total", "counter", ["result"],
        "How often the configuration was read again: applied, refused or unchanged.";
    OUTCOMES = "longshore_outcomes_total", "counter", ["queue", "outcome", "reason"],
        "Outcomes of handled events: done, next, rejected, retry, snooze, give_back, dead or hold.";
    HANDLE_SECONDS = "longshore_handle_seconds", "histogram", ["queue"],
        "How long one call of a handler took.";
    BATCH = "longshore_batch_events", "histogram", ["queue"],
        "How many events one call of a handler took.";
    IN_FLIGHT = "longshore_in_flight_events", "gauge", ["queue"],
        "Events that this process holds and has not settled.";
    CONSUMING = "longshore_consuming", "gauge", ["queue"],
        "1 while this process takes messages from the queue.";
    HOLDING = "longshore_holding", "gauge", ["queue"],
        "1 while the worker waits for a dependency that is down.";
    HOLDS = "longshore_holds_total", "counter", ["queue", "dependency"],
        "How often the worker began to wait for a dependency: rabbitmq, postgres, sqlite_broker or sqlite_database. A wait that begins again at once is the same.";
    SUSPECTS = "longshore_suspects_total", "counter", ["queue"],
        "Messages put aside to be handled alone, because they came back twice.";
    AGE_SECONDS = "longshore_event_age_seconds", "histogram", ["queue"],
        "How long ago an event came through a door when its stage was done with it.";
    PAUSED = "longshore_destination_paused", "gauge", ["destination"],
        "1 while the destination is paused, in each process that delivers there.";
    BREAKER = "longshore_destination_breaker_open", "gauge", ["destination"],
        "1 while the breaker of the destination is open, in each process that delivers there.";
    DELIVERIES = "longshore_deliveries_total", "counter", ["destination", "result"],
        "Attempts at destinations: delivered or the reason code.";
    NOT_TAKEN = "longshore_deliveries_not_taken_total", "counter", ["destination"],
        "Events that came to a destination which does not take their type: acknowledged and not delivered.";
    FILTERED = "longshore_events_filtered_total", "counter", ["destination", "result"],
        "Events stored that are not due at a destination by its filter: no_match, or failed where the filter has no value for the event.";
    RESENT = "longshore_deliveries_resent_total", "counter", ["destination"],
        "Requests sent again at once within an attempt, because the receiver had closed the kept connection.";
    DELIVERY_SECONDS = "longshore_delivery_seconds", "histogram", ["destination"],
        "How long an attempt at a destination took.";
    KEPT_DEAD = "longshore_dead_letters_total", "counter", ["queue", "reason", "cause"],
        "Dead letters kept in the archive.";
    LOG_LINES_DROPPED = "longshore_log_lines_dropped_total", "counter", [],
        "Log lines that were dropped because nobody read standard error.";
    KEPT_REJECTED = "longshore_rejections_total", "counter", ["reason", "cause"],
        "Rejections kept in the archive.";
    WATCHING = "longshore_watching", "gauge", [],
        "1 while this process keeps the standing watch; one of all archive workers does.";
    FINDINGS = "longshore_watch_findings", "gauge", ["finding"],
        "Findings of the standing watch, in the process that keeps it: missing_queue, unconsumed_queue, suspects, parked, lost_event, overdue_delivery, blind or clock_jump.";
    REPAIRS = "longshore_watch_repairs_total", "counter", ["repair"],
        "Messages that the standing watch sent again: event, delivery or parked.";
    RELEASES = "longshore_release_lateness_seconds", "histogram", [],
        "How long after its moment each scheduled event was sent to be handed on by this process.";
    OPERATIONS = "longshore_operations", "gauge", [],
        "Replays, and discards and restores in bulk, that this process runs.";
    OPERATION_MESSAGES = "longshore_operation_messages_total", "counter", [],
        "Messages that operations sent from this process, and dead letters that they discarded or restored.";
    OPERATION_RUNS = "longshore_operation_runs_total", "counter", ["result"],
        "Runs of operations that ended in this process: done, stopped (before its end, or left to another process) or failed.";
}

/// Upper bounds of histogram buckets, in seconds: from a millisecond to a minute.
const SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];
/// Upper bounds of buckets that count events.
const EVENTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// The content of `/metrics`.
#[derive(Clone)]
pub struct MetricsPage(Option<PrometheusHandle>);

impl MetricsPage {
    /// Starts collecting, once in a process, and keeps the histograms short from then on. A second
    /// start in one process shares the first one's page only if it is handed on: it shows nothing.
    pub fn start() -> Self {
        let built = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_events".to_owned()), EVENTS)
            .and_then(|builder| builder.set_buckets(SECONDS))
            .and_then(PrometheusBuilder::install_recorder);
        let Ok(handle) = built else { return Self(None) };
        for metric in ALL {
            match metric.kind {
                "counter" => describe_counter!(metric.name, metric.help),
                "gauge" => describe_gauge!(metric.name, metric.help),
                _ if metric.name == BATCH => describe_histogram!(metric.name, metric.help),
                _ => describe_histogram!(metric.name, Unit::Seconds, metric.help),
            }
        }
        let upkeep = handle.clone();
        tasks::spawn("metrics", async move {
            let mut every = tokio::time::interval(Duration::from_secs(5));
            loop {
                every.tick().await;
                upkeep.run_upkeep();
            }
        });
        Self(Some(handle))
    }

    /// The page in the Prometheus text format.
    pub fn render(&self) -> String {
        self.0
            .as_ref()
            .map(PrometheusHandle::render)
            .unwrap_or_default()
    }
}

impl std::fmt::Debug for MetricsPage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MetricsPage")
    }
}

/// A request was answered. `route` is the template, never the path: paths are without end.
pub fn http_answered(route: &'static str, status: u16, took: Duration) {
    counter!(HTTP_REQUESTS, "route" => route, "status" => status.to_string()).increment(1);
    histogram!(HTTP_SECONDS, "route" => route).record(took);
}

/// Events of a known type were accepted at the door.
pub fn received(kind: &str, count: u64) {
    counter!(RECEIVED, "type" => kind.to_owned()).increment(count);
}

/// A webhook of a provider was answered: `accepted`, `ignored`, `handshake`, or with the problem of this code.
pub fn webhook_answered(source: &str, result: &'static str) {
    counter!(WEBHOOKS, "source" => source.to_owned(), "result" => result).increment(1);
}

/// A new event is not due at a destination by its filter, which does not match, or has no value for the event.
pub fn filtered(destination: &str, failed: bool) {
    let result = if failed { "failed" } else { "no_match" };
    counter!(FILTERED, "destination" => destination.to_owned(), "result" => result).increment(1);
}

/// A publish was answered: confirmed, or failed with an error of this name.
pub fn published(failed: Option<&'static str>, took: Duration) {
    // Recorded for every message: looked up once.
    static CONFIRMED: OnceLock<(Counter, Histogram)> = OnceLock::new();
    if let Some(error) = failed {
        counter!(PUBLISHES, "result" => error).increment(1);
        return;
    }
    let (count, seconds) = CONFIRMED.get_or_init(|| {
        (
            counter!(PUBLISHES, "result" => "confirmed"),
            histogram!(CONFIRM_SECONDS),
        )
    });
    count.increment(1);
    seconds.record(took);
}

/// The connection for `role` (`publishing`, `consuming`, `errands`) came up or went down.
pub fn connected(role: &'static str, up: bool) {
    gauge!(CONNECTED, "role" => role).set(f64::from(u8::from(up)));
}

/// The broker takes no messages, or takes them again.
pub fn blocked(blocked: bool) {
    gauge!(BLOCKED).set(f64::from(u8::from(blocked)));
}

/// This process takes messages from `queue`, or does not.
pub fn consuming(queue: &str, consuming: bool) {
    gauge!(CONSUMING, "queue" => queue.to_owned()).set(f64::from(u8::from(consuming)));
}

/// This process may come to take messages from `queue`.
pub fn may_consume(queue: &str) {
    gauge!(CONSUMING, "queue" => queue.to_owned()).increment(0.0);
}

/// The result of a look at the configuration of a running program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// It is in force.
    Applied,
    /// It is wrong, and the one before goes on.
    Refused,
    /// It is the one in force.
    Unchanged,
}

/// The configuration was read again.
pub fn reloaded(result: Reload) {
    counter!(RELOADS, "result" => word(result)).increment(1);
}

fn word(result: Reload) -> &'static str {
    match result {
        Reload::Applied => "applied",
        Reload::Refused => "refused",
        Reload::Unchanged => "unchanged",
    }
}

/// The program runs with the configuration of this hash, and ran with that of another one before.
pub fn configuration(before: Option<&str>, hash: &str) {
    for result in [Reload::Applied, Reload::Refused, Reload::Unchanged] {
        counter!(RELOADS, "result" => word(result)).increment(0);
    }
    if let Some(before) = before {
        gauge!(CONFIGURATION, "hash" => before.to_owned()).set(0.0);
    }
    gauge!(CONFIGURATION, "hash" => hash.to_owned()).set(1.0);
}

/// The destination is paused, or not.
pub fn paused(destination: &str, paused: bool) {
    gauge!(PAUSED, "destination" => destination.to_owned()).set(f64::from(u8::from(paused)));
}

/// The breaker of the destination is open, or closed.
pub fn breaker(destination: &str, open: bool) {
    gauge!(BREAKER, "destination" => destination.to_owned()).set(f64::from(u8::from(open)));
}

/// Log lines were dropped.
pub(crate) fn log_lines_dropped(count: u64) {
    counter!(LOG_LINES_DROPPED).increment(count);
}

/// A dead letter was kept.
pub fn kept_dead(queue: &str, reason: ReasonCode) {
    let (cause, reason) = (reason.cause().as_str(), reason.as_str());
    counter!(KEPT_DEAD, "queue" => queue.to_owned(), "reason" => reason, "cause" => cause)
        .increment(1);
}

/// A rejection was kept.
pub fn kept_rejected(reason: ReasonCode) {
    let (cause, reason) = (reason.cause().as_str(), reason.as_str());
    counter!(KEPT_REJECTED, "reason" => reason, "cause" => cause).increment(1);
}

/// This process keeps the standing watch, or does not.
pub fn watching(keeps: bool) {
    gauge!(WATCHING).set(f64::from(u8::from(keeps)));
}

/// How many of one kind the standing watch has found.
pub fn watch_finding(finding: &'static str, number: u64) {
    let number = u32::try_from(number).unwrap_or(u32::MAX);
    gauge!(FINDINGS, "finding" => finding).set(f64::from(number));
}

/// The standing watch sent messages again.
pub fn watch_repaired(repair: &'static str, number: u64) {
    counter!(REPAIRS, "repair" => repair).increment(number);
}

/// A scheduled event was sent to be handed on, this long after its moment.
pub fn released(lateness: Duration) {
    histogram!(RELEASES).record(lateness.as_secs_f64());
}

/// All metrics as a Markdown table, for the documentation.
pub fn to_markdown() -> String {
    let mut text = String::from("| metric | kind | labels | meaning |\n|--|--|--|--|\n");
    for Metric {
        name,
        kind,
        labels,
        help,
    } in ALL
    {
        let labels = labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect::<Vec<_>>()
            .join(", ");
        text.push_str(&format!("| `{name}` | {kind} | {labels} | {help} |\n"));
    }
    text
}
