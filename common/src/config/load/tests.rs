use std::time::Duration;

use super::super::Secret;
use super::*;
use crate::config::Transport;

fn with(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    load_from(
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    )
}

fn with_file(text: &str, pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let path = folder.path().join("longshore.toml");
    std::fs::write(&path, text).unwrap_or_else(|error| panic!("{error}"));
    let path = path.to_string_lossy().into_owned();
    let mut all = vec![(FILE, path.as_str())];
    all.extend(pairs);
    with(&all)
}

#[test]
fn nothing_set_means_the_documented_defaults() {
    let config = with(&[]).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.namespace.as_str(), "longshore");
    assert_eq!(
        config.broker.url.to_string(),
        "sqlite:longshore-data/broker.db"
    );
    let database = config.database.url.to_string();
    assert_eq!(database, "sqlite:longshore-data/longshore.db");
    assert_eq!(config.listen, None);
}

#[test]
fn the_environment_stands_over_the_file() {
    let file = "namespace = \"a\"\n[broker]\nheartbeat = \"20s\"\nwindow = 7\n";
    let config = with_file(
        file,
        &[
            ("LONGSHORE_NAMESPACE", "b"),
            ("LONGSHORE__BROKER__WINDOW", "9"),
        ],
    );
    let config = config.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.namespace.as_str(), "b");
    assert_eq!(config.broker.window, 9);
    assert_eq!(config.broker.heartbeat, Duration::from_secs(20));
}

#[test]
fn the_key_of_an_operator_is_not_a_key_of_the_configuration() {
    let key = (OPERATOR_KEY, "lsk_hunter2");
    assert!(with(&[key]).is_ok());
    let sources = Sources::read([(key.0.to_owned(), key.1.to_owned())]);
    let table = sources.map(|sources| sources.table.to_string());
    assert_eq!(table, Ok(String::new()));
    let almost = with(&[("LONGSHORE_OPERATOR_KEYS", "lsk_hunter2")]);
    let told = almost
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    assert!(
        told.contains(OPERATOR_KEY) && !told.contains("hunter2"),
        "{told}"
    );
}

#[test]
fn mistakes_name_where_they_stand_and_what_was_expected() {
    type Case = (
        &'static str,
        &'static [(&'static str, &'static str)],
        &'static [&'static str],
    );
    let cases: [Case; 9] = [
        (
            "",
            &[("LONGSHORE_BROKER", "x")],
            &["LONGSHORE_BROKER", "LONGSHORE_BROKER_URL"],
        ),
        (
            "",
            &[("LONGSHORE__BROKER__WINDOWS", "1")],
            &["WINDOWS", "windows", "window"],
        ),
        (
            "",
            &[("LONGSHORE__BROKER__WINDOW", "many")],
            &["WINDOW", "usize", "a text"],
        ),
        (
            "",
            &[("LONGSHORE_BROKER_URL", "redis://h")],
            &["broker.url", "amqp://", "sqlite:PATH", "redis://"],
        ),
        (
            "",
            &[("LONGSHORE_NAMESPACE", "No")],
            &["LONGSHORE_NAMESPACE", "lower-case", "No"],
        ),
        ("[brokers]\n", &[], &["longshore.toml", "line 1", "brokers"]),
        (
            "[broker]\nheartbeat = 5\n",
            &[],
            &["longshore.toml", "line 2"],
        ),
        ("[store]\nbatch = 0\n", &[], &["store.batch", "at least 1"]),
        (
            "[[destination]]\nname = \"a\"\nwebhook = {url = \"ftp://h\"}\n",
            &[],
            &["webhook.url"],
        ),
    ];
    for (file, variables, words) in cases {
        match with_file(file, variables) {
            Ok(_) => panic!("expected an error about {words:?}"),
            Err(error) => {
                for word in words {
                    let text = error.to_string();
                    assert!(text.contains(word), "{word:?} in {text}");
                }
            }
        }
    }
}

