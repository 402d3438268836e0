//! The trail: the system's facts about an event on its way. It travels in message headers, beside
//! the event, which itself never changes.

use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use super::Publisher;
use crate::message::{HeaderValue, Headers};

/// The names of the headers.
pub mod header {
    /// All of ours begin so.
    pub const PREFIX: &str = "longshore-";
    /// Failed attempts so far in this queue; absent means none.
    pub const ATTEMPT: &str = "longshore-attempt";
    /// How often the event has been replayed; absent means never.
    pub const GENERATION: &str = "longshore-generation";
    /// The generation in which an operator asked for another `webhook-id`; absent means the event's own.
    pub const NEW_ID: &str = "longshore-new-id";
    /// The replay that sent a part of the history to one destination, also beyond the destination's types.
    pub const REPLAY: &str = "longshore-replay";
    /// Who published the event.
    pub const PUBLISHER: &str = "longshore-publisher";
    /// When the event came through a door (RFC 3339).
    pub const RECEIVED_AT: &str = "longshore-received-at";
    /// When it was accepted (RFC 3339).
    pub const ACCEPTED_AT: &str = "longshore-accepted-at";
    /// Set on a message that may have gone out before, because a stage did its step again; absent
    /// otherwise.
    pub const AGAIN: &str = "longshore-again";
    /// Set on a message that was made when the turn of its delivery came at an ordered destination, beside others of that delivery;
    /// absent otherwise.
    pub const TURN: &str = "longshore-turn";
    /// Set on a message that releases a scheduled event: its moment has come. Absent otherwise.
    pub const RELEASE: &str = "longshore-release";
    /// How often workers died over the message before it was handled alone.
    pub const CRASHES: &str = "longshore-crashes";
    /// When the first attempt in this queue failed (RFC 3339).
    pub const FIRST_FAILED_AT: &str = "longshore-first-failed-at";
    /// When the last attempt failed, or the event was rejected (RFC 3339).
    pub const FAILED_AT: &str = "longshore-failed-at";
    /// Reason code of a rejection or dead letter.
    pub const REASON: &str = "longshore-reason";
    /// The error chain of a dead letter.
    pub const ERROR: &str = "longshore-error";
    /// The field errors of a rejection, as a JSON array.
    pub const ERRORS: &str = "longshore-errors";
    /// The queue a dead letter died in or a rejection was decided in.
    pub const QUEUE: &str = "longshore-queue";
    /// How often a dead letter came back from where the parked ones are; absent means never.
    pub const PARKED: &str = "longshore-parked";
    /// The routing key a dead letter had in its queue.
    pub const ROUTING_KEY: &str = "longshore-routing-key";
    /// The identity of a message that could not travel on unchanged.
    pub const DIGEST: &str = "longshore-digest";
    /// The password hash of a signup, sealed; see `common::seal`.
    pub const SEALED_PASSWORD_HASH: &str = "longshore-sealed-password-hash";
    /// The headers of a message that had to be left out when it was published on.
    pub const NOTE: &str = "longshore-note";
    /// The `expiration` that a message had: in force it would end the message in our own queues.
    pub const EXPIRATION: &str = "longshore-expiration";
    /// The `reply_to` that a message had, where the broker would take it for a request of ours.
    pub const REPLY_TO: &str = "longshore-reply-to";
    /// Size and SHA-256 of the body that a message had, where only its beginning was kept.
    pub const CUT: &str = "longshore-cut";
    /// The broker's own report on a message that it gave up on, for as long as it travels: the newest entry of
    /// `x-death`, which does not survive a publish.
    pub const DEATH: &str = "longshore-death";
    /// The id that the history makes of an event, where a stream drops parts of its message that its own id is
    /// made of.
    pub const STREAM_ID: &str = "longshore-stream-id";
    /// The destinations whose filter passed over the event when it was stored, with commas between them; absent without any.
    pub const FILTERED: &str = "longshore-filtered";
    /// W3C Trace Context.
    pub const TRACEPARENT: &str = "traceparent";
    /// W3C Trace Context.
    pub const TRACESTATE: &str = "tracestate";

