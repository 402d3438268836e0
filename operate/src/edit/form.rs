//! The editor's view of a letter that is not an event yet: its settings a line each, and its body.

use common::store::Editable;

use super::envelope::get;
use super::setting::{Field, Setting};

/// The line in the editor between the settings and the body.
const BODY: &str = "--- body ---";

/// The editor's view: the settings a line each, and the body.
pub fn form(it: &Editable, body: &str) -> String {
    let mut form =
        String::from("# Lines that begin with # are left out. An empty value takes it away.\n");
    for field in &Field::ALL {
        form.push_str(format!("{field}: {}", get(it, field)).trim_end());
        form.push('\n');
    }
    form.push_str(BODY);
    form.push('\n');
    form.push_str(body);
    form
}

/// The user's version of [`form`]: the settings that differ from `it`, and the body.
///
/// # Errors
/// A line says nothing that can be set.
pub fn read_form<'f>(it: &Editable, form: &'f str) -> Result<(Vec<Setting>, &'f str), String> {
    let (head, body) = form
        .split_once(&format!("{BODY}\n"))
        .ok_or_else(|| format!("expected the line {BODY:?} before the body, found none"))?;
    let mut settings = Vec::new();
    for line in head.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| format!("expected NAME: VALUE, found {line:?}"))?;
        // An unchanged value may be one that no user could set.
        let is_held = Field::ALL
            .iter()
            .any(|field| field.as_str() == name.trim() && get(it, field).trim() == value.trim());
        if !is_held {
            settings.push(Setting::new(name, value)?);
        }
    }
    Ok((settings, body))
}

#[cfg(test)]
mod tests {
    use super::super::envelope::tests::{plain, setting};
    use super::*;

    #[test]
    fn the_form_gives_back_what_was_changed_in_it() {
        let it = plain();
        let form = form(&it, "{}\n");
        assert_eq!(read_form(&it, &form), Ok((Vec::new(), "{}\n")));
        let changed = form
            .replace("routing_key: signup.request", "routing_key: a.b")
            .replace("time: 1767322245000", "time:")
            .replace("{}", "[]");
        let expected = vec![setting("routing_key=a.b"), setting("time=")];
        assert_eq!(read_form(&it, &changed), Ok((expected, "[]\n")));
        assert!(read_form(&it, "{}").is_err());
        assert!(read_form(&it, &form.replace("id:", "key:")).is_err());
    }
}
