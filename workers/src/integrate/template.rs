//! Templates: a text that an operator writes, filled with an event. The language is Jinja's, by `minijinja`. A template
//! reads nothing but the event, and is bounded in steps and in the size of its text.

pub(super) mod event;
mod json;
mod number;

use std::io;

use minijinja::value::{Kwargs, Serde};
use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value,
    escape_formatter, filters,
};
use serde::Serialize;

use self::number::Number;

/// Maximum size of a template's source, in bytes.
pub(super) const MAX_SOURCE: usize = 256 * 1024;
/// Maximum size of a filled template, in bytes.
pub(super) const MAX_TEXT: usize = 1024 * 1024;
/// Maximum steps of one filling.
const MAX_STEPS: u64 = 200_000;
/// Maximum depth of macros and loops that call each other.
const MAX_DEPTH: usize = 50;

/// How values are written into a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escaping {
    /// As they are.
    None,
    /// For HTML.
    Html,
    /// As JSON: a text gets its quotation marks.
    Json,
}

/// A template that was read and found right.
pub(super) struct Template {
    environment: Environment<'static>,
    name: String,
}

/// Why a template gives no text. The message names the template and the line, and holds no value of an event.
#[derive(Debug, thiserror::Error)]
#[error("template {name}{}: {problem}", line.map(|line| format!(", line {line}")).unwrap_or_default())]
pub(super) struct TemplateError {
    name: String,
    line: Option<usize>,
    problem: String,
}

impl Template {
    /// Reads a template; `name` is how errors call it.
    ///
    /// # Errors
    /// It is too long, or does not follow the language.
    pub(super) fn parse(
        name: &str,
        source: String,
        escaping: Escaping,
    ) -> Result<Self, TemplateError> {
        if source.len() > MAX_SOURCE {
            return Err(TemplateError {
                name: name.to_owned(),
                line: None,
                problem: format!("expected up to {MAX_SOURCE} bytes, found {}", source.len()),
            });
        }
        let mut environment = Environment::new();
        environment.set_fuel(Some(MAX_STEPS));
        environment.set_recursion_limit(MAX_DEPTH);
        // A member that is not there may be asked for, and is not a text.
        environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        environment.set_auto_escape_callback(move |_| match escaping {
            Escaping::None => AutoEscape::None,
            Escaping::Html => AutoEscape::Html,
            Escaping::Json => AutoEscape::Json,
        });
        environment.set_formatter(format);
        environment.add_filter("tojson", tojson);
        environment.add_filter("float", float);
        environment.add_filter("int", int);
        // Values of events do not get into messages.
        environment.set_debug(false);
        environment
            .add_template_owned(name.to_owned(), source)
            .map_err(|error| TemplateError::of(name, &error))?;
        Ok(Self {
            environment,
            name: name.to_owned(),
        })
    }

    /// The same, unless it names a link that confirms a signup while links are not configured.
    ///
    /// # Errors
    /// It does.
    pub(super) fn with_links(self, are_there: bool) -> Result<Self, TemplateError> {
        let template = self.environment.get_template(&self.name);
        let template = template.map_err(|error| TemplateError::of(&self.name, &error))?;
        let names_one = template.undeclared_variables(false).contains(event::LINK);
        if are_there || !names_one {
            return Ok(self);
        }
        let problem = format!(
            "expected `[confirmation]` with `url` and `secret` in the configuration, as it names {}; found none",
            event::LINK
        );
        Err(TemplateError {
            name: self.name,
            line: None,
            problem,
        })
    }

    /// How errors call it.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The text for these values.
    ///
    /// # Errors
    /// A member is not there, or the text or the work for it has no end within bounds.
    pub(super) fn render(&self, values: &impl Serialize) -> Result<String, TemplateError> {
        let of = |error| TemplateError::of(&self.name, &error);
        let template = self.environment.get_template(&self.name).map_err(of)?;
        let mut text = Bounded(Vec::new());
        let rendered = template.render_captured_to(Serde(values), &mut text);
        rendered.map_err(of)?;
        String::from_utf8(text.0).map_err(|_| TemplateError {
            name: self.name.clone(),
            line: None,
            problem: "expected a text in UTF-8, found other bytes".to_owned(),
        })
    }
}

impl TemplateError {
    fn of(name: &str, error: &Error) -> Self {
        let problem = match error.kind() {
            ErrorKind::OutOfFuel => format!("expected an end within {MAX_STEPS} steps, found none"),
            ErrorKind::WriteFailure => format!("expected a text of up to {MAX_TEXT} bytes"),
            ErrorKind::UndefinedError => {
                "expected a member of the event, found none of that name".to_owned()
            }
            ErrorKind::SyntaxError | ErrorKind::UnknownFilter | ErrorKind::UnknownTest => {
                // Says what the template's own text has, never what an event has.
                match error.detail() {
                    Some(detail) => format!("{}: {detail}", error.kind()),
                    None => error.kind().to_string(),
                }
            }
            kind => kind.to_string(),
        };
        Self {
            name: name.to_owned(),
            line: error.line(),
            problem,
        }
    }
}

/// Writes a value into the text.
fn format(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    if matches!(state.auto_escape(), AutoEscape::Json) && !value.is_safe() {
        return out.write_str(&json::text(value)?).map_err(Error::from);
    }
    escape_formatter(out, state, value)
}

fn tojson(value: &Value) -> Result<Value, Error> {
    json::text(value).map(Value::from_safe_string)
}

