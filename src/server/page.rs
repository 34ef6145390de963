//! The page at `/` in development: the first thing a newcomer tries.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse};
use serde::Serialize;

use super::Service;

const TEMPLATE: &str = include_str!("page.html");
const PLACEHOLDER: &str = "/*CONFIG*/null";

/// The page, made once at start.
#[derive(Clone)]
pub struct Page(String);

/// What the page is told. Secrets are in it only where they were made up for this process.
#[derive(Serialize)]
struct Given<'a> {
    user: &'a str,
    token: Option<&'a str>,
    api_key: Option<&'a str>,
}

impl Page {
    /// A page that connects as this user with this token and publishes with this key; it asks for what is missing.
    #[must_use]
    pub fn new(user: &str, token: Option<&str>, api_key: Option<&str>) -> Self {
        let given =
            serde_json::to_string(&Given { user, token, api_key }).unwrap_or_else(|_| "null".to_owned());
        // A "</script>" in a value must not end the script.
        Self(TEMPLATE.replacen(PLACEHOLDER, &given.replace('<', "\\u003c"), 1))
    }
}

impl std::fmt::Debug for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Page")
    }
}

/// Answers with the page.
pub(super) async fn show(State(service): State<Arc<Service>>) -> impl IntoResponse {
    let page = service.page.as_ref().map(|page| page.0.clone()).unwrap_or_default();
    ([(header::CACHE_CONTROL, "no-store")], Html(page))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_it_is_given_and_cannot_be_broken_out_of() {
        assert_eq!(TEMPLATE.matches(PLACEHOLDER).count(), 1);
        let page = Page::new("</script><script>alert(1)", Some("a.b.c"), None);
        assert!(
            page.0.contains(r#""user":"\u003c/script>\u003cscript>alert(1)","token":"a.b.c","api_key":null"#)
        );
    }
}
