//! The clocks: this machine's, and that of a broker in a file.

use std::time::Duration;

use time::OffsetDateTime;

use super::{Finding, Verdict};

/// A broker in a file goes by its own clock where that of the machine was set back.
pub fn file_is_ahead(ahead: Duration) -> Finding {
    Finding::bad(
        Verdict::Problem,
        "broker clock",
        format!(
            "{} s ahead of this machine's, which was set back: ids go on from there",
            ahead.as_secs()
        ),
        "nothing is lost, and it ends when the clock has caught up; let a time service keep it, in small steps",
    )
}

/// The clock of this machine: ids, signatures and waits depend on it.
pub fn shown(now: OffsetDateTime) -> Finding {
    let shown = crate::words::moment(now);
    if now.year() < 2025 {
        let advice = "set the clock: event ids begin with it and receivers refuse old signatures";
        return Finding::bad(Verdict::Problem, "clock", format!("shows {shown}"), advice);
    }
    Finding::ok("clock", format!("shows {shown}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_never_set_is_found() {
        assert_eq!(shown(OffsetDateTime::UNIX_EPOCH).verdict, Verdict::Problem);
        assert_eq!(shown(common::event::now()).verdict, Verdict::Ok);
    }

    #[test]
    fn a_broker_file_that_is_ahead_is_a_problem() {
        let found = file_is_ahead(Duration::from_secs(3600));
        assert_eq!(found.verdict, Verdict::Problem);
        assert!(found.detail.starts_with("3600 s ahead"), "{found:?}");
    }
}
