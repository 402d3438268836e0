//! Random expressions and events: nothing panics, and the verdicts are those of the crate `cel`.

use std::collections::HashMap;
use std::time::Instant;

use cel::{Context, Program, Value as Cel};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;

/// A value as the other implementation takes it.
fn cel_of(value: &Json) -> Cel {
    match value {
        Json::Null => Cel::Null,
        Json::Bool(truth) => Cel::Bool(*truth),
        Json::Number(number) => number
            .as_i64()
            .map_or_else(|| Cel::Float(number.as_f64().unwrap_or_default()), Cel::Int),
        Json::String(text) => text.as_str().into(),
        Json::Array(values) => values.iter().map(cel_of).collect::<Vec<Cel>>().into(),
        Json::Object(members) => {
            let members = members.iter();
            let members: HashMap<String, Cel> = members
                .map(|(name, value)| (name.clone(), cel_of(value)))
                .collect();
            members.into()
        }
    }
}

/// The verdict of the other implementation; `None` where it is an error or not a truth value.
fn verdict_of_cel(expression: &str, data: &Json) -> Option<bool> {
    let program = Program::compile(expression).ok()?;
    let mut context = Context::default();
    context.add_variable_from_value("data", cel_of(data));
    context.add_variable_from_value("type", "order.placed");
    match program.execute(&context) {
        Ok(Cel::Bool(truth)) => Some(truth),
        _ => None,
    }
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|it| json!(it)),
        (-5_i64..20).prop_map(|it| json!(it)),
        any::<i64>().prop_map(|it| json!(it)),
        (-8_i32..20).prop_map(|it| json!(f64::from(it) / 2.0)),
        prop_oneof![Just("pro"), Just("p"), Just(""), Just("Zoë")].prop_map(|it| json!(it)),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|it| json!(it)),
            prop::collection::btree_map("[abc]", inner, 0..4).prop_map(|it| json!(it)),
        ]
    })
}

/// Data with members `a` to `e`, of which some have the type that their name promises to the expressions.
fn data() -> impl Strategy<Value = Json> {
    let members = (
        any_json(),
        any_json(),
        -9_i64..9,
        -9_i32..9,
        prop::collection::vec(any_json(), 0..4),
        prop_oneof![Just("pro"), Just("plan"), Just("")],
    );
    members.prop_map(|(a, b, whole, half, list, text)| {
        json!({
            "a": a, "b": b, "whole": whole, "half": f64::from(half) / 2.0 + 0.25, "list": list, "text": text,
        })
    })
}

/// A whole number, without a mixture: the other implementation refuses that.
fn whole() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        (-9_i32..9).prop_map(|it| it.to_string()),
        Just("data.whole".to_owned()),
        Just("size(data.list)".to_owned()),
        Just("size(data.text)".to_owned()),
    ];
    leaf.prop_recursive(3, 8, 2, |inner| {
        (inner.clone(), "[+*/%-]", inner)
            .prop_map(|(one, operator, other)| format!("({one} {operator} {other})"))
    })
}

/// A decimal number.
fn decimal() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        (-9_i32..9).prop_map(|it| format!("{:?}", f64::from(it) / 4.0)),
        Just("data.half".to_owned()),
        Just("double(data.whole)".to_owned()),
    ];
    leaf.prop_recursive(2, 4, 2, |inner| {
        (inner.clone(), "[+*-]", inner)
            .prop_map(|(one, operator, other)| format!("({one} {operator} {other})"))
    })
}

/// Anything that is not known to be a truth value.
fn any_value() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => prop_oneof![
            Just("data.a"), Just("data.b"), Just("data.a.b"), Just("data.gone"), Just("data.a[0]"), Just("data.a['a']"),
            Just("data.list"), Just("data.list[1]"), Just("data"), Just("data.text"), Just("type"), Just("null"),
            Just("'pro'"), Just("'p'"), Just("[]"), Just("true"),
        ].prop_map(str::to_owned),
        1 => whole(),
        1 => decimal(),
        1 => (whole(), decimal()).prop_map(|(one, other)| format!("[{one}, {other}, 'pro']")),
        1 => Just("data.list.map(x, x)".to_owned()),
        1 => Just("data.list.filter(x, x != null)".to_owned()),
    ]
}