fn float(
    state: &State<'_, '_>,
    value: &Value,
    default: Option<Value>,
    more: Kwargs,
) -> Result<Value, Error> {
    match value.downcast_object_ref::<Number>() {
        Some(number) => Ok(number.nearest().into()),
        None => filters::float(state, value, default, more),
    }
}

fn int(
    state: &State<'_, '_>,
    value: &Value,
    default: Option<Value>,
    base: Option<u32>,
    more: Kwargs,
) -> Result<Value, Error> {
    match value.downcast_object_ref::<Number>() {
        Some(number) => filters::int(state, &number.nearest().into(), default, base, more),
        None => filters::int(state, value, default, base, more),
    }
}

/// A text of bounded size.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_TEXT {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn template(source: &str, escaping: Escaping) -> Template {
        Template::parse("welcome.txt", source.to_owned(), escaping).unwrap()
    }

    fn problem(source: &str) -> String {
        let event = json!({"data": {"name": "hunter2", "many": 100_000}});
        let rendered = Template::parse("welcome.txt", source.to_owned(), Escaping::None)
            .and_then(|template| template.render(&event));
        rendered.map(|text| text.len()).unwrap_err().to_string()
    }

    #[test]
    fn values_are_written_as_the_text_needs_them() {
        let event = json!({"data": {"name": "<b>\"Ada\"</b>", "plan": null, "n": 3}});
        for (escaping, expected) in [
            (Escaping::None, "Hello <b>\"Ada\"</b>, 3"),
            (
                Escaping::Html,
                "Hello &lt;b&gt;&quot;Ada&quot;&lt;&#x2f;b&gt;, 3",
            ),
            (
                Escaping::Json,
                r#"Hello "\u003cb\u003e\"Ada\"\u003c/b\u003e", 3"#,
            ),
        ] {
            let text = template("Hello {{ data.name }}, {{ data.n }}", escaping).render(&event);
            assert_eq!(text.unwrap(), expected, "{escaping:?}");
        }
        let optional = "{% if data.coupon %}{{ data.coupon }}{% else %}none{% endif %}";
        let text = template(optional, Escaping::None).render(&event);
        assert_eq!(text.unwrap(), "none");
    }

    #[test]
    fn a_template_that_names_a_link_needs_links() {
        let with = |source, are_there| template(source, Escaping::Html).with_links(are_there);
        let source = "{% if data.name %}<a href=\"{{ confirmation_url }}\">{% endif %}";
        let error = with(source, false).err().unwrap().to_string();
        assert!(
            error.contains("[confirmation]") && error.contains("confirmation_url"),
            "{error}"
        );
        assert!(with(source, true).is_ok());
        assert!(with("{{ data.confirmation_url }}", false).is_ok());
    }

    #[test]
    fn a_number_is_written_as_it_was_sent_and_can_be_computed_with() {
        let event = r#"{"data":{"total":1234567890123456.78,"price":1.50,"n":3,"list":[1e3,"a"]}}"#;
        let members = event::values(event.as_bytes(), None, None).unwrap();
        let cases = [
            (
                Escaping::None,
                "{{ data.total }} {{ data.price }}",
                "1234567890123456.78 1.50",
            ),
            (
                Escaping::Html,
                "{{ data.total }} {{ data.n }}",
                "1234567890123456.78 3",
            ),
            (
                Escaping::Json,
                "[{{ data.total }}, {{ data.list }}]",
                r#"[1234567890123456.78, [1e3,"a"]]"#,
            ),
            (Escaping::None, "{{ data.list|tojson }}", r#"[1e3,"a"]"#),
            (Escaping::Html, "{{ data.list|tojson }}", r#"[1e3,"a"]"#),
            (
                Escaping::None,
                "{{ data.price|float * 2 }} {{ data.price|int }}",
                "3.0 1",
            ),
            (
                Escaping::None,
                "{{ data.n + 1 }} {{ '2.5'|float }} {{ '7'|int }}",
                "4 2.5 7",
            ),
            (
                Escaping::None,
                "{% if data.price %}{{ data.list|length }}{% endif %}",
                "2",
            ),
        ];
        for (escaping, source, expected) in cases {
            let text = template(source, escaping).render(&members).unwrap();
            assert_eq!(text, expected, "{source}");
        }
    }

    #[test]
    fn a_wrong_template_is_an_error_with_its_line() {
        for (source, expected) in [
            ("a\n{{ data.name", "line 2: syntax error"),
            ("{{ data.name|shout }}", "line 1: unknown filter"),
            ("\n\n{{ data.email }}", "line 3: expected a member"),
            ("{{ nobody.email }}", "line 1: expected a member"),
            (
                "{% include '/etc/passwd' %}",
                "line 1: syntax error: unknown statement include",
            ),
        ] {
            let found = problem(source);
            assert!(found.contains(expected), "{source}: {found}");
            assert!(found.starts_with("template welcome.txt, line"), "{found}");
            assert!(!found.contains("hunter2"), "{found}");
        }
    }

    #[test]
    fn a_template_without_an_end_is_stopped() {
        let long = "{% for a in range(data.many) %}{% for b in range(data.many) %}.{% endfor %}{% endfor %}";
        assert!(problem(long).contains("steps"), "{}", problem(long));
        let wide = "{% for a in range(1000) %}{{ 'x' * 10000 }}{% endfor %}";
        assert!(problem(wide).contains("bytes"), "{}", problem(wide));
        let source = "x".repeat(MAX_SOURCE + 1);
        assert!(problem(&source).contains("expected up to"));
        let deep = "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}";
        assert!(!problem(deep).is_empty());
    }
}
