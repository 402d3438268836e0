//! A request as it came.

/// The parts of an HTTP request that a provider may sign, byte for byte.
#[derive(Debug, Clone, Copy)]
pub struct WebhookRequest<'r> {
    /// Every header: its name in lower case, and its value.
    pub headers: &'r [(&'r str, &'r [u8])],
    /// The body.
    pub body: &'r [u8],
}

impl<'r> WebhookRequest<'r> {
    /// The value of a header. `None` if it is absent, empty or not UTF-8, and if it came twice: two readers could take
    /// different ones.
    pub(super) fn header(&self, name: &str) -> Option<&'r str> {
        let mut values = self.headers.iter().filter(|(given, _)| *given == name);
        let (_, value) = values.next()?;
        if values.next().is_some() {
            return None;
        }
        let text = std::str::from_utf8(value).ok()?;
        Some(text).filter(|text| !text.is_empty())
    }
}
