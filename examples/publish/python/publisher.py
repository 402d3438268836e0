#!/usr/bin/env python3
"""Publishes events at the HTTP door of Longshore. Needs Python 3.9 and nothing else: copy this file.

    from publisher import Publisher

    publisher = Publisher("https://events.example.com", key=os.environ["PUBLISH_KEY"])
    accepted = publisher.signup({"email": "ada@example.com", "name": "Ada Lovelace"})
    print(accepted.id, accepted.status_url)

A call returns once the event is safe, and raises one of three errors otherwise:

    Refused           the door does not take this request: mend it
    UnexpectedAnswer  the answer is not one of Longshore's door: check the address
    Undecided         not known to be accepted by the deadline: send the same again later, with the same key or id

As a program it publishes one event: `publisher.py --help`.
"""

import argparse
import datetime
import email.utils
import http.client
import json
import os
import random
import re
import sys
import time
import typing
import urllib.error
import urllib.parse
import urllib.request
import uuid

__all__ = ["Accepted", "Publisher", "PublishError", "Refused", "Undecided", "UnexpectedAnswer"]


class Accepted(typing.NamedTuple):
    """An event that is safe: Longshore's id of it, its type, and the address of its status."""

    id: str
    type: str
    status_url: str


class PublishError(Exception):
    """Any error below."""


class Refused(PublishError):
    """The door has refused the request, and nothing of it is published. `code` is stable, for programs. `errors` lists
    every wrong field: `{"pointer": …, "detail": …}`."""

    def __init__(self, status, code, detail, errors):
        self.status, self.code, self.detail, self.errors = status, code, detail, errors
        fields = "".join(f"; {error.get('pointer')}: {error.get('detail')}" for error in errors)
        super().__init__(f"refused with {status} {code}: {detail}{fields}")


class UnexpectedAnswer(PublishError):
    """An answer that Longshore's door does not give, such as a redirect. Redirects are not followed."""

    def __init__(self, status, detail):
        self.status = status
        super().__init__(f"expected 202 from the door, found {status}: {detail}")


