use proptest::prelude::*;

use super::*;
use crate::broker::rabbit::wire::open;
use crate::message::Message;
use crate::reason::ReasonCode;

const LIMIT: usize = 10_000;

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    put(&mut bytes, kind, channel, payload);
    bytes
}

fn short(bytes: &[u8]) -> Vec<u8> {
    [&[u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

/// The frames of a delivery, as RabbitMQ sends them; the body in frames of `piece` bytes.
fn delivery(
    channel: u16,
    routing_key: &[u8],
    properties: &[u8],
    body: &[u8],
    piece: usize,
) -> Vec<u8> {
    let method = [
        &[0, 60, 0, 60][..],
        &short(b"amq.ctag-1"),
        &7_u64.to_be_bytes(),
        &[1],
        &short(b"longshore.received"),
        &short(routing_key),
    ];
    let size = length(body.len()).to_be_bytes();
    let header = [&[0, 60, 0, 0][..], &size, properties].concat();
    let mut frames = frame(METHOD, channel, &method.concat());
    frames.extend(frame(HEADER, channel, &header));
    for piece in body.chunks(piece.max(1)) {
        frames.extend(frame(BODY, channel, piece));
    }
    frames
}

/// The output of a filter that is given `bytes` in pieces of `chunk` and read in pieces of `window`.
fn filtered(bytes: &[u8], chunk: usize, window: usize) -> Vec<u8> {
    let mut filter = Filter::new(BodyLimits::new(LIMIT));
    let mut out = Vec::new();
    let mut buffer = vec![0; window.max(1)];
    for mut input in bytes.chunks(chunk.max(1)) {
        while !input.is_empty() || filter.has_output() {
            let written = filter.pull(&mut input, &mut buffer).expect("frames");
            out.extend_from_slice(&buffer[..written]);
        }
    }
    out
}

/// The library's reading of frames: each delivery's routing key, which must be empty, and its body.
fn library(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    let mut missing = 0;
    while !bytes.is_empty() {
        let kind = bytes[0];
        let size = u32::from_be_bytes(bytes[3..7].try_into().unwrap()) as usize;
        let payload = &bytes[7..7 + size];
        assert_eq!(bytes[7 + size], FRAME_END);
        assert!(size <= 131_072, "too large for a frame");
        match kind {
            METHOD if payload.starts_with(&[0, 60, 0, 60]) => {
                assert!(payload.ends_with(&[1, 0, 0]), "no exchange, no key");
            }
            HEADER => {
                assert_eq!(payload.len(), 14, "no properties");
                missing = u64::from_be_bytes(payload[4..12].try_into().unwrap()) as usize;
                bodies.push(Vec::new());
            }
            BODY => {
                missing -= size;
                bodies.last_mut().expect("a header first").extend(payload);
            }
            _ => {}
        }
        bytes = &bytes[8 + size..];
    }
    assert_eq!(missing, 0, "as long as the header says");
    bodies
}

fn opened(bytes: &[u8]) -> Vec<(String, Message)> {
    let bodies = library(bytes).into_iter();
    bodies
        .map(|body| open(body).expect("an envelope"))
        .collect()
}

#[test]
fn a_delivery_comes_with_what_the_library_could_not_read() {
    let bytes = delivery(1, b"signup.\xe9", &[0, 0x08, 1, 0xe9], b"{}", 100);
    let [(routing_key, message)] = &opened(&filtered(&bytes, 5, 3))[..] else {
        panic!("expected one delivery")
    };
    assert_eq!(routing_key, "signup.\u{fffd}");
    assert_eq!(message.body, "{}");
    let damage = message.damage.as_ref().expect("damaged");
    assert_eq!(damage.code, ReasonCode::Undecodable);
    assert!(damage.detail.contains("routing key: expected UTF-8"));
    assert!(damage.detail.contains("app_id: expected UTF-8"));
}

#[test]
fn of_a_body_that_is_too_large_beginning_size_and_hash_are_kept() {
    let body: Vec<u8> = (0..50_000_u32).flat_map(u32::to_be_bytes).collect();
    let bytes = [
        delivery(1, b"k", &[0, 0], &body, 70_000),
        delivery(1, b"k", &[0, 0], b"next", 70_000),
    ];
    let out = filtered(&bytes.concat(), 65_536, 65_536);
    assert!(out.len() < 6_000, "found {} bytes", out.len());
    let [(_, message), (_, next)] = &opened(&out)[..] else {
        panic!("expected two deliveries")
    };
    assert_eq!(message.body, body[..HEAD]);
    let damage = message.damage.as_ref().expect("damaged");
    assert_eq!(damage.code, ReasonCode::TooLarge);
    let hash: String = Sha256::digest(&body)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert!(
        damage
            .detail
            .starts_with("expected a body of at most 10000 bytes, found 200000; "),
        "{}",
        damage.detail
    );
    assert!(damage.detail.ends_with(&hash), "{}", damage.detail);
    assert_eq!(damage.body, Some(format!("200000 bytes, sha256 {hash}")));
    assert_eq!((&next.body[..], &next.damage), (&b"next"[..], &None));
}

#[test]
fn a_channel_may_take_larger_bodies_than_others() {
    let limits = BodyLimits::new(LIMIT);
    limits.set(2, LIMIT + 1);
    let mut filter = Filter::new(limits);
    let body = [b'x'; LIMIT + 1];
    let bytes = [
        delivery(1, b"k", &[0, 0], &body, LIMIT * 2),
        delivery(2, b"k", &[0, 0], &body, LIMIT * 2),
    ]
    .concat();
    let mut out = vec![0; bytes.len() * 2];
    let written = filter.pull(&mut &bytes[..], &mut out).expect("frames");
    let sizes = opened(&out[..written]);
    let sizes: Vec<usize> = sizes
        .iter()
        .map(|(_, message)| message.body.len())
        .collect();
    assert_eq!(sizes, [HEAD, LIMIT + 1]);
}

#[test]
fn a_reason_that_ends_in_the_middle_of_a_character_can_be_read() {
    let text = short(b"no queue '\xe9' here");
    let close = [&[0, 20, 0, 40, 1, 148][..], &text, &[0, 60, 0, 20]].concat();
    let readable = [
        &[0, 20, 0, 40, 1, 148][..],
        &short(b"no queue '?' here"),
        &[0, 60, 0, 20],
    ];
    assert_eq!(
        filtered(&frame(METHOD, 1, &close), 9, 9),
        frame(METHOD, 1, &readable.concat())
    );
}

#[test]
fn what_was_announced_on_a_channel_that_closed_is_forgotten() {
    let delivery = delivery(1, b"k", &[0, 0x08, 1, 0xe9], b"{}", 100);
    let (announced, header_and_body) =
        delivery.split_at(8 + u32::from_be_bytes(delivery[3..7].try_into().unwrap()) as usize);
    let closed = frame(METHOD, 1, &[0, 20, 0, 41]);
    let out = filtered(&[announced, &closed, header_and_body].concat(), 50, 50);
    assert!(out.ends_with(header_and_body), "passed as it came");
}

#[test]
fn a_server_that_speaks_something_else_is_heard() {
    assert_eq!(
        filtered(b"AMQP\x00\x01\x00\x00 or so", 3, 2),
        b"AMQP\x00\x01\x00\x00 or so"
    );
}

#[test]
fn a_frame_beyond_reason_is_refused() {
    let mut filter = Filter::new(BodyLimits::new(LIMIT));
    let frame = [1, 0, 1, 0xff, 0xff, 0xff, 0xff, 0];
    assert!(filter.pull(&mut &frame[..], &mut [0; 100]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn every_message_comes_whole_however_it_is_cut(
        messages in prop::collection::vec(
            (1_u16..4, prop::collection::vec(any::<u8>(), 0..20), prop::collection::vec(any::<u8>(), 0..12_000)),
            0..4,
        ),
        piece in 1_usize..20_000,
        chunk in 20_usize..70_000,
        window in 20_usize..70_000,
    ) {
        let mut bytes = Vec::new();
        for (channel, routing_key, body) in &messages {
            bytes.extend(frame(HEARTBEAT, 0, &[]));
            bytes.extend(delivery(*channel, routing_key, &[0, 0], body, piece));
        }
        let opened = opened(&filtered(&bytes, chunk, window));
        prop_assert_eq!(opened.len(), messages.len());
        for ((routing_key, message), (_, sent_key, body)) in opened.iter().zip(&messages) {
            prop_assert_eq!(routing_key, &String::from_utf8_lossy(sent_key));
            let kept = if body.len() > LIMIT { &body[..HEAD] } else { body };
            prop_assert_eq!(&message.body[..], kept);
        }
    }

    #[test]
    fn frames_that_are_no_delivery_pass_as_they_are(
        payloads in prop::collection::vec((1_u8..9, 0_u16..3, prop::collection::vec(any::<u8>(), 0..200)), 0..9),
        chunk in 1_usize..100,
    ) {
        let frames: Vec<u8> = payloads
            .iter()
            .map(|(kind, channel, payload)| {
                let other = [&[0, 50, 0, 11][..], payload].concat();
                frame(*kind, *channel, &other)
            })
            .collect::<Vec<_>>()
            .concat();
        prop_assert_eq!(filtered(&frames, chunk, chunk), frames);
    }

    #[test]
    fn any_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..500), chunk in 1_usize..100) {
        let mut filter = Filter::new(BodyLimits::new(LIMIT));
        let mut buffer = [0; 64];
        'all: for mut input in bytes.chunks(chunk) {
            while !input.is_empty() || filter.has_output() {
                if filter.pull(&mut input, &mut buffer).is_err() {
                    break 'all;
                }
            }
        }
    }
}
