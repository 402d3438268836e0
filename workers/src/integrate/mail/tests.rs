use std::path::Path;

use common::event::{EventId, now};
use common::runtime::Received;
use testkit::mail_server::{Answer, MailServer, Offers};
use testkit::pki::{Authority, Leaf};

use super::*;
use crate::testbed::signup;

/// A mail server, and the settings of a destination there.
struct Post {
    server: MailServer,
    folder: tempfile::TempDir,
}

impl Post {
    async fn start(offers: Offers<'_>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (ending, text) in [
            ("subject", "Welcome {{ data.name }}"),
            (
                "txt",
                "Hello {{ data.name }}\n.\nYour event is {{ event_id }}.",
            ),
        ] {
            std::fs::write(folder.path().join(format!("welcome.{ending}")), text).unwrap();
        }
        let server = MailServer::start(offers).await.unwrap();
        Self { server, folder }
    }

    async fn plain() -> Self {
        Self::start(Offers::default()).await
    }

    fn mail_at(&self, url: &str, more: &str, timeout: &str) -> Mail {
        let template = self.folder.path().join("welcome");
        let text = format!(
            "name = \"welcome\"\ntimeout = {timeout:?}\nconcurrency = 4\n[smtp]\nurl = \"{url}:{}\"\n\
             from = \"Shop <hello@example.com>\"\ntemplate = {template:?}\n{more}",
            self.server.port()
        );
        let destination: Destination = toml::from_str(&text).unwrap();
        let common::config::Transport::Smtp(smtp) = &destination.transport else {
            panic!("expected a mail server");
        };
        Mail::new(&destination, smtp, Means::loopback()).unwrap()
    }

    /// Mail without TLS.
    fn mail(&self) -> Mail {
        self.mail_at("smtp://127.0.0.1", "tls = \"none\"", "5s")
    }
}

async fn send_to(mail: &Mail, address: &str) -> Sent {
    let event = EventId::born();
    let received: Received = signup(event, address);
    let id = event.to_string();
    let parcel = Parcel {
        id: &id,
        event,
        at: now(),
        received: &received,
    };
    mail.send(parcel).await
}

async fn send(mail: &Mail) -> Sent {
    send_to(mail, "ada@example.com").await
}

fn code(sent: &Sent) -> (Option<ReasonCode>, bool) {
    match &sent.verdict {
        Verdict::Delivered => (None, true),
        Verdict::Later { failure, .. } => (Some(failure.code), false),
        Verdict::Never(failure) | Verdict::NotMade(failure) => (Some(failure.code), true),
    }
}

fn error(sent: &Sent) -> String {
    match &sent.verdict {
        Verdict::Delivered => String::new(),
        Verdict::Later { failure, .. } | Verdict::Never(failure) | Verdict::NotMade(failure) => {
            failure.error.clone()
        }
    }
}

const DELIVERED: (Option<ReasonCode>, bool) = (None, true);
const LATER: (Option<ReasonCode>, bool) = (Some(ReasonCode::ReceiverFailing), false);
const NEVER: (Option<ReasonCode>, bool) = (Some(ReasonCode::ReceiverRefused), true);

fn authority() -> (Authority, Leaf) {
    let authority = Authority::new("mail").unwrap();
    let leaf = authority.issue(&["127.0.0.1", "mail.test"]).unwrap();
    (authority, leaf)
}

fn ca(folder: &Path, authority: &Authority) -> String {
    let path = folder.join("ca.pem");
    std::fs::write(&path, authority.pem()).unwrap();
    format!("tls = {{ ca = {path:?} }}\n")
}

#[tokio::test]
async fn a_mail_arrives_as_it_was_written() {
    let post = Post::plain().await;
    let mail = post.mail();
    let sent = send(&mail).await;
    assert_eq!((code(&sent), sent.status), (DELIVERED, Some(250)));
    let taken = post.server.taken();
    let [first] = taken.as_slice() else {
        panic!("{taken:?}");
    };
    assert_eq!(first.from, "<hello@example.com>");
    assert_eq!(first.to, ["<ada@example.com>"]);
    assert_eq!(first.header("subject"), "Welcome Ada");
    let event = first.header("longshore-event-id");
    assert_eq!(
        first.header("message-id"),
        format!("<{event}.welcome@example.com>")
    );
    let text = format!("\r\n\r\nHello Ada\r\n.\r\nYour event is {event}.\r\n");
    assert!(first.content.ends_with(&text), "{}", first.content);
}

