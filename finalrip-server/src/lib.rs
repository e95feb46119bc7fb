//! The FinalRip task API over HTTP.
//!
//! Thin on purpose: what a task is, what may happen to it and who works on it is [`finalrip_core::task`]'s. Here a
//! request becomes one call of its [`Service`](finalrip_core::task::Service), and the outcome an answer.
//!
//! A request's way: [`Server`] accepts the connection, [`App`] gives the request a number, finds its place in the table of
//! [`routes`] and checks who asks; a handler makes the call; the answer gets its CORS headers and is counted on its way
//! out. Bytes of films never stand still here: they stream between the socket and the store.

mod app;
mod auth;
pub mod config;
mod cors;
mod events;
mod failure;
mod fields;
mod gzip;
mod listing;
pub mod log;
mod metrics;
mod objects;
mod open;
mod openapi;
mod range;
mod request;
pub mod routes;
mod serve;
mod socket;
mod tasks;
mod transfer;
mod wire;

pub use app::App;
pub use config::{Config, ConfigError, chain};
pub use open::{OpenError, Opened, open};
pub use openapi::OPENAPI;
pub use serve::{ServeError, Server};
