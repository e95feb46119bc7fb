//! Where a store is, and how it is reached.

use std::fmt;
use std::path::PathBuf;

use object_store::signer::Url;
use serde::Deserialize;

use super::error::StoreError;
use super::retry::Retries;

/// Which store to open. Settings are checked before anything is opened.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum StoreConfig {
    /// A folder of this machine.
    Local(LocalConfig),
    /// A bucket of S3, or of anything that speaks its protocol.
    S3(Box<S3Config>),
}

/// A folder of this machine as a store.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalConfig {
    /// The folder; made if it is not there. Objects are in its `objects`, under their keys as far as file names allow.
    pub folder: PathBuf,
}

/// A bucket as a store.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Config {
    /// Scheme and host, such as `http://127.0.0.1:3900`. Default: Amazon's endpoint of the region.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// Scheme and host for signed links, where clients see another address than this process does. Default: `endpoint`.
    #[serde(default)]
    pub public_endpoint: Option<String>,
    /// The region that requests are signed for. Default: `us-east-1`; Garage's is `garage`.
    #[serde(default = "default_region")]
    pub region: String,
    /// The bucket. It must exist.
    pub bucket: String,
    /// Whether the bucket is in the path (`http://host/bucket/key`), which most other than Amazon want, or in the host
    /// name. Default: `true`.
    #[serde(default = "yes")]
    pub path_style: bool,
    /// Whether an endpoint without TLS is taken. Contents and signed links can be read on the way then; credentials are
    /// never sent. Default: `false`.
    #[serde(default)]
    pub allow_http: bool,
    /// Who this is.
    pub credentials: Credentials,
    /// How patiently requests are tried again.
    #[serde(skip)]
    pub retries: Retries,
}

/// A pair of keys for S3. `Debug` shows neither secret.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// The access key's id.
    pub access_key: String,
    /// The secret that belongs to it.
    pub secret_key: String,
    /// The token of temporary credentials.
    #[serde(default)]
    pub session_token: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

impl S3Config {
    /// Scheme, host and, if it belongs there, bucket of `endpoint`.
    pub(super) fn address(&self, endpoint: &str) -> Result<String, StoreError> {
        let wrong = |expected| StoreError::Setting { option: "endpoint", value: without_login(endpoint), expected };
        let url = Url::parse(endpoint).map_err(|_| wrong("a URL such as https://s3.example.org"))?;
        if !(url.scheme() == "https" || url.scheme() == "http" && self.allow_http) {
            return Err(wrong("https://…, or http://… with allow_http"));
        }
        let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        let Some(host) = url.host_str().filter(|_| plain && url.fragment().is_none()) else {
            return Err(wrong("scheme, host and perhaps a port and a path, but no login and no query"));
        };
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let bucket = if self.path_style { String::new() } else { format!("{}.", self.bucket) };
        let address = format!("{}://{bucket}{host}{port}{}", url.scheme(), url.path().trim_end_matches('/'));
        // `bucket.127.0.0.1` is no host.
        Url::parse(&address)
            .map_err(|_| wrong("a host name, of which the bucket becomes a part; or set path_style"))?;
        Ok(address)
    }

    pub(super) fn check(&self) -> Result<(), StoreError> {
        let possible = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        for (option, value) in [("bucket", &self.bucket), ("region", &self.region)] {
            if value.is_empty() || !value.bytes().all(possible) {
                let expected = "letters, digits, `-`, `.` and `_`";
                return Err(StoreError::Setting { option, value: value.clone(), expected });
            }
        }
        let visible = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        let Credentials { access_key, secret_key, session_token } = &self.credentials;
        let secrets = [
            ("access_key", Some(access_key)),
            ("secret_key", Some(secret_key)),
            ("session_token", session_token.as_ref()),
        ];
        for (option, value) in secrets {
            if !value.is_none_or(|value| visible(value)) {
                let expected = "visible ASCII characters, and no space";
                return Err(StoreError::Setting { option, value: "what is configured".to_owned(), expected });
            }
        }
        Ok(())
    }
}

/// An endpoint is no place for a password; if there is one, it is not repeated, nor is what looks like a signed link's.
fn without_login(endpoint: &str) -> String {
    let endpoint = endpoint.split(['?', '#']).next().unwrap_or_default();
    endpoint.rsplit_once('@').map_or(endpoint, |(_, rest)| rest).to_owned()
}

fn default_region() -> String {
    "us-east-1".to_owned()
}

fn yes() -> bool {
    true
}
