//! A broker's report on a message that it gave up on: the header `x-death`, the newest entry first.
//!
//! The header does not survive a publish. So the newest entry travels in a header of our own for as long as
//! the dead letter is on its way to the archive.

use super::header;
use crate::message::{HeaderValue, Headers};
use crate::topology::Names;

/// The header that a broker writes.
const DEATHS: &str = "x-death";

/// The broker's report on giving the message up: queue, reason, time, routing keys.
pub fn broker_death(headers: &Headers) -> Option<&Headers> {
    match headers.get(header::DEATH) {
        Some(HeaderValue::Table(death)) => Some(death),
        _ => deaths(headers).next(),
    }
}

/// Makes the broker's report travel with a dead letter, if it does not yet. The report says how the message died. Its
/// second death in `dead`, the queue of dead letters, counts only without a first one.
pub fn carry_death(headers: &mut Headers, dead: &str) {
    if headers.get(header::DEATH).is_some() {
        return;
    }
    let is_elsewhere = |death: &&Headers| {
        let queue = death.text("queue").unwrap_or_default();
        Names::without_suspect(queue) != dead
    };
    let death = deaths(headers).find(is_elsewhere);
    if let Some(death) = death.or_else(|| deaths(headers).next()).cloned() {
        headers.set(header::DEATH, HeaderValue::Table(death));
    }
}

fn deaths(headers: &Headers) -> impl Iterator<Item = &Headers> {
    let list: &[HeaderValue] = match headers.get(DEATHS) {
        Some(HeaderValue::List(list)) => list,
        _ => &[],
    };
    list.iter().filter_map(|death| match death {
        HeaderValue::Table(death) => Some(death),
        _ => None,
    })
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
        carry_death(&mut headers, "dead");
        // Published again, and back from a delay.
        headers.remove(DEATHS);
        assert_eq!(queue(&headers), Some("store"));
        headers.set(DEATHS, died_in(&["delay.00"]).get(DEATHS).unwrap().clone());
        carry_death(&mut headers, "dead");
        assert_eq!(queue(&headers), Some("store"));
    }

    #[test]
    fn that_a_letter_was_given_up_as_a_letter_is_not_how_it_died() {
        let mut headers = died_in(&["dead.suspect", "dead", "store"]);
        carry_death(&mut headers, "dead");
        assert_eq!(queue(&headers), Some("store"));
        let mut headers = died_in(&["dead"]);
        carry_death(&mut headers, "dead");
        assert_eq!(queue(&headers), Some("dead"));
    }

    #[test]
    fn nothing_is_carried_where_nothing_was_told() {
        for value in [HeaderValue::Int(1), HeaderValue::List(Vec::new())] {
            let mut headers = Headers::from_iter([(DEATHS, value)]);
            carry_death(&mut headers, "dead");
            assert_eq!(broker_death(&headers), None);
            assert_eq!(headers.get(header::DEATH), None);
        }
    }
}
