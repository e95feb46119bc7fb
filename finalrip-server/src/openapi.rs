//! The OpenAPI document.

/// What there is to call, in OpenAPI 3.1: the file `openapi.json` beside the sources, which a test compares with
/// [`ROUTES`](crate::routes::ROUTES).
pub const OPENAPI: &str = include_str!("../openapi.json");