#[test]
fn no_mistake_shows_a_line_of_the_file() {
    let webhook =
        |inside: &str| format!("[[destination]]\nname = \"a\"\nwebhook = {{ {inside} }}\n");
    let url = "https://u:hunter2@h/x?token=hunter2";
    for (file, words) in [
        (
            webhook(&format!(
                "url = \"{url}\", secret = \"whsec_hunter2\", sceret = 1"
            )),
            ["line 3", "destination.webhook", "sceret"],
        ),
        (
            "[database]\nurl = [\"postgres://u:hunter2@h/d\"]\n".to_owned(),
            ["line 2", "database.url", "expected a secret"],
        ),
        (
            "[database]\nurl = { env = \"postgres://u:hunter2@h/d\" }\n".to_owned(),
            ["line 2", "database.url", "name of a variable"],
        ),
        (
            "[database]\nurl = { env = \"A\", file = \"hunter2\" }\n".to_owned(),
            ["line 2", "database.url", "expected a secret"],
        ),
        (
            format!("[[destination]]\nname = \"a\"\nwebhook = \"{url}\"\n"),
            ["line 3", "destination.webhook", "a text"],
        ),
        (
            webhook("url = \"h.example/hook?key=hunter2\""),
            ["line 3", "webhook.url", "https://"],
        ),
        (
            "[[destination]]\nname = \"https://u:hunter2@h\"\nwebhook = { url = \"https://h\" }\n"
                .to_owned(),
            ["lower-case", "name", "destination"],
        ),
        (
            "[[destination]]\nname = \"a\"\ntimeout = \"hunter2\"\n".to_owned(),
            ["line 3", "destination.timeout", "30s"],
        ),
        (
            "[[destination]]\nname = \"a\"\nrate = \"hunter2\"\n".to_owned(),
            ["line 3", "destination.rate", "50/s"],
        ),
        (
            "[broker]\n\"u:hunter2@h\" = 1\n".to_owned(),
            ["line 2", "broker", "unknown field"],
        ),
        (
            "[broker]\nurl = \"amqp://u:12/hunter2@h\"\n".to_owned(),
            ["line 2", "broker.url", "%2F"],
        ),
        (
            "[[type]]\nname = \"a\"\nschema = { properties.a.type = \"hunter2\" }\n".to_owned(),
            ["schema", "/properties/a/type", "\"a\""],
        ),
        (
            webhook("url = \"u:hunter2@h.example/hook\""),
            ["destination.a.webhook.url", "http://", "found none"],
        ),
        (
            "[broker]\nwindow = \"hunter2\"\n".to_owned(),
            ["line 2", "broker.window", "usize"],
        ),
        (
            "[broker]\nurl = \"amqp://u:hunter2@h\n".to_owned(),
            ["line 2", "longshore.toml", "expected"],
        ),
        (
            "[log]\nformat = \"hunter2\"\n".to_owned(),
            ["line 2", "log.format", "json"],
        ),
        (
            "[secrets]\nseal = [\"hunter2\"]\n".to_owned(),
            ["secrets.seal", "16 bytes", "found one of 7"],
        ),
    ] {
        let error = with_file(&file, &[]).map(|_| ()).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
        for word in words {
            assert!(error.contains(word), "{word:?} in {error}");
        }
    }
}

#[test]
fn no_variable_s_mistake_shows_its_value() {
    for (name, value) in [
        ("LONGSHORE_BROKER_URL", "hunter2"),
        ("LONGSHORE_BROKER_URL", "hunter2:hunter2@host"),
        ("LONGSHORE_DATABASE_URL", "mysql://u:hunter2@host"),
        ("LONGSHORE__BROKER__URL", "[\"amqp://u:hunter2@h\"]"),
        ("LONGSHORE__BROKER__WINDOW", "hunter2"),
        (
            "LONGSHORE__DESTINATION",
            "[{ name = \"a\", webhook = { url = \"hunter2\" } }]",
        ),
    ] {
        let error = with(&[(name, value)]).map(|_| ()).unwrap_err().to_string();
        assert!(
            !error.contains("hunter2") && error.contains("expected"),
            "{error}"
        );
    }
}

#[test]
fn a_schema_is_any_json_schema() {
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let path = folder.path().join("longshore.toml");
    let schema = r#"{"type": ["string", "null"], "default": null, "maximum": 1e30}"#;
    for (file, text) in [
        (
            "longshore.toml",
            "[[type]]\nname = \"a.b\"\nschema_file = \"a.json\"\n[[type]]\nname = \"a.c\"\nschema = true\n",
        ),
        // With the byte order mark of some editors.
        ("a.json", &format!("\u{feff}{schema}")),
    ] {
        std::fs::write(folder.path().join(file), text).unwrap_or_else(|error| panic!("{error}"));
    }
    let path = path.to_string_lossy().into_owned();
    let config = with(&[(FILE, &path)]).unwrap_or_else(|error| panic!("{error}"));
    let expected = serde_json::from_str(schema).ok();
    assert_eq!(config.types[0].schema, expected);
    assert_eq!(config.types[1].schema, Some(true.into()));
    for (text, word) in [("{", "JSON Schema"), ("{\"type\": 7}", "a.b")] {
        std::fs::write(folder.path().join("a.json"), text)
            .unwrap_or_else(|error| panic!("{error}"));
        let error = with(&[(FILE, &path)]).map(|_| ());
        assert!(
            error
                .clone()
                .is_err_and(|error| error.to_string().contains(word)),
            "{error:?}"
        );
    }
}