    /// Those that most messages carry.
    const USUAL: [&str; 5] = [PUBLISHER, RECEIVED_AT, ACCEPTED_AT, TRACEPARENT, TRACESTATE];

    /// A name as [`Headers`](crate::message::Headers) keeps it: no copy of the usual ones.
    pub fn name(name: &str) -> std::borrow::Cow<'static, str> {
        match USUAL.into_iter().find(|usual| *usual == name) {
            Some(usual) => usual.into(),
            None => name.to_owned().into(),
        }
    }
}

/// The system's facts about an event, in types.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trail {
    /// Failed attempts so far in this queue.
    pub attempt: u32,
    /// How often the event has been replayed.
    pub generation: u32,
    /// The generation that the receiver's `webhook-id` names: the last one that was replayed with a new id. 0 is the
    /// event's own id.
    pub new_id: u32,
    /// Who published it.
    pub publisher: Option<Publisher>,
    /// When it came through a door.
    pub received_at: Option<OffsetDateTime>,
    /// When it was accepted.
    pub accepted_at: Option<OffsetDateTime>,
    /// Whether it may have come this way before, because a stage did its step again.
    pub again: bool,
    /// Whether it was made when the turn of its delivery came: there may be others of that delivery.
    pub turn: bool,
    /// Whether the event was stored before to wait for its moment, which has come.
    pub release: bool,
    /// How often workers died over it before it was put aside.
    pub crashes: u32,
    /// When the first attempt in this queue failed.
    pub first_failed_at: Option<OffsetDateTime>,
    /// The destinations whose filter passed over it when it was stored: their queues are bound by its type, and get it all
    /// the same.
    pub filtered: Vec<String>,
}

impl Trail {
    /// Reads the trail off headers that we wrote. A missing or wrong header counts as its default:
    /// only an outsider can have written a wrong one.
    pub fn read(headers: &Headers) -> Self {
        let count = |name| {
            headers
                .int(name)
                .and_then(|number| u32::try_from(number).ok())
                .unwrap_or_default()
        };
        let moment = |name| headers.text(name).and_then(from_rfc3339);
        Self {
            attempt: count(header::ATTEMPT),
            generation: count(header::GENERATION),
            new_id: count(header::NEW_ID),
            publisher: headers.text(header::PUBLISHER).map(Publisher::trusted),
            received_at: moment(header::RECEIVED_AT),
            accepted_at: moment(header::ACCEPTED_AT),
            again: headers.get(header::AGAIN).is_some(),
            turn: headers.get(header::TURN).is_some(),
            release: headers.get(header::RELEASE).is_some(),
            crashes: count(header::CRASHES),
            first_failed_at: moment(header::FIRST_FAILED_AT),
            filtered: headers
                .text(header::FILTERED)
                .map(|names| names.split(',').map(str::to_owned).collect())
                .unwrap_or_default(),
        }
    }

    /// Writes the trail into `headers`, replacing its former headers. Defaults are not written.
    pub fn write(&self, headers: &mut Headers) {
        set(
            headers,
            header::ATTEMPT,
            (self.attempt > 0).then_some(self.attempt),
        );
        set(
            headers,
            header::GENERATION,
            (self.generation > 0).then_some(self.generation),
        );
        set(
            headers,
            header::NEW_ID,
            (self.new_id > 0).then_some(self.new_id),
        );
        set(
            headers,
            header::CRASHES,
            (self.crashes > 0).then_some(self.crashes),
        );
        set(headers, header::AGAIN, self.again.then_some(1_i64));
        set(headers, header::TURN, self.turn.then_some(1_i64));
        set(headers, header::RELEASE, self.release.then_some(1_i64));
        set(
            headers,
            header::PUBLISHER,
            self.publisher.as_ref().map(Publisher::as_str),
        );
        set(
            headers,
            header::RECEIVED_AT,
            self.received_at.map(to_rfc3339),
        );
        set(
            headers,
            header::ACCEPTED_AT,
            self.accepted_at.map(to_rfc3339),
        );
        set(
            headers,
            header::FIRST_FAILED_AT,
            self.first_failed_at.map(to_rfc3339),
        );
        set(
            headers,
            header::FILTERED,
            (!self.filtered.is_empty()).then(|| self.filtered.join(",")),
        );
    }

