//! JSON Schemas: of requests and answers, from the types that are read and written.

use common::event::{EventType, MAX_ATTRIBUTE, MAX_SHORT_ATTRIBUTE};
use common::store::EventStatus;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use super::facts::Facts;
use crate::password;
use crate::problem::Page;
use crate::publish::{Receipt, Receipts};

/// The media type of a schema by itself.
pub(super) const SCHEMA_JSON: &str = "application/schema+json";

/// Where the schemas of a document are.
const COMPONENTS: &str = "/components/schemas";

/// The dialect of schemas in OpenAPI 3.1.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Texts without control characters, as attributes of events are.
const NO_CONTROLS: &str = r"^[^\u0000-\u001f\u007f-\u009f]+$";
/// Media types of JSON.
const JSON_MEDIA: &str = r"^([A-Za-z0-9-]+/[A-Za-z0-9.-]+\+json|(application|text)/json)$";

/// A reference to a schema of the document.
pub(super) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#{COMPONENTS}/{name}") })
}

/// The name of the schema of a type's data. The schemas of answers have no dot in their names, so no type takes one.
pub(super) fn data_name(kind: &str) -> String {
    format!("data.{kind}")
}

/// The name of the schema of a whole event of this type.
pub(super) fn event_name(kind: &EventType) -> String {
    format!("event.{}", kind.name())
}

/// The schemas of the document.
pub(super) fn components(facts: Facts<'_>) -> Map<String, Value> {
    let mut schemas = answers();
    for kind in facts.types {
        schemas.insert(data_name(kind.name()), data(kind));
        schemas.insert(
            event_name(kind),
            event(kind, reference(&data_name(kind.name()))),
        );
    }
    schemas.insert("Signup".to_owned(), signup(facts));
    let events = facts.types.iter().map(|kind| reference(&event_name(kind)));
    let any = json!({ "description": "An event of any known type.", "oneOf": events.collect::<Vec<_>>() });
    schemas.insert("Event".to_owned(), any);
    schemas
}

/// The schemas of answers.
fn answers() -> Map<String, Value> {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let settings = settings.with(|settings| settings.definitions_path = COMPONENTS.into());
    let mut generator = SchemaGenerator::new(settings);
    generator.subschema_for::<EventStatus>();
    generator.subschema_for::<Receipt>();
    generator.subschema_for::<Receipts>();
    generator.subschema_for::<Page<'_>>();
    generator.take_definitions(true)
}

/// The schema of a type's data, as a part of the document: tools need not fetch another one, which might ask for a key.
/// Of a schema that cannot be a part, the document has the address alone.
fn data(kind: &EventType) -> Value {
    let mut schema = kind.schema().clone();
    let is_of_this_dialect = match schema.as_object_mut() {
        Some(fields) => fields.remove("$schema").is_none_or(|it| it == DIALECT),
        None => true,
    };
    if is_of_this_dialect
        && moved(
            &mut schema,
            &format!("#{COMPONENTS}/{}", data_name(kind.name())),
        )
    {
        return schema;
    }
    json!({ "description": format!("Its JSON Schema is at `{}`.", path(kind)) })
}

/// Rewrites the references of a schema into itself for its place in a document. `false` if it has others, or names parts
/// of itself.
fn moved(schema: &mut Value, place: &str) -> bool {
    const NAMES: [&str; 4] = ["$id", "$anchor", "$dynamicAnchor", "$dynamicRef"];
    match schema {
        Value::Object(fields) => {
            if NAMES
                .iter()
                .any(|name| fields.get(*name).is_some_and(Value::is_string))
            {
                return false;
            }
            if let Some(Value::String(reference)) = fields.get_mut("$ref") {
                match reference.strip_prefix('#') {
                    Some(pointer) if pointer.is_empty() || pointer.starts_with('/') => {
                        *reference = format!("{place}{pointer}");
                    }
                    _ => return false,
                }
            }
            fields.values_mut().all(|part| moved(part, place))
        }
        Value::Array(parts) => parts.iter_mut().all(|part| moved(part, place)),
        _ => true,
    }
}

/// The schema of a built-in type without `$schema`: the document around it says the dialect.
pub(super) fn without_dialect(kind: &EventType) -> Value {
    let mut schema = kind.schema().clone();
    if let Some(fields) = schema.as_object_mut() {
        fields.remove("$schema");
        fields.remove("title");
    }
    schema
}

/// The schema of a type's data by itself. Its `$id` is its address; a schema that names itself keeps its name.
pub(super) fn standalone(kind: &EventType) -> Value {
    let mut schema = kind.schema().clone();
    if let Some(fields) = schema.as_object_mut() {
        let names = ["$id", "id"];
        if !names.iter().any(|name| fields.contains_key(*name)) {
            fields.insert("$id".to_owned(), path(kind).into());
        }
    }
    schema
}

/// Where the schema of a type is.
pub(super) fn path(kind: &EventType) -> String {
    format!("/schemas/{}", kind.name())
}

