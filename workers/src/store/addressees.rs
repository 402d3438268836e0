//! The destinations of an event: where it is due, and where a filter passes over it.

use common::config::Destination;
use common::event::EventId;
use common::event::json::Wrong;
use common::filter::{EventView, Verdict};
use common::store::FilteredDestination;

/// The destinations that take the type of an event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Addressees {
    /// Those where it is due.
    pub(super) due: Vec<String>,
    /// Those whose filter passes over it.
    pub(super) filtered: Vec<FilteredDestination>,
}

/// The destinations of an event of the type `kind`. Its text is read only where one of them has a filter.
///
/// # Errors
/// It is not an event.
pub(super) fn addressees(
    destinations: &[Destination],
    kind: &str,
    id: EventId,
    body: &str,
) -> Result<Addressees, Wrong> {
    let mut addressees = Addressees::default();
    let mut view = None;
    for destination in destinations.iter().filter(|it| it.takes(kind)) {
        let name = destination.name.clone();
        let Some(filter) = &destination.filter else {
            addressees.due.push(name);
            continue;
        };
        let view = match &mut view {
            Some(view) => view,
            none => none.insert(EventView::read(body.as_bytes(), id)?),
        };
        let error = match filter.judge(view) {
            Verdict::Match => {
                addressees.due.push(name);
                continue;
            }
            Verdict::NoMatch => None,
            Verdict::Failed(why) => Some(why),
        };
        addressees.filtered.push(FilteredDestination {
            destination: name,
            error,
        });
    }
    Ok(addressees)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testbed::destination;

    fn filtering(name: &str, filter: &str) -> Destination {
        Destination {
            name: name.to_owned(),
            filter: Some(common::filter::Filter::parse(filter).unwrap()),
            ..destination("https://crm.example.com/hook")
        }
    }

    #[test]
    fn an_event_is_due_where_its_filter_matches_and_the_others_say_why_not() {
        let destinations = [
            filtering("pro", "data.plan == 'pro'"),
            filtering("free", "data.plan == 'free'"),
            filtering("rich", "data.total > 10"),
            Destination {
                name: "all".to_owned(),
                ..destination("https://crm.example.com/hook")
            },
        ];
        let body = json!({
            "specversion": "1.0", "id": "1", "source": "/shop", "type": "a.b", "data": {"plan": "pro"},
        });
        let found = addressees(&destinations, "a.b", EventId::born(), &body.to_string()).unwrap();
        let filtered = |destination: &str, error: Option<&str>| FilteredDestination {
            destination: destination.to_owned(),
            error: error.map(str::to_owned),
        };
        assert_eq!(found.due, ["pro", "all"]);
        let why = Some("data.total: no such member");
        assert_eq!(
            found.filtered,
            [filtered("free", None), filtered("rich", why)]
        );
    }

    #[test]
    fn an_event_is_read_only_for_a_filter_that_is_asked() {
        let mut narrow = filtering("narrow", "true");
        narrow.types = vec!["c.d".to_owned()];
        let plain = destination("https://crm.example.com/hook");
        let id = EventId::born();
        let found = addressees(&[narrow, plain], "a.b", id, "no event").unwrap();
        assert_eq!(found.due.len(), 1);
        assert!(addressees(&[filtering("any", "true")], "a.b", id, "no event").is_err());
    }
}