#[test]
fn a_variable_that_is_not_utf8_is_named() {
    use std::os::unix::ffi::OsStringExt as _;
    let bytes = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    let url = "LONGSHORE_BROKER_URL";
    let error = texts([(url.into(), bytes(b"amqp://h\xff"))]).unwrap_err();
    assert_eq!(error.place, "variable LONGSHORE_BROKER_URL");
    assert!(error.problem.contains("UTF-8"), "{error}");
    let error = texts([(bytes(b"LONGSHORE_X\xff"), "1".into())]).unwrap_err();
    assert!(error.place.contains("LONGSHORE_X"), "{error}");
    let others = texts([
        ("PATH".into(), bytes(b"\xff")),
        (url.into(), "amqp://h".into()),
    ]);
    assert_eq!(others, Ok(vec![(url.to_owned(), "amqp://h".to_owned())]));
}

#[test]
fn a_seal_is_one_secret_or_a_list() {
    let (one, two) = ("0123456789abcdef", "fedcba9876543210");
    for (value, expected) in [
        (one.to_owned(), vec![one]),
        (format!("[\"{one}\", \"{two}\"]"), vec![one, two]),
        ("[]".to_owned(), vec![]),
    ] {
        let config = with(&[("LONGSHORE__SECRETS__SEAL", &value)]).unwrap();
        let seal = config.secrets.seal.iter().map(Secret::expose);
        assert_eq!(seal.collect::<Vec<_>>(), expected);
        assert!(!format!("{config:?}").contains(one));
    }
}

#[test]
fn a_destination_as_the_contract_writes_it() {
    let file = r#"
        [outbound]
        allow = ["127.0.0.0/8"]
        [[destination]]
        name = "crm"
        types = ["signup.requested"]
        webhook = { url = "https://crm.example.com/hooks", secret = { env = "LONGSHORE_TEST" } }
        retry = { attempts = 12, first = "1s", factor = 2.0, max = "6h", jitter = 0.2 }
        rate = "50/s"
        concurrency = 32
        timeout = "10s"
    "#;
    // The variable named by a secret is looked up in the real environment, where it is not set.
    let error = with_file(file, &[]).map(|_| ());
    assert!(error.is_err_and(|error| error.problem.contains("LONGSHORE_TEST")));
    let file = file.replace(
        "{ env = \"LONGSHORE_TEST\" }",
        "\"whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz\"",
    );
    let config = with_file(&file, &[]).unwrap_or_else(|error| panic!("{error}"));
    let crm = config
        .destination("crm")
        .cloned()
        .unwrap_or_else(|| panic!("no crm"));
    assert!(crm.takes("signup.requested") && !crm.takes("processing.requested"));
    assert!(
        !format!("{config:?}").contains("MDEy"),
        "secrets never show"
    );
}

#[test]
fn a_filter_that_cannot_be_read_names_its_destination_and_its_place() {
    let read = |filter: &str| {
        let file = format!(
            "[[destination]]\nname = \"crm\"\nwhere = {filter}\nwebhook = {{ url = \"https://h\" }}\n"
        );
        with_file(&file, &[])
    };
    for (filter, words) in [
        (
            "'data.plan = 1'",
            "destination \"crm\", key `where`, line 1, column 11: expected an expression",
        ),
        (
            "\"\"\"\ntrue &&\n plan\"\"\"",
            "line 2, column 2: expected one of id, source",
        ),
        ("'size(data)'", "expected a truth value, found a number"),
        ("7", "expected a string, found a whole number"),
    ] {
        let error = read(filter).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains(words), "{words}: {error}");
    }
    let config = read("'data.plan == \"pro\"'").unwrap();
    let filter = config.destinations[0].filter.as_ref();
    let source = filter.map(crate::filter::Filter::source);
    assert_eq!(source, Some("data.plan == \"pro\""));
    // A variable says the same.
    let destinations = "[{ name = \"crm\", where = \"data.\", webhook = { url = \"https://h\" } }]";
    let error = with(&[("LONGSHORE__DESTINATION", destinations)]).map(|_| ());
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("destination \"crm\", key `where`, line 1, column 6"),
        "{error}"
    );
}

