//! The table of routes: the one place that knows which there are. The OpenAPI document is compared with it.

use hyper::Method;

/// What is under `/objects/`: the local store's objects, by their percent-encoded keys.
pub const OBJECTS: &str = "/objects/";

/// A route.
#[derive(Debug)]
pub struct Route {
    /// Its method. `HEAD` is taken wherever `GET` is.
    pub method: Method,
    /// Its path, as the OpenAPI document writes it.
    pub path: &'static str,
    /// Who may call it.
    pub access: Access,
    /// How it refuses.
    pub errors: Errors,
    /// What it does.
    pub(crate) action: Action,
}

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Open,
    /// Who has the token.
    Token,
    /// Who has the token, or a link that was signed for this.
    TokenOrLink,
    /// Who has a link that was signed for this.
    Link,
}

/// How a route refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errors {
    /// With HTTP 200 and `"success": false`: clients of the API document read that.
    InBody,
    /// With a real status, and the same body.
    ByStatus,
}

/// What a route does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Ping,
    Health,
    Ready,
    Metrics,
    OpenApi,
    New,
    Start,
    Progress,
    Presigned,
    RetryEncode,
    RetryMerge,
    Clear,
    List,
    Cancel,
    Check,
    Events,
    Clip,
    GetObject,
    PutObject,
}

impl Action {
    /// Whether its answer may take as long as it wants: what streams is watched for standing still instead.
    pub(crate) fn is_unhurried(self) -> bool {
        matches!(self, Self::Events | Self::Clip | Self::GetObject | Self::PutObject)
    }
}

const fn document(method: Method, path: &'static str, action: Action) -> Route {
    Route { method, path, access: Access::Token, errors: Errors::InBody, action }
}

const fn other(method: Method, path: &'static str, access: Access, action: Action) -> Route {
    Route { method, path, access, errors: Errors::ByStatus, action }
}

/// Every route.
pub static ROUTES: [Route; 19] = [
    document(Method::GET, "/api/v1/task/oss/presigned", Action::Presigned),
    document(Method::POST, "/api/v1/task/new", Action::New),
    document(Method::POST, "/api/v1/task/start", Action::Start),
    document(Method::GET, "/api/v1/task/progress", Action::Progress),
    document(Method::POST, "/api/v1/task/retry/encode", Action::RetryEncode),
    document(Method::POST, "/api/v1/task/retry/merge", Action::RetryMerge),
    document(Method::POST, "/api/v1/task/clear", Action::Clear),
    document(Method::GET, "/api/v1/task/list", Action::List),
    other(Method::POST, "/api/v1/task/cancel", Access::Token, Action::Cancel),
    other(Method::POST, "/api/v1/task/check", Access::Token, Action::Check),
    other(Method::GET, "/api/v1/task/events", Access::Token, Action::Events),
    other(Method::GET, "/api/v1/task/clip", Access::TokenOrLink, Action::Clip),
    other(Method::GET, "/", Access::Token, Action::Ping),
    other(Method::GET, "/healthz", Access::Open, Action::Health),
    other(Method::GET, "/readyz", Access::Open, Action::Ready),
    other(Method::GET, "/metrics", Access::Token, Action::Metrics),
    other(Method::GET, "/openapi.json", Access::Open, Action::OpenApi),
    other(Method::GET, "/objects/{key}", Access::Link, Action::GetObject),
    other(Method::PUT, "/objects/{key}", Access::Link, Action::PutObject),
];

/// What was found under a path.
#[derive(Debug)]
pub(crate) enum Found {
    /// A route.
    Route(&'static Route),
    /// Routes of other methods, as `Allow` lists them.
    OtherMethods(String),
    /// Nothing.
    Nothing,
}

impl Route {
    fn has(&self, path: &str) -> bool {
        match self.action {
            Action::GetObject | Action::PutObject => path.len() > OBJECTS.len() && path.starts_with(OBJECTS),
            _ => path == self.path,
        }
    }

    fn takes(&self, method: &Method) -> bool {
        self.method == method || (self.method == Method::GET && method == Method::HEAD)
    }
}

/// Finds the route of a request.
pub(crate) fn find(method: &Method, path: &str) -> Found {
    let here: Vec<&'static Route> = ROUTES.iter().filter(|route| route.has(path)).collect();
    if let Some(route) = here.iter().find(|route| route.takes(method)) {
        return Found::Route(route);
    }
    if here.is_empty() {
        return Found::Nothing;
    }
    let methods =
        here.iter().map(|route| if route.method == Method::GET { "GET, HEAD" } else { route.method.as_str() });
    Found::OtherMethods(methods.chain(["OPTIONS"]).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_found_and_nothing_else() {
        for route in &ROUTES {
            let path = route.path.replace("{key}", "show/01.mkv");
            assert!(
                matches!(find(&route.method, &path), Found::Route(found) if found.action == route.action),
                "{path}"
            );
            assert!(matches!(find(&Method::DELETE, &path), Found::OtherMethods(_)));
            assert!(!matches!(find(&route.method, &format!("/x{path}")), Found::Route(_)));
        }
        assert!(matches!(find(&Method::HEAD, "/objects/a"), Found::Route(route) if route.action == Action::GetObject));
        assert!(matches!(find(&Method::GET, "/objects/"), Found::Nothing));
        let Found::OtherMethods(allow) = find(&Method::DELETE, "/objects/a") else { panic!("other methods are there") };
        assert_eq!(allow, "GET, HEAD, PUT, OPTIONS");
    }
}
