//! A private RabbitMQ node.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use lapin::{Connection, ConnectionProperties};
use tokio::time::timeout;

use super::{ended, tail, tied};
use crate::{pki::LeafFiles, port, process::signal, scratch::Scratch, wait::eventually};

const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
const CONTROL: &str = "/usr/lib/rabbitmq/bin/rabbitmqctl";
const START: Duration = Duration::from_secs(90);
const STOP: Duration = Duration::from_secs(60);

/// A RabbitMQ node with its own data, ports, cookie and port mapper (epmd), all on loopback.
///
/// It ends with the test, however the test ends, and leaves nothing behind.
#[derive(Debug)]
pub struct PrivateRabbit {
    node: Option<Child>,
    epmd: Child,
    home: PathBuf,
    port: u16,
    tls_port: u16,
    dist_port: u16,
    epmd_port: u16,
    // Last, so that the folder goes after the processes that write to it.
    _scratch: Scratch,
}

impl PrivateRabbit {
    /// Starts a node and waits until it takes connections, which takes about 8 seconds.
    ///
    /// # Errors
    /// If RabbitMQ is not installed or the node does not come up; its log is in the error.
    pub async fn start() -> Result<Self> {
        Self::start_with(None).await
    }

    /// As [`start`](Self::start), with a second port for TLS. Clients must show a certificate of the authority in
    /// `files`.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_over_tls(files: &LeafFiles) -> Result<Self> {
        Self::start_with(Some(files)).await
    }

    async fn start_with(tls: Option<&LeafFiles>) -> Result<Self> {
        ensure!(
            Path::new(SERVER).exists(),
            "{SERVER} is missing; `scripts/test` installs RabbitMQ before it runs the tests"
        );
        let scratch = Scratch::new()?;
        let home = scratch.path().join("rabbit");
        fs::create_dir(&home).context("making the node's home")?;
        let tls_port = port::free()?;
        let encrypted = tls.map(|files| over_tls(files, tls_port));
        let config = [CONFIG, encrypted.as_deref().unwrap_or_default()].concat();
        fs::write(home.join("rabbitmq.conf"), config)
            .context("writing the node's configuration")?;
        fs::write(home.join("enabled_plugins"), "[].\n").context("writing the node's plugins")?;
        let epmd_port = port::free()?;
        // A port mapper of its own: the usual one would outlive the test and listen to everybody.
        let epmd = tied(Path::new("epmd"), "KILL", None)
            .args(["-address", "127.0.0.1", "-port", &epmd_port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting epmd through setpriv")?;
        let (port, dist_port) = (port::free()?, port::free()?);
        let mut rabbit = Self {
            node: None,
            epmd,
            home,
            port,
            tls_port,
            dist_port,
            epmd_port,
            _scratch: scratch,
        };
        rabbit.start_again().await?;
        Ok(rabbit)
    }

    /// `amqp://…` of this node.
    #[must_use]
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.port)
    }

    /// `amqps://…` of this node, where it was started over TLS.
    #[must_use]
    pub fn tls_url(&self) -> String {
        format!("amqps://guest:guest@127.0.0.1:{}/%2f", self.tls_port)
    }

    /// `host:port` of this node, to put a proxy before.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts the stopped or killed node on the data it had.
    ///
    /// # Errors
    /// If it runs already or does not come up in time.
    pub async fn start_again(&mut self) -> Result<()> {
        ensure!(
            self.node.is_none(),
            "the private RabbitMQ node runs already"
        );
        let log = fs::File::create(self.console()).context("making the node's console log")?;
        let mut server = tied(Path::new(SERVER), "KILL", None);
        self.environment(&mut server);
        let node = server
            // The script then becomes the node instead of staying beside it: one pid to kill.
            .env("detached", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("starting rabbitmq-server through setpriv")?;
        self.node = Some(node);
        self.await_ready().await
    }

    /// Stops the node in good order; its data stays.
    ///
    /// # Errors
    /// If it does not end in time.
    pub async fn stop(&mut self) -> Result<()> {
        self.end(rustix::process::Signal::TERM).await
    }

    /// Kills the node with SIGKILL; confirmed messages must be on its disk.
    ///
    /// # Errors
    /// If it does not end in time.
    pub async fn kill(&mut self) -> Result<()> {
        self.end(rustix::process::Signal::KILL).await
    }

    /// Stops the node in good order and starts it again.
    ///
    /// # Errors
    /// As [`stop`](Self::stop) and [`start_again`](Self::start_again).
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await?;
        self.start_again().await
    }

    /// Closes every client's connection, as an operator would.
    ///
    /// # Errors
    /// If `rabbitmqctl` fails.
    pub async fn close_all_connections(&self) -> Result<()> {
        self.control(&["close_all_connections", "a test closes it"])
            .await
            .map(drop)
    }

    /// Raises the memory alarm: the node blocks every connection that publishes.
    ///
    /// # Errors
    /// If `rabbitmqctl` fails.
    pub async fn raise_memory_alarm(&self) -> Result<()> {
        self.control(&["set_vm_memory_high_watermark", "0.00001"])
            .await
            .map(drop)
    }

    /// Clears the memory alarm again.
    ///
    /// # Errors
    /// If `rabbitmqctl` fails.
    pub async fn clear_memory_alarm(&self) -> Result<()> {
        self.control(&["set_vm_memory_high_watermark", "0.6"])
            .await
            .map(drop)
    }

    /// Runs `rabbitmqctl` against this node and returns its output.
    ///
    /// # Errors
    /// If it fails, with its error output.
    pub async fn control(&self, arguments: &[&str]) -> Result<String> {
        let mut output = self.run_control(arguments).await?;
        // A node takes connections a moment before it takes orders.
        if String::from_utf8_lossy(&output.stderr).contains("requires the 'rabbit' app") {
            self.run_control(&["await_startup"]).await?;
            output = self.run_control(arguments).await?;
        }
        let (out, err) = (&output.stdout, &output.stderr);
        ensure!(
            output.status.success(),
            "rabbitmqctl {arguments:?} failed ({}): {}{}",
            output.status,
            String::from_utf8_lossy(out),
            String::from_utf8_lossy(err)
        );
        Ok(String::from_utf8_lossy(out).into_owned())
    }

    async fn run_control(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(CONTROL);
        command
            .args(["-q", "-n", NODE])
            .args(arguments)
            .stdin(Stdio::null());
        self.environment(&mut command);
        let mut command = tokio::process::Command::from(command);
        timeout(Duration::from_secs(60), command.kill_on_drop(true).output())
            .await
            .with_context(|| format!("rabbitmqctl {arguments:?} took over a minute"))?
            .context("running rabbitmqctl")
    }

    /// Makes the node show the present content of its certificate's files.
    ///
    /// # Errors
    /// If `rabbitmqctl` fails.
    pub async fn read_certificate_again(&self) -> Result<()> {
        self.control(&["eval", "ssl:clear_pem_cache()."])
            .await
            .map(drop)
    }

    /// How many acts of its clients the node has refused for want of a right.
    #[must_use]
    pub fn refusals(&self) -> usize {
        let log = fs::read_to_string(self.console()).unwrap_or_default();
        log.matches("access_refused").count()
    }

    /// Runs a shell script whose `rabbitmqctl` speaks to this node, with these variables.
    ///
    /// # Errors
    /// If it fails, with its output.
    pub async fn shell(&self, script: &str, variables: &[(String, String)]) -> Result<String> {
        let mut command = Command::new("sh");
        command.args(["-eu", "-c", script]).stdin(Stdio::null());
        self.environment(&mut command);
        let programs = Path::new(CONTROL).parent().unwrap_or(Path::new("/"));
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .env("PATH", format!("{}:{path}", programs.display()))
            .envs(variables.iter().map(|(name, value)| (name, value)));
        let mut command = tokio::process::Command::from(command);
        let output = timeout(
            Duration::from_secs(180),
            command.kill_on_drop(true).output(),
        )
        .await
        .context("a script took over three minutes")?
        .context("running sh")?;
        let (out, err) = (&output.stdout, &output.stderr);
        ensure!(
            output.status.success(),
            "a script failed ({}): {}{}",
            output.status,
            String::from_utf8_lossy(out),
            String::from_utf8_lossy(err)
        );
        Ok(String::from_utf8_lossy(out).into_owned())
    }

    async fn await_ready(&mut self) -> Result<()> {
        let url = self.url();
        let ready = eventually(
            START,
            "the private RabbitMQ node to take connections",
            || async {
                let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
                connection.close(200, "ready".into()).await?;
                Ok(())
            },
        );
        let node = &mut self.node;
        let died = async {
            loop {
                if let Some(Ok(Some(status))) = node.as_mut().map(Child::try_wait) {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let result = tokio::select! {
            ready = ready => ready,
            status = died => Err(anyhow::anyhow!("the private RabbitMQ node ended early: {status}")),
        };
        result.with_context(|| format!("its console says:\n{}", tail(&self.console())))
    }

    async fn end(&mut self, how: rustix::process::Signal) -> Result<()> {
        let mut node = self
            .node
            .take()
            .context("the private RabbitMQ node does not run")?;
        signal(node.id(), how)?;
        let ended = ended(&mut node, STOP, "the private RabbitMQ node").await;
        if ended.is_err() {
            // Still ours to kill when dropped.
            self.node = Some(node);
        }
        ended
    }

    fn console(&self) -> PathBuf {
        self.home.join("console.log")
    }

    fn environment(&self, command: &mut Command) {
        let home = &self.home;
        command
            .env("HOME", home)
            .env("RABBITMQ_NODENAME", NODE)
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", self.port.to_string())
            .env("RABBITMQ_DIST_PORT", self.dist_port.to_string())
            .env("RABBITMQ_MNESIA_BASE", home.join("data"))
            .env("RABBITMQ_LOG_BASE", home.join("log"))
            .env("RABBITMQ_PID_FILE", home.join("pid"))
            .env("RABBITMQ_CONFIG_FILE", home.join("rabbitmq.conf"))
            .env(
                "RABBITMQ_ENABLED_PLUGINS_FILE",
                home.join("enabled_plugins"),
            )
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", ERLANG)
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1");
    }
}

impl Drop for PrivateRabbit {
    fn drop(&mut self) {
        for child in self.node.iter_mut().chain([&mut self.epmd]) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The settings of a port for TLS.
fn over_tls(files: &LeafFiles, port: u16) -> String {
    let LeafFiles {
        ca,
        certificate,
        key,
    } = files;
    format!(
        "listeners.ssl.default = 127.0.0.1:{port}\n\
         ssl_options.cacertfile = {}\nssl_options.certfile = {}\nssl_options.keyfile = {}\n\
         ssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = true\n\
         ssl_options.versions.1 = tlsv1.3\nssl_options.versions.2 = tlsv1.2\n",
        ca.display(),
        certificate.display(),
        key.display()
    )
}

/// Every node has a port mapper of its own, so all may have the same name.
const NODE: &str = "private@localhost";
/// Small and on loopback; one scheduler is plenty beside a test on two cores.
const ERLANG: &str = "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none";
/// No disk alarm on a nearly full machine: tests that want an alarm raise one.
const CONFIG: &str = "\
loopback_users = none
disk_free_limit.absolute = 1MB
vm_memory_high_watermark.relative = 0.6
raft.wal_max_size_bytes = 16000000
log.console = true
log.console.level = warning
log.file = false
";
