//! `/openapi.json` as a measure of answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request};
use jsonschema::Validator;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::request::Answer;

/// The document of a door.
pub struct Contract {
    pub document: Value,
    /// The schemas that were needed so far, ready for use: some tests send thousands of requests.
    compiled: Mutex<HashMap<String, Arc<Validator>>>,
}

impl Contract {
    /// The document as the door tells it to a stranger.
    pub async fn of(router: &Router) -> Self {
        let request = Request::get("/openapi.json").body(Body::empty()).unwrap();
        let answer = router.clone().oneshot(request).await.unwrap();
        let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        Self {
            document: serde_json::from_slice(&body).unwrap(),
            compiled: Mutex::default(),
        }
    }

    /// The paths with their methods.
    pub fn paths(&self) -> impl Iterator<Item = (&str, &Value)> {
        let paths = self.document["paths"].as_object().unwrap();
        paths.iter().map(|(path, item)| (&**path, item))
    }

    /// Whether a value follows a schema of the document.
    pub fn check(&self, schema: &Value, value: &Value) -> Result<(), String> {
        let compiled = self.compiled(schema);
        compiled.validate(value).map_err(|error| error.to_string())
    }

    fn compiled(&self, schema: &Value) -> Arc<Validator> {
        let mut compiled = self.compiled.lock().unwrap();
        let compile = || {
            let whole = json!({ "allOf": [schema], "components": self.document["components"] });
            Arc::new(jsonschema::validator_for(&whole).unwrap())
        };
        Arc::clone(compiled.entry(schema.to_string()).or_insert_with(compile))
    }

    /// Expects that the document has this answer: its status, its headers, its media type and the form of its body.
    /// Answers to paths and methods that are not in the document are not judged.
    pub fn hold(&self, method: &Method, path: &str, answer: &Answer) {
        let Some(operation) = self.operation(method, path) else {
            return;
        };
        let documented = operation["responses"].get(answer.status.as_str());
        let documented =
            documented.unwrap_or_else(|| panic!("{method} {path}: undocumented {answer:?}"));
        for (name, header) in documented["headers"].as_object().into_iter().flatten() {
            if header["required"] == true {
                assert!(
                    !answer.header(name).is_empty(),
                    "{method} {path}: no {name} in {answer:?}"
                );
            }
        }
        let content = documented["content"].as_object();
        let Some(content) = content else {
            assert!(answer.body.is_empty(), "{method} {path}: {answer:?}");
            return;
        };
        let media = answer
            .header("content-type")
            .split(';')
            .next()
            .unwrap_or_default();
        let documented = content.get(media);
        let documented =
            documented.unwrap_or_else(|| panic!("{method} {path}: undocumented {media}"));
        if media.ends_with("json") {
            let checked = self.check(&documented["schema"], &answer.json());
            checked.unwrap_or_else(|error| panic!("{method} {path}: {error} in {answer:?}"));
        }
    }

    fn operation(&self, method: &Method, path: &str) -> Option<&Value> {
        let path = path.split('?').next().unwrap_or_default();
        let method = method.as_str().to_lowercase();
        // A path without parameters comes before one with them.
        let (_, item) = self
            .paths()
            .filter(|(template, _)| fits(template, path))
            .min_by_key(|(template, _)| template.matches('{').count())?;
        item.get(method)
    }
}

/// Whether a path is one of this template.
fn fits(template: &str, path: &str) -> bool {
    let (template, path) = (template.split('/'), path.split('/'));
    template.clone().count() == path.clone().count()
        && template
            .zip(path)
            .all(|(part, given)| part == given || (part.starts_with('{') && !given.is_empty()))
}
