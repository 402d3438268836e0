//! A private Postgres cluster.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use sqlx::{Connection, PgConnection};

use super::{ended, tail, tied};
use crate::{pki::LeafFiles, port, process::signal, scratch::Scratch, wait::eventually};

const INSTALLED: &str = "/usr/lib/postgresql";
const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(60);
/// Postgres refuses to run as root; Debian's package makes this user.
const USER: &str = "postgres";

/// A Postgres cluster with its own data and port, on loopback, durable as in production.
///
/// It ends with the test, however the test ends, and leaves nothing behind.
#[derive(Debug)]
pub struct PrivatePostgres {
    server: Option<Child>,
    programs: PathBuf,
    data: PathBuf,
    port: u16,
    encrypted: bool,
    // Last, so that the folder goes after the process that writes to it.
    scratch: Scratch,
}

impl PrivatePostgres {
    /// Makes a cluster, starts it and waits until it answers; about 3 seconds.
    ///
    /// # Errors
    /// If Postgres is not installed or does not come up; its log is in the error.
    pub async fn start() -> Result<Self> {
        Self::start_with(None).await
    }

    /// As [`start`](Self::start), with TLS on. Over TLS, clients must show a certificate of the authority in `files`.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_over_tls(files: &LeafFiles) -> Result<Self> {
        Self::start_with(Some(files)).await
    }

    async fn start_with(tls: Option<&LeafFiles>) -> Result<Self> {
        let scratch = Scratch::new()?;
        let home = scratch.path().join("postgres");
        fs::create_dir(&home).context("making the cluster's folder")?;
        give_to_server_user(&home)?;
        let programs = programs()?;
        let data = home.join("data");
        initialise(&programs, &data, &scratch)?;
        if let Some(files) = tls {
            encrypt(files, &data)?;
        }
        let mut postgres = Self {
            server: None,
            programs,
            data,
            port: port::free()?,
            encrypted: tls.is_some(),
            scratch,
        };
        postgres.start_again().await?;
        Ok(postgres)
    }

    /// `postgres://…` of this cluster's database.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// `postgres://…` of this cluster's database for another role. No role needs a password.
    #[must_use]
    pub fn url_of(&self, role: &str) -> String {
        // Over TLS it would ask the test for a certificate.
        let plain = if self.encrypted {
            "?sslmode=disable"
        } else {
            ""
        };
        format!("postgres://{role}@127.0.0.1:{}/postgres{plain}", self.port)
    }

    /// `postgres://…` over TLS, where it was started so.
    #[must_use]
    pub fn tls_url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Makes the cluster show another certificate.
    ///
    /// # Errors
    /// If the files cannot be replaced, or the cluster does not answer.
    pub async fn show(&self, files: &LeafFiles) -> Result<()> {
        copy_certificates(files, &self.data)?;
        self.psql("select pg_reload_conf()", &[]).await.map(drop)
    }

    /// Runs an SQL script through `psql`, with these variables.
    ///
    /// # Errors
    /// If it fails, with its output.
    pub async fn psql(&self, script: &str, variables: &[(String, String)]) -> Result<String> {
        let mut command = Command::new(self.programs.join("psql"));
        command
            .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d"])
            .arg(self.url());
        for (name, value) in variables {
            command.args(["-v", &format!("{name}={value}")]);
        }
        let path = self.scratch.path().join("script.sql");
        fs::write(&path, script).context("writing the script")?;
        command.arg("-f").arg(&path).stdin(Stdio::null());
        let output = tokio::process::Command::from(command)
            .kill_on_drop(true)
            .output()
            .await
            .context("running psql")?;
        let (out, err) = (&output.stdout, &output.stderr);
        ensure!(
            output.status.success(),
            "psql failed ({}): {}{}",
            output.status,
            String::from_utf8_lossy(out),
            String::from_utf8_lossy(err)
        );
        Ok(String::from_utf8_lossy(out).into_owned())
    }

    /// `host:port` of this cluster, to put a proxy before.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts the stopped cluster on the data it had.
    ///
    /// # Errors
    /// If it runs already or does not come up in time.
    pub async fn start_again(&mut self) -> Result<()> {
        ensure!(self.server.is_none(), "the private Postgres runs already");
        let log = fs::File::create(self.log()).context("making the cluster's log")?;
        // QUIT is Postgres' immediate shutdown: unlike KILL it frees its shared memory.
        let server = tied(&self.programs.join("postgres"), "QUIT", server_user())
            .arg("-D")
            .arg(&self.data)
            .args(["-p", &self.port.to_string(), "-h", "127.0.0.1", "-k", ""])
            .args(["-c", "max_connections=200", "-c", "shared_buffers=64MB"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("starting postgres through setpriv")?;
        self.server = Some(server);
        let url = self.url();
        eventually(START, "the private Postgres to answer", || async {
            PgConnection::connect(&url).await?.close().await?;
            Ok(())
        })
        .await
        .with_context(|| format!("its log says:\n{}", tail(&self.log())))
    }

    /// Stops it as a power cut would, but for the disks: no checkpoint, recovery at the next start.
    ///
    /// # Errors
    /// If it does not end in time.
    pub async fn crash(&mut self) -> Result<()> {
        self.end(Signal::QUIT).await
    }

    /// Stops it in good order, cutting clients off.
    ///
    /// # Errors
    /// If it does not end in time.
    pub async fn stop(&mut self) -> Result<()> {
        self.end(Signal::INT).await
    }

    /// Crashes it and starts it again.
    ///
    /// # Errors
    /// As [`crash`](Self::crash) and [`start_again`](Self::start_again).
    pub async fn restart(&mut self) -> Result<()> {
        self.crash().await?;
        self.start_again().await
    }

    /// Terminates every client's backend and says how many there were.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub async fn terminate_backends(&self) -> Result<i64> {
        let mut connection = PgConnection::connect(&self.url())
            .await
            .context("connecting")?;
        let ended = sqlx::query_scalar(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity
             where pid <> pg_backend_pid() and backend_type = 'client backend'",
        )
        .fetch_one(&mut connection)
        .await
        .context("terminating backends")?;
        connection.close().await?;
        Ok(ended)
    }

    /// Makes every new session read-only, or writable again, and ends the existing ones: questions are answered, writes
    /// are refused.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub async fn set_read_only(&self, read_only: bool) -> Result<()> {
        let mut connection = PgConnection::connect(&self.url())
            .await
            .context("connecting")?;
        let change = if read_only { "on" } else { "off" };
        for statement in [
            "set default_transaction_read_only = off".to_owned(),
            format!("alter database postgres set default_transaction_read_only = {change}"),
        ] {
            sqlx::query(sqlx::AssertSqlSafe(statement))
                .execute(&mut connection)
                .await
                .context("changing the database's default")?;
        }
        connection.close().await?;
        self.terminate_backends().await?;
        Ok(())
    }

    async fn end(&mut self, how: Signal) -> Result<()> {
        let mut server = self
            .server
            .take()
            .context("the private Postgres does not run")?;
        signal(server.id(), how)?;
        let ended = ended(&mut server, STOP, "the private Postgres").await;
        if ended.is_err() {
            // Still ours to kill when dropped.
            self.server = Some(server);
        }
        ended
    }

    fn log(&self) -> PathBuf {
        self.scratch.path().join("postgres.log")
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            // Immediate shutdown ends within moments and, unlike KILL, frees its shared memory.
            if signal(server.id(), Signal::QUIT).is_err() {
                let _ = server.kill();
            }
            let _ = server.wait();
        }
    }
}

