use std::time::Instant;

use serde_json::json;

use super::*;
use crate::event::EventId;

mod conformance;

/// The verdict of an expression on an event with this `data`, in JSON.
fn judge(expression: &str, data: &str) -> Verdict {
    let event = format!(
        r#"{{"specversion":"1.0","id":"7","source":"/shop","type":"order.placed","subject":"Zoë","region":"eu","tries":3,
            "data":{data}}}"#
    );
    let filter = Filter::parse(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
    let view = EventView::read(event.as_bytes(), EventId::NONE).unwrap();
    filter.judge(&view)
}

const ORDER: &str = r#"{"plan":"pro","total":10.5,"items":[{"sku":"a","n":2},{"sku":"b","n":11}],"none":null,"big":18446744073709551615,
    "empty":[],"by":{"name":"Ada","tags":["x","y"]},"ten":10,"minus":-3,"yes":true,"digits":"42"}"#;

#[test]
fn an_expression_matches_or_not() {
    for (expression, expected) in [
        ("data.plan == 'pro'", true),
        ("data.plan != \"pro\"", false),
        (
            "type == 'order.placed' && source == '/shop' && id == '7'",
            true,
        ),
        ("subject == 'Zo\\u00eb' && size(subject) == 3", true),
        ("extensions.region == 'eu' && extensions.tries == 3", true),
        ("event_id == '00000000-0000-0000-0000-000000000000'", true),
        (
            "data.total > 10 && data.total < 11 && data.total == 10.5",
            true,
        ),
        ("data.ten > 10", false),
        (
            "data.ten == 10.0 && data.ten >= 9.99 && 10u == data.ten",
            true,
        ),
        (
            "data.big == 18446744073709551615 && data.big > 1.8e19",
            true,
        ),
        ("data.plan in ['free', 'pro'] && !(data.plan in [])", true),
        ("'name' in data.by && !('age' in data.by)", true),
        ("has(data.plan) && !has(data.gone) && has(data.none)", true),
        ("has(subject) && !has(time)", true),
        ("has(data.by.name) && data['by']['name'] == 'Ada'", true),
        ("data.none == null && data.plan != null", true),
        ("data.items.exists(i, i.n > 10 && i.sku == 'b')", true),
        ("data.items.all(i, i.n > 10)", false),
        ("data.items.exists_one(i, i.n > 10)", true),
        ("data.items.filter(i, i.n > 1).size() == 2", true),
        ("data.items.map(i, i.n) == [2, 11.0]", true),
        ("data.items.map(i, i.n > 2, i.sku) == ['b']", true),
        ("data.by.all(name, name in ['name', 'tags'])", true),
        (
            "data.empty.all(i, false) && !data.empty.exists(i, true)",
            true,
        ),
        ("data.items[1].sku == 'b' && data.items[0.0].n == 2", true),
        (
            "data.plan.startsWith('p') && data.plan.endsWith('o') && data.plan.contains('r')",
            true,
        ),
        (
            "data.plan.matches('^p[a-z]+$') && matches(source, 'sh')",
            true,
        ),
        (
            "data.ten + 1 == 11 && data.ten - data.minus == 13 && data.ten * 2 == 20",
            true,
        ),
        (
            "data.ten / 3 == 3 && data.ten % 3 == 1 && -7 / 2 == -3 && -7 % 2 == -1",
            true,
        ),
        ("data.total * 2 == 21 && data.ten / 4.0 == 2.5", true),
        (
            "1 + 2 * 3 == 7 && (1 + 2) * 3 == 9 && 10 - 3 - 2 == 5",
            true,
        ),
        ("'a' + 'b' == 'ab' && [1] + [2] == [1, 2]", true),
        ("data.yes ? data.ten > 5 : data.gone", true),
        ("data.ten > 100 ? true : false || true", true),
        ("!data.yes == false && !!data.yes", true),
        (
            "-data.minus == 3 && --3 == 3 && -9223372036854775808 < 0",
            true,
        ),
        (
            "int(data.digits) == 42 && double('1.5') == 1.5 && int(data.total) == 10",
            true,
        ),
        (
            "string(data.ten) == '10' && string(data.total) == '10.5' && uint('7') == 7",
            true,
        ),
        ("0x1F == 31 && 1e3 == 1000.0 && .5 == 0.5", true),
        (
            r#"'''it's "x"''' == "it's \"x\"" && r'\n' == '\\n' && '\x41\101\U0001F600' == 'AA😀'"#,
            true,
        ),
        ("true // and a comment\n && true", true),
        ("size(data) == 11 && data.items.size() == 2", true),
        ("data.items.exists(data, data.n == 2)", true),
        (
            "data.items.exists(i, data.items.exists(j, i.n < j.n))",
            true,
        ),
        ("false || data.plan == 'free' || data.ten == 10", true),
        ("0.0 / 0.0 != 0.0 / 0.0 && !(0.0 / 0.0 < 1.0)", true),
    ] {
        let expected = if expected {
            Verdict::Match
        } else {
            Verdict::NoMatch
        };
        assert_eq!(judge(expression, ORDER), expected, "{expression}");
    }
}

