//! Numbers and moments as people read them.

/// A moment as people read it, to the second, in UTC.
pub fn moment(at: time::OffsetDateTime) -> String {
    let at = at.to_offset(time::UtcOffset::UTC);
    common::event::to_rfc3339(at.replace_nanosecond(0).unwrap_or(at))
}

/// A count and the right form of its noun: "1 letter", "2 letters".
pub fn count(number: u64, noun: &str) -> String {
    if number == 1 {
        format!("1 {noun}")
    } else {
        format!("{number} {noun}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nouns_follow_their_number() {
        assert_eq!(
            (count(1, "letter"), count(0, "letter")),
            ("1 letter".into(), "0 letters".into())
        );
    }
}
