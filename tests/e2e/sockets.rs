//! Attacks of a client over a bare socket, which no HTTP library would make. They are requests that two readers
//! understand in two ways, connections without requests, and answers that are never read.

use std::{fs, process::Command};

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use testkit::{
    port,
    process::{Process, Program},
    system::System,
    wait::eventually,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{LATER, SOON};

const BODY: &str = r#"{"email":"a@b.example","name":"x"}"#;

/// The head of a signup up to its last line, with these lines more.
fn post(lines: &str) -> String {
    format!("POST /v1/signups HTTP/1.1\r\ncontent-type: application/json\r\n{lines}\r\n")
}

fn chunked(body: &str) -> String {
    format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
}

/// Sends bytes and reads until the program closes the connection.
async fn exchange(address: &str, bytes: &[u8]) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    // It may answer and close before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = timeout(SOON, stream.read_to_end(&mut answer)).await;
    // A reset after the answer is an end as well.
    let _ =
        read.with_context(|| format!("still open after {:?}", String::from_utf8_lossy(bytes)))?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// A request, another one right behind it, and the statuses of all answers before the connection is closed.
async fn statuses(address: &str, request: &str) -> Result<Vec<String>> {
    let behind = format!("{request}GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let answer = exchange(address, behind.as_bytes()).await?;
    let each = answer.split("HTTP/1.1 ").skip(1);
    Ok(each.map(|one| one.chars().take(3).collect()).collect())
}

#[tokio::test]
async fn what_can_be_read_in_two_ways_is_refused_and_what_is_behind_it_is_not_read() -> Result<()> {
    let mut system = door_alone().start().await?;
    let address = bare(&system.address(Program::Producer, 0)?);
    let length = format!("content-length: {}\r\n", BODY.len());
    let host = "host: x\r\n";
    let with_hosts = |hosts: &str| format!("{}{BODY}", post(&format!("{hosts}{length}")));
    let with_length = |lines: &str| format!("{}{BODY}", post(&format!("{host}{lines}")));
    let with_chunks =
        |lines: &str, body: String| format!("{}{body}", post(&format!("{host}{lines}")));
    let chunks = "transfer-encoding: chunked\r\n";
    let size = BODY.len();
    let refused = [
        with_hosts(""),
        with_hosts("host: x\r\nhost: x\r\n"),
        with_hosts("host: x\r\nHOST: y\r\n"),
        with_hosts("host: x, y\r\n"),
        with_hosts("host: x y\r\n"),
        with_hosts("host:\r\n"),
        with_hosts("host: x:port\r\n"),
        with_hosts("host: x:65536\r\n"),
        with_hosts("host: x:-1\r\n"),
        with_hosts("host: x:80:80\r\n"),
        with_hosts("host: u@x\r\n"),
        with_hosts("host: http://x\r\n"),
        with_hosts("host: [::1\r\n"),
        with_length(&format!("{length}content-length: 5\r\n")),
        with_length(&format!("content-length: 5\r\n{length}")),
        with_length(&format!("content-length: {size}, 5\r\n")),
        with_length(&format!("content-length: +{size}\r\n")),
        with_length(&format!("content-length: -{size}\r\n")),
        with_length(&format!("content-length: 0x{size:x}\r\n")),
        with_length(&format!("content-length: {size} {size}\r\n")),
        with_length("content-length:\r\n"),
        with_length("content-length: 99999999999999999999\r\n"),
        with_length(&format!("content-length : {size}\r\n")),
        with_length(&format!(" content-length: {size}\r\n")),
        with_length(&format!("x: a\r\n b\r\n{length}")),
        with_length(&format!("x: a\r\n\tcontent-length: 5\r\n{length}")),
        with_length(&format!("x: a\rb\r\n{length}")),
        with_length(&format!("x: a\0b\r\n{length}")),
        with_length(&format!("x\r\n{length}")),
        with_length(&format!("transfer-encoding: identity\r\n{length}")),
        with_length(&format!("{length}transfer-encoding: identity\r\n")),
        with_length("transfer-encoding: identity\r\n"),
        with_length(&format!("transfer-encoding:\r\n{length}")),
        with_chunks("transfer-encoding: gzip, chunked\r\n", chunked(BODY)),
        with_chunks("transfer-encoding: chunked, chunked\r\n", chunked(BODY)),
        with_chunks("transfer-encoding: chunked, identity\r\n", chunked(BODY)),
        with_chunks(&format!("{chunks}{chunks}"), chunked(BODY)),
        with_chunks("transfer-encoding: xchunked\r\n", chunked(BODY)),
        with_chunks("transfer-encoding: \"chunked\"\r\n", chunked(BODY)),
        with_chunks("transfer-encoding : chunked\r\n", chunked(BODY)),
        with_chunks(chunks, format!("0x{size:x}\r\n{BODY}\r\n0\r\n\r\n")),
        with_chunks(chunks, format!("-1\r\n{BODY}\r\n0\r\n\r\n")),
        with_chunks(chunks, format!("fffffffffffffffff\r\n{BODY}\r\n0\r\n\r\n")),
        with_chunks(chunks, format!("{size:x}\r\n{BODY}xx0\r\n\r\n")),
        with_chunks(chunks, format!("{size:x}\n{BODY}\n0\n\n")),
    ];
    for request in refused {
        let found = statuses(&address, &request).await?;
        ensure!(found == ["400"], "{request:?}: {found:?}");
    }
    // By its chunks alone (RFC 9112, 6.3) or not at all, and nothing behind it.
    for lines in [format!("{length}{chunks}"), format!("{chunks}{length}")] {
        let found = statuses(&address, &with_chunks(&lines, chunked(BODY))).await?;
        ensure!(found == ["202"] || found == ["400"], "{lines:?}: {found:?}");
    }
    let taken = [
        with_length(&length),
        with_hosts("host: x:8080\r\n"),
        with_hosts("host: x:\r\n"),
        with_hosts("host: [::1]:80\r\n"),
        with_chunks("Transfer-Encoding: Chunked\r\n", chunked(BODY)),
        // A line may end with a line feed alone (RFC 9112, 2.2).
        with_length(&length).replacen("\r\n", "\n", 2),
    ];
    for request in taken {
        let found = statuses(&address, &request).await?;
        ensure!(found == ["202", "200"], "{request:?}: {found:?}");
    }
    system.finish().await
}

#[tokio::test]
async fn every_content_encoding_counts() -> Result<()> {
    let mut system = door_alone().start().await?;
    let address = bare(&system.address(Program::Producer, 0)?);
    let length = format!("content-length: {}\r\n", BODY.len());
    let ask = async |encodings: &str| {
        let head = post(&format!(
            "host: x\r\nconnection: close\r\n{encodings}{length}"
        ));
        exchange(&address, format!("{head}{BODY}").as_bytes()).await
    };
    for encodings in [
        "content-encoding: gzip\r\n",
        "content-encoding: identity\r\ncontent-encoding: gzip\r\n",
        "content-encoding: gzip\r\ncontent-encoding: identity\r\n",
        "content-encoding: identity, gzip\r\n",
        "content-encoding: identity,,br\r\n",
        "content-encoding: identity;q=1\r\n",
        "content-encoding: gzip, identity\r\nContent-Encoding: deflate\r\n",
        "content-encoding:\r\n",
    ] {
        let answer = ask(encodings).await?;
        ensure!(
            answer.starts_with("HTTP/1.1 415"),
            "{encodings:?}: {answer}"
        );
        ensure!(answer.contains("accept-encoding: identity\r\n"), "{answer}");
    }
    for encodings in [
        "",
        "content-encoding: identity\r\n",
        "content-encoding: IDENTITY\r\ncontent-encoding: identity , identity\r\n",
    ] {
        let answer = ask(encodings).await?;
        ensure!(
            answer.starts_with("HTTP/1.1 202"),
            "{encodings:?}: {answer}"
        );
    }
    system.finish().await
}

/// Host and port of a URL.
fn bare(url: &str) -> String {
    url.trim_start_matches("http://").to_owned()
}

/// A system with a producer alone.
fn door_alone() -> testkit::system::Builder {
    let builder = System::builder();
    Program::WORKERS
        .into_iter()
        .fold(builder, |some, worker| some.copies(worker, 0))
}

/// A program of the system's that may have 1,024 descriptors and begins with 256, and where it listens.
async fn with_few_descriptors(system: &System, program: Program) -> Result<(Process, String)> {
    let address = format!("127.0.0.1:{}", port::free()?);
    let plain = system.command(program)?;
    let mut command = Command::new("prlimit");
    command.arg("--nofile=256:1024").arg("--");
    command.arg(plain.get_program()).args(plain.get_args());
    for (key, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(key, value),
            None => command.env_remove(key),
        };
    }
    command.env("LONGSHORE_LISTEN", &address);
    let log = system.file(&format!("few.{program}.log"), "")?;
    let process = Process::spawn(program, command, log)?;
    eventually(SOON, "the program to be ready", || async {
        let answer = get(&address, "/readyz").await?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        Ok(())
    })
    .await?;
    Ok((process, address))
}

async fn get(address: &str, path: &str) -> Result<String> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    exchange(address, request.as_bytes()).await
}