#[test]
fn an_expression_without_a_value_says_why_in_its_own_words() {
    for (expression, why) in [
        ("data.gone == 'pro'", "data.gone: no such member"),
        ("data.by.age > 3", "data.by.age: no such member"),
        ("data.gone.more == 1", "data.gone: no such member"),
        ("time > '2026'", "time: no such member"),
        ("data['go' + 'ne'] == 1", "data['…' + '…']: no such member"),
        ("data.items[2].n == 1", "data.items[2]: no such element"),
        ("data.items[-1].n == 1", "data.items[-1]: no such element"),
        (
            "data.plan > 3",
            "data.plan > 3: cannot compare a text with a number",
        ),
        (
            "data.plan.more == 1",
            "data.plan: expected an object, found a text",
        ),
        (
            "has(data.none.more)",
            "data.none: expected an object, found null",
        ),
        (
            "data.plan",
            "data.plan: expected a truth value, found a text",
        ),
        (
            "data.ten && true",
            "data.ten: expected a truth value, found a number",
        ),
        ("data.ten / 0 == 1", "data.ten / 0: divided by zero"),
        (
            "data.big + 1 == 0",
            "data.big + 1: beyond the range of numbers",
        ),
        (
            "data.big * data.big * data.big * data.big == 0",
            "data.big * data.big: beyond the range of numbers",
        ),
        (
            "int(data.plan) == 1",
            "int(data.plan): expected a number in the text",
        ),
        (
            "uint(data.minus) == 1",
            "uint(data.minus): beyond the range of numbers",
        ),
        ("int(1e300) == 1", "int(1e300): beyond the range of numbers"),
        (
            "data.plan + data.ten == ''",
            "data.plan + data.ten: expected a text to add, found a number",
        ),
        (
            "data.ten.contains('1')",
            "data.ten: expected a text, found a number",
        ),
        (
            "data.items.exists(i, i.gone == 1)",
            "i.gone: no such member",
        ),
        (
            "data.ten.exists(i, true)",
            "data.ten: expected a list or an object, found a number",
        ),
        (
            "1 in data.plan",
            "data.plan: expected a list or an object, found a text",
        ),
        ("data.gone == 1 || false", "data.gone: no such member"),
        (
            "data.total % 2 == 0",
            "data.total % 2: expected two whole numbers, found a number",
        ),
    ] {
        assert_eq!(
            judge(expression, ORDER),
            Verdict::Failed(why.to_owned()),
            "{expression}"
        );
    }
    let long = format!("data.{} == 1", "x".repeat(200));
    let Verdict::Failed(why) = judge(&long, ORDER) else {
        panic!("it has no such member");
    };
    assert!(why.chars().count() < 100, "{why}");
}

