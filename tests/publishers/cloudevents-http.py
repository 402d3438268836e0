# The CloudEvents SDK of Python: an event in the mode of the last argument. Arguments: door, id, binary or structured.
import sys, urllib.request

from cloudevents.core.bindings import http
from cloudevents.core.v1.event import CloudEvent

door, id, mode = sys.argv[1:]
attributes = {
    "specversion": "1.0", "id": id, "source": f"/try/python/{mode}", "type": "processing.requested",
    "datacontenttype": "application/json",
}
event = CloudEvent(attributes, {"task": "try", "payload": {"by": "cloudevents"}})
message = getattr(http, f"to_{mode}_event")(event)
request = urllib.request.Request(f"{door}/v1/events", message.body, message.headers, method="POST")
with urllib.request.urlopen(request, timeout=30) as answer:
    sys.exit(0 if answer.status == 202 else f"answered {answer.status}")