    /// The trail of a foreign message from `user` that came `now`: its own claims do not count.
    pub fn of_foreign(user: Option<&str>, now: OffsetDateTime) -> Self {
        Self {
            publisher: Some(Publisher::amqp(user)),
            received_at: Some(now),
            ..Self::default()
        }
    }

    /// Whether the message under this trail carries our event id as its `message_id`: it came through our own
    /// door, or validation has accepted it.
    pub fn names_event(&self) -> bool {
        let foreign = self.publisher.as_ref().is_none_or(Publisher::is_foreign);
        !foreign || self.accepted_at.is_some()
    }

    /// The trail as an event enters its next queue: facts of this queue alone (attempts, crashes)
    /// start over.
    #[must_use]
    pub fn onward(&self) -> Self {
        Self {
            attempt: 0,
            turn: false,
            crashes: 0,
            first_failed_at: None,
            ..self.clone()
        }
    }
}

fn set<V: Into<HeaderValue>>(headers: &mut Headers, name: &'static str, value: Option<V>) {
    match value {
        Some(value) => headers.set(name, value),
        None => headers.remove(name),
    }
}

/// The present moment, cut to the microseconds that PostgreSQL keeps.
pub fn now() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    now.replace_microsecond(now.microsecond()).unwrap_or(now)
}

/// The moment that an RFC 3339 text names, in UTC. None for one that lies outside the years 0 to 9999
/// there, as `9999-12-31T23:30:00-01:00` does: it could be neither stored nor written down again.
pub fn from_rfc3339(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339)
        .ok()?
        .checked_to_offset(UtcOffset::UTC)
        .filter(|moment| (0..=9999).contains(&moment.year()))
}

/// A moment as RFC 3339 text.
pub fn to_rfc3339(moment: OffsetDateTime) -> String {
    // Fails only for years beyond 9999, which no clock of ours shows.
    moment
        .format(&Rfc3339)
        .unwrap_or_else(|_| moment.unix_timestamp().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_outside_the_calendar_is_none() {
        for text in [
            "9999-12-31T23:30:00-01:00",
            "0000-01-01T00:30:00+01:00",
            "tomorrow",
        ] {
            assert_eq!(from_rfc3339(text), None, "{text}");
        }
        let moment = from_rfc3339("9999-12-31T23:30:00+01:00").map(to_rfc3339);
        assert_eq!(moment.as_deref(), Some("9999-12-31T22:30:00Z"));
    }

    #[test]
    fn a_trail_survives_headers() {
        let trail = Trail {
            attempt: 3,
            generation: 2,
            new_id: 1,
            publisher: Some(Publisher::http("crm")),
            received_at: Some(now()),
            accepted_at: None,
            again: true,
            turn: true,
            release: true,
            crashes: 2,
            first_failed_at: Some(now()),
            filtered: vec!["crm".to_owned(), "audit".to_owned()],
        };
        let mut headers = Headers::default();
        headers.set(header::ACCEPTED_AT, "stale");
        trail.write(&mut headers);
        assert_eq!(Trail::read(&headers), trail);
        assert_eq!(headers.get(header::ACCEPTED_AT), None);
    }

    #[test]
    fn headers_of_the_wrong_kind_count_as_absent() {
        let headers: Headers = [
            (header::ATTEMPT, HeaderValue::from("many")),
            (header::GENERATION, HeaderValue::Int(-1)),
            (header::RECEIVED_AT, HeaderValue::from("yesterday")),
        ]
        .into_iter()
        .collect();
        assert_eq!(Trail::read(&headers), Trail::default());
    }
}
