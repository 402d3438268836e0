//! Chooses dead letters.

use clap::{Args, ValueEnum};
use common::bootstrap::Failure;
use common::event::EventId;
use common::reason::{Cause, ReasonCode};
use common::store::{DeadFilter, Moment};
use common::topology::Names;
use operate::queues::whole_name;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::when;

/// The heading of the help texts that lists how to choose dead letters.
pub(super) const WHICH: &str = "Which ones";

/// Every condition that is given must hold.
#[derive(Debug, Clone, Default, Args)]
pub struct FilterArgs {
    /// Died in this queue, such as `store` or `integrate.crm`
    #[arg(long, help_heading = WHICH)]
    pub queue: Option<String>,
    /// On the way to this destination
    #[arg(long, help_heading = WHICH)]
    pub destination: Option<String>,
    /// Of this event type
    #[arg(long = "type", value_name = "TYPE", help_heading = WHICH)]
    pub kind: Option<String>,
    /// For this reason code (`longshore explain` lists them)
    #[arg(long, value_name = "CODE", help_heading = WHICH)]
    pub reason: Option<ReasonCode>,
    /// For a reason of this cause
    #[arg(long, help_heading = WHICH)]
    pub cause: Option<CauseArg>,
    /// Of this event
    #[arg(long, value_name = "ID", help_heading = WHICH)]
    pub event: Option<EventId>,
    /// Given up then or later: a moment in RFC 3339, or how long ago it was, such as `2h`
    #[arg(long, value_name = "WHEN", value_parser = when::moment, help_heading = WHICH)]
    pub since: Option<OffsetDateTime>,
    /// Given up before then
    #[arg(long, value_name = "WHEN", value_parser = when::moment, help_heading = WHICH)]
    pub until: Option<OffsetDateTime>,
    /// One group of `longshore dead stats`: with this in common, word for word as it shows it
    #[arg(long, value_name = "ERROR", help_heading = WHICH)]
    pub fingerprint: Option<String>,
    /// With this text anywhere in the error; A to Z or a to z makes no difference
    #[arg(long, help_heading = WHICH)]
    pub text: Option<String>,
}

/// Whose doing it is.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum CauseArg {
    /// A receiver said no or did not answer
    Theirs,
    /// One of our handlers failed
    Ours,
    /// The event itself is wrong
    Shape,
    /// Broker, database or network, or a limit set on them
    Infrastructure,
}

impl From<CauseArg> for Cause {
    fn from(cause: CauseArg) -> Self {
        match cause {
            CauseArg::Theirs => Self::Theirs,
            CauseArg::Ours => Self::Ours,
            CauseArg::Shape => Self::Shape,
            CauseArg::Infrastructure => Self::Infrastructure,
        }
    }
}

impl FilterArgs {
    /// Whether no condition is given.
    pub(crate) fn is_empty(&self) -> bool {
        let Self {
            queue,
            destination,
            kind,
            reason,
            cause,
            event,
            since,
            until,
            fingerprint,
            text,
        } = self;
        [queue, destination, kind, fingerprint, text]
            .iter()
            .all(|it| it.is_none())
            && [since, until].iter().all(|it| it.is_none())
            && (reason.is_none() && cause.is_none() && event.is_none())
    }

    /// The filter as the store knows it, in any state.
    pub(crate) fn filter(&self, names: &Names) -> DeadFilter {
        DeadFilter {
            ids: None,
            queue: self.queue.as_deref().map(|queue| whole_name(queue, names)),
            destination: self.destination.clone(),
            kind: self.kind.clone(),
            reason: self.reason,
            cause: self.cause.map(Into::into),
            event: self.event,
            state: None,
            since: self.since.map(Moment),
            until: self.until.map(Moment),
            fingerprint: self.fingerprint.clone(),
            text: self.text.clone(),
        }
    }
}

/// What a command does something to: some letters by their ids, or all that conditions choose.
#[derive(Debug, Clone, Default, Args)]
pub struct ChoiceArgs {
    /// The dead letters; else all that the conditions below choose
    #[arg(value_name = "ID")]
    pub ids: Vec<Uuid>,
    /// What else they must be.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Every one there is
    #[arg(long, help_heading = WHICH)]
    pub all: bool,
}

impl ChoiceArgs {
    /// The filter as the store knows it, in any state.
    ///
    /// # Errors
    /// Nothing was chosen, or both some and all.
    pub(crate) fn filter(&self, names: &Names) -> Result<DeadFilter, Failure> {
        let chosen = !self.ids.is_empty() || !self.filter.is_empty();
        if self.all == chosen {
            let found = if chosen { "both" } else { "neither" };
            return Err(Failure::Usage(format!(
                "expected either ids or conditions such as --destination, or --all; found {found}"
            )));
        }
        let mut ids = self.ids.clone();
        ids.sort_unstable();
        ids.dedup();
        Ok(DeadFilter {
            ids: (!ids.is_empty()).then_some(ids),
            ..self.filter.filter(names)
        })
    }
}

#[cfg(test)]
mod tests {
    use common::namespace::Namespace;

    use super::*;

    fn names() -> Names {
        Names::new(Namespace::default())
    }

    #[test]
    fn some_or_all_are_chosen_and_never_both() {
        let some = ChoiceArgs {
            ids: vec![Uuid::max(), Uuid::nil(), Uuid::max()],
            ..ChoiceArgs::default()
        };
        let filter = some.filter(&names()).unwrap();
        assert_eq!(filter.ids, Some(vec![Uuid::nil(), Uuid::max()]));

        let all = ChoiceArgs {
            all: true,
            ..ChoiceArgs::default()
        };
        assert_eq!(all.filter(&names()).unwrap(), DeadFilter::default());

        let both = ChoiceArgs { all: true, ..some };
        for wrong in [ChoiceArgs::default(), both] {
            let refused = wrong.filter(&names());
            assert!(refused.is_err_and(|failure| failure.code() == 2));
        }
    }

    #[test]
    fn each_condition_alone_makes_a_filter_that_is_not_empty() {
        let text = || Some("x".to_owned());
        let with = |change: fn(&mut FilterArgs)| {
            let mut args = FilterArgs::default();
            change(&mut args);
            args
        };
        assert!(FilterArgs::default().is_empty());
        for args in [
            FilterArgs {
                queue: text(),
                ..FilterArgs::default()
            },
            FilterArgs {
                destination: text(),
                ..FilterArgs::default()
            },
            FilterArgs {
                kind: text(),
                ..FilterArgs::default()
            },
            FilterArgs {
                fingerprint: text(),
                ..FilterArgs::default()
            },
            FilterArgs {
                text: text(),
                ..FilterArgs::default()
            },
            with(|args| args.reason = Some(ReasonCode::Crashed)),
            with(|args| args.cause = Some(CauseArg::Ours)),
            with(|args| args.event = Some(EventId::born())),
            with(|args| args.since = Some(OffsetDateTime::UNIX_EPOCH)),
            with(|args| args.until = Some(OffsetDateTime::UNIX_EPOCH)),
        ] {
            assert!(!args.is_empty(), "{args:?}");
            assert_ne!(args.filter(&names()), DeadFilter::default());
        }
    }
}
