use clap::CommandFactory as _;

use super::*;

#[test]
fn the_definition_is_valid() {
    Cli::command().debug_assert();
}

/// People learn the program from the help texts, so every change of them must show.
#[test]
fn the_help_says() {
    let mut command = Cli::command().term_width(100);
    let mut text = command.render_long_help().to_string();
    command.build();
    for sub in command
        .get_subcommands_mut()
        .filter(|sub| sub.get_name() != "help")
    {
        let name = sub.get_name().to_owned();
        let help = sub.clone().term_width(100).render_long_help();
        text.push_str(&format!("\n=== {name} ===\n\n{help}"));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn wrong_usage_is_refused_with_code_2() {
    let wrong: &[&[&str]] = &[
        &["no-such-command"],
        &["--engine", "no-engine"],
        &["--only", "nothing"],
        &["--events", "10"],
        &["--check", "replay"],
        &["replay", "--events", "5000"],
    ];
    for arguments in wrong {
        let parsed = Cli::try_parse_from(std::iter::once(&"longshore-bench").chain(*arguments));
        let code = parsed.map_err(|error| error.exit_code()).err();
        assert_eq!(code, Some(2), "{arguments:?}");
    }
}

#[test]
fn every_measurement_can_be_printed_as_json() {
    for arguments in [
        &["longshore-bench", "--json"][..],
        &["longshore-bench", "replay", "--json"],
        &["longshore-bench", "letters", "--json"],
        &["longshore-bench", "flood", "--json"],
        &["longshore-bench", "isolation", "--json"],
        &["longshore-bench", "shares", "--json"],
    ] {
        assert!(
            Cli::try_parse_from(arguments).is_ok_and(|cli| cli.json),
            "{arguments:?}"
        );
    }
}
