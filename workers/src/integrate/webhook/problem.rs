//! Why a request got no answer.

use std::error::Error as _;

use common::outcome::chain;
use common::reason::ReasonCode;
use hyper_util::client::legacy;

use crate::integrate::guard::Forbidden;

/// The code, and the expected and the found.
pub(super) type Problem = (ReasonCode, String);

/// Why a request did not get through.
pub(super) fn problem_of(error: &legacy::Error) -> Problem {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(forbidden) = error.downcast_ref::<Forbidden>() {
            return (ReasonCode::DestinationForbidden, forbidden.to_string());
        }
        cause = error.source();
    }
    let what = if error.is_connect() {
        "cannot connect"
    } else {
        "the exchange broke off"
    };
    let why = error.source().map(chain).unwrap_or_default();
    (ReasonCode::ReceiverFailing, format!("{what}: {why}"))
}