/// A truth value.
fn condition() -> impl Strategy<Value = String> {
    let relation = || "==|!=|<|<=|>|>=";
    let leaf = prop_oneof![
        (any_value(), relation(), any_value()).prop_map(|(a, it, b)| format!("{a} {it} {b}")),
        (whole(), relation(), decimal()).prop_map(|(a, it, b)| format!("{a} {it} {b}")),
        (any_value(), any_value()).prop_map(|(a, b)| format!("{a} in {b}")),
        prop_oneof![
            Just("has(data.a)"),
            Just("has(data.a.b)"),
            Just("has(data.gone)"),
            Just("data.a"),
            Just("data.b"),
            Just("data.text.startsWith('p')"),
            Just("data.a.contains('r')"),
            Just("data.text.endsWith('')"),
            Just("data.text.matches('^p.*')"),
            Just("type.contains('.')"),
            Just("data.gone.startsWith('x')"),
            Just("size(data.a) > 1"),
            Just("true"),
            Just("false"),
        ]
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let macros = "all|exists|exists_one";
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} && {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            inner.clone().prop_map(|a| format!("!({a})")),
            (macros, inner.clone(), any_value())
                .prop_map(|(it, a, b)| { format!("data.list.{it}(x, {a} || x == {b})") }),
            inner.prop_map(|a| format!("data.list.filter(x, {a}).size() == 1")),
        ]
    })
}

/// Pieces of expressions, in any order.
fn rubble() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("data"),
        Just("."),
        Just("a"),
        Just("("),
        Just(")"),
        Just("["),
        Just("]"),
        Just("=="),
        Just("&&"),
        Just("||"),
        Just("!"),
        Just("-"),
        Just("'x'"),
        Just("\""),
        Just("1"),
        Just("2.5e3"),
        Just("0x"),
        Just("in"),
        Just("has("),
        Just(".exists(i, "),
        Just("?"),
        Just(":"),
        Just(","),
        Just("\\"),
        Just("r'"),
        Just("'''"),
        Just("//"),
        Just("é"),
        Just("\n"),
        Just("u"),
        Just("%"),
        Just("/"),
        Just("*"),
        Just("{"),
        Just("}"),
        Just("true"),
        Just(" "),
    ];
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn a_verdict_is_that_of_another_implementation(expression in condition(), data in data()) {
        // What is refused at the start has no verdict.
        if Filter::parse(&expression).is_ok() {
            let verdict = judge(&expression, &data.to_string());
            let found = match &verdict {
                Verdict::Match => Some(true),
                Verdict::NoMatch => Some(false),
                Verdict::Failed(_) => None,
            };
            let expected = verdict_of_cel(&expression, &data);
            prop_assert_eq!(found, expected, "{} on {}: {:?}", expression, data, verdict);
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in ".{0,80}", rubble in rubble()) {
        let _ = Filter::parse(&text);
        let _ = Filter::parse(&rubble);
    }

    #[test]
    fn every_event_is_judged_in_time_and_without_its_values(expression in condition(), data in any_json()) {
        let secret = json!({"a": data, "b": "hunter2", "list": ["hunter2", {"hunter2": "hunter2"}], "text": 5}).to_string();
        if let Ok(filter) = Filter::parse(&expression) {
            let event = format!(r#"{{"id":"hunter2","source":"hunter2","type":"hunter2","data":{secret}}}"#);
            let view = EventView::read(event.as_bytes(), EventId::NONE).unwrap();
            let began = Instant::now();
            if let Verdict::Failed(why) = filter.judge(&view) {
                prop_assert!(!why.contains("hunter2"), "{}", why);
            }
            prop_assert!(began.elapsed().as_secs() < 5);
        }
    }

    #[test]
    fn a_mistake_names_a_place_in_the_expression(rubble in rubble()) {
        if let Err(error) = Filter::parse(&rubble) {
            let lines: Vec<&str> = rubble.split('\n').collect();
            let line = lines.get(error.line - 1);
            prop_assert!(line.is_some_and(|it| error.column <= it.chars().count() + 1), "{:?}: {}", rubble, error);
        }
    }
}
