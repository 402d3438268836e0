use serde_json::json;

use super::*;

fn event(rest: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"7","source":"/s","type":"t"{rest}}}"#)
}

fn good(rest: &str) -> Read {
    structured(event(rest).as_bytes()).unwrap_or_else(|error| panic!("{rest}: {error}"))
}

fn pointers(rest: &str) -> Vec<String> {
    match structured(event(rest).as_bytes()) {
        Ok(read) => panic!("{rest}: expected an error, found {read:?}"),
        Err(unfit) => unfit
            .errors
            .into_iter()
            .map(|error| error.pointer)
            .collect(),
    }
}

fn headers() -> Vec<Attribute> {
    [
        ("specversion", "1.0"),
        ("id", "7"),
        ("source", "/s"),
        ("type", "t"),
    ]
    .map(|(name, value)| (name.to_owned(), Ok(Value::from(value))))
    .into()
}

#[test]
fn null_is_data_and_an_attribute_that_is_null_is_none() {
    let read = good(r#","data":null"#);
    assert_eq!(read.event.data.as_deref().map(RawValue::get), Some("null"));
    assert!(read.as_written);
    assert!(good("").event.data.is_none());
    let read = good(r#","subject":null,"tenant":null,"data_base64":null"#);
    assert!(!read.as_written && read.event.extensions.is_empty());
    let read = binary(headers(), Some("application/json"), b"null").unwrap();
    assert_eq!(read.event.data.as_deref().map(RawValue::get), Some("null"));
    let read = binary(headers(), Some("application/json"), b"").unwrap();
    assert!(read.event.data.is_none() && read.data.is_null());
}

#[test]
fn an_attribute_that_is_null_has_a_name_all_the_same() {
    for name in ["", "Tenant", "a_b", "é", "data.x"] {
        let rest = format!(r#","tenant":null,"{name}":null"#);
        assert_eq!(pointers(&rest), [format!("/{name}")], "{name}");
    }
    let all = r#","a-b":null,"A":null,"ext":{}"#;
    assert_eq!(pointers(all), ["/a-b", "/A", "/ext"]);
}

#[test]
fn an_extension_is_a_text_a_whole_number_or_a_truth_value() {
    let read = good(r#","a":"x","b":-7,"c":true,"d":18446744073709551615"#);
    assert_eq!(read.event.extensions.len(), 4);
    for bad in [
        "1.5",
        "1.0",
        "1e2",
        "[]",
        "{}",
        r#""\u0000""#,
        "-0",
        "18446744073709551616",
    ] {
        assert_eq!(pointers(&format!(r#","ext":{bad}"#)), ["/ext"], "{bad}");
    }
    for bad in ["1e400", r#""\ud800""#] {
        let unfit = structured(event(&format!(r#","ext":{bad}"#)).as_bytes()).unwrap_err();
        assert_eq!(unfit.kind, UnfitKind::Malformed, "{bad}");
    }
}

#[test]
fn data_is_json_or_text_or_binary() {
    let read = good(r#","datacontenttype":"text/plain","data":"hällo""#);
    assert_eq!(read.data, json!("hällo"));
    let read = good(r#","datacontenttype":"image/png","data_base64":"AAEC""#);
    assert_eq!(
        (read.data, read.event.data_pointer()),
        (json!("AAEC"), "/data_base64")
    );
    for (bad, place) in [
        (
            r#","datacontenttype":"text/xml","data":{}"#,
            "/datacontenttype",
        ),
        (r#","datacontenttype":"xml","data":"a""#, "/datacontenttype"),
        (r#","data_base64":"A""#, "/data_base64"),
        (r#","data_base64":"AAEC","data":1"#, "/data_base64"),
        (r#","data_base64":7"#, "/data_base64"),
    ] {
        assert_eq!(pointers(bad), [place], "{bad}");
    }
}

#[test]
fn the_body_of_a_binary_event_is_kept_to_the_byte() {
    for (media, body) in [
        ("text/plain", "\u{feff}grüße\r\n\"quoted\" ".as_bytes()),
        ("application/xml; charset=utf-8", b"<a b=\"c\">\\</a>"),
    ] {
        let read = binary(headers(), Some(media), body).unwrap();
        assert_eq!(read.data.as_str().map(str::as_bytes), Some(body));
        let canonical = serde_json::to_vec(&read.event).unwrap();
        assert_eq!(structured(&canonical).unwrap().data, read.data);
    }
    for media in [
        "text/plain; charset=latin1",
        "application/octet-stream",
        "text/plain",
    ] {
        let read = binary(headers(), Some(media), b"\xe4\xff\x00").unwrap();
        let text = read.event.data_base64.unwrap_or_default();
        assert_eq!(BASE64.decode(text).unwrap(), b"\xe4\xff\x00");
    }
}

#[test]
fn a_header_may_say_the_content_type_again() {
    let with = |text: &str, content_type| {
        let mut headers = headers();
        headers.push(("datacontenttype".to_owned(), Ok(text.into())));
        binary(headers, content_type, b"7").map(|read| read.event.datacontenttype)
    };
    let json = Some("application/json".to_owned());
    assert_eq!(
        with("application/json", Some("Application/JSON"))
            .unwrap()
            .is_some(),
        json.is_some()
    );
    assert_eq!(with("application/json", None).unwrap(), json);
    assert!(with("text/plain", Some("application/json")).is_err());
}

#[test]
fn errors_repeat_no_data() {
    for bad in [
        r#","data":{"a":"hunter2","a":"hunter2"}"#,
        r#","ext":["hunter2"]"#,
        r#","data":"hunter2\ud800""#,
        r#","id":{"a":"hunter2"}"#,
        r#","data_base64":"hunter2""#,
    ] {
        let unfit = structured(event(bad).as_bytes()).unwrap_err();
        assert!(!format!("{unfit} {unfit:?}").contains("hunter2"), "{unfit}");
    }
}
