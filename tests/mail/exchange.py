"""Sends events as mail through two servers of aiosmtpd, one with STARTTLS and one with TLS from the start, both with a
login, and reads what arrives with Python's own parser. Usage: exchange.py PATH_OF_LONGSHORE"""

import asyncio
import email
import email.policy
import json
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

USER, PASSWORD = "hello@example.com", "p\u00e4ss word"
WAIT = 90
HOSTILE = "Eve\r\nBcc: victim@example.com\r\n\r\n.\r\nMAIL FROM:<x@example.com>"


class Desk:
    """Takes mail, or does not, by the first part of the recipient's address."""

    def __init__(self):
        self.tries, self.mails, self.users = {}, [], set()

    def nth(self, address):
        self.tries[address] = self.tries.get(address, 0) + 1
        return self.tries[address]

    async def handle_RCPT(self, server, session, envelope, address, options):
        word = address.split(".")[0]
        if word == "refused":
            return "550 5.1.1 no such user"
        if word == "grey" and self.nth(address) == 1:
            return "451 4.7.1 greylisted, try again"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        address = envelope.rcpt_tos[0]
        word = address.split(".")[0]
        if word == "full":
            return "552 5.2.2 mailbox full"
        if word in ("stalled", "cut") and self.nth(address) == 1:
            if word == "stalled":
                await asyncio.sleep(5)
            server.transport.abort()
            return "451 never read"
        self.mails.append((envelope, email.message_from_bytes(envelope.content, policy=email.policy.default)))
        return "250 2.0.0 taken"

    def authenticate(self, server, session, envelope, mechanism, data):
        self.users.add((data.login.decode(), mechanism))
        is_right = (data.login.decode(), data.password.decode()) == (USER, PASSWORD)
        return AuthResult(success=is_right, handled=False)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(desk, tls, from_start):
    """A server; its port."""
    way = {"ssl_context": tls, "auth_require_tls": False} if from_start else {"tls_context": tls, "require_starttls": True}
    port = free_port()
    server = Controller(
        desk, hostname="127.0.0.1", port=port, server_hostname="mail.test", authenticator=desk.authenticate,
        auth_required=True, enable_SMTPUTF8=True, **way,
    )
    server.start()
    return server, port


def configuration(folder, starttls, tls):
    user = USER.replace("@", "%40")
    def destination(name, kind, url, password, more="", template="welcome"):
        return f"""
[[destination]]
name = "{name}"
types = {json.dumps(kind)}
timeout = "2s"
retry = {{ attempts = 3, first = "300ms", factor = 1.0 }}
[destination.smtp]
url = "{url}"
password = {json.dumps(password, ensure_ascii=False)}
from = "Käse, Shop <{USER}>"
template = "{template}"
tls = {{ ca = "{folder}/ca.pem" }}
list_unsubscribe = "https://example.com/end?event={{{{ event_id }}}}"
{more}"""
    to_ops = 'to = "ops.{{ event_id }}@example.com"'
    return "\n".join([
        '[outbound]\nallow = ["127.0.0.0/8"]\n[[type]]\nname = "shop.note"\nschema = true\n',
        destination("welcome", ["signup.requested", "shop.note"], f"smtp://{user}@127.0.0.1:{starttls}", PASSWORD),
        destination("notice", ["signup.requested", "shop.note"], f"smtps://{user}@127.0.0.1:{tls}", PASSWORD, to_ops),
        destination("locked", ["processing.requested"], f"smtps://{user}@127.0.0.1:{tls}", "another", to_ops, "plain"),
    ])


