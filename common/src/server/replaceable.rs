//! A router that can be replaced while it serves.

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use tokio::sync::watch;

/// Routes that can be replaced by others at once. No connection is cut: a request that is under way ends under the routes that
/// it began with.
#[derive(Debug, Clone)]
pub struct Replaceable(watch::Sender<Router>);

impl Replaceable {
    /// These routes, for now.
    pub fn new(router: Router) -> Self {
        Self(watch::Sender::new(router))
    }

    /// Requests that begin from now on come to these routes.
    pub fn replace(&self, router: Router) {
        // The former routes live on in the requests that have them.
        drop(self.0.send_replace(router));
    }

    /// A router that leads to the present routes.
    pub fn router(&self) -> Router {
        let present = self.0.clone();
        Router::new().fallback(async move |request: Request| {
            let routes = present.borrow().clone();
            answer(routes, request).await
        })
    }
}

/// The answer of these routes to a request.
async fn answer(routes: Router, request: Request) -> Response {
    let answer = TowerToHyperService::new(routes).call(request).await;
    answer.unwrap_or_else(|never| match never {})
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;
    use tokio::sync::Notify;

    use super::*;

    async fn text(router: Router) -> String {
        let request = Request::builder().uri("/a").body(Body::empty()).unwrap();
        let answer = answer(router, request).await;
        let body = axum::body::to_bytes(answer.into_body(), 100).await.unwrap();
        String::from_utf8_lossy(&body).into_owned()
    }

    #[tokio::test]
    async fn a_request_ends_under_the_routes_that_it_began_with() {
        let (began, goes_on) = (
            &*Box::leak(Box::new(Notify::new())),
            &*Box::leak(Box::new(Notify::new())),
        );
        let slow = get(async || {
            began.notify_one();
            goes_on.notified().await;
            "old"
        });
        let replaceable = Replaceable::new(Router::new().route("/a", slow));
        let under_way = tokio::spawn(text(replaceable.router()));
        began.notified().await;
        replaceable.replace(Router::new().route("/a", get(async || "new")));
        assert_eq!(text(replaceable.router()).await, "new");
        goes_on.notify_one();
        assert_eq!(under_way.await.unwrap(), "old");
    }
}
