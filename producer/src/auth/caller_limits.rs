//! The rate of each caller of an issuer. Nobody lists these callers before they come, so their number is bounded here.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use common::config::Rate;

use super::limits::EventLimit;

/// Maximum of callers with a rate of their own. All further ones share one.
const MAX_CALLERS: usize = 50_000;

/// The rates of the callers of one issuer.
pub(super) struct CallerLimits {
    rate: Rate,
    burst: Option<NonZeroU32>,
    /// Those that have used up a part of their rate.
    callers: Mutex<HashMap<String, Arc<EventLimit>>>,
    others: Arc<EventLimit>,
}

impl CallerLimits {
    /// Limits of `rate` each; `None` for a rate that the clock cannot tell from none.
    pub(super) fn new(rate: Rate, burst: Option<NonZeroU32>) -> Option<Self> {
        Some(Self {
            rate,
            burst,
            callers: Mutex::default(),
            others: Arc::new(EventLimit::new(rate, burst)?),
        })
    }

    /// The limit of a caller.
    pub(super) fn of(&self, caller: &str) -> Arc<EventLimit> {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(limit) = callers.get(caller) {
            return Arc::clone(limit);
        }
        let new = EventLimit::new(self.rate, self.burst);
        match new.filter(|_| callers.len() < MAX_CALLERS) {
            Some(new) => {
                let new = Arc::new(new);
                callers.insert(caller.to_owned(), Arc::clone(&new));
                new
            }
            None => Arc::clone(&self.others),
        }
    }

    /// Forgets callers that have all of their rate again.
    pub(super) fn forget(&self) {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        callers.retain(|_, limit| Arc::strong_count(limit) > 1 || !limit.is_unused());
        callers.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(rate: &str) -> CallerLimits {
        CallerLimits::new(rate.parse().unwrap(), None).unwrap()
    }

    fn takes(limits: &CallerLimits, caller: &str) -> bool {
        limits.of(caller).take(NonZeroU32::MIN).is_ok()
    }

    #[test]
    fn each_caller_has_a_rate_of_its_own_which_is_not_forgotten_early() {
        let limits = limits("2/h");
        assert!(takes(&limits, "a") && takes(&limits, "a") && !takes(&limits, "a"));
        assert!(takes(&limits, "b"));
        limits.forget();
        assert!(!takes(&limits, "a"), "it has not got anything back");
        assert!(takes(&limits, "b") && !takes(&limits, "b"));
    }

    #[test]
    fn a_caller_that_has_all_of_its_rate_is_forgotten() {
        let limits = limits("1000000000/s");
        assert!(takes(&limits, "a"));
        let held = limits.of("b");
        limits.forget();
        assert_eq!(limits.callers.lock().unwrap().len(), 1);
        drop(held);
        limits.forget();
        assert!(limits.callers.lock().unwrap().is_empty());
    }

    #[test]
    fn callers_beyond_the_maximum_share_one_rate() {
        let limits = limits("1/h");
        for caller in 0..MAX_CALLERS {
            assert!(takes(&limits, &caller.to_string()));
        }
        assert!(takes(&limits, "one more") && !takes(&limits, "and another"));
        assert_eq!(limits.callers.lock().unwrap().len(), MAX_CALLERS);
        assert!(!takes(&limits, "7"), "those that are known keep their own");
    }
}