def call(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def at_rest(base, event):
    deadline = time.monotonic() + WAIT
    while True:
        try:
            status = call(f"{base}/v1/events/{event}")
            if status["status"] in ("completed", "dead", "rejected"):
                return status
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            status = "unknown"
        assert time.monotonic() < deadline, f"not at rest after {WAIT} s: {status}"
        time.sleep(0.1)


def check_mail(mail, event, destination, name):
    assert mail.defects == [], mail.defects
    assert mail["subject"] == f"Welcome {' '.join(name.split())}", repr(mail["subject"])
    assert mail["message-id"] == f"<{event}.{destination}@example.com>", mail["message-id"]
    assert mail["auto-submitted"] == "auto-generated" and mail["longshore-event-id"] == event
    assert mail["list-unsubscribe"] == f"<https://example.com/end?event={event}>"
    assert mail["list-unsubscribe-post"] == "List-Unsubscribe=One-Click"
    sender = mail["from"].addresses[0]
    assert (sender.display_name, sender.addr_spec) == ("Käse, Shop", USER), str(sender)
    assert mail["bcc"] is None and len(mail["to"].addresses) == 1
    assert mail["date"].datetime.year >= 2024
    text = mail.get_body(("plain",)).get_content().replace("\r\n", "\n")
    lines = f"Hello {name}!\n.\n..".replace("\r\n", "\n")
    assert text.rstrip("\n") == lines, (text, lines)
    html = mail.get_body(("html",)).get_content()
    assert "<p>Grüße, " in html and ("<" not in name or "&lt;" in html), html


def exchange(longshore, folder):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(f"{folder}/ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    open_desk, sealed_desk = Desk(), Desk()
    (first, starttls), (second, tls) = start(open_desk, context, False), start(sealed_desk, context, True)
    for ending, text in (
        ("subject", "Welcome {{ data.name }}"), ("txt", "Hello {{ data.name }}!\n.\n..\n"),
        ("html", "<p>Grüße, {{ data.name }}</p>\n"),
    ):
        (folder / f"welcome.{ending}").write_text(text, "utf-8")
        (folder / f"plain.{ending}").write_text("Hello", "utf-8")
    (folder / "longshore.toml").write_text(configuration(folder, starttls, tls), "utf-8")
    base = f"http://127.0.0.1:{free_port()}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LONGSHORE_")}
    environment |= {"LONGSHORE_CONFIG": f"{folder}/longshore.toml", "LONGSHORE_LOG": "warn"}
    log = open(folder / "log", "w+")
    system = subprocess.Popen(
        [longshore, "dev", "--listen", base.removeprefix("http://")], cwd=folder, env=environment, stdout=log, stderr=log
    )
    try:
        deadline = time.monotonic() + WAIT
        while True:
            try:
                urllib.request.urlopen(f"{base}/readyz", timeout=5)
                break
            except OSError:
                assert time.monotonic() < deadline and system.poll() is None, "the system does not start"
                time.sleep(0.2)
        people = {
            "ada.l@example.com": "Ada", "grey.l@example.com": "Grey", "stalled.l@example.com": "Stalled",
            "cut.l@example.com": "Cut", "用户.l@bücher.example": "用户 <b>", "eve.l@example.com": HOSTILE,
            "mallory.l@example.com": "=?utf-8?Q?=0D=0ABcc:_victim@example.com?=",
            "refused.l@example.com": "Refused", "full.l@example.com": "Full",
        }
        events = {}
        for address, name in people.items():
            event = {"specversion": "1.0", "id": address, "source": "/exchange", "type": "shop.note" if name == HOSTILE else "signup.requested",
                     "data": {"email": address, "name": name}}
            request = urllib.request.Request(
                f"{base}/v1/events", json.dumps(event).encode(), {"Content-Type": "application/cloudevents+json"})
            with urllib.request.urlopen(request, timeout=10) as answer:
                events[address] = json.load(answer)["id"]
        for address, event in events.items():
            status = at_rest(base, event)
            is_refused = address.split(".")[0] in ("refused", "full")
            assert status["status"] == ("dead" if is_refused else "completed"), (address, status)
            if is_refused:
                assert "receiver_refused" in json.dumps(status), status
                continue
            mine = [mail for _, mail in open_desk.mails if mail["longshore-event-id"] == event]
            assert len(mine) == 1, (address, len(mine))
            check_mail(mine[0], event, "welcome", people[address])
            theirs = [mail for _, mail in sealed_desk.mails if mail["longshore-event-id"] == event]
            assert len(theirs) == 1 and theirs[0]["to"] == f"ops.{event}@example.com"
            check_mail(theirs[0], event, "notice", people[address])
        recipients = [address for envelope, _ in open_desk.mails for address in envelope.rcpt_tos]
        assert "用户.l@xn--bcher-kva.example" in recipients and "victim@example.com" not in recipients, recipients
        assert {user for user, _ in open_desk.users | sealed_desk.users} == {USER}
        assert open_desk.tries == {"grey.l@example.com": 2, "stalled.l@example.com": 2, "cut.l@example.com": 2}

        locked = call(f"{base}/v1/processing", {"task": "resize", "payload": {}})["id"]
        status = at_rest(base, locked)
        assert status["status"] == "dead" and "receiver_failing" in json.dumps(status), status
        log.seek(0)
        for secret in (PASSWORD, "another"):
            assert secret not in log.read(), "the log has a password"
    except BaseException:
        log.seek(0)
        print(log.read(), file=sys.stderr)
        raise
    finally:
        system.send_signal(signal.SIGTERM)
        system.wait(30)
        first.stop()
        second.stop()
    print(f"mail: {len(open_desk.mails)} mails by STARTTLS, {len(sealed_desk.mails)} by TLS, as they were written")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        exchange(os.path.abspath(sys.argv[1]), pathlib.Path(name))
