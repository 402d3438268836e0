"""Rules of the contract that neither OpenAPI nor JSON Schema can say. Here they are kept, so that valid data is valid."""

import schemathesis

BINARY = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/contracts"}
# A field that only the data of this type has.
FIELDS = {"email": "signup.requested", "number": "invoice.paid", "task": "processing.requested"}


@schemathesis.hook
def map_case(context, case):
    if case.operation.path == "/v1/events":
        if case.media_type == "application/json":
            add_attributes(case)
        for event in case.body if isinstance(case.body, list) else [case.body]:
            spell_whole_numbers(event)
    return case


def add_attributes(case):
    """The headers of a binary event belong to its media type, and its type is that of the data."""
    fields = case.body if isinstance(case.body, dict) else {}
    kinds = [kind for field, kind in FIELDS.items() if field in fields]
    case.headers = {**(case.headers or {}), **BINARY, "ce-type": (kinds or ["processing.requested"])[0]}
    for name in ["ce-time", "ce-subject", "ce-dataschema"]:
        case.headers.pop(name, None)


def spell_whole_numbers(event):
    """The value of an extension attribute is 1, never 1.0. To JSON Schema both are integers."""
    if isinstance(event, dict):
        for name, value in event.items():
            if isinstance(value, float) and value.is_integer():
                event[name] = int(value)