fn descriptors(process: &Process) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{}/fd", process.pid()))?.count())
}

#[tokio::test]
async fn more_idle_connections_than_descriptors_keep_nobody_out() -> Result<()> {
    common::descriptors::raise();
    let system = door_alone().start().await?;
    for program in [Program::Producer, Program::Store] {
        let (process, address) = with_few_descriptors(&system, program).await?;
        let limits = fs::read_to_string(format!("/proc/{}/limits", process.pid()))?;
        let open_files = limits
            .lines()
            .find(|line| line.starts_with("Max open files"));
        let soft = open_files.and_then(|line| line.split_whitespace().nth(3));
        ensure!(soft == Some("1024"), "{open_files:?}");
        let mut idle = Vec::new();
        for number in 0..1100 {
            let mut stream = TcpStream::connect(&address).await?;
            if number % 3 == 0 {
                // Half a head is not a request either. Who was let go meanwhile does not matter.
                let _ = stream.write_all(b"GET /livez HTT").await;
            }
            idle.push(stream);
        }
        let answer = get(&address, "/livez").await?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "{program}: {answer}");
        if program == Program::Producer {
            let head = post(&format!(
                "host: x\r\nconnection: close\r\ncontent-length: {}\r\n",
                BODY.len()
            ));
            let answer = exchange(&address, format!("{head}{BODY}").as_bytes()).await?;
            ensure!(answer.starts_with("HTTP/1.1 202"), "{answer}");
        }
        let open = descriptors(&process)?;
        ensure!(open < 1000, "{program} has {open} descriptors open");
    }
    system.finish().await
}

#[tokio::test]
async fn who_asks_on_and_on_and_never_reads_is_let_go() -> Result<()> {
    let mut system = door_alone().copies(Program::Store, 1).start().await?;
    let door = bare(&system.address(Program::Producer, 0)?);
    let worker = bare(&system.address(Program::Store, 0)?);
    let (door, worker) = tokio::join!(let_go(&door), let_go(&worker));
    door.context("the door")?;
    worker.context("the worker's health server")?;
    system.finish().await
}

/// Asks over twenty connections until the program has let go of each, and once as one should.
async fn let_go(address: &str) -> Result<()> {
    let requests = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1000);
    let asking = (0..20).map(|_| async {
        let mut stream = TcpStream::connect(address).await?;
        // Fails once the program has let go.
        while stream.write_all(&requests).await.is_ok() {}
        anyhow::Ok(())
    });
    let ended = timeout(LATER, try_join_all(asking)).await;
    ended.context("it holds on to them")??;
    let answer = get(address, "/livez").await?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    Ok(())
}
