use clap::CommandFactory as _;

use super::*;

#[test]
fn the_definition_is_valid() {
    Cli::command().debug_assert();
}

/// People learn the program from its help texts, so each change of them must be seen.
#[test]
fn the_help_says() {
    insta::assert_snapshot!(help(Cli::command(), 0));
}

/// The help of a command and of all commands below it.
fn help(mut command: clap::Command, depth: usize) -> String {
    let mut text = command
        .clone()
        .term_width(100)
        .render_long_help()
        .to_string();
    let names: Vec<String> = command
        .get_subcommands()
        .filter(|sub| sub.get_name() != "help")
        .map(|sub| sub.get_name().to_owned())
        .collect();
    command.build();
    for name in names {
        if let Some(sub) = command.find_subcommand(&name) {
            text.push_str(&format!(
                "\n{} {name} {}\n\n",
                "=".repeat(3 + depth),
                "=".repeat(3)
            ));
            text.push_str(&help(sub.clone(), depth + 1));
        }
    }
    text
}

#[test]
fn wrong_usage_is_refused_with_code_2() {
    let wrong: &[&[&str]] = &[
        &[],
        &["no-such-command"],
        &["dead", "show"],
        &["dead", "show", "no-id"],
        &["dead", "list", "--reason", "no-code"],
        &["dead", "list", "--after", "no-cursor"],
        &["dead", "list", "--limit", "0"],
        &[
            "dead",
            "replay",
            "--resume",
            "0193d2a0-0000-7000-8000-000000000000",
            "--all",
        ],
        &["events", "show", "no-id"],
        &["events", "stuck", "--since", "soon"],
        &["dead", "replay", "--all", "--rate", "0/s"],
        &["dead", "replay", "--all", "--stop-when", "101%"],
        &["replay", "pause", "no-id"],
        &["history", "replay", "--from", "1h"],
        &["verify", "--grace", "-1s"],
    ];
    for arguments in wrong {
        let parsed = Cli::try_parse_from(std::iter::once(&"longshore").chain(*arguments));
        let code = parsed.map_err(|error| error.exit_code()).err();
        assert_eq!(code, Some(2), "{arguments:?}");
    }
}

#[test]
fn json_may_stand_anywhere() {
    for arguments in [
        ["longshore", "--json", "queues"],
        ["longshore", "queues", "--json"],
    ] {
        assert!(Cli::try_parse_from(arguments).is_ok_and(|cli| cli.json));
    }
}
