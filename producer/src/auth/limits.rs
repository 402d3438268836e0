//! Rates: of the events of a caller, and of what one address may do without credentials.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use common::config::Rate;
use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use super::client::{Client, network};
use crate::problem::{Code, Problem};

/// The header fields of the IETF's draft on rate limits (draft-ietf-httpapi-ratelimit-headers).
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LEFT: HeaderName = HeaderName::from_static("ratelimit");

/// The rate of the events of a key, or of one caller of an issuer.
pub(super) struct EventLimit {
    limiter: RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>,
    rate: Rate,
    burst: NonZeroU32,
}

/// How many events may follow at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Left(u32);

impl EventLimit {
    /// A limit of `rate`; `None` for a rate that the clock cannot tell from none.
    pub(super) fn new(rate: Rate, burst: Option<NonZeroU32>) -> Option<Self> {
        let burst = burst.unwrap_or(rate.count);
        let quota = Quota::with_period(rate.interval())?.allow_burst(burst);
        Some(Self {
            limiter: RateLimiter::direct(quota).with_middleware(),
            rate,
            burst,
        })
    }

    /// Counts events.
    ///
    /// # Errors
    /// They are too many, for now or ever.
    pub(super) fn take(&self, events: NonZeroU32) -> Result<Left, Problem> {
        match self.limiter.check_n(events) {
            Ok(Ok(state)) => Ok(Left(state.remaining_burst_capacity())),
            Ok(Err(not_until)) => {
                let wait = not_until.wait_time_from(self.limiter.clock().now());
                let detail = format!(
                    "expected at most {} events from you, found more; nothing was taken",
                    self.rate
                );
                Err(self.describe(too_many(detail, wait), 0, Some(wait)))
            }
            Err(_) => {
                let detail = format!(
                    "expected at most {} events from you at once, found {events}; send smaller batches",
                    self.burst
                );
                Err(Problem::new(Code::TooLarge, detail))
            }
        }
    }

    /// Whether nothing of it is used up. It is used up then, so ask only before it is thrown away.
    pub(super) fn is_unused(&self) -> bool {
        matches!(self.limiter.check_n(self.burst), Ok(Ok(_)))
    }

    /// The limit, as header fields of an answer.
    pub(super) fn tell(&self, left: Left, headers: &mut HeaderMap) {
        for (name, value) in self.fields(left.0, None) {
            headers.insert(name, value);
        }
    }

    fn describe(&self, problem: Problem, left: u32, wait: Option<Duration>) -> Problem {
        self.fields(left, wait)
            .into_iter()
            .fold(problem, |problem, (name, value)| {
                problem.header(name, value)
            })
    }

    fn fields(&self, left: u32, wait: Option<Duration>) -> Vec<(HeaderName, HeaderValue)> {
        let policy = format!(
            "\"key\";q={};w={}",
            self.rate.count,
            seconds(self.rate.period())
        );
        let mut state = format!("\"key\";r={left}");
        if let Some(wait) = wait {
            state.push_str(&format!(";t={}", seconds(wait)));
        }
        let value = |text: String| HeaderValue::from_str(&text).ok();
        let fields = [(POLICY, value(policy)), (LEFT, value(state))];
        fields
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }
}

/// Limits by address.
pub(super) struct AddressLimits {
    limiter: RateLimiter<IpAddr, HashMapStateStore<IpAddr>, DefaultClock>,
}

impl AddressLimits {
    pub(super) fn of(rate: Rate) -> Self {
        let quota = Quota::with_period(rate.interval()).map(|quota| quota.allow_burst(rate.count));
        Self::with(quota.unwrap_or(Quota::per_second(NonZeroU32::MAX)))
    }

    pub(super) fn new(per_second: u32, burst: u32) -> Self {
        let at_least_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(at_least_one(per_second));
        Self::with(quota.allow_burst(at_least_one(burst)))
    }

    fn with(quota: Quota) -> Self {
        Self {
            limiter: RateLimiter::hashmap(quota),
        }
    }

    /// Counts one.
    ///
    /// # Errors
    /// It is one too many: how long to wait.
    pub(super) fn take(&self, client: Client) -> Result<(), Duration> {
        // Clients without an address share one.
        let address = client.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        self.limiter
            .check_key(&network(address))
            .map_err(|not_until| not_until.wait_time_from(self.limiter.clock().now()))
    }

    /// Forgets addresses that have done nothing for long.
    pub(super) fn forget(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }
}

/// The answer to an address that shows too many wrong credentials.
pub(super) fn too_many_refusals(wait: Duration) -> Problem {
    let detail = "expected right credentials, found too many wrong ones from this address";
    too_many(detail, wait)
}

/// The answer to an address that sends too many signups.
pub(super) fn too_many_signups(wait: Duration) -> Problem {
    let detail = "too many signups from this address; nothing was taken";
    too_many(detail, wait)
}

/// The answer to an address that opens too many links.
pub(super) fn too_many_confirmations(wait: Duration) -> Problem {
    let detail = "too many links opened from this address; nothing was taken";
    too_many(detail, wait)
}

fn too_many(detail: impl Into<std::borrow::Cow<'static, str>>, wait: Duration) -> Problem {
    let seconds = u32::try_from(seconds(wait)).unwrap_or(u32::MAX);
    Problem::new(Code::RateLimited, detail).retry_after(seconds)
}

/// Whole seconds, at least one.
fn seconds(duration: Duration) -> u64 {
    let whole = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    whole.max(1)
}
