//! The server's configuration: defaults, then `finalrip.toml`, then `FINALRIP_*` variables, then flags; the later wins.
//!
//! All four become one table, which is read into one struct. So a key that nobody knows is an error wherever it comes
//! from, and what `finalrip-server check` prints is what `serve` uses.

mod layers;
mod settings;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use finalrip_core::store::{LocalConfig, S3Config, StoreConfig};
use serde::Deserialize;

pub use layers::{ConfigError, Layers};
pub use settings::{Kind, SETTINGS, Setting};

/// The shortest token that is taken, in bytes.
const SHORTEST_TOKEN: usize = 8;

/// Everything that can be configured. [`SETTINGS`] says what each means, with its unit and default.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the list of settings documents each; twice said is once forgotten")]
pub struct Config {
    pub data: PathBuf,
    pub listen: SocketAddr,
    pub workers: usize,
    pub token: Option<Token>,
    pub token_file: Option<PathBuf>,
    pub public_url: Option<String>,
    pub trust_forwarded: bool,
    pub cors_origins: Vec<String>,
    pub limits: Limits,
    pub tasks: Tasks,
    pub encoder: Encoder,
    pub s3: Option<S3Config>,
    pub log: Log,
}

/// Section `[limits]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the list of settings documents each")]
pub struct Limits {
    pub connections: usize,
    pub header_kib: u32,
    pub header_seconds: u64,
    pub body_mib: u32,
    pub request_seconds: u64,
    pub idle_seconds: u64,
    pub upload_gib: Option<u32>,
    pub shutdown_seconds: u64,
}

/// Section `[tasks]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the list of settings documents each")]
pub struct Tasks {
    pub attempts: u32,
    pub clip_seconds: Option<f64>,
    pub lease_seconds: u64,
    pub link_hours: u32,
    pub store_patience_seconds: u64,
    pub source_cache_gib: u32,
}

/// Section `[encoder]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the list of settings documents each")]
pub struct Encoder {
    pub address_space_mib: Option<u32>,
    pub file_size_mib: Option<u32>,
    pub processes: Option<u64>,
    pub nice: u8,
    pub confined: bool,
    pub read: Vec<PathBuf>,
    pub write: Vec<PathBuf>,
    pub network: bool,
    pub environment: Vec<String>,
}

/// Section `[log]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the list of settings documents each")]
pub struct Log {
    pub format: LogFormat,
    pub filter: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// A token. `Debug` does not show it.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// The token's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Checks a token.
    ///
    /// # Errors
    /// It is too short to be one, or holds what a header cannot.
    pub fn new(text: impl Into<String>) -> Result<Self, ConfigError> {
        let text = text.into();
        if text.len() < SHORTEST_TOKEN || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            let reason = format!("it needs at least {SHORTEST_TOKEN} visible ASCII characters, and no space");
            return Err(ConfigError::Value { name: "token".to_owned(), reason });
        }
        Ok(Self(text))
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Config {
    /// What has to hold between settings.
    ///
    /// # Errors
    /// The first setting that cannot be, with the reason.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong =
            |name: &str, reason: &str| Err(ConfigError::Value { name: name.to_owned(), reason: reason.to_owned() });
        if let Some(token) = &self.token {
            Token::new(token.as_str())?;
        }
        if self.token.is_some() && self.token_file.is_some() {
            return wrong("token_file", "there is a token as well; keep one of the two");
        }
        if !self.listen.ip().is_loopback() && self.token.is_none() && self.token_file.is_none() {
            return Err(ConfigError::OpenToAll { listen: self.listen });
        }
        if let Some(url) = &self.public_url {
            check_url(url).or_else(|reason| wrong("public_url", reason))?;
        }
        for origin in self.cors_origins.iter().filter(|origin| *origin != "*") {
            check_url(origin).or_else(|reason| wrong("cors_origins", reason))?;
        }
        let Limits { connections, header_kib, header_seconds, body_mib, request_seconds, idle_seconds, .. } =
            self.limits;
        match () {
            () if !(1..=1_000_000).contains(&connections) => wrong("limits.connections", "1 to 1000000"),
            () if !(8..=1024).contains(&header_kib) => wrong("limits.header_kib", "8 to 1024"),
            () if header_seconds == 0 => wrong("limits.header_seconds", "at least 1"),
            () if !(1..=1024).contains(&body_mib) => wrong("limits.body_mib", "1 to 1024"),
            () if request_seconds == 0 => wrong("limits.request_seconds", "at least 1"),
            () if idle_seconds == 0 => wrong("limits.idle_seconds", "at least 1"),
            () if !self.tasks.clip_seconds.is_none_or(|seconds| seconds > 0.0 && seconds.is_finite()) => {
                wrong("tasks.clip_seconds", "more than 0")
            }
            () if self.encoder.nice > 19 => wrong("encoder.nice", "0 to 19"),
            () if !(1..=168).contains(&self.tasks.link_hours) => wrong("tasks.link_hours", "1 to 168"),
            () => Ok(()),
        }
    }

    /// Where objects are kept.
    #[must_use]
    pub fn store(&self) -> StoreConfig {
        match &self.s3 {
            Some(s3) => StoreConfig::S3(Box::new(s3.clone())),
            None => StoreConfig::Local(LocalConfig { folder: self.data.join("store") }),
        }
    }
}

impl Limits {
    /// Time for a request's headers.
    #[must_use]
    pub fn header_time(&self) -> Duration {
        Duration::from_secs(self.header_seconds)
    }

    /// Time for a form to arrive, and for a call.
    #[must_use]
    pub fn request_time(&self) -> Duration {
        Duration::from_secs(self.request_seconds)
    }

    /// Time that a transfer may stand still.
    #[must_use]
    pub fn idle_time(&self) -> Duration {
        Duration::from_secs(self.idle_seconds)
    }

    /// Size of a form in bytes.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        self.body_mib as usize * (1 << 20)
    }

    /// Size of a request's headers in bytes.
    #[must_use]
    pub fn header_bytes(&self) -> usize {
        self.header_kib as usize * (1 << 10)
    }

    /// Size of an upload in bytes.
    #[must_use]
    pub fn upload_bytes(&self) -> u64 {
        self.upload_gib.map_or(u64::MAX, |gib| u64::from(gib) << 30)
    }
}

/// A scheme and a host, and nothing behind.
fn check_url(url: &str) -> Result<(), &'static str> {
    let uri: hyper::Uri = url.parse().map_err(|_| "it is no URL")?;
    let plain = matches!(uri.scheme_str(), Some("http" | "https")) && uri.query().is_none() && uri.path() == "/";
    if plain && !url.ends_with('/') {
        Ok(())
    } else {
        Err("scheme and host, such as https://rip.example.org, and no more")
    }
}
