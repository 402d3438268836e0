//! The link that confirms a signup.

use serde_json::json;

use crate::documents::answers::{self, BOUNDED};
use crate::documents::operation::{Operation, in_path};
use crate::paths;
use crate::problem::Code;

const TAG: &str = "publish";

/// `GET /confirm/{token}`
pub(super) fn open() -> Operation {
    let page = answers::answer(
        "The page with the button that confirms.",
        "text/html",
        json!({ "type": "string" }),
        json!(null),
    );
    operation("get", "openConfirmation")
        .says(
            "Open the link of a confirmation mail",
            "Publishes a `signup.confirmed` event, once for each signup. With `confirmation.ask`, to HEAD, and to a \
             request that says it only prefetches, the answer is a page whose button confirms. Who accepts `text/html` \
             gets pages.",
        )
        .answers(200, page)
}

/// `POST /confirm/{token}`
pub(super) fn press() -> Operation {
    operation("post", "confirm").says(
        "Confirm a signup",
        "Publishes a `signup.confirmed` event, once for each signup. A body is not read.",
    )
}

fn operation(method: &'static str, id: &'static str) -> Operation {
    Operation::new(method, paths::CONFIRM, id, TAG)
        .parameter(in_path(
            "token",
            "The last part of the link.",
            json!({ "type": "string" }),
            "v1.1f0c2a9b.TOKEN.01928a3c7d5e7c3a9b612f4e8d0a6b17",
        ))
        .answers(202, answers::accepted())
        .answers(
            303,
            answers::sent_on(
                "A browser, after the confirmation, where `confirmation.page` is set.",
            ),
        )
        .refuses(BOUNDED)
        .refuses(&[
            Code::NotFound,
            Code::UnknownLink,
            Code::LinkExpired,
            Code::RateLimited,
            Code::NotConfirmed,
        ])
        .has_pages()
}