/// As in CEL: what decides by itself decides whatever the rest is.
#[test]
fn a_missing_member_does_not_matter_where_the_rest_decides() {
    for (expression, expected) in [
        ("data.gone == 1 || data.plan == 'pro'", Verdict::Match),
        ("data.plan == 'pro' || data.gone == 1", Verdict::Match),
        ("data.gone == 1 && data.plan == 'free'", Verdict::NoMatch),
        (
            "data.items.exists(i, i.gone == 1 || i.n == 11)",
            Verdict::Match,
        ),
        (
            "data.items.all(i, i.gone == 1 && i.n == 11)",
            Verdict::NoMatch,
        ),
        ("[1, 'a', 3].exists(i, i > 2)", Verdict::Match),
    ] {
        assert_eq!(judge(expression, ORDER), expected, "{expression}");
    }
}

#[test]
fn a_decimal_is_the_nearest_double_on_both_sides() {
    for number in [
        "10.1",
        "0.1",
        "1234567890123456.78",
        "5e-324",
        "1.7976931348623157e308",
    ] {
        let expression = format!("data.n == {number} && data.n >= {number}");
        let data = format!("{{\"n\":{number}}}");
        assert_eq!(judge(&expression, &data), Verdict::Match, "{number}");
    }
    // Neither is rounded to the other.
    let data = "{\"n\":9007199254740993}";
    assert_eq!(
        judge("data.n == 9007199254740992.0", data),
        Verdict::NoMatch
    );
    assert_eq!(judge("data.n > 9007199254740992.0", data), Verdict::Match);
    assert_eq!(
        judge(
            "data.n == 18446744073709551616.0",
            "{\"n\":18446744073709551616}"
        ),
        Verdict::Match
    );
    assert_eq!(
        judge(
            "data.n > 18446744073709551615",
            "{\"n\":18446744073709551616}"
        ),
        Verdict::Match
    );
}