/// The folder of the newest installed version's programs.
fn programs() -> Result<PathBuf> {
    let newest = fs::read_dir(INSTALLED)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .filter(|bin| bin.join("initdb").exists())
        .max_by_key(|bin| version(bin));
    newest.with_context(|| {
        format!(
            "no Postgres server under {INSTALLED}; `scripts/test` installs one before the tests"
        )
    })
}

fn version(bin: &Path) -> u32 {
    let name = bin.parent().and_then(Path::file_name).unwrap_or_default();
    name.to_string_lossy().parse().unwrap_or_default()
}

fn server_user() -> Option<&'static str> {
    rustix::process::getuid().is_root().then_some(USER)
}

fn give_to_server_user(folder: &Path) -> Result<()> {
    let Some(user) = server_user() else {
        return Ok(());
    };
    let status = Command::new("chown")
        .arg(user)
        .arg(folder)
        .status()
        .context("running chown")?;
    ensure!(
        status.success(),
        "could not give {} to user {user}",
        folder.display()
    );
    Ok(())
}

/// Switches TLS on. Connections without it, such as the test's own, work on.
fn encrypt(files: &LeafFiles, data: &Path) -> Result<()> {
    copy_certificates(files, data)?;
    let settings = data.join("postgresql.conf");
    let mut text = fs::read_to_string(&settings).context("reading postgresql.conf")?;
    text.push_str(
        "ssl = on\nssl_ca_file = 'ca.pem'\nssl_cert_file = 'server.pem'\nssl_key_file = 'server.key'\n",
    );
    fs::write(&settings, text).context("writing postgresql.conf")?;
    fs::write(
        data.join("pg_hba.conf"),
        "hostssl all all 127.0.0.1/32 trust clientcert=verify-ca\nhostnossl all all 127.0.0.1/32 trust\n",
    )
    .context("writing pg_hba.conf")
}

fn copy_certificates(files: &LeafFiles, data: &Path) -> Result<()> {
    for (from, to) in [
        (&files.ca, "ca.pem"),
        (&files.certificate, "server.pem"),
        (&files.key, "server.key"),
    ] {
        let to = data.join(to);
        fs::copy(from, &to).with_context(|| format!("copying {}", from.display()))?;
        fs::set_permissions(&to, fs::Permissions::from_mode(0o600))?;
        give_to_server_user(&to)?;
    }
    Ok(())
}

fn initialise(programs: &Path, data: &Path, scratch: &Scratch) -> Result<()> {
    let output = tied(&programs.join("initdb"), "KILL", server_user())
        .arg("-D")
        .arg(data)
        .args([
            "-U",
            USER,
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-locale",
            "--no-sync",
        ])
        .current_dir(scratch.path())
        .stdin(Stdio::null())
        .output()
        .context("running initdb through setpriv")?;
    if !output.status.success() {
        bail!(
            "initdb failed ({}): {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}