#[test]
fn a_destination_is_a_webhook_or_a_mail_server() {
    let smtp = "smtp = { url = \"smtps://u@h\", password = \"hunter2\", from = \"a@example.com\", template = \"t/w\" }";
    let webhook = "webhook = { url = \"https://h\" }";
    let read = |lines: &str| with_file(&format!("[[destination]]\nname = \"a\"\n{lines}\n"), &[]);
    for (lines, words) in [
        (String::new(), "one of `webhook` and `smtp`, found none"),
        (format!("{webhook}\n{smtp}"), "found both"),
        (smtp.replace("u@h", "u:hunter2@h"), "in `password`"),
        (smtp.replace("u@h", "h"), "expected a user"),
        (
            smtp.replace("password = \"hunter2\",", ""),
            "destination.a.smtp.password",
        ),
        (smtp.replace("t/w", ""), "smtp.template"),
        (
            smtp.replace("a@example.com", "hunter2"),
            "Shop <hello@example.com>",
        ),
        (
            smtp.replace("from", "tls = { key = \"k.pem\" }, from"),
            "`certificate` and `key` go together",
        ),
    ] {
        let error = read(&lines).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(words), "{words}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    let config = read(smtp).unwrap();
    let Transport::Smtp(smtp) = &config.destinations[0].transport else {
        panic!("expected a mail server");
    };
    // From the folder of the file on.
    assert!(smtp.template.is_absolute() && smtp.template.ends_with("t/w"));
    assert!(!format!("{config:?}").contains("hunter2"));
}

/// A whole configuration with a secret at each place that may hold one.
const WITH_SECRETS: &str = r#"namespace = "edges"
[broker]
url = "amqp://u:hunter2@h/%2f"
logins = ["a", "b"]
[database]
url = "postgres://u:hunter2@h/d?password=hunter2"
[secrets]
seal = ["hunter2-hunter2-", """
hunter2-hunter2-
"""]
[[source]]
name = "stripe"
scheme = "stripe"
secret = ["hunter2-hunter2", "hunter2hunter2"]
type = "signup.{type}"
tolerance = "5min"
[[destination]]
name = "crm"
types = ["signup.*"]
webhook = { url = "https://u:hunter2@h/hooks?token=hunter2", secret = "whsec_hunter2hunter2hunter2hunter2hunter2" }
rate = "50/s"
[[destination]]
name = "welcome"
smtp = { url = "smtps://u@h", password = "hunter2", from = "Shop <a@example.com>", template = "t" }
[[destination]]
name = "crn"
timeout = "10s"
[destination.webhook]
url = "https://h/hooks"
secret = ["whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz", '''whsec_hunter2hunter2hunter2hunter2hunter2''']
"#;

#[test]
fn no_damage_to_a_file_makes_a_secret_show() {
    let signs = "\"'=[]{},\n.:/#@?_ ";
    let without = |at: usize| format!("{}{}", &WITH_SECRETS[..at], &WITH_SECRETS[at + 1..]);
    let places = WITH_SECRETS.char_indices();
    let mut damaged: Vec<String> = places
        .filter(|(_, letter)| signs.contains(*letter))
        .map(|(at, _)| without(at))
        .collect();
    damaged.extend((0..WITH_SECRETS.len()).map(|end| WITH_SECRETS[..end].to_owned()));
    let lines: Vec<&str> = WITH_SECRETS.lines().collect();
    for (nth, line) in lines.iter().enumerate() {
        let Some((key, value)) = line.split_once(" = ") else {
            continue;
        };
        for other in [
            format!("{key}x = {value}"),
            format!("a.{key} = {value}"),
            format!("{key}: {value}"),
            format!("{key} = [1, {value}]"),
            format!("{key} = {{ x = {value} }}"),
            format!("{key} = {value} junk"),
            format!("{key} = \"hunter2\""),
            format!("\"u:hunter2@h\" = {value}"),
            format!("{line}\n{line}"),
        ] {
            let mut lines = lines.clone();
            lines[nth] = &other;
            damaged.push(lines.join("\n"));
        }
    }
    for text in damaged {
        if let Err(error) = with_file(&text, &[]) {
            let error = error.to_string();
            assert!(!error.contains("hunter"), "{error}\n{text}");
        }
    }
}

#[test]
fn an_order_has_defaults_and_its_keys_mean_nothing_without_it() {
    let load = |keys: &str, more: &str| {
        let destination = "[[destination]]\nname = \"crm\"\nwebhook = { url = \"https://h\" }";
        with_file(&format!("{more}\n{destination}\n{keys}\n"), &[])
    };
    let order = |keys: &str| load(keys, "").map(|config| config.destinations[0].order.clone());
    assert_eq!(order("").unwrap(), None);
    assert_eq!(order("ordered = false").unwrap(), None);
    let told = order("ordered = true").unwrap().expect("an order");
    assert_eq!(
        told.to_string(),
        "by key, within 1s; holds behind a dead letter"
    );
    let told = order("ordered = true\non_dead = \"skip\"\norder_within = \"5s\"").unwrap();
    assert_eq!(
        told.map(|order| order.to_string()).as_deref(),
        Some("by key, within 5s; skips dead letters")
    );
    for (keys, more, named) in [
        ("on_dead = \"skip\"", "", "on_dead"),
        ("order_within = \"1s\"", "", "order_within"),
        ("ordered = true\non_dead = \"stop\"", "", "on_dead"),
        ("ordered = true\norder_within = \"1h\"", "", "order_within"),
        (
            "ordered = true",
            "[watch]\nenabled = false",
            "watch.enabled",
        ),
    ] {
        let error = load(keys, more).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(named), "{keys}: {error}");
    }
}
