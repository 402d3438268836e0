//! `processing.requested`: somebody asks for a piece of work.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The type's name.
pub const PROCESSING_REQUESTED: &str = "processing.requested";

/// The data of a `processing.requested` event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Processing {
    /// Which work: a short name such as `resize-image`.
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$"))]
    pub task: String,
    /// The input of the work.
    pub payload: BTreeMap<String, Value>,
}
