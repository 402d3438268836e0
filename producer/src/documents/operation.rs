//! One operation: what it takes, and every answer it has.

use serde_json::{Map, Value, json};

use super::answers::{self, Answers};
use super::examples;
use super::facts::Facts;
use crate::auth::Needs;
use crate::problem::Code;

/// The name of the security scheme.
pub(super) const KEY: &str = "key";

/// One operation.
pub(super) struct Operation {
    pub path: &'static str,
    pub method: &'static str,
    id: &'static str,
    tag: &'static str,
    summary: &'static str,
    description: String,
    /// The key that it asks for, where the door asks for keys.
    needs: Option<Needs>,
    parameters: Vec<Value>,
    body: Option<Value>,
    answers: Answers,
    codes: Vec<Code>,
    /// Browsers get every answer as a page.
    has_pages: bool,
}

impl Operation {
    pub(super) fn new(
        method: &'static str,
        path: &'static str,
        id: &'static str,
        tag: &'static str,
    ) -> Self {
        Self {
            path,
            method,
            id,
            tag,
            summary: "",
            description: String::new(),
            needs: None,
            parameters: Vec::new(),
            body: None,
            answers: Answers::new(),
            codes: answers::ANY.to_vec(),
            has_pages: false,
        }
    }

    pub(super) fn says(mut self, summary: &'static str, description: impl Into<String>) -> Self {
        self.summary = summary;
        self.description = description.into();
        self
    }

    pub(super) fn needs(mut self, needs: Needs) -> Self {
        self.needs = Some(needs);
        self
    }

    pub(super) fn parameter(mut self, parameter: Value) -> Self {
        self.parameters.push(parameter);
        self
    }

    pub(super) fn body(mut self, content: Value) -> Self {
        self.body = Some(json!({ "required": true, "content": content }));
        self
    }

    pub(super) fn answers(mut self, status: u16, answer: Value) -> Self {
        self.answers.insert(status, answer);
        self
    }

    pub(super) fn refuses(mut self, codes: &[Code]) -> Self {
        self.codes.extend(codes);
        self
    }

    pub(super) fn has_pages(mut self) -> Self {
        self.has_pages = true;
        self
    }

    /// The operation as the document has it, at this door.
    pub(super) fn to_json(&self, facts: Facts<'_>) -> Value {
        let asks = self.needs.filter(|_| facts.door.auth.is_some());
        let mut codes = self.codes.clone();
        let mut answers = self.answers.clone();
        if let Some(needs) = asks {
            codes.extend(answers::KEYED);
            if needs.is_counted() {
                answers.values_mut().for_each(answers::tell_rate);
            }
        }
        for (status, problem) in answers::problems(codes) {
            // A status with an answer of its own keeps it: that of `/readyz`.
            answers.entry(status).or_insert(problem);
        }
        if self.has_pages {
            answers.values_mut().for_each(answers::or_page);
        }
        let answers = answers
            .into_iter()
            .map(|(status, answer)| (status.to_string(), answer));
        let mut operation = json!({
            "operationId": self.id,
            "tags": [self.tag],
            "summary": self.summary,
            "description": self.description,
            "responses": answers.collect::<Map<_, _>>(),
        });
        if !self.parameters.is_empty() {
            operation["parameters"] = self.parameters.clone().into();
        }
        if let Some(body) = &self.body {
            operation["requestBody"] = body.clone();
        }
        if let Some(needs) = asks {
            operation["security"] = security(facts, needs);
        }
        operation
    }
}

/// The ways to be let in.
fn security(facts: Facts<'_>, needs: Needs) -> Value {
    let with_key = json!({ KEY: [] });
    let without_too = needs == Needs::Contract || (facts.door.has_form() && needs.is_of_form());
    if without_too {
        json!([{}, with_key])
    } else {
        json!([with_key])
    }
}

/// A parameter in the path.
pub(super) fn in_path(name: &str, description: &str, schema: Value, example: &str) -> Value {
    json!({
        "name": name, "in": "path", "required": true, "description": description,
        "schema": schema, "example": example,
    })
}

/// A header that may be left out.
pub(super) fn in_header(name: &str, description: &str, schema: Value) -> Value {
    json!({ "name": name, "in": "header", "description": description, "schema": schema })
}

/// The id of an event, in the path.
pub(super) fn event_id() -> Value {
    let schema = json!({ "type": "string", "format": "uuid" });
    in_path(
        "id",
        "The id of the event, as its 202 says.",
        schema,
        examples::ID,
    )
}

/// The moment before which nobody gets an event.
pub(super) fn not_before() -> Value {
    in_header(
        "Longshore-Not-Before",
        "The moment before which nobody gets the event, in the years 0 to 9999 of UTC. Until then it can be cancelled.",
        json!({ "type": "string", "format": "date-time" }),
    )
}

/// The key of an event that has no id of its publisher's.
pub(super) fn idempotency_key() -> Value {
    in_header(
        "Idempotency-Key",
        "The same key of the same caller is the same event, stored once. Visible ASCII characters.",
        json!({ "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$" }),
    )
}
