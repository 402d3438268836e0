//! The examples in docs/filters.md, evaluated.

mod repository;

use anyhow::{Context, Result, ensure};
use common::config::load_from;
use common::event::EventId;
use common::filter::{EventView, Filter, MAX_DEPTH, MAX_SOURCE, MAX_STEPS, Verdict};
use repository::read;

const PAGE: &str = "docs/filters.md";

/// The content of the first block of code in this language.
fn block<'p>(page: &'p str, language: &str) -> Result<&'p str> {
    let (_, rest) = page
        .split_once(&format!("```{language}\n"))
        .with_context(|| format!("{PAGE} has no block of {language}"))?;
    let (block, _) = rest.split_once("\n```").context("the block has no end")?;
    Ok(block)
}

/// The text in the first code of a cell.
fn code(cell: &str) -> Option<String> {
    let (code, _) = cell.split_once('`')?.1.rsplit_once('`')?;
    Some(code.replace("\\|", "|"))
}

#[test]
fn the_examples_match_as_the_page_says() -> Result<()> {
    let page = read(PAGE)?;
    let event = block(&page, "json")?;
    let view = EventView::read(event.as_bytes(), EventId::NONE)
        .map_err(|wrong| anyhow::anyhow!("{wrong:?}"))?;
    let rows = page
        .lines()
        .skip_while(|line| !line.starts_with("| expression | match |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let mut examples = 0;
    for row in rows {
        let (expression, said) = row
            .rsplit_once(" | ")
            .with_context(|| format!("expected two cells: {row}"))?;
        let expression = code(expression).with_context(|| format!("no code: {row}"))?;
        let expected = match (said.trim_start().get(..2), code(said)) {
            (Some("ye"), None) => Verdict::Match,
            (Some("no"), None) => Verdict::NoMatch,
            (Some("no"), Some(why)) => Verdict::Failed(why),
            _ => anyhow::bail!("expected yes or no: {row}"),
        };
        let filter = Filter::parse(&expression).with_context(|| expression.clone())?;
        let found = filter.judge(&view);
        ensure!(found == expected, "{expression}: {found:?}");
        examples += 1;
    }
    ensure!(examples >= 15, "only {examples} examples were found");
    Ok(())
}

#[test]
fn the_example_of_a_destination_and_the_bounds_are_those_of_the_code() -> Result<()> {
    let page = read(PAGE)?;
    let destination = block(&page, "toml")?;
    let (_, expression) = destination
        .split_once("where = '")
        .context("it has a filter")?;
    let (expression, _) = expression.split_once('\'').context("it has an end")?;
    Filter::parse(expression)?;
    let file = std::env::temp_dir().join(format!("filters-{}.toml", std::process::id()));
    std::fs::write(&file, destination)?;
    let config = load_from([("LONGSHORE_CONFIG".to_owned(), file.display().to_string())]);
    std::fs::remove_file(&file)?;
    let config = config?;
    let filter = config.destinations[0].filter.as_ref();
    ensure!(filter.map(Filter::source) == Some(expression));
    for bound in [
        format!("at most {MAX_SOURCE} bytes and {MAX_DEPTH} levels"),
        format!("at most {},{:03} steps", MAX_STEPS / 1000, MAX_STEPS % 1000),
    ] {
        ensure!(page.contains(&bound), "{PAGE} does not say: {bound}");
    }
    Ok(())
}
