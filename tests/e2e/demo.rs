//! `longshore demo` with nothing installed and nothing set.

use anyhow::{Result, ensure};
use e2e::{process::Program, scratch::Scratch, system::run};

#[tokio::test]
async fn the_demo_balances_on_the_embedded_engine_and_leaves_nothing_behind() -> Result<()> {
    let scratch = Scratch::new()?;
    let mut command = Program::Longshore.command()?;
    command.args(["demo", "--json"]).current_dir(scratch.path());
    let output = run(command, "longshore demo --json".to_owned()).await?;
    let ledger = output.json()?;
    ensure!(ledger["balances"] == true, "{ledger}");
    ensure!(ledger["engines"] == "the embedded engine", "{ledger}");
    ensure!(ledger["sent"].as_u64() >= Some(300), "{ledger}");
    ensure!(
        ledger["dead"] == 0 && ledger["replayed"].as_u64() > Some(0),
        "{ledger}"
    );
    let left = std::fs::read_dir(scratch.path())?.count();
    ensure!(left == 0, "{left} things are left in the working directory");
    Ok(())
}
