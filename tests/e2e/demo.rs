//! `longshore demo`, with nothing installed and nothing set; and the letters that `--keep` leaves.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use testkit::{
    namespace::Namespace,
    process::Program,
    scratch::Scratch,
    services::Services,
    system::{Output, run},
};

/// Where the demo delivers to.
const DESTINATIONS: [&str; 3] = ["crm", "email", "billing"];

/// The commands that `--keep` prints, all of them.
const COMMANDS: [&str; 8] = [
    "queues",
    "dead stats",
    "dead list",
    "dead show ID",
    "dead replay --all --dry-run",
    "replay list",
    "verify",
    "events show ID",
];

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

/// The remains of a demo, and the shell into which somebody would paste the printed lines.
struct Left {
    scratch: Scratch,
    services: Option<Services>,
    exports: Vec<String>,
    commands: Vec<String>,
}

impl Left {
    /// By a demo on these services, or on the embedded engine.
    async fn by_a_demo(services: Option<Services>) -> Result<Self> {
        let scratch = Scratch::new()?;
        let command = Program::Longshore.command()?;
        let mut left = Self {
            scratch,
            services,
            exports: Vec::new(),
            commands: Vec::new(),
        };
        let mut command = left.in_its_folder(command);
        command.args(["demo", "--keep", "--json"]);
        let output = run(command, "longshore demo --keep --json".to_owned()).await?;
        let ledger = output.json()?;
        ensure!(ledger["balances"] == true, "{ledger}");
        ensure!(ledger["dead"].as_u64() > Some(0), "{ledger}");
        let printed = output.stderr.lines();
        let printed: Vec<&str> = printed.filter_map(|line| line.strip_prefix("  ")).collect();
        let (exports, commands) = printed
            .into_iter()
            .map(str::to_owned)
            .partition(|line| line.starts_with("export "));
        left.exports = exports;
        left.commands = commands;
        Ok(left)
    }

    /// The value of an exported variable.
    fn exported(&self, name: &str) -> Option<&str> {
        let start = format!("export {name}=");
        self.exports
            .iter()
            .find_map(|line| line.strip_prefix(&start))
    }

    /// With the variables that somebody has set who works on services of theirs; temporary files are kept in
    /// the scratch folder.
    fn in_its_folder(&self, mut command: Command) -> Command {
        command
            .current_dir(self.scratch.path())
            .env("TMPDIR", self.scratch.path());
        if let Some(services) = &self.services {
            command
                .env("LONGSHORE_BROKER_URL", &services.broker_url)
                .env("LONGSHORE_DATABASE_URL", &services.database_url);
        }
        command
    }

    /// Pastes a line into the shell, behind the exports.
    async fn paste(&self, line: &str) -> Result<Output> {
        let mut shell = Command::new("sh");
        // The shell inherits the environment of every program of a test.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("LONGSHORE") {
                shell.env_remove(name);
            }
        }
        let mut shell = self.in_its_folder(shell);
        shell.args(["-c", &format!("{}\n{line}", self.exports.join("\n"))]);
        run(shell, line.to_owned()).await
    }

    /// The printed command that ends with these words.
    fn command(&self, words: &str) -> Result<&str> {
        let command = self.commands.iter().find(|line| {
            let program = line.strip_suffix(words).map(str::trim_end);
            program.is_some_and(|program| program.ends_with("longshore"))
        });
        command
            .map(String::as_str)
            .with_context(|| format!("{words:?} is not printed: {:?}", self.commands))
    }

    /// Every printed command works as it is printed, with an id in the place of `ID`.
    async fn can_be_looked_at(&self) -> Result<()> {
        ensure!(self.commands.len() == COMMANDS.len(), "{:?}", self.commands);
        let list = self.command("dead list")?;
        let list = self.paste(&format!("{list} --json")).await?.json()?;
        let letters = list["items"].as_array().context("a list")?;
        let letter = letters.iter().find(|letter| letter["state"] == "open");
        let letter = letter.context("no letter is left")?;
        ensure!(letter["reason"] == "receiver_refused", "{letter}");
        let (id, event) = (letter["id"].as_str(), letter["event"].as_str());
        let (id, event) = (id.context("an id")?, event.context("an event")?);
        for words in COMMANDS {
            let of = if words.starts_with("events") {
                event
            } else {
                id
            };
            let command = self.command(words)?.replace(" ID", &format!(" {of}"));
            let output = self.paste(&command).await?;
            let told = output.success()?;
            let expected = match words {
                "queues" => "validate",
                "dead stats" | "dead replay --all --dry-run" => "receiver_refused",
                "dead list" | "dead show ID" => id,
                "replay list" => "the receivers are mended",
                "verify" => "it balances",
                _ => event,
            };
            ensure!(
                told.contains(expected),
                "{command} does not tell of {expected}: {told}"
            );
        }
        // To look is not to touch.
        let again = self.command("dead list")?;
        let again = self.paste(&format!("{again} --json")).await?.json()?;
        ensure!(again == list, "{again} is not {list}");
        Ok(())
    }
}

#[tokio::test]
async fn what_a_kept_demo_leaves_in_files_can_be_looked_at_as_it_prints() -> Result<()> {
    let left = Left::by_a_demo(None).await?;
    left.can_be_looked_at().await?;
    // All of it is in one folder of temporary files, which goes with the test's.
    let names = std::fs::read_dir(left.scratch.path())?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>>>()?;
    ensure!(
        matches!(&names[..], [name] if name.starts_with("longshore-")),
        "{names:?}"
    );
    Ok(())
}

#[tokio::test]
async fn what_a_kept_demo_leaves_on_services_can_be_looked_at_as_it_prints() -> Result<()> {
    let services = Services::shared();
    let left = Left::by_a_demo(Some(services.clone())).await?;
    let name = left
        .exported("LONGSHORE_NAMESPACE")
        .context("a namespace")?;
    // It is removed after success and failure.
    let namespace = Namespace::adopt(name.to_owned(), &services, DESTINATIONS, &left.scratch)?;
    ensure!(
        left.exported("LONGSHORE_BROKER_URL").is_none(),
        "a URL that may hold a password is printed: {:?}",
        left.exports
    );
    left.can_be_looked_at().await?;
    // As it says how to remove the queues.
    let queues = left.command("queues")?;
    let delete = queues.replace(" queues", " topology delete --yes");
    left.paste(&delete).await?.success()?;
    let topology = queues.replace(" queues", " topology verify --json");
    let topology = left.paste(&topology).await?;
    topology.exit(1)?;
    drop(namespace);
    Ok(())
}
