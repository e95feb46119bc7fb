//! What every request goes through, whatever it asks for.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use finalrip_core::task::Service;
use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_LENGTH, HeaderName, HeaderValue, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, StatusCode};
use tokio::sync::watch;
use tracing::Instrument;

use crate::auth::{Gate, hex};
use crate::config::{Config, Token};
use crate::cors::{self, Cors};
use crate::failure::Failure;
use crate::listing::{Links, Lists};
use crate::metrics::Metrics;
use crate::openapi;
use crate::request::{self, Call};
use crate::routes::{Access, Action, Errors, Found, OBJECTS, Route, find};
use crate::wire::{self, Answer, whole};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest request id that is taken over from a client.
const LONGEST_ID: usize = 64;

/// Everything that answers requests; one for all connections.
pub struct App {
    pub(crate) service: Service,
    pub(crate) config: Config,
    pub(crate) links: Links,
    pub(crate) lists: Lists,
    pub(crate) metrics: Metrics,
    pub(crate) stop: watch::Receiver<bool>,
    gate: Gate,
    cors: Cors,
    /// What the ids of this process's requests begin with.
    run: String,
    requests: AtomicU64,
}

impl App {
    /// The routes over a service. Streams of events end when `stop` becomes true.
    #[must_use]
    pub fn new(service: Service, config: Config, token: &Token, stop: watch::Receiver<bool>) -> Self {
        let mut run = [0; 4];
        if let Err(error) = getrandom::fill(&mut run) {
            tracing::warn!(%error, "request ids are those of an earlier process again");
        }
        Self {
            links: Links::new(Duration::from_secs(u64::from(config.tasks.link_hours) * 3600)),
            lists: Lists::new(),
            metrics: Metrics::new(),
            stop,
            gate: Gate::new(token),
            cors: Cors::new(&config.cors_origins),
            run: hex(&run),
            requests: AtomicU64::new(0),
            service,
            config,
        }
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The service behind the routes.
    #[must_use]
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// Answers a request, whatever it is.
    pub(crate) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        let begun = Instant::now();
        let id = self.request_id(request.headers());
        let (method, origin) = (request.method().clone(), cors::origin(request.headers()));
        // Without the query: it may hold a signature.
        let path = request.uri().path().to_owned();
        let span = tracing::info_span!("request", id = id.to_str().unwrap_or_default(), %method, path);
        let (route, mut answer) = self.route(request).instrument(span.clone()).await;
        if method == Method::HEAD {
            strip(&mut answer);
        }
        let headers = answer.headers_mut();
        self.cors.apply(origin.as_ref(), headers);
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(REQUEST_ID, id);
        let (status, took) = (answer.status(), begun.elapsed());
        self.metrics.answered(known(&method), route, status, took);
        span.in_scope(|| match status.is_server_error() {
            true => tracing::error!(status = status.as_u16(), ?took, "answered"),
            false => tracing::debug!(status = status.as_u16(), ?took, "answered"),
        });
        answer
    }

