//! Events: CloudEvents 1.0, the shapes they arrive in, their types and their rules.

mod cloud;
mod confirmation;
pub mod content;
mod death;
mod decode;
mod email;
mod foreign;
mod id;
mod identity;
pub mod json;
mod logins;
pub mod media;
mod members;
mod order_key;
mod password_hash;
mod processing;
mod read;
pub mod secrets;
mod signup;
mod trail;
mod types;

pub use cloud::{CloudEvent, InvalidAttribute, MAX_ATTRIBUTE, MAX_SHORT_ATTRIBUTE, NOT_BEFORE};
pub use confirmation::{Confirmation, SIGNUP_CONFIRMED};
pub use death::{broker_death, carry_death};
pub use decode::{Decoded, Limits, Undecodable, decode, split_attribute};
pub use email::{InvalidEmail, delivery_address, normalise_email};
pub use foreign::recognise;
pub use id::{EventId, Publisher, name_based};
pub(crate) use identity::message_word;
pub use identity::{entry_key, event_of, in_stream, is_refused_by_streams, letter_id, plain_id};
pub use logins::Logins;
pub use members::{EVENT_ID, EXTENSIONS, MEMBERS, Member, members};
pub use order_key::OrderKey;
pub use password_hash::{PasswordHash, take_password_hash};
pub use processing::{PROCESSING_REQUESTED, Processing};
pub use read::{Attribute, Read, Unfit, UnfitKind, binary, plain, structured};
pub use signup::{SIGNUP_REQUESTED, Signup};
pub use trail::{Trail, from_rfc3339, header, now, to_rfc3339};
pub use types::{
    EventType, InvalidType, Refused, TypeDefinition, Types, is_topic_pattern, topic_matches,
};