#[test]
fn a_mistake_is_found_at_the_start_with_its_place() {
    for (expression, expected) in [
        (
            "",
            "line 1, column 1: expected a value, such as data.plan, \"pro\" or 10, found the end",
        ),
        (
            "data.plan = 'pro'",
            "line 1, column 11: expected an expression, found the character '='",
        ),
        (
            "data.plan == 'pro",
            "line 1, column 14: expected the end of the text: '",
        ),
        (
            "data.plan ==",
            "line 1, column 13: expected a value, such as data.plan, \"pro\" or 10, found the end",
        ),
        (
            "(data.plan == 'pro'",
            "line 1, column 20: expected `)`, found the end",
        ),
        (
            "data.a == 1 data.b",
            "line 1, column 13: expected an operator or the end, found `data`",
        ),
        (
            "true &&\n  plan == 'pro'",
            "line 2, column 3: expected one of id, source, type, time, subject, datacontenttype, \
            dataschema, data, data_base64, extensions, event_id, found `plan`",
        ),
        (
            "data.plan.lower() == 'pro'",
            "line 1, column 11: expected size, contains, startsWith, endsWith, matches, int, uint, \
            double, string, has, all, exists, exists_one, map or filter with its arguments, found `.lower` with 0",
        ),
        (
            "data.plan.contains()",
            "line 1, column 11: expected size, contains, startsWith, endsWith, matches, int, uint, \
            double, string, has, all, exists, exists_one, map or filter with its arguments, found `.contains` with 0",
        ),
        (
            "'pro'",
            "line 1, column 1: expected a truth value, found a text",
        ),
        (
            "data.total * 2",
            "line 1, column 1: expected a truth value, found a number",
        ),
        (
            "true || 1",
            "line 1, column 9: expected a truth value, found a number",
        ),
        (
            "type == 5",
            "line 1, column 9: expected a text to compare with, found a number",
        ),
        (
            "type > true",
            "line 1, column 8: expected a text to compare with, found a truth value",
        ),
        (
            "data.x in 'abc'",
            "line 1, column 11: expected a list or an object behind `in`, found a text",
        ),
        (
            "type.plan == 'x'",
            "line 1, column 1: expected an object, found a text",
        ),
        (
            "has(data)  && has('x')",
            "line 1, column 19: expected a member, such as data.plan",
        ),
        (
            "data.x.matches('(')",
            "line 1, column 16: expected a pattern: unclosed group",
        ),
        (
            "data.x.matches(data.y)",
            "line 1, column 16: expected a pattern in quotation marks",
        ),
        (
            "data.x.exists(1, true)",
            "line 1, column 15: expected the name of a variable, found a number",
        ),
        (
            "data.x.exists(if, true)",
            "line 1, column 15: expected the name of a variable, found `if`",
        ),
        (
            "data.x.all(i, 'x')",
            "line 1, column 15: expected a truth value, found a text",
        ),
        (
            "data.x == 1x",
            "line 1, column 11: expected a number, such as 10, 0x1f or 2.5e3",
        ),
        (
            "data.x == 99999999999999999999",
            "line 1, column 11: expected a whole number up to 18446744073709551615, or a \
            decimal one up to 1.7e308",
        ),
        (
            "data.x == '\\q'",
            "line 1, column 12: expected an escape, such as \\n, \\\" or \\u00e9",
        ),
        (
            "data.x == 'ä' && é",
            "line 1, column 18: expected an expression, found the character 'é'",
        ),
        (
            "data.x == {'a': 1}",
            "line 1, column 11: expected a value, such as data.plan, \"pro\" or 10, found `{`",
        ),
    ] {
        let error = Filter::parse(expression).map(|filter| filter.source().to_owned());
        let error = error.expect_err(expression).to_string();
        assert_eq!(error, expected, "{expression}");
    }
}

#[test]
fn an_expression_is_bounded_in_length_and_depth() {
    let fits = format!("true{}", " ".repeat(MAX_SOURCE - 4));
    assert!(Filter::parse(&fits).is_ok());
    let error = Filter::parse(&format!("{fits} ")).unwrap_err();
    assert_eq!(error.problem, "expected at most 4096 bytes, found 4097");
    let deep = |open: &str, close: &str, times: usize| {
        format!("{}true{}", open.repeat(times), close.repeat(times))
    };
    assert!(Filter::parse(&deep("(", ")", MAX_DEPTH - 1)).is_ok());
    for hostile in [
        deep("(", ")", MAX_DEPTH),
        deep("(", ")", 2000),
        "(".repeat(4000),
        "[".repeat(4000),
        "data[".repeat(800),
        format!("data{}", ".a".repeat(2000)),
        format!("1{} == 1", "+1".repeat(1500)),
        format!("1{} == 1", " - 1".repeat(1000)),
        format!("data.a{}", "[0]".repeat(1300)),
        format!("{}true", "true?true:".repeat(400)),
        format!("data.a{}", ".map(a,a)".repeat(400)),
        "data.all(a,".repeat(370),
        "has(".repeat(1000),
        "!(".repeat(2000),
        "-(".repeat(2000),
        format!("data.a{}", "==data.a".repeat(400)),
    ] {
        let error = Filter::parse(&hostile).expect_err(&hostile);
        assert!(
            error.problem.contains("levels inside each other"),
            "{error}"
        );
    }
    // These go on beside each other.
    for flat in [
        format!("true{}", " || true".repeat(500)),
        format!("true{}", " && true".repeat(500)),
        format!("1 in [{}1]", "1,".repeat(2000)),
        format!("{}true", "!!".repeat(2000)),
        format!("1 == {}1", "--".repeat(2000)),
    ] {
        assert_eq!(judge(&flat, "{}"), Verdict::Match, "{flat}");
    }
}

