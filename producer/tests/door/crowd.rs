//! More connections than there are places: who does nothing makes room for who asks.

use std::time::Duration;

use producer::Wire;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::fakes::{Setup, testbed};
use crate::wire::{PATIENCE, read, signup, start};

#[tokio::test]
async fn a_post_gets_in_although_every_place_is_taken_by_who_idles() {
    let wire = Wire {
        connections: 8,
        ..Wire::default()
    };
    let server = start(&testbed(), wire, PATIENCE).await;
    let mut idle = Vec::new();
    for number in 0..40 {
        let mut stream = server.connect().await;
        if number % 2 == 0 {
            // Half a head is not a request either.
            stream.write_all(b"POST /v1/signups HTT").await.unwrap();
        }
        idle.push(stream);
    }
    let request = signup("connection: close\r\n");
    let posted = server.exchange(request.as_bytes());
    let answer = tokio::time::timeout(PATIENCE, posted)
        .await
        .expect("a place");
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    // It was the one who came first that went.
    assert_eq!(read(&mut idle[0]).await, "");
    drop(idle);
    server.end().await;
}

#[tokio::test]
async fn who_has_a_request_under_way_keeps_the_place() {
    let bed = Setup {
        confirms: 0,
        ..Setup::default()
    }
    .build();
    let wire = Wire {
        connections: 2,
        ..Wire::default()
    };
    let server = start(&bed, wire, PATIENCE).await;
    let mut busy = server.connect().await;
    busy.write_all(signup("connection: close\r\n").as_bytes())
        .await
        .unwrap();
    while bed.broker.begun() < 1 {
        tokio::task::yield_now().await;
    }
    let mut others = Vec::new();
    for _ in 0..10 {
        let mut other = server.connect().await;
        other
            .write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        let mut status = [0; 12];
        other.read_exact(&mut status).await.unwrap();
        assert_eq!(&status, b"HTTP/1.1 200");
        others.push(other);
    }
    bed.broker.confirms.add_permits(1);
    let answer = read(&mut busy).await;
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    server.end().await;
}

#[tokio::test]
async fn who_asks_on_and_on_and_never_reads_is_let_go() {
    let wire = Wire {
        write_timeout: Duration::from_millis(200),
        ..Wire::default()
    };
    let server = start(&testbed(), wire, PATIENCE).await;
    let mut stream = server.connect().await;
    let request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1000);
    let asking = async {
        // Fails once the server has let go.
        while stream.write_all(&request).await.is_ok() {}
    };
    tokio::time::timeout(PATIENCE, asking)
        .await
        .expect("the server lets go");
    let answer = server
        .exchange(signup("connection: close\r\n").as_bytes())
        .await;
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    server.end().await;
}