#[tokio::test]
async fn a_ping_greets_the_server_and_sends_no_mail() {
    let post = Post::plain().await;
    let mail = post.mail();
    let received = signup(EventId::born(), "ada@example.com");
    let parcel = Parcel {
        id: "an-id",
        event: EventId::born(),
        at: now(),
        received: &received,
    };
    let pinged = mail.ping(parcel).await;
    assert_eq!((code(&pinged), pinged.status), (DELIVERED, Some(250)));
    assert!(post.server.taken().is_empty());
}

#[tokio::test]
async fn a_connection_is_kept_and_a_closed_one_costs_nothing() {
    let post = Post::plain().await;
    let mail = post.mail();
    for _ in 0..3 {
        assert_eq!(code(&send(&mail).await), DELIVERED);
    }
    assert_eq!(post.server.connections(), 1);
    // The server closes the idle connection: at the next command, or at the one after it, or with a word.
    for (verb, answer, again) in [
        ("RSET", Answer::Cut, false),
        ("MAIL", Answer::Cut, true),
        ("RCPT", Answer::Cut, true),
        ("DATA", Answer::Cut, true),
        ("RSET", Answer::SayAndClose("421 idle".to_owned()), false),
        (
            "MAIL",
            Answer::SayAndClose("421 enough mails".to_owned()),
            true,
        ),
    ] {
        assert_eq!(code(&send(&mail).await), DELIVERED);
        let kept = post.server.connections() - 1;
        post.server.plan({
            let answer = answer.clone();
            move |call| match call.verb == verb && call.connection == kept {
                true => answer.clone(),
                false => Answer::Usual,
            }
        });
        let sent = send(&mail).await;
        assert_eq!(code(&sent), DELIVERED, "{verb} {answer:?}: {sent:?}");
        assert_eq!(sent.again, again, "{verb} {answer:?}");
        assert_eq!(post.server.connections(), kept + 2);
    }
}

#[tokio::test]
async fn the_reply_decides() {
    let post = Post::plain().await;
    let mail = post.mail();
    for (verb, line, expected, status) in [
        ("CONTENT", "451 4.7.1 greylisted", LATER, Some(451)),
        ("RCPT", "450 4.2.0 try later", LATER, Some(450)),
        (
            "RCPT",
            "550-5.1.1 no such user\r\n550 5.1.1 here",
            NEVER,
            Some(550),
        ),
        ("CONTENT", "552 5.2.3 too large", NEVER, Some(552)),
        ("MAIL", "553 5.1.8 not from you", NEVER, Some(553)),
        ("MAIL", "530 5.7.0 log in", LATER, Some(530)),
        ("DATA", "421 4.3.2 shutting down", LATER, Some(421)),
        ("CONTENT", "554 5.7.1 spam", NEVER, Some(554)),
        ("GREETING", "554 not here", LATER, None),
        ("GREETING", "421 too many", LATER, Some(421)),
        ("EHLO", "502 what", LATER, None),
        ("DATA", "250 what", LATER, None),
        ("MAIL", "354 what", LATER, None),
    ] {
        let fresh = post.mail();
        let mail = if verb == "GREETING" || verb == "EHLO" {
            &fresh
        } else {
            &mail
        };
        post.server.plan(move |call| match call.verb == verb {
            true => Answer::say(line),
            false => Answer::Usual,
        });
        let sent = send(mail).await;
        assert_eq!(code(&sent), expected, "{verb} {line}: {sent:?}");
        assert_eq!(sent.status, status, "{verb} {line}");
        // What is recorded means the same when it is read again.
        if let Some(status) = status {
            let again = Sent {
                verdict: mail.verdict_on(status, now()),
                ..unwritten(Verdict::Delivered)
            };
            assert_eq!(code(&again), expected, "{verb} {line}");
        }
        post.server.plan(|_| Answer::Usual);
        assert_eq!(code(&send(mail).await), DELIVERED, "after {verb} {line}");
    }
    let refused = post.server.mails();
    let refused = refused
        .iter()
        .filter(|mail| mail.answered.is_some_and(|code| code >= 400));
    assert_eq!(refused.count(), 3);
}

#[tokio::test]
async fn an_excerpt_is_the_reply_s_text() {
    let post = Post::plain().await;
    let long = format!("550 {}", "\u{e4}".repeat(1500));
    post.server.plan(move |call| match call.verb {
        "RCPT" if call.earlier == 0 => Answer::say("550-no such\r\n550 user"),
        "RCPT" => Answer::Say(long.clone()),
        _ => Answer::Usual,
    });
    let mail = post.mail();
    assert_eq!(send(&mail).await.excerpt.as_deref(), Some("no such user"));
    let excerpt = send(&mail).await.excerpt.unwrap();
    assert_eq!(excerpt.len(), MAX_EXCERPT);
}