class Undecided(PublishError):
    """Not known to be accepted by the deadline. To repeat the call safely, give `idempotency_key` to it, or for
    CloudEvents the list `events`, which has their ids."""

    def __init__(self, attempts, last, idempotency_key, events):
        self.attempts, self.last = attempts, last
        self.idempotency_key, self.events = idempotency_key, events
        super().__init__(f"not known to be accepted after {attempts} attempts; the last one: {last}")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows none: the key must not reach another host."""

    def redirect_request(self, *_):
        return None


class Publisher:
    """Publishes at one door. Safe to share between threads.

    base_url      address of the door, such as https://events.example.com
    key           API key or token, where the door asks for one
    deadline      seconds that a call may take, all its attempts and waits included
    timeout       seconds that one attempt may wait for the connection, and then for each part of the answer
    first_wait    seconds before the second attempt, where the door does not say. Each further wait is twice as long
    longest_wait  maximum of these waits. The door's own `Retry-After` is kept as far as the deadline reaches
    """

    def __init__(self, base_url, key=None, *, deadline=60.0, timeout=10.0, first_wait=0.5, longest_wait=20.0):
        url = urllib.parse.urlsplit(base_url)
        if url.scheme not in ("http", "https") or not url.hostname or url.username or url.query or url.fragment:
            raise ValueError("expected base_url like https://events.example.com, without a login or a query")
        if not min(deadline, timeout, first_wait, longest_wait) > 0:
            raise ValueError("expected times in seconds, more than 0")
        self._base = base_url.rstrip("/")
        self._headers = {} if key is None else {"Authorization": "Bearer " + _visible(key, "key")}
        self._deadline, self._timeout = deadline, timeout
        self._first_wait, self._longest_wait = first_wait, longest_wait
        self._opener = urllib.request.build_opener(_Redirects)

    def signup(self, data, idempotency_key=None):
        """Publishes a signup: `{"email": …, "name": …}` and the optional fields."""
        return self._once("/v1/signups", data, idempotency_key)

    def processing(self, task, payload, idempotency_key=None):
        """Publishes a request to process something."""
        return self._once("/v1/processing", {"task": task, "payload": payload}, idempotency_key)

    def event(self, event):
        """Publishes a CloudEvent of any known type. `type` and `source` are needed; `id` is made where it is absent."""
        event = _cloud_event(event)
        accepted = self._send("/v1/events", "application/cloudevents+json", event, None, [event])
        return self._accepted(accepted)

    def events(self, events):
        """Publishes a batch of CloudEvents, all or none. The result has their order."""
        events = [_cloud_event(event) for event in events]
        answer = self._send("/v1/events", "application/cloudevents-batch+json", events, None, events)
        if not isinstance(answer, dict) or not isinstance(answer.get("accepted"), list):
            raise UnexpectedAnswer(202, "the answer has no list of accepted events")
        return [self._accepted(one) for one in answer["accepted"]]

    def _once(self, path, data, idempotency_key):
        idempotency_key = _visible(idempotency_key or str(uuid.uuid4()), "idempotency_key")
        return self._accepted(self._send(path, "application/json", data, idempotency_key, None))

    def _accepted(self, answer):
        try:
            return Accepted(answer["id"], answer["type"], self._base + answer["status_url"])
        except (KeyError, TypeError):
            raise UnexpectedAnswer(202, "the answer has no id, type and status_url") from None

    def _send(self, path, media_type, body, idempotency_key, events):
        """Sends the same bytes, with the same key, until the door has decided."""
        headers = {**self._headers, "Content-Type": media_type, "Accept": "application/json"}
        if idempotency_key is not None:
            headers["Idempotency-Key"] = idempotency_key
        # NaN and half of a surrogate pair fail here: no door takes them.
        body = json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
        end = time.monotonic() + self._deadline
        attempts = 0
        while True:
            attempts += 1
            left = max(end - time.monotonic(), 0.001)
            request = urllib.request.Request(self._base + path, body, headers, method="POST")
            try:
                with self._opener.open(request, timeout=min(self._timeout, left)) as answer:
                    status, answer_headers, content = answer.status, answer.headers, answer.read()
            except urllib.error.HTTPError as error:
                status, answer_headers, content = _read_error(error)
            except (OSError, http.client.HTTPException) as error:
                status, answer_headers, content = None, {}, getattr(error, "reason", error)
            if status is None:
                last = f"no answer ({str(content) or type(content).__name__})"
            elif status in (408, 429) or status >= 500:
                last = f"{status} {_problem(content).get('code', '')}".rstrip()
            else:
                return _decision(status, content)
            wait = self._wait(attempts, answer_headers)
            if time.monotonic() + wait >= end:
                raise Undecided(attempts, last, idempotency_key, events)
            time.sleep(wait)

    def _wait(self, attempts, headers):
        """As long as `Retry-After` says, else exponentially. A part is random, so that callers do not come all at once."""
        asked = _retry_after(headers)
        if asked is not None:
            return max(asked, self._first_wait) + random.uniform(0, self._first_wait)
        wait = min(self._first_wait * 2 ** min(attempts - 1, 30), self._longest_wait)
        return random.uniform(wait / 2, wait)


def _visible(text, name):
    """Only visible ASCII fits into a header. The error does not repeat the text, which may be a secret."""
    if not isinstance(text, str) or not re.fullmatch(r"[!-~]+", text):
        raise ValueError(f"expected {name} of visible ASCII characters alone")
    return text


def _cloud_event(event):
    event = {"specversion": "1.0", "id": str(uuid.uuid4()), **event}
    for name in ("type", "source"):
        if not event.get(name):
            raise ValueError(f"a CloudEvent needs {name!r}")
    return event


def _read_error(error):
    """The status, headers and content of an answer that is not a 2xx. One that breaks off is no answer."""
    with error:
        try:
            return error.code, error.headers, error.read()
        except (OSError, http.client.HTTPException) as broken:
            return None, {}, broken


def _problem(content):
    """The problem document (RFC 9457) of an answer; empty for anything else."""
    try:
        problem = json.loads(content)
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}


def _decision(status, content):
    if status == 202:
        try:
            return json.loads(content)
        except ValueError:
            raise UnexpectedAnswer(status, "the answer is not JSON") from None
    problem = _problem(content)
    if not 400 <= status < 500:
        raise UnexpectedAnswer(status, "a redirect" if 300 <= status < 400 else "not an answer of Longshore's door")
    errors = problem.get("errors")
    errors = [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
    raise Refused(status, problem.get("code", "unknown"), problem.get("detail", "without a problem document"), errors)


def _retry_after(headers):
    """The seconds that an answer asks to wait, from a number or a date; None without either."""
    value = (headers.get("Retry-After") or "").strip()
    if re.fullmatch(r"[0-9]{1,9}", value):
        return float(value)
    until = _date(value)
    if until is None:
        return None
    # By the door's clock, which may differ from ours.
    now = _date(headers.get("Date") or "") or datetime.datetime.now(datetime.timezone.utc)
    return max((until - now).total_seconds(), 0.0)


def _date(value):
    try:
        date = email.utils.parsedate_to_datetime(value)
    except (TypeError, ValueError, IndexError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=datetime.timezone.utc)


def _publish(publisher, kind, document, idempotency_key):
    if kind == "signup":
        return [publisher.signup(document, idempotency_key)]
    if kind == "processing":
        return [publisher.processing(document["task"], document["payload"], idempotency_key)]
    return publisher.events(document) if isinstance(document, list) else [publisher.event(document)]


def main():
    """Publishes the event that the command line names. Exit codes: 0 accepted, 1 refused, 2 usage, 3 undecided."""
    parser = argparse.ArgumentParser(description="Publishes one event, or a list of CloudEvents, at Longshore's door.")
    parser.add_argument("kind", choices=["signup", "processing", "event"])
    parser.add_argument("json", nargs="?", help="the event; without it, standard input is read")
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="address of the door (%(default)s)")
    parser.add_argument("--idempotency-key", help="for signup and processing; made where it is absent")
    parser.add_argument("--deadline", type=float, default=60.0, help="seconds for all attempts (%(default)s)")
    parser.epilog = "The variable PUBLISH_KEY has the key, where the door asks for one."
    options = parser.parse_args()
    try:
        document = json.loads(sys.stdin.read() if options.json is None else options.json)
        publisher = Publisher(options.url, os.environ.get("PUBLISH_KEY"), deadline=options.deadline)
        for accepted in _publish(publisher, options.kind, document, options.idempotency_key):
            print(json.dumps(accepted._asdict()))
    except Undecided as error:
        print(error, file=sys.stderr)
        if error.idempotency_key:
            print(f"to repeat it safely: --idempotency-key {error.idempotency_key}", file=sys.stderr)
        else:
            print(f"to repeat it safely, send: {json.dumps(error.events)}", file=sys.stderr)
        return 3
    except PublishError as error:
        print(error, file=sys.stderr)
        return 1
    except (KeyError, TypeError, ValueError) as error:
        parser.error(f"the event or an option cannot be used: {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
