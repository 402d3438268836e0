//! The destinations of an event: where it is due, and where a filter passes over it.

use common::config::Destination;
use common::event::json::Wrong;
use common::event::{EventId, OrderKey};
use common::filter::{EventView, Verdict};
use common::store::{FilteredDestination, Ordered};

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

/// The order that an event keeps at those of the destinations where it is due. Its text is read only where one of them keeps any.
///
/// # Errors
/// It is not an event.
pub(super) fn ordered(
    destinations: &[Destination],
    due: &[String],
    body: &str,
) -> Result<Option<Ordered>, Wrong> {
    let kept = destinations.iter().filter(|it| it.order.is_some());
    let kept = kept.filter(|it| due.contains(&it.name));
    let destinations: Vec<String> = kept.map(|it| it.name.clone()).collect();
    if destinations.is_empty() {
        return Ok(None);
    }
    let key = OrderKey::of(body.as_bytes())?;
    Ok(key.map(|key| Ordered { key, destinations }))
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
    fn an_event_with_a_key_keeps_its_order_where_it_is_due_and_one_is_kept() {
        let named = |name: &str, order: &str| -> Destination {
            let text = format!("name = \"{name}\"\n{order}\nwebhook = {{ url = \"https://h\" }}");
            toml::from_str(&text).unwrap()
        };
        let destinations = [
            named("crm", "ordered = true"),
            named("mail", ""),
            named("billing", "ordered = true"),
        ];
        let due = ["crm".to_owned(), "mail".to_owned()];
        let body = |more: &str| {
            format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"a"{more}}}"#)
        };
        let found = ordered(&destinations, &due, &body(r#","subject":"order-7""#)).unwrap();
        let expected = Ordered {
            key: OrderKey::named("order-7"),
            destinations: vec!["crm".to_owned()],
        };
        assert_eq!(found, Some(expected));
        assert_eq!(ordered(&destinations, &due, &body("")), Ok(None));
        assert_eq!(ordered(&destinations, &due[1..], "no event"), Ok(None));
        assert!(ordered(&destinations, &due, "no event").is_err());
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