#[tokio::test]
async fn a_server_that_stalls_or_cuts_off_is_tried_again_later() {
    let post = Post::plain().await;
    for verb in ["GREETING", "EHLO", "MAIL", "RCPT", "DATA", "CONTENT"] {
        for (answer, words) in [(Answer::Stall, "within 300ms"), (Answer::Cut, "connection")] {
            post.server.plan({
                let answer = answer.clone();
                move |call| match call.verb == verb {
                    true => answer.clone(),
                    false => Answer::Usual,
                }
            });
            let mail = post.mail_at("smtp://127.0.0.1", "tls = \"none\"", "300ms");
            let sent = send(&mail).await;
            assert_eq!(code(&sent), LATER, "{verb} {answer:?}: {sent:?}");
            assert_eq!(sent.status, None);
            assert!(error(&sent).contains(words), "{verb}: {sent:?}");
            assert!(!sent.again);
        }
    }
    let taken = post.server.mails();
    assert!(
        taken.iter().all(|mail| mail.answered.is_none()),
        "{taken:?}"
    );
}

#[tokio::test]
async fn a_server_that_freezes_costs_one_check() {
    let post = Post::plain().await;
    let mail = post.mail();
    assert_eq!(code(&send(&mail).await), DELIVERED);
    post.server.plan(|call| match (call.verb, call.connection) {
        ("RSET", 0) => Answer::Stall,
        _ => Answer::Usual,
    });
    let sent = send(&mail).await;
    assert_eq!(code(&sent), DELIVERED, "{sent:?}");
    assert_eq!(post.server.connections(), 2);
}

#[tokio::test]
async fn tls_is_used_from_the_start_or_after_starttls_and_with_a_login() {
    let (authority, leaf) = authority();
    let login = Some(("ada@example.com", "p\u{e4}ss word"));
    for (url, only_auth_login) in [
        ("smtps://ada%40example.com@127.0.0.1", false),
        ("smtps://ada%40example.com@127.0.0.1", true),
        ("smtp://ada%40example.com@127.0.0.1", false),
        ("smtp://ada%40example.com@127.0.0.1", true),
    ] {
        let from_start = url.starts_with("smtps");
        let post = Post::start(Offers {
            tls: Some(&leaf).filter(|_| from_start),
            starttls: Some(&leaf).filter(|_| !from_start),
            login,
            only_auth_login,
            smtputf8: false,
        })
        .await;
        let tls = ca(post.folder.path(), &authority);
        let more = format!("{tls}password = \"p\u{e4}ss word\"");
        let sent = send(&post.mail_at(url, &more, "5s")).await;
        assert_eq!(code(&sent), DELIVERED, "{url}: {sent:?}");
        let taken = post.server.taken();
        assert!(taken[0].encrypted);
        assert_eq!(taken[0].user.as_deref(), Some("ada@example.com"));

        let wrong = format!("{tls}password = \"hunter2\"");
        let sent = send(&post.mail_at(url, &wrong, "5s")).await;
        assert_eq!((code(&sent), sent.status), (LATER, Some(535)), "{sent:?}");
        assert!(!format!("{sent:?}").contains("hunter2"), "{sent:?}");
    }
}

#[tokio::test]
async fn nothing_is_sent_without_tls_that_can_be_trusted() {
    let (_, leaf) = authority();
    let no_tls = Post::plain().await;
    let starttls = Post::start(Offers {
        starttls: Some(&leaf),
        ..Offers::default()
    })
    .await;
    let tls = Post::start(Offers {
        tls: Some(&leaf),
        ..Offers::default()
    })
    .await;
    let password = "password = \"hunter2\"";
    for (post, url, words) in [
        (&no_tls, "smtp://u@127.0.0.1", "offers STARTTLS"),
        (&starttls, "smtp://u@127.0.0.1", "set smtp.tls.ca"),
        (&tls, "smtps://u@127.0.0.1", "set smtp.tls.ca"),
        (&no_tls, "smtps://u@127.0.0.1", "speaks something else"),
        (&tls, "smtp://u@127.0.0.1", "within"),
    ] {
        let sent = send(&post.mail_at(url, password, "500ms")).await;
        assert_eq!((code(&sent), sent.status), (LATER, None), "{url}: {sent:?}");
        assert!(error(&sent).contains(words), "{words}: {sent:?}");
        assert!(post.server.mails().is_empty());
        let calls = post.server.calls();
        assert!(
            !calls.iter().any(|verb| verb == "AUTH" || verb == "MAIL"),
            "{calls:?}"
        );
    }
}

