//! Events: CloudEvents 1.0, the shapes they arrive in, their types and their rules.

mod cloud;
mod decode;
mod email;
mod id;
mod password_hash;
mod processing;
mod signup;
mod trail;
mod types;

pub use cloud::{CloudEvent, InvalidAttribute};
pub use decode::{Decoded, Limits, Undecodable, decode};
pub use email::{InvalidEmail, normalise_email};
pub use id::{EventId, Publisher, name_based};
pub use password_hash::{PasswordHash, take_password_hash};
pub use processing::{PROCESSING_REQUESTED, Processing};
pub use signup::{SIGNUP_REQUESTED, Signup};
pub use trail::{Trail, from_rfc3339, header, now, to_rfc3339};
pub use types::{EventType, InvalidType, Refused, TypeDefinition, Types, topic_matches};