/// The schema of a structured event. `data` is the schema of its data.
pub(super) fn event(kind: &EventType, data: Value) -> Value {
    let mut required = vec!["specversion", "id", "source", "type"];
    let mut properties = attributes();
    properties.insert("type".to_owned(), json!({ "const": kind.name() }));
    properties.insert("data".to_owned(), data);
    if !kind.errors(&Value::Null).is_empty() {
        required.push("data");
    }
    // Bytes are seen as the text of their base64.
    let base64 = if kind.errors(&"AA==".into()).is_empty() {
        json!({ "type": ["string", "null"], "contentEncoding": "base64" })
    } else {
        let json = json!({ "type": ["string", "null"], "pattern": JSON_MEDIA, "maxLength": MAX_SHORT_ATTRIBUTE });
        properties.insert("datacontenttype".to_owned(), json);
        json!({ "type": "null" })
    };
    properties.insert("data_base64".to_owned(), base64);
    json!({
        "description": format!("A CloudEvent of the type `{}`, with all its parts.", kind.name()),
        "type": "object",
        "required": required,
        "properties": properties,
        "propertyNames": { "pattern": "^([a-z0-9]+|data_base64)$" },
        "additionalProperties": {
            "description": "An extension attribute.",
            "type": ["string", "integer", "boolean", "null"],
            "minimum": i64::MIN, "maximum": u64::MAX,
        },
    })
}

/// The attributes that every type has alike. Lengths are bytes of UTF-8, which no schema can count.
fn attributes() -> Map<String, Value> {
    let text = |description: &str, longest: usize, kind: Value| {
        json!({
            "description": format!("{description} At most {longest} bytes."),
            "type": kind, "minLength": 1, "maxLength": longest, "pattern": NO_CONTROLS,
        })
    };
    let (must, may) = (json!("string"), json!(["string", "null"]));
    let attributes = [
        ("specversion", json!({ "const": "1.0" })),
        (
            "id",
            text(
                "Your own id, unique together with `source`.",
                MAX_SHORT_ATTRIBUTE,
                must.clone(),
            ),
        ),
        (
            "source",
            text(
                "Where the event happened: a URI reference.",
                MAX_ATTRIBUTE,
                must,
            ),
        ),
        (
            "time",
            json!({ "description": "When it happened.", "type": ["string", "null"], "format": "date-time" }),
        ),
        (
            "subject",
            text("What it is about.", MAX_ATTRIBUTE, may.clone()),
        ),
        (
            "dataschema",
            text(
                "The schema of the data, as you know it.",
                MAX_ATTRIBUTE,
                may.clone(),
            ),
        ),
        (
            "datacontenttype",
            text(
                "The media type of the data; JSON if absent.",
                MAX_SHORT_ATTRIBUTE,
                may,
            ),
        ),
    ];
    let named = attributes.map(|(name, schema)| (name.to_owned(), schema));
    named.into_iter().collect()
}

/// The schema of `POST /v1/signups`: the data of the event, with a password in the place of its hash.
fn signup(facts: Facts<'_>) -> Value {
    let kind = facts.door.types.get(common::event::SIGNUP_REQUESTED);
    let mut schema = kind.map(without_dialect).unwrap_or_default();
    if let Some(fields) = schema
        .pointer_mut("/properties")
        .and_then(Value::as_object_mut)
    {
        fields.remove("password_hash");
        let password = json!({
            "description": "The password in the clear. The door hashes it, and keeps and passes on the hash alone.",
            "type": ["string", "null"],
            "minLength": password::LENGTH.start(),
            "maxLength": password::LENGTH.end(),
            "writeOnly": true,
        });
        fields.insert("password".to_owned(), password);
    }
    schema["description"] = "A signup.".into();
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(schema: Value) -> Value {
        data(&EventType::new("invoice.paid", schema).unwrap())
    }

    #[test]
    fn a_schema_that_refers_into_itself_does_so_in_the_document_too() {
        let schema = json!({
            "$schema": DIALECT,
            "$defs": { "cents": { "type": "integer" } },
            "properties": { "total": { "$ref": "#/$defs/cents" }, "within": { "$ref": "#" } },
        });
        let place = "#/components/schemas/data.invoice.paid";
        let expected = json!({
            "$defs": { "cents": { "type": "integer" } },
            "properties": {
                "total": { "$ref": format!("{place}/$defs/cents") }, "within": { "$ref": place },
            },
        });
        assert_eq!(part(schema), expected);
        assert_eq!(part(json!(true)), json!(true));
    }

    #[test]
    fn a_schema_that_cannot_be_a_part_of_the_document_is_a_link() {
        for schema in [
            json!({ "$schema": "http://json-schema.org/draft-07/schema#" }),
            json!({ "$id": "https://shop.example/invoice" }),
            json!({ "$defs": { "a": { "$anchor": "cents" } }, "$ref": "#cents" }),
        ] {
            let part = part(schema);
            assert_eq!(
                part,
                json!({ "description": "Its JSON Schema is at `/schemas/invoice.paid`." })
            );
        }
    }
}
