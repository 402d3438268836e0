//! The TCP proxy.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use testkit::{
    proxy::{Protocol, Proxy},
    wait::eventually,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

const LIMIT: Duration = Duration::from_secs(10);

/// A server that echoes.
async fn echo() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    Ok(address)
}

async fn say(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(b"hello").await?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await?;
    ensure!(&answer == b"hello", "got {answer:?}");
    Ok(())
}

#[tokio::test]
async fn a_cut_link_resets_old_and_new_connections_until_healed() -> Result<()> {
    let proxy = Proxy::start(echo().await?).await?;
    let mut stream = TcpStream::connect(proxy.address()).await?;
    say(&mut stream).await?;
    ensure!(proxy.connections() == 1);
    proxy.cut();
    let broken = timeout(LIMIT, stream.read(&mut [0; 1]))
        .await
        .context("the cut was not felt")?;
    ensure!(
        broken.is_err(),
        "a cut looked like an orderly end: {broken:?}"
    );
    let mut second = TcpStream::connect(proxy.address()).await?;
    ensure!(
        say(&mut second).await.is_err(),
        "a cut link carried a new connection"
    );
    proxy.heal();
    say(&mut TcpStream::connect(proxy.address()).await?).await?;
    eventually(LIMIT, "no connection to be left", || async {
        if proxy.connections() == 0 {
            Ok(())
        } else {
            bail!("{}", proxy.connections())
        }
    })
    .await
}

#[tokio::test]
async fn a_stalled_link_keeps_its_bytes_until_healed() -> Result<()> {
    let proxy = Proxy::start(echo().await?).await?;
    let mut stream = TcpStream::connect(proxy.address()).await?;
    say(&mut stream).await?;
    proxy.stall();
    stream.write_all(b"later").await?;
    let mut answer = [0; 5];
    let early = timeout(Duration::from_millis(300), stream.read_exact(&mut answer)).await;
    ensure!(early.is_err(), "a stalled link carried {answer:?}");
    proxy.heal();
    timeout(LIMIT, stream.read_exact(&mut answer))
        .await
        .context("nothing came after healing")??;
    ensure!(&answer == b"later", "got {answer:?}");
    Ok(())
}

#[tokio::test]
async fn what_is_withheld_waits_and_others_pass() -> Result<()> {
    let proxy = Proxy::start(echo().await?).await?;
    proxy.withhold("ell");
    let (mut held, mut other) = (
        TcpStream::connect(proxy.address()).await?,
        TcpStream::connect(proxy.address()).await?,
    );
    held.write_all(b"hello").await?;
    let mut answer = [0; 5];
    let early = timeout(Duration::from_millis(300), held.read_exact(&mut answer)).await;
    ensure!(early.is_err(), "it passed: {answer:?}");
    other.write_all(b"other").await?;
    timeout(LIMIT, other.read_exact(&mut answer)).await??;
    ensure!(&answer == b"other", "got {answer:?}");
    proxy.heal();
    timeout(LIMIT, held.read_exact(&mut answer)).await??;
    ensure!(&answer == b"hello", "got {answer:?}");
    Ok(())
}

#[tokio::test]
async fn resetting_connections_spares_new_ones() -> Result<()> {
    let proxy = Proxy::start(echo().await?).await?;
    let mut old = TcpStream::connect(proxy.address()).await?;
    say(&mut old).await?;
    proxy.reset_connections();
    ensure!(
        timeout(LIMIT, old.read(&mut [0; 1])).await?.is_err(),
        "the old one lives"
    );
    say(&mut TcpStream::connect(proxy.address()).await?).await
}

#[tokio::test]
async fn the_proxy_goes_before_any_url() -> Result<()> {
    let proxy = Proxy::start("127.0.0.1:1").await?;
    let port = proxy.address().port();
    let amqp = proxy.before("amqp://guest:guest@broker.example:5672/%2f")?;
    ensure!(
        amqp == format!("amqp://guest:guest@127.0.0.1:{port}/%2f"),
        "{amqp}"
    );
    let postgres = proxy.before("postgres://longshore:x@db.example/longshore")?;
    ensure!(
        postgres == format!("postgres://longshore:x@127.0.0.1:{port}/longshore"),
        "{postgres}"
    );
    Ok(())
}

#[tokio::test]
async fn connections_of_a_stalled_link_can_be_left_silent_for_good() -> Result<()> {
    let proxy = Proxy::start(echo().await?).await?;
    let mut old = TcpStream::connect(proxy.address()).await?;
    say(&mut old).await?;
    proxy.stall();
    old.write_all(b"hello").await?;
    proxy.heal_for_new();
    say(&mut TcpStream::connect(proxy.address()).await?).await?;
    let silent = timeout(Duration::from_millis(200), old.read(&mut [0; 1])).await;
    ensure!(silent.is_err(), "an old connection speaks: {silent:?}");
    ensure!(proxy.accepted() == 2);
    Ok(())
}

#[tokio::test]
async fn one_answer_can_be_swallowed() -> Result<()> {
    let proxy = Proxy::start(echo().await?).await?;
    proxy.swallow_answer(b"COMMIT");
    let mut stream = TcpStream::connect(proxy.address()).await?;
    say(&mut stream).await?;
    ensure!(proxy.is_to_swallow());
    stream.write_all(b"now COMMIT").await?;
    let broken = timeout(LIMIT, stream.read(&mut [0; 1]))
        .await
        .context("the end was not felt")?;
    ensure!(broken.is_err(), "it was answered: {broken:?}");
    ensure!(!proxy.is_to_swallow());
    say(&mut TcpStream::connect(proxy.address()).await?).await
}

#[tokio::test]
async fn what_the_proxy_says_stands_between_whole_frames() -> Result<()> {
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let proxy = Proxy::start_at(local, echo().await?, Protocol::Amqp).await?;
    let mut stream = TcpStream::connect(proxy.address()).await?;
    // A frame of two bytes in two pieces, and in between the proxy speaks.
    stream.write_all(&[1, 0, 0, 0, 0, 0, 2, 7]).await?;
    eventually(LIMIT, "somebody to be connected", || async {
        proxy.block("no")
    })
    .await?;
    stream.write_all(&[8, 0xCE]).await?;
    let mut heard = [0; 25];
    timeout(LIMIT, stream.read_exact(&mut heard)).await??;
    let whole: &[u8] = &[1, 0, 0, 0, 0, 0, 2, 7, 8, 0xCE];
    ensure!(
        heard.starts_with(whole) || heard.ends_with(whole),
        "a frame was torn: {heard:?}"
    );
    Ok(())
}
