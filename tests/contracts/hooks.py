"""Rules of the contract that neither OpenAPI nor JSON Schema can say. Here they are kept, so that valid data is valid."""

import schemathesis

BINARY = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/contracts"}
# Fields that tell the type of the data; the first one that is there counts.
FIELDS = {"signup": "signup.confirmed", "email": "signup.requested", "number": "invoice.paid", "task": "processing.requested"}


@schemathesis.hook
def map_case(context, case):
    if case.operation.path == "/v1/events":
        if case.media_type == "application/json":
            add_attributes(case)
        for event in case.body if isinstance(case.body, list) else [case.body]:
            spell_whole_numbers(event)
            name_no_secret(fields_of(event).get("data"))
    name_no_secret(case.body)
    return case


def fields_of(value):
    return value if isinstance(value, dict) else {}


def add_attributes(case):
    """The headers of a binary event belong to its media type, and its type is that of the data."""
    kinds = [kind for field, kind in FIELDS.items() if field in fields_of(case.body)]
    case.headers = {**(case.headers or {}), **BINARY, "ce-type": (kinds or ["processing.requested"])[0]}
    for name in ["ce-time", "ce-subject", "ce-dataschema"]:
        case.headers.pop(name, None)


def spell_whole_numbers(event):
    """The value of an extension attribute is 1, never 1.0. To JSON Schema both are integers."""
    for name, value in fields_of(event).items():
        if isinstance(value, float) and value.is_integer():
            event[name] = int(value)


def name_no_secret(data):
    """Free fields have no name of a secret, such as P.W. A name whose last word is `name` is not one."""
    for field in ["attributes", "payload"]:
        if field in fields_of(data):
            data[field] = renamed(data[field])


def renamed(value):
    if isinstance(value, dict):
        return {f"{name}_name": renamed(part) for name, part in value.items()}
    if isinstance(value, list):
        return [renamed(part) for part in value]
    return value
