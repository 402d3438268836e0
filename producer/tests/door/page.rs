//! `GET /` and the files of the signup page.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{Request, StatusCode};

use crate::fakes::{Testbed, testbed};
use crate::request::Answer;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; form-action 'none'; base-uri 'none'; \
                      frame-ancestors 'none'";

fn text(answer: &Answer) -> String {
    String::from_utf8(answer.body.to_vec()).unwrap()
}

/// Everything between `before` and the next `after`.
fn between<'a>(text: &'a str, before: &'a str, after: char) -> impl Iterator<Item = &'a str> {
    text.split(before)
        .skip(1)
        .map(move |rest| rest.split(after).next().unwrap_or_default())
}

/// The pages of the door, and the folders of their files.
const PAGES: [(&str, &str); 2] = [("/", "/page/"), ("/docs", "/docs/")];

/// The files that a page and its files name, looked up until nothing new is found, and the page.
async fn files(bed: &Testbed, (page, folder): (&str, &str)) -> BTreeSet<String> {
    let mut found = BTreeSet::from([page.to_owned()]);
    let mut rest = vec![page.to_owned()];
    while let Some(path) = rest.pop() {
        let answer = bed.get(&path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        let text = text(&answer);
        let named = between(&text, "src=\"", '"').chain(between(&text, "href=\"/", '"'));
        let named = named.map(|name| format!("/{}", name.trim_start_matches('/')));
        // The documents that a page leads to are not its files.
        let named = named.filter(|path| !path.ends_with(".json"));
        let imported = between(&text, "from \"./", '"').map(|name| format!("{folder}{name}"));
        let new: Vec<_> = named.chain(imported).collect();
        rest.extend(new.into_iter().filter(|path| found.insert(path.clone())));
    }
    found
}

#[tokio::test]
async fn a_page_and_all_it_names_are_there_and_bound_to_this_door() {
    let bed = testbed();
    for page in PAGES {
        let files = files(&bed, page).await;
        assert!(files.len() >= 5, "{files:?}");
        for path in &files {
            let answer = bed.get(path).await;
            let media = match path.rsplit('.').next() {
                Some("css") => "text/css; charset=utf-8",
                Some("js") => "text/javascript; charset=utf-8",
                Some("svg") => "image/svg+xml",
                _ => "text/html; charset=utf-8",
            };
            assert_eq!(answer.header("content-type"), media, "{path}");
            assert_eq!(answer.header("content-security-policy"), POLICY);
            assert_eq!(answer.header("x-content-type-options"), "nosniff");
            assert_eq!(answer.header("referrer-policy"), "no-referrer");
            assert_eq!(answer.header("cache-control"), "no-cache");
        }
    }
}

#[tokio::test]
async fn nothing_of_a_page_is_inline_or_from_elsewhere() {
    let bed = testbed();
    for page in PAGES {
        for path in files(&bed, page).await {
            let text = text(&bed.get(&path).await);
            for forbidden in [
                "<style",
                " style=",
                " onclick=",
                "innerHTML",
                "@import",
                "url(",
            ] {
                assert!(!text.contains(forbidden), "{path} has {forbidden}");
            }
            // The one address is the name of SVG.
            let text = text.replace("http://www.w3.org/2000/svg", "");
            assert!(
                !text.contains("http://") && !text.contains("https://"),
                "{path}"
            );
            assert!(
                between(&text, "<script", '>')
                    .all(|tag| tag.contains(&format!(" src=\"{}", page.1))),
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn every_field_has_a_label_and_a_place_for_its_error() {
    let page = text(&testbed().get("/").await);
    let ids: BTreeSet<_> = between(&page, " id=\"", '"').collect();
    assert_eq!(
        ids.len(),
        between(&page, " id=\"", '"').count(),
        "an id is there twice"
    );
    let labels: BTreeSet<_> = between(&page, "<label for=\"", '"').collect();
    let fields: BTreeSet<_> = between(&page, "<input id=\"", '"')
        .chain(between(&page, "<select id=\"", '"'))
        .collect();
    assert_eq!(
        fields,
        BTreeSet::from(["email", "name", "password", "plan", "locale"])
    );
    assert_eq!(labels, fields);
    for described in between(&page, "aria-describedby=\"", '"') {
        assert!(
            described.split(' ').all(|id| ids.contains(id)),
            "{described}"
        );
    }
    for field in fields {
        assert!(ids.contains(&*format!("{field}-error")), "{field}");
    }
}

#[tokio::test]
async fn who_has_a_file_already_is_not_sent_it_again() {
    let bed = testbed();
    for path in [
        "/",
        "/page/style.css",
        "/openapi.json",
        "/schemas/signup.requested",
    ] {
        let first = bed.get(path).await;
        let etag = first.header("etag").to_owned();
        assert!(etag.len() > 10 && etag.starts_with('"'), "{etag}");
        for (known, expected) in [
            (etag.clone(), StatusCode::NOT_MODIFIED),
            (format!("\"other\", W/{etag}"), StatusCode::NOT_MODIFIED),
            ("*".to_owned(), StatusCode::NOT_MODIFIED),
            ("\"other\"".to_owned(), StatusCode::OK),
        ] {
            let request = Request::get(path).header("if-none-match", &known);
            let answer = bed.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!(answer.status, expected, "{known}");
            assert_eq!(answer.header("etag"), etag);
            assert_eq!(answer.body.is_empty(), expected == StatusCode::NOT_MODIFIED);
        }
    }
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let bed = testbed();
    for path in ["/", "/page/main.js"] {
        let get = bed.get(path).await;
        let head = bed
            .send(Request::head(path).body(Body::empty()).unwrap())
            .await;
        assert_eq!(head.status, StatusCode::OK);
        assert!(head.body.is_empty());
        for name in ["content-type", "etag", "content-security-policy"] {
            assert_eq!(head.header(name), get.header(name), "{name}");
        }
        assert_eq!(head.header("content-length"), get.body.len().to_string());
    }
}

#[tokio::test]
async fn other_files_are_not_there() {
    let bed = testbed();
    for path in [
        "/page/",
        "/page/other.js",
        "/page/..%2f..%2fCargo.toml",
        "/page/%ff",
        "/docs/other.js",
        "/index.html",
    ] {
        assert_eq!(bed.get(path).await.code(), "not_found", "{path}");
    }
}