/// The largest event, and expressions whose cost is a product of its parts.
#[test]
fn no_event_takes_more_than_a_bounded_number_of_steps() {
    let numbers = vec!["0"; 120_000].join(",");
    let lists = format!("{{\"l\":[{numbers}]}}");
    let halves = format!(
        "{{\"l\":[{}],\"s\":\"{}\"}}",
        vec!["0"; 60_000].join(","),
        "a".repeat(120_000)
    );
    let texts = format!(
        "{{\"l\":[{}]}}",
        vec!["\"aaaaaaaaaaaaaaab\""; 12_000].join(",")
    );
    let text = format!("{{\"s\":\"{}\"}}", "ab".repeat(120_000));
    let events = [&lists, &halves, &texts, &text];
    let expressions = [
        "data.l.all(x, data.l.all(y, x == y))",
        "data.l.map(x, data.l).size() > 0",
        "data.l.map(x, data.s + data.s).size() > 0",
        "data.l.filter(x, data.s.contains('ab')).size() > 0",
        "data.l.all(x, !data.s.startsWith(data.s + 'a'))",
        "data.l.exists(x, data.s.matches('(a|b)*c'))",
        "data.l.exists(x, x.matches('(a*)*c'))",
        "data.l.exists(x, x.gone == 1)",
        "data.l.all(x, data.l == data.l)",
        "data.l.exists(x, x in data.l.map(y, y + 1))",
        "data.l + data.l + data.l + data.l == []",
        "data.s.matches('(?i)(ab|ba|aab|bba){1,40}(c|d){1,40}$')",
        "data.s.matches('[ab]*b[ab]{60}c')",
        "[data.l, data.l, data.l].all(a, a.all(b, [b, b].all(c, c != 1)))",
        "size(data.s + data.s + data.s + data.s) > 0",
    ];
    for data in events {
        let event = format!(r#"{{"id":"1","source":"/s","type":"t","data":{data}}}"#);
        let view = EventView::read(event.as_bytes(), EventId::NONE).unwrap();
        for expression in expressions {
            let filter = Filter::parse(expression).unwrap();
            let began = Instant::now();
            let verdict = filter.judge(&view);
            let took = began.elapsed();
            println!("{took:?} {expression}: {verdict:?}");
            assert!(took.as_secs() < 2, "{took:?} {expression}");
        }
    }
    let spent = judge("data.l.all(x, data.l.all(y, x == y))", &lists);
    assert_eq!(
        spent,
        Verdict::Failed("took more than 100000 steps".to_owned())
    );
    // It is not a fault of a part, which another part could make up for.
    let spent = judge("data.l.all(x, data.l.all(y, x == y)) || true", &lists);
    assert_eq!(
        spent,
        Verdict::Failed("took more than 100000 steps".to_owned())
    );
}

#[test]
fn a_filter_sees_binary_data_and_the_extensions_apart_from_the_event() {
    let event = json!({
        "specversion": "1.0", "id": "7", "source": "/s", "type": "t", "data_base64": "AAE=",
        "extensions": "mine", "eventid": 5,
    });
    let text = event.to_string();
    let view = EventView::read(text.as_bytes(), EventId::NONE).unwrap();
    let matches = |expression: &str| Filter::parse(expression).unwrap().judge(&view);
    for expression in [
        "data_base64 == 'AAE=' && !has(data)",
        "extensions == extensions && extensions.extensions == 'mine' && extensions.eventid == 5",
        "!has(extensions.specversion)",
    ] {
        assert_eq!(matches(expression), Verdict::Match, "{expression}");
    }
    for bad in [
        "",
        "[]",
        "{",
        "{\"a\":1,\"a\":2}",
        "{\"data\":{\"a\":1,\"a\":2}}",
    ] {
        assert!(
            EventView::read(bad.as_bytes(), EventId::NONE).is_err(),
            "{bad}"
        );
    }
}
