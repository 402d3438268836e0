//! What a broker tells of a message that it gave up on: the header `x-death`, the newest entry first.
//!
//! The header does not survive a publish. So the newest entry travels in a header of our own for as long as
//! the dead letter is on its way to the archive.

use super::header;
use crate::message::{HeaderValue, Headers};

/// The header that a broker writes.
const DEATHS: &str = "x-death";

/// What the broker told when it gave the message up: queue, reason, time, routing keys.
pub fn broker_death(headers: &Headers) -> Option<&Headers> {
    match headers.get(header::DEATH) {
        Some(HeaderValue::Table(death)) => Some(death),
        _ => newest(headers),
    }
}

/// Makes what the broker told travel with the message, if it does not yet.
pub fn carry_death(headers: &mut Headers) {
    if headers.get(header::DEATH).is_some() {
        return;
    }
    if let Some(death) = newest(headers).cloned() {
        headers.set(header::DEATH, HeaderValue::Table(death));
    }
}

fn newest(headers: &Headers) -> Option<&Headers> {
    match headers.get(DEATHS) {
        Some(HeaderValue::List(deaths)) => match deaths.first() {
            Some(HeaderValue::Table(death)) => Some(death),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn died_in(queues: &[&str]) -> Headers {
        let deaths = queues.iter().map(|queue| {
            HeaderValue::Table(Headers::from_iter([("queue", HeaderValue::from(*queue))]))
        });
        Headers::from_iter([(DEATHS, HeaderValue::List(deaths.collect()))])
    }

    fn queue(headers: &Headers) -> Option<&str> {
        broker_death(headers).and_then(|death| death.text("queue"))
    }

    #[test]
    fn the_first_death_that_was_carried_is_the_one_that_counts() {
        let mut headers = died_in(&["store", "delay.02"]);
        assert_eq!(queue(&headers), Some("store"));
        carry_death(&mut headers);
        // Published again, and back from a delay.
        headers.remove(DEATHS);
        assert_eq!(queue(&headers), Some("store"));
        headers.set(DEATHS, died_in(&["delay.00"]).get(DEATHS).unwrap().clone());
        carry_death(&mut headers);
        assert_eq!(queue(&headers), Some("store"));
    }

    #[test]
    fn nothing_is_carried_where_nothing_was_told() {
        for value in [HeaderValue::Int(1), HeaderValue::List(Vec::new())] {
            let mut headers = Headers::from_iter([(DEATHS, value)]);
            carry_death(&mut headers);
            assert_eq!(broker_death(&headers), None);
            assert_eq!(headers.get(header::DEATH), None);
        }
    }
}
