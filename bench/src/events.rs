use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

/// The type of every event of the load, unless it is spread over several.
pub const SIGNUP_REQUESTED: &str = "signup.requested";

/// In an event's attributes, before its sequence number: by this text the receiver finds the number.
const MARKER: &str = "\"bench_seq\":\"";

/// Maximum length of the attributes that fill an event up to its size, as a real form would send.
const FILL: usize = 120;

/// A source of events for one run: `signup.requested`, each with an address of its own.
#[derive(Clone, Debug)]
pub struct Events {
    run: u32,
    bytes: usize,
    time: String,
    /// How many types the events are spread over, if not all are signups.
    kinds: Option<u64>,
    /// The moment of the first event before which nobody gets it, and the time from one to the next.
    moments: Option<(OffsetDateTime, Duration)>,
}

/// One event as it is published.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its id, a UUIDv7.
    pub id: Uuid,
    /// The structured CloudEvent, JSON.
    pub body: Vec<u8>,
}

impl Events {
    /// Events of `bytes` bytes each (never less than the bare event, about 330), with addresses no other run has.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let now = OffsetDateTime::now_utc();
        Self {
            run: rand::random(),
            bytes,
            // A year past 9999 cannot be written in RFC 3339; the load does not depend on the time it claims.
            time: now
                .format(&Rfc3339)
                .unwrap_or_else(|_| "2026-01-01T00:00:00Z".into()),
            kinds: None,
            moments: None,
        }
    }

    /// The same events, none of which anybody gets before its moment: the first at `first`, the others one `gap` after the other.
    #[must_use]
    pub fn scheduled(self, first: OffsetDateTime, gap: Duration) -> Self {
        Self {
            moments: Some((first, gap)),
            ..self
        }
    }

    /// The same data in events of `kinds` types, one after the other: see [`Events::kind`].
    #[must_use]
    pub fn spread(self, kinds: u64) -> Self {
        Self {
            kinds: Some(kinds.max(1)),
            ..self
        }
    }

    /// The name of type number `number` (from 0) of events that are spread.
    #[must_use]
    pub fn kind(number: u64) -> String {
        format!("bench.k{number:02}")
    }

    /// Event number `seq` as a structured CloudEvent, with a new id each time it is asked for.
    #[must_use]
    pub fn event(&self, seq: u64) -> Event {
        let id = Uuid::now_v7();
        let mut body = String::with_capacity(self.bytes + 64);
        self.write_event(&mut body, id, seq);
        Event {
            id,
            body: body.into_bytes(),
        }
    }

    /// The events `from..to` as one `application/cloudevents-batch+json` body.
    #[must_use]
    pub fn batch(&self, from: u64, to: u64) -> Vec<u8> {
        let count = usize::try_from(to.saturating_sub(from)).unwrap_or(0);
        let mut body = String::with_capacity((self.bytes + 64) * count + 2);
        body.push('[');
        for seq in from..to {
            if seq > from {
                body.push(',');
            }
            self.write_event(&mut body, Uuid::now_v7(), seq);
        }
        body.push(']');
        body.into_bytes()
    }

    /// Event number `seq` as the body of `POST /v1/signups`: the event's data alone, as many bytes as a whole event.
    #[must_use]
    pub fn signup(&self, seq: u64) -> Vec<u8> {
        let mut body = String::with_capacity(self.bytes + 64);
        self.write_data(&mut body, seq, 0);
        body.into_bytes()
    }

    /// The sequence number of the event in `body`, found without parsing it.
    pub(crate) fn sequence(body: &[u8]) -> Option<u64> {
        let marker = MARKER.as_bytes();
        let at = body.windows(marker.len()).position(|w| w == marker)?;
        let digits = body[at + marker.len()..]
            .iter()
            .take_while(|b| b.is_ascii_digit());
        digits.fold(None, |n: Option<u64>, digit| {
            n.unwrap_or(0)
                .checked_mul(10)?
                .checked_add(u64::from(digit - b'0'))
        })
    }

    fn write_event(&self, out: &mut String, id: Uuid, seq: u64) {
        let start = out.len();
        let kind = self.kinds.map_or(Cow::Borrowed(SIGNUP_REQUESTED), |kinds| {
            Self::kind(seq % kinds).into()
        });
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "{{\"specversion\":\"1.0\",\"id\":\"{id}\",\"type\":\"{kind}\",\"source\":\"/bench\",\
             \"time\":\"{}\",\"datacontenttype\":\"application/json\",",
            self.time
        );
        if let Some((first, gap)) = self.moments {
            let moment = first + gap * u32::try_from(seq).unwrap_or(u32::MAX);
            let moment = moment.format(&Rfc3339).unwrap_or_default();
            let _ = write!(out, "\"notbefore\":\"{moment}\",");
        }
        out.push_str("\"data\":");
        let head = out.len() - start;
        self.write_data(out, seq, head + 1);
        out.push('}');
    }

    /// Writes a signup that, with `used` bytes around it, has the size of an event.
    fn write_data(&self, out: &mut String, seq: u64, used: usize) {
        let start = out.len();
        let _ = write!(
            out,
            "{{\"email\":\"load-{:08x}-{seq}@example.com\",\"name\":\"Load Test {seq}\",\"plan\":\"free\",\
             \"locale\":\"en\",\"attributes\":{{{MARKER}{seq}\"",
            self.run
        );
        let mut number = 0;
        loop {
            let open = out.len();
            let _ = write!(out, ",\"fill_{number}\":\"");
            // The room left for this attribute, with its quote and the two closing braces.
            let left = self.bytes.saturating_sub(used + (out.len() - start) + 3);
            if left == 0 {
                out.truncate(open);
                break;
            }
            out.extend(std::iter::repeat_n('x', left.min(FILL)));
            out.push('"');
            number += 1;
        }
        out.push_str("}}");
    }
}

#[cfg(test)]
mod tests {
    use super::Events;

    #[test]
    fn an_event_is_json_of_about_its_size_and_says_its_number() {
        let event = Events::new(1000).event(4711);
        let json: serde_json::Value = serde_json::from_slice(&event.body).unwrap();
        assert_eq!(json["id"], event.id.to_string());
        assert_eq!(json["data"]["attributes"]["bench_seq"], "4711");
        assert!(
            (980..=1000).contains(&event.body.len()),
            "{}",
            event.body.len()
        );
        assert_eq!(Events::sequence(&event.body), Some(4711));
    }

    #[test]
    fn an_event_asked_to_be_tiny_is_still_whole() {
        let event = Events::new(1).event(0);
        assert!(serde_json::from_slice::<serde_json::Value>(&event.body).is_ok());
    }

    #[test]
    fn a_signup_and_a_batch_are_json_with_their_numbers() {
        let events = Events::new(1000);
        let signup: serde_json::Value = serde_json::from_slice(&events.signup(7)).unwrap();
        assert!(signup["email"].as_str().is_some_and(|e| e.contains("-7@")));
        let batch: Vec<serde_json::Value> = serde_json::from_slice(&events.batch(3, 6)).unwrap();
        assert_eq!(batch.len(), 3);
        assert_eq!(batch[2]["data"]["attributes"]["bench_seq"], "5");
    }

    #[test]
    fn a_body_without_a_number_or_with_an_endless_one_has_none() {
        assert_eq!(Events::sequence(b"{}"), None);
        assert_eq!(Events::sequence(b"\"bench_seq\":\"\""), None);
        assert_eq!(
            Events::sequence(format!("\"bench_seq\":\"{}\"", "9".repeat(40)).as_bytes()),
            None
        );
    }
}