    /// Finds the route, and calls it. Gives the route's path, for the metrics.
    async fn route(&self, request: Request<Incoming>) -> (&'static str, Answer) {
        let by_status = |failure: Failure| wire::refused(&failure, Errors::ByStatus);
        if header_bytes(&request) > self.config.limits.header_bytes() {
            let message = format!("the headers are longer than {} KiB", self.config.limits.header_kib);
            return ("", by_status(Failure::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, message)));
        }
        if let Err(failure) = request::check_host(&request) {
            return ("", by_status(failure));
        }
        if request.method() == Method::OPTIONS {
            return ("", cors::preflight());
        }
        match find(request.method(), request.uri().path()) {
            Found::Route(route) => (route.path, self.call(route, Call::new(request)).await),
            Found::Nothing => {
                ("", by_status(Failure::new(StatusCode::NOT_FOUND, "there is no such route; /openapi.json lists them")))
            }
            Found::OtherMethods(allow) => {
                let message = format!("this route takes {allow}");
                let mut answer = by_status(Failure::new(StatusCode::METHOD_NOT_ALLOWED, message));
                if let Ok(allow) = HeaderValue::from_str(&allow) {
                    answer.headers_mut().insert(ALLOW, allow);
                }
                ("", answer)
            }
        }
    }

    /// Calls a route: lets in whom it lets in, and answers in time, even if there is a fault in it.
    async fn call(&self, route: &'static Route, call: Call) -> Answer {
        let has_token = self.gate.lets_in(call.headers());
        if route.access == Access::Token && !has_token {
            return refuse_stranger(route.errors);
        }
        let time = match route.action.is_unhurried() {
            true => Duration::MAX,
            // Once for the form to arrive, and once for the call.
            false => self.config.limits.request_time() * 2,
        };
        let acting = AssertUnwindSafe(self.act(route.action, call, has_token)).catch_unwind();
        let outcome = match tokio::time::timeout(time, acting).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => {
                tracing::error!("a handler panicked");
                Err(Failure::internal())
            }
            Err(_) => Err(Failure::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the call takes too long; what it began goes on, look at the task's progress",
            )),
        };
        match outcome {
            Ok(answer) => answer,
            Err(failure) if failure.status == StatusCode::UNAUTHORIZED => refuse_stranger(route.errors),
            Err(failure) => {
                tracing::info!(status = failure.status.as_u16(), message = failure.message, "refused");
                wire::refused(&failure, route.errors)
            }
        }
    }

    async fn act(&self, action: Action, call: Call, has_token: bool) -> Result<Answer, Failure> {
        match action {
            Action::Presigned => self.presigned(call).await,
            Action::New => self.new_task(call).await,
            Action::Start => self.start(call).await,
            Action::Progress => self.progress(call).await,
            Action::RetryEncode => self.retry_encode(call).await,
            Action::RetryMerge => self.retry_merge(call).await,
            Action::Clear => self.clear(call).await,
            Action::List => self.list(call).await,
            Action::Cancel => self.cancel(call).await,
            Action::Check => self.check(call).await,
            Action::Events => self.events(call).await,
            Action::Clip => self.clip(call, has_token).await,
            Action::Ping | Action::Health => Ok(wire::done()),
            Action::Ready => self.ready().await,
            Action::Metrics => self.show_metrics().await,
            Action::OpenApi => Ok(wire::json(StatusCode::OK, openapi::OPENAPI)),
            Action::GetObject => self.get_object(call).await,
            Action::PutObject => self.put_object(call).await,
        }
    }

    async fn ready(&self) -> Result<Answer, Failure> {
        self.service.ready().await.map_err(|error| {
            let failure = Failure::from(error);
            Failure { status: StatusCode::SERVICE_UNAVAILABLE, ..failure }
        })?;
        Ok(wire::done())
    }

    /// Scheme and host of links.
    pub(crate) fn base(&self, head: &Parts) -> String {
        request::base(&self.config, head)
    }

    /// What links to the local store's objects begin with.
    pub(crate) fn objects_base(&self, head: &Parts) -> String {
        format!("{}{OBJECTS}", self.base(head))
    }

    /// The client's own id for a request if it is a sane one, else one that no other request has.
    fn request_id(&self, headers: &HeaderMap) -> HeaderValue {
        let sane = |id: &&HeaderValue| {
            let possible = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            (1..=LONGEST_ID).contains(&id.len()) && id.as_bytes().iter().all(possible)
        };
        if let Some(id) = headers.get(REQUEST_ID).filter(sane) {
            return id.clone();
        }
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        HeaderValue::from_str(&format!("{}-{number}", self.run)).unwrap_or(HeaderValue::from_static("-"))
    }
}

/// The refusal of a request without the token.
pub(crate) fn no_token() -> Failure {
    Failure::new(StatusCode::UNAUTHORIZED, "The token is missing or wrong; send it in the header `token`.")
}

fn refuse_stranger(errors: Errors) -> Answer {
    let mut answer = wire::refused(&no_token(), errors);
    if answer.status() == StatusCode::UNAUTHORIZED {
        answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    answer
}

/// The length of a request's line and headers, about as they came.
fn header_bytes<T>(request: &Request<T>) -> usize {
    let headers = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    target + headers.sum::<usize>()
}

/// Makes an answer to `GET` one to `HEAD`.
fn strip(answer: &mut Answer) {
    let length = hyper::body::Body::size_hint(answer.body()).exact();
    if let Some(length) = length.filter(|_| !answer.headers().contains_key(CONTENT_LENGTH)) {
        answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    *answer.body_mut() = whole("");
}

/// A method as a label: strangers cannot make up new ones.
fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}
