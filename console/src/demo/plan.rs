//! The answers of the demo's receivers, on a plan: the same event meets the same faults in every run.

use std::time::Duration;

use common::event::content;
use serde_json::Value;

/// A destination of the demo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Destination {
    /// Takes everything; now and then it fails or asks for patience.
    Crm,
    /// Takes signups; now and then it does not answer in time.
    Email,
    /// Takes processing events, and answers as the events say.
    Billing,
}

impl Destination {
    pub(super) const ALL: [Self; 3] = [Self::Crm, Self::Email, Self::Billing];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Crm => "crm",
            Self::Email => "email",
            Self::Billing => "billing",
        }
    }

    /// The types of events that are due at this destination.
    pub(super) fn types(self) -> &'static str {
        match self {
            Self::Crm => "#",
            Self::Email => "signup.requested",
            Self::Billing => "processing.requested",
        }
    }
}

/// The answer of a receiver to a post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// The receiver takes the event.
    Take,
    /// The receiver refuses with this status.
    Status(u16),
    /// The receiver is overloaded: 429, and `Retry-After` in seconds.
    Patience(u32),
    /// The receiver does not answer in time.
    Stall,
}

/// Maximum time of a delivery.
pub(super) const TIMEOUT: Duration = Duration::from_secs(1);

/// The answer to post number `nth` (from 1) of one delivery.
pub(super) fn answer(to: Destination, event: &Value, nth: u32, mended: bool) -> Answer {
    let data = &event["data"];
    let luck = luck(data);
    match to {
        Destination::Crm => match (luck % 20, nth) {
            (0, 1) => Answer::Status(500),
            (1, 1 | 2) => Answer::Status(503),
            (2, 1) => Answer::Patience(1),
            _ => Answer::Take,
        },
        Destination::Email if luck % 25 == 3 && nth == 1 => Answer::Stall,
        Destination::Email => Answer::Take,
        Destination::Billing => billing(data["payload"]["receiver"].as_str(), nth, mended),
    }
}

/// The answer that the example's events ask of the receiver by name.
fn billing(wish: Option<&str>, nth: u32, mended: bool) -> Answer {
    match (wish, nth) {
        (Some("fails-once"), 1) => Answer::Status(500),
        (Some("fails-twice"), 1 | 2) => Answer::Status(503),
        (Some("stalls-once"), 1) => Answer::Stall,
        (Some("fails"), _) if !mended => Answer::Status(500),
        (Some("refuses"), _) if !mended => Answer::Status(422),
        (Some("finds-too-large"), _) if !mended => Answer::Status(413),
        _ => Answer::Take,
    }
}

/// A number made from the event's content (FNV-1a), so that a run is like the one before.
fn luck(data: &Value) -> u64 {
    let data = content::canonical(&data.to_string()).unwrap_or_default();
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = data.into_iter().fold(0xcbf2_9ce4_8422_2325, step);
    // The low bits alone follow the last byte closely.
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_an_event_asks_of_billing_is_done_until_it_is_mended() {
        let event = |wish: &str| json!({"data": {"payload": {"receiver": wish}}});
        let billing = |wish, nth, mended| answer(Destination::Billing, &event(wish), nth, mended);
        assert_eq!(billing("refuses", 9, false), Answer::Status(422));
        assert_eq!(billing("refuses", 1, true), Answer::Take);
        assert_eq!(billing("fails-twice", 2, false), Answer::Status(503));
        assert_eq!(billing("fails-twice", 3, false), Answer::Take);
        assert_eq!(billing("stalls-once", 1, true), Answer::Stall);
    }

    #[test]
    fn every_fault_ends_within_four_attempts() {
        for number in 0..500 {
            let event = json!({"data": {"email": format!("{number}@example.com")}});
            for to in [Destination::Crm, Destination::Email] {
                assert_eq!(answer(to, &event, 4, false), Answer::Take);
            }
        }
    }

    #[test]
    fn faults_are_met_and_do_not_depend_on_the_run() {
        let event = |number: u32, salt: &str| json!({"id": salt, "data": {"email": format!("{number}@example.com"), "password_hash": salt}});
        let at = |number, salt| answer(Destination::Crm, &event(number, salt), 1, false);
        let faults = (0..500)
            .filter(|&number| at(number, "a") != Answer::Take)
            .count();
        assert!((25..150).contains(&faults), "{faults}");
        assert!((0..500).all(|number| at(number, "a") == at(number, "b")));
    }
}
