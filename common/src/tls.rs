//! TLS: files of certificates, the settings of a client, and its errors in plain words. rustls speaks TLS 1.2 and
//! 1.3, nothing older.

mod client;
mod explain;
pub(crate) mod files;

pub(crate) use client::check;
pub use client::client;
pub use explain::{Peer, explain};
