//! File descriptors: each connection is one, and most systems give a program fewer than it may have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Asks for as many descriptors as this program may have, and says how many these are; `None` where nothing
/// bounds them.
pub fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: maximum,
        maximum,
    };
    // Some systems refuse a program its own maximum; then the program keeps its present limit.
    if current == maximum || setrlimit(Resource::Nofile, wanted).is_err() {
        return current;
    }
    maximum
}

/// How many connections fit into `limit` descriptors beside all else a program has open.
pub fn connections_within(limit: Option<u64>) -> usize {
    let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok()) else {
        return usize::MAX;
    };
    let rest = (limit / 8).max(128.min(limit / 2));
    limit - rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_descriptors_are_kept_for_broker_and_database() {
        for (limit, connections) in [
            (None, usize::MAX),
            (Some(100), 50),
            (Some(1024), 896),
            (Some(8192), 7168),
        ] {
            assert_eq!(connections_within(limit), connections);
        }
    }

    #[test]
    fn all_that_may_be_had_is_asked_for() {
        let raised = raise();
        assert_eq!(getrlimit(Resource::Nofile).current, raised);
        assert_eq!(getrlimit(Resource::Nofile).maximum, raised);
    }
}
