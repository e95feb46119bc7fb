//! A request as handlers see it.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{HeaderMap, Request, StatusCode, Version};

use crate::config::Config;
use crate::failure::Failure;
use crate::fields::Fields;

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// A request on its way to its route.
pub(crate) struct Call {
    pub(crate) head: Parts,
    pub(crate) body: Incoming,
}

impl Call {
    pub(crate) fn new(request: Request<Incoming>) -> Self {
        let (head, body) = request.into_parts();
        Self { head, body }
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// A header's text; nothing if it is not ASCII.
    pub(crate) fn header(&self, name: impl hyper::header::AsHeaderName) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
    }

    /// The query as it came.
    pub(crate) fn raw_query(&self) -> &str {
        self.head.uri.query().unwrap_or_default()
    }

    /// The query's fields.
    pub(crate) fn query(&self) -> Result<Fields, Failure> {
        Fields::urlencoded(self.raw_query().as_bytes())
    }

    /// The body's fields.
    pub(crate) async fn form(self, limits: &crate::config::Limits) -> Result<Fields, Failure> {
        let (limit, time) = (limits.body_bytes(), limits.request_time());
        let content_type = self.header(CONTENT_TYPE).map(ToOwned::to_owned);
        let declared = self.head.headers.get(CONTENT_LENGTH).is_some() && self.body.size_hint().lower() > limit as u64;
        if declared {
            return Err(too_long(limit));
        }
        let body = collect(self.body, limit, time).await?;
        Fields::body(content_type.as_deref(), body).await
    }
}

/// Reads a form's body, which may be so long and take so long.
async fn collect(body: Incoming, limit: usize, time: Duration) -> Result<Bytes, Failure> {
    match tokio::time::timeout(time, Limited::new(body, limit).collect()).await {
        Err(_) => {
            let message = format!("the body did not arrive within {} s", time.as_secs());
            Err(Failure::early(StatusCode::REQUEST_TIMEOUT, message))
        }
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_long(limit)),
        Ok(Err(error)) => Err(Failure::early(StatusCode::BAD_REQUEST, format!("the body cannot be read: {error}"))),
        Ok(Ok(body)) => Ok(body.to_bytes()),
    }
}

fn too_long(limit: usize) -> Failure {
    Failure::early(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is longer than {limit} bytes"))
}

/// Refuses what RFC 9112, section 3.2, says that a server has to refuse: a request of HTTP/1.1 without `Host`, and any with
/// more than one.
///
/// # Errors
/// Status 400.
pub(crate) fn check_host<T>(request: &Request<T>) -> Result<(), Failure> {
    match request.headers().get_all(HOST).iter().count() {
        0 if request.version() == Version::HTTP_11 => Err(Failure::bad("the request has no Host header")),
        0 | 1 => Ok(()),
        _ => Err(Failure::bad("the request has more than one Host header")),
    }
}

/// Scheme and host of links in the answer: what is configured, or what the client called.
pub(crate) fn base(config: &Config, head: &Parts) -> String {
    if let Some(url) = &config.public_url {
        return url.clone();
    }
    let trusted = |name| config.trust_forwarded.then(|| first(&head.headers, name)).flatten();
    let scheme = trusted(FORWARDED_PROTO).filter(|scheme| matches!(*scheme, "http" | "https")).unwrap_or("http");
    let hosts = [trusted(FORWARDED_HOST), head.uri.authority().map(Authority::as_str), first(&head.headers, HOST)];
    let host = hosts.into_iter().flatten().find(|host| is_host(host));
    // A client of HTTP/1.0 need not say whom it calls.
    host.map_or_else(|| format!("{scheme}://{}", config.listen), |host| format!("{scheme}://{host}"))
}

/// The first of a header's values: proxies put theirs behind it.
fn first(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    Some(headers.get(name)?.to_str().ok()?.split(',').next().unwrap_or_default().trim())
}

/// Whether it is a host, perhaps with a port, and without a login.
fn is_host(text: &str) -> bool {
    text.parse::<Authority>().is_ok_and(|authority| !authority.host().is_empty() && !text.contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layers;

    fn base_of(settings: &str, headers: &[(&str, &str)]) -> String {
        let config = Layers::default().text(settings, "test".as_ref()).unwrap().config().unwrap();
        let mut request = Request::builder().uri("/api");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        base(&config, &request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn a_request_names_one_host() {
        for (version, hosts, good) in [
            (Version::HTTP_10, 0, true),
            (Version::HTTP_10, 2, false),
            (Version::HTTP_11, 0, false),
            (Version::HTTP_11, 1, true),
            (Version::HTTP_11, 2, false),
            (Version::HTTP_2, 0, true),
            (Version::HTTP_2, 2, false),
        ] {
            let mut request = Request::builder().version(version).uri("/healthz");
            for _ in 0..hosts {
                request = request.header(HOST, "localhost");
            }
            assert_eq!(check_host(&request.body(()).unwrap()).is_ok(), good, "{version:?} {hosts}");
        }
    }

    #[test]
    fn links_lead_back_to_where_the_client_came_in() {
        let forwarded =
            [("host", "inner:1"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "rip.example.org, b")];
        for (settings, headers, expected) in [
            ("", &[("host", "localhost:8848")][..], "http://localhost:8848"),
            ("", &[("host", "[::1]:8848")], "http://[::1]:8848"),
            ("", &[], "http://127.0.0.1:8848"),
            ("", &[("host", "a b")], "http://127.0.0.1:8848"),
            ("", &[("host", "user@evil")], "http://127.0.0.1:8848"),
            ("", &forwarded, "http://inner:1"),
            ("trust_forwarded = true", &forwarded, "https://rip.example.org"),
            ("trust_forwarded = true", &[("host", "x"), ("x-forwarded-proto", "ftp")], "http://x"),
            ("public_url = \"https://p.example\"", &forwarded, "https://p.example"),
        ] {
            assert_eq!(base_of(settings, headers), expected, "{settings} {headers:?}");
        }
    }
}
