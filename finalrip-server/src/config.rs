//! The server's configuration: defaults, then `finalrip.toml`, then `FINALRIP_*` variables, then flags; the later wins.
//!
//! All four become one table, which is read into one struct. So a key that nobody knows is an error wherever it comes
//! from, and what `finalrip-server check` prints is what `serve` uses.

mod layers;
mod settings;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use finalrip_core::store::{LocalConfig, S3Config, Store, StoreConfig};
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

    /// The first line of a file.
    ///
    /// # Errors
    /// The file cannot be read, or its first line is no token.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(file).map_err(|source| ConfigError::File { path: file.to_owned(), source })?;
        let line = text.lines().next().unwrap_or_default().trim();
        Self::new(line).map_err(|error| match error {
            ConfigError::Value { name, reason } => {
                ConfigError::Value { name: format!("{name} in {}", file.display()), reason }
            }
            other => other,
        })
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Config {
    /// Whether a server can be started with it: `serve` asks this, and so does `check`. Nothing is made or changed; files and
    /// folders that have to be there are looked for.
    ///
    /// # Errors
    /// The first setting that cannot be, with the reason.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_access()?;
        self.check_numbers()?;
        self.check_encoder()?;
        crate::log::filter(&self.log.filter)?;
        if self.data.exists() && !self.data.is_dir() {
            return Err(wrong("data", format!("{} is not a folder", self.data.display())));
        }
        if self.s3.is_some() {
            Store::open(&self.store()).map_err(|error| wrong("s3", chain(&error)))?;
        }
        Ok(())
    }

    /// Who may call, and from where.
    fn check_access(&self) -> Result<(), ConfigError> {
        if let Some(token) = &self.token {
            Token::new(token.as_str())?;
        }
        match &self.token_file {
            Some(_) if self.token.is_some() => {
                return Err(wrong("token_file", "there is a token as well; keep one of the two"));
            }
            Some(file) => drop(Token::read(file)?),
            None => {}
        }
        if !self.listen.ip().is_loopback() && self.token.is_none() && self.token_file.is_none() {
            return Err(ConfigError::OpenToAll { listen: self.listen });
        }
        if let Some(url) = &self.public_url {
            check_url(url).map_err(|reason| wrong("public_url", reason))?;
        }
        let mut origins = self.cors_origins.iter().filter(|origin| *origin != "*");
        origins.try_for_each(|origin| check_url(origin).map_err(|reason| wrong("cors_origins", reason)))
    }

    fn check_numbers(&self) -> Result<(), ConfigError> {
        let Limits { connections, header_kib, header_seconds, body_mib, request_seconds, idle_seconds, .. } =
            self.limits;
        let Tasks { attempts, clip_seconds, lease_seconds, link_hours, .. } = self.tasks;
        let within = |name: &str, value: u64, least: u64, most: u64| match (least..=most).contains(&value) {
            true => Ok(()),
            false if most == u64::MAX => Err(wrong(name, format!("at least {least}"))),
            false => Err(wrong(name, format!("{least} to {most}"))),
        };
        within("workers", self.workers as u64, 0, 1024)?;
        within("limits.connections", connections as u64, 1, 1_000_000)?;
        within("limits.header_kib", header_kib.into(), 8, 1024)?;
        within("limits.header_seconds", header_seconds, 1, u64::MAX)?;
        within("limits.body_mib", body_mib.into(), 1, 1024)?;
        within("limits.request_seconds", request_seconds, 1, u64::MAX)?;
        within("limits.idle_seconds", idle_seconds, 1, u64::MAX)?;
        within("tasks.attempts", attempts.into(), 1, 1000)?;
        within("tasks.lease_seconds", lease_seconds, 3, 86_400)?;
        within("tasks.link_hours", link_hours.into(), 1, 168)?;
        if !clip_seconds.is_none_or(|seconds| seconds > 0.0 && seconds.is_finite()) {
            return Err(wrong("tasks.clip_seconds", "more than 0"));
        }
        within("encoder.nice", self.encoder.nice.into(), 0, 19)?;
        // Less than Python and libav's libraries map before they do anything.
        within("encoder.address_space_mib", self.encoder.address_space_mib.unwrap_or(1024).into(), 1024, u64::MAX)?;
        within("encoder.file_size_mib", self.encoder.file_size_mib.unwrap_or(1).into(), 1, u64::MAX)?;
        within("encoder.processes", self.encoder.processes.unwrap_or(64), 64, u64::MAX)
    }

    /// What scripts may reach.
    fn check_encoder(&self) -> Result<(), ConfigError> {
        for (name, folders) in [("encoder.read", &self.encoder.read), ("encoder.write", &self.encoder.write)] {
            for folder in folders {
                std::fs::metadata(folder).map_err(|error| wrong(name, format!("{}: {error}", folder.display())))?;
            }
        }
        let is_name = |name: &&String| !name.is_empty() && !name.contains(['=', '\0']);
        match self.encoder.environment.iter().find(|name| !is_name(name)) {
            Some(name) => Err(wrong("encoder.environment", format!("{name:?} is no variable's name"))),
            None => Ok(()),
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

fn wrong(name: &str, reason: impl Into<String>) -> ConfigError {
    ConfigError::Value { name: name.to_owned(), reason: reason.into() }
}

/// An error and all its causes in one line.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
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
