//! The attempts at a destination lately, and whether enough of them failed to open its breaker.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use common::config::Breaker;

/// In how many parts the time is counted.
const PARTS: u32 = 10;

/// The attempts of this process within the time of a breaker, and at most a tenth of it longer.
pub(super) struct Window {
    settings: Breaker,
    /// The oldest first.
    parts: VecDeque<Part>,
}

/// The attempts of a tenth of the time.
struct Part {
    from: Instant,
    made: u32,
    failed: u32,
}

impl Window {
    /// No attempts yet.
    pub(super) fn new(settings: Breaker) -> Self {
        Self {
            settings,
            parts: VecDeque::new(),
        }
    }

    /// An attempt was made at `now`. Whether the breaker opens.
    pub(super) fn record(&mut self, is_failed: bool, now: Instant) -> bool {
        let Breaker {
            failures,
            of,
            within,
            ..
        } = self.settings;
        let length = within / PARTS;
        while self
            .parts
            .front()
            .is_some_and(|part| now.saturating_duration_since(part.from) > within + length)
        {
            self.parts.pop_front();
        }
        let is_new = self
            .parts
            .back()
            .is_none_or(|part| now.saturating_duration_since(part.from) >= length);
        if is_new {
            self.parts.push_back(Part {
                from: now,
                made: 0,
                failed: 0,
            });
        }
        if let Some(part) = self.parts.back_mut() {
            part.made = part.made.saturating_add(1);
            part.failed = part.failed.saturating_add(u32::from(is_failed));
        }
        let sum = |count: fn(&Part) -> u32| -> u64 {
            self.parts.iter().map(|part| u64::from(count(part))).sum()
        };
        let (made, failed) = (sum(|part| part.made), sum(|part| part.failed));
        is_failed && made >= u64::from(of) && failed as f64 >= failures * made as f64
    }

    /// Forgets all attempts.
    pub(super) fn clear(&mut self) {
        self.parts.clear();
    }
}

/// The part, in percent, of its rate and its concurrency that a destination gets after its breaker closed: a tenth at first,
/// all of it after `rises_for`.
pub(super) fn ramp(closed_for: Duration, rises_for: Duration) -> u32 {
    let part = closed_for.as_secs_f64() / rises_for.as_secs_f64();
    (10.0 + 90.0 * part.clamp(0.0, 1.0)) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn settings(failures: f64, of: u32) -> Breaker {
        Breaker {
            failures,
            of,
            within: Duration::from_secs(10),
            open: Duration::from_secs(30),
        }
    }

    #[test]
    fn it_opens_at_the_failure_that_makes_the_part() {
        let mut window = Window::new(settings(0.5, 4));
        let now = Instant::now();
        let mut record = |is_failed| window.record(is_failed, now);
        // Too few; then a success; then half of six.
        let opened = [true, true, true, false, false, false, true].map(&mut record);
        assert_eq!(opened, [false, false, false, false, false, false, true]);
        window.clear();
        assert!(!window.record(true, now));
    }

    #[test]
    fn old_attempts_do_not_count() {
        let mut window = Window::new(settings(0.5, 4));
        let now = Instant::now();
        for _ in 0..3 {
            window.record(true, now);
        }
        let later = now + Duration::from_millis(11_500);
        assert!(!window.record(true, later));
        for _ in 0..2 {
            window.record(true, later);
        }
        assert!(window.record(true, later));
    }

    #[test]
    fn it_rises_from_a_tenth_to_all() {
        let at = |seconds| ramp(Duration::from_secs(seconds), Duration::from_secs(30));
        assert_eq!(
            [at(0), at(10), at(15), at(30), at(999)],
            [10, 40, 55, 100, 100]
        );
    }

    proptest! {
        /// Between what exactly the time and what a tenth more would say.
        #[test]
        fn it_opens_as_an_exact_count_would(
            attempts in prop::collection::vec((0_u64..2500, any::<bool>()), 1..60),
            of in 1_u32..8,
        ) {
            let settings = settings(0.5, of);
            let mut window = Window::new(settings.clone());
            let mut now = Instant::now();
            let mut seen: Vec<(Instant, bool)> = Vec::new();
            for (wait, is_failed) in attempts {
                now += Duration::from_millis(wait);
                seen.push((now, is_failed));
                let opens = window.record(is_failed, now);
                let count = |within: Duration| {
                    let lately = seen.iter().filter(|(at, _)| now - *at <= within);
                    let lately: Vec<bool> = lately.map(|(_, is_failed)| *is_failed).collect();
                    let failed = lately.iter().filter(|it| **it).count();
                    (lately.len(), failed)
                };
                let longest = settings.within + settings.within / PARTS;
                if opens {
                    let (made, failed) = count(longest);
                    prop_assert!(is_failed && made >= of as usize && failed > 0);
                }
                let (made, failed) = count(settings.within);
                // Everything that counts at all failed: no older attempt can say otherwise.
                if is_failed && made >= of as usize && count(longest) == (failed, failed) {
                    prop_assert!(opens);
                }
                if is_failed && (made, failed) == (count(longest).0, made) && made >= of as usize {
                    prop_assert!(opens);
                }
            }
            prop_assert!(window.parts.len() <= PARTS as usize + 2);
        }
    }
}