#[tokio::test]
async fn a_login_goes_only_to_a_server_that_can_take_it() {
    let (authority, leaf) = authority();
    let post = Post::start(Offers {
        tls: Some(&leaf),
        ..Offers::default()
    })
    .await;
    let more = format!(
        "{}password = \"hunter2\"",
        ca(post.folder.path(), &authority)
    );
    let sent = send(&post.mail_at("smtps://u@127.0.0.1", &more, "5s")).await;
    assert_eq!(code(&sent), LATER);
    assert!(
        error(&sent).contains("AUTH PLAIN or LOGIN, found none"),
        "{sent:?}"
    );
}

#[tokio::test]
async fn text_that_is_slipped_in_before_tls_is_not_believed() {
    let (authority, leaf) = authority();
    let post = Post::start(Offers {
        starttls: Some(&leaf),
        ..Offers::default()
    })
    .await;
    post.server.plan(|call| match call.verb {
        "STARTTLS" => Answer::say("220 go\r\n250-mail.test\r\n250 OK\r\n250 OK\r\n250 OK"),
        _ => Answer::Usual,
    });
    let more = ca(post.folder.path(), &authority);
    let sent = send(&post.mail_at("smtp://127.0.0.1", &more, "2s")).await;
    assert_eq!(code(&sent), LATER, "{sent:?}");
    assert!(post.server.mails().is_empty());
}

#[tokio::test]
async fn the_guard_holds_for_mail_servers() {
    let post = Post::plain().await;
    for (url, more) in [
        ("smtps://127.0.0.1", ""),
        ("smtp://localhost", ""),
        ("smtps://2130706433", ""),
        ("smtps://[::1]", ""),
        ("smtp://127.0.0.1", "tls = \"none\""),
    ] {
        let text = format!(
            "name = \"welcome\"\n[smtp]\nurl = \"{url}:{}\"\nfrom = \"a@example.com\"\ntemplate = {:?}\n{more}",
            post.server.port(),
            post.folder.path().join("welcome"),
        );
        let destination: Destination = toml::from_str(&text).unwrap();
        let common::config::Transport::Smtp(smtp) = &destination.transport else {
            panic!("expected a mail server");
        };
        let mail = Mail::new(&destination, smtp, Means::default()).unwrap();
        let sent = send(&mail).await;
        let expected = (Some(ReasonCode::DestinationForbidden), false);
        assert_eq!(code(&sent), expected, "{url}: {sent:?}");
    }
    assert_eq!(post.server.connections(), 0);
}

#[tokio::test]
async fn addresses_of_other_scripts_go_to_servers_that_take_them() {
    let old = Post::plain().await;
    let mail = old.mail();
    let sent = send_to(&mail, "用户@example.com").await;
    assert_eq!((code(&sent), sent.status), (NEVER, None));
    assert!(error(&sent).contains("SMTPUTF8"), "{sent:?}");
    assert_eq!(code(&send_to(&mail, "ada@bücher.example").await), DELIVERED);
    assert_eq!(old.server.taken()[0].to, ["<ada@xn--bcher-kva.example>"]);
    assert_eq!(old.server.connections(), 1, "the connection was kept");

    let new = Post::start(Offers {
        smtputf8: true,
        ..Offers::default()
    })
    .await;
    assert_eq!(
        code(&send_to(&new.mail(), "用户@bücher.example").await),
        DELIVERED
    );
    let taken = new.server.taken();
    assert_eq!(taken[0].from, "<hello@example.com> BODY=8BITMIME SMTPUTF8");
    assert_eq!(taken[0].to, ["<用户@xn--bcher-kva.example>"]);
}

#[tokio::test]
async fn an_address_that_is_not_one_reaches_no_server() {
    let post = Post::plain().await;
    let sent = send_to(&post.mail(), "a@example.com>\r\nRCPT TO:<b@example.com").await;
    assert_eq!(code(&sent), NEVER);
    assert_eq!(post.server.connections(), 0);
}

#[tokio::test]
async fn many_mails_share_as_many_connections_as_there_are_places() {
    let post = Post::plain().await;
    let mail = post.mail();
    for _ in 0..5 {
        let sent = futures_util::future::join_all((0..4).map(|_| send(&mail))).await;
        assert!(sent.iter().all(|sent| code(sent) == DELIVERED), "{sent:?}");
    }
    assert!(
        post.server.connections() <= 4,
        "{}",
        post.server.connections()
    );
    assert_eq!(post.server.taken().len(), 20);
}
