//! The list of all settings. Files, variables and flags are read, and the effective configuration is shown, by it.

/// What a setting's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A whole number, not negative.
    Number,
    /// A number, perhaps with a fraction.
    Fraction,
    /// `true` or `false`.
    Switch,
    /// Texts: an array in the file, separated by commas elsewhere.
    List,
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its place in the file: `limits.body_mib` is `body_mib` in the section `[limits]`.
    pub path: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// Its default as TOML; `None` if it has none.
    pub default: Option<&'static str>,
    /// Whether its value is never shown.
    pub secret: bool,
    /// What it does.
    pub help: &'static str,
}

impl Setting {
    /// Its environment variable: `FINALRIP_LIMITS_BODY_MIB`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("FINALRIP_{}", self.path.replace('.', "_").to_uppercase())
    }

    /// Its flag, without the dashes: `limits-body-mib`.
    #[must_use]
    pub fn flag(&self) -> String {
        self.path.replace(['.', '_'], "-")
    }
}

const fn setting(path: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Setting {
    Setting { path, kind, default: Some(default), secret: false, help }
}

const fn optional(path: &'static str, kind: Kind, help: &'static str) -> Setting {
    Setting { path, kind, default: None, secret: false, help }
}

const fn secret(path: &'static str, help: &'static str) -> Setting {
    Setting { path, kind: Kind::Text, default: None, secret: true, help }
}

/// Every setting, in the order in which they are shown.
pub const SETTINGS: &[Setting] = &[
    setting("data", Kind::Text, "\"finalrip-data\"", "Folder of the ledger, the local store, scratch and caches"),
    setting("listen", Kind::Text, "\"127.0.0.1:8848\"", "Address and port to listen on"),
    setting("workers", Kind::Number, "1", "Encoder processes at the same time; 0 serves the API alone"),
    secret("token", "What clients send in the header `token`; at least 8 characters"),
    optional("token_file", Kind::Text, "File whose first line is the token"),
    optional(
        "public_url",
        Kind::Text,
        "Scheme and host of links, such as https://rip.example.org (default: the request's)",
    ),
    setting(
        "trust_forwarded",
        Kind::Switch,
        "false",
        "Believe X-Forwarded-Proto and -Host; only behind a proxy that sets both",
    ),
    setting(
        "cors_origins",
        Kind::List,
        "[\"*\"]",
        "Web pages that may call, such as https://dash.example.org; * for all",
    ),
    setting("limits.connections", Kind::Number, "1024", "Connections at the same time; more wait to be accepted"),
    setting("limits.header_kib", Kind::Number, "32", "Size of a request's headers"),
    setting("limits.header_seconds", Kind::Number, "10", "Time for a request's headers, and between two requests"),
    setting("limits.body_mib", Kind::Number, "8", "Size of a form or of JSON"),
    setting("limits.request_seconds", Kind::Number, "60", "Time for a form to arrive, and then for a call's answer"),
    setting("limits.idle_seconds", Kind::Number, "60", "Time that a transfer may stand still"),
    optional("limits.upload_gib", Kind::Number, "Size of an upload (default: no limit)"),
    setting("limits.shutdown_seconds", Kind::Number, "20", "Time for answers and workers to end after a signal"),
    setting("tasks.attempts", Kind::Number, "3", "How often a clip is tried before its task fails"),
    optional(
        "tasks.clip_seconds",
        Kind::Fraction,
        "Length of the clips that a film is encoded in (default: by its length, at most 60)",
    ),
    setting("tasks.lease_seconds", Kind::Number, "30", "How long work is a worker's without a sign of life"),
    setting("tasks.link_hours", Kind::Number, "48", "How long signed links hold; S3 allows 168"),
    setting(
        "tasks.store_patience_seconds",
        Kind::Number,
        "600",
        "How long work waits for a store that is away before an attempt has failed",
    ),
    setting("tasks.source_cache_gib", Kind::Number, "100", "Room for sources fetched from a remote store"),
    optional("encoder.address_space_mib", Kind::Number, "Address space of an encoder process (default: no limit)"),
    optional(
        "encoder.file_size_mib",
        Kind::Number,
        "Largest file that an encoder process may write (default: no limit)",
    ),
    optional("encoder.processes", Kind::Number, "Processes and threads of the server's user (default: no limit)"),
    setting(
        "encoder.nice",
        Kind::Number,
        "5",
        "By how much encoder processes stand behind everything else when processor time is short: 0 to 19",
    ),
    setting(
        "encoder.confined",
        Kind::Switch,
        "true",
        "Confine encoder processes with Landlock, where the kernel has it",
    ),
    setting("encoder.read", Kind::List, "[]", "Folders that scripts may read besides the usual ones"),
    setting("encoder.write", Kind::List, "[]", "Folders that scripts may write besides their scratch"),
    setting("encoder.network", Kind::Switch, "false", "Let scripts use the network and local services"),
    setting("encoder.environment", Kind::List, "[]", "Names of variables that scripts see besides the usual ones"),
    optional("s3.bucket", Kind::Text, "Keep objects in this bucket instead of the data folder"),
    optional("s3.endpoint", Kind::Text, "Scheme and host of the S3 service (default: Amazon's of the region)"),
    optional("s3.public_endpoint", Kind::Text, "The same as clients see it, for signed links"),
    optional("s3.region", Kind::Text, "Region that requests are signed for (default: us-east-1)"),
    optional("s3.path_style", Kind::Switch, "Whether the bucket is in the path, not in the host name (default: true)"),
    optional("s3.allow_http", Kind::Switch, "Whether an endpoint without TLS is taken (default: false)"),
    optional("s3.credentials.access_key", Kind::Text, "Id of the access key"),
    secret("s3.credentials.secret_key", "Secret of the access key"),
    secret("s3.credentials.session_token", "Token of temporary credentials"),
    setting("log.format", Kind::Text, "\"text\"", "text or json"),
    setting("log.filter", Kind::Text, "\"info\"", "What is logged, such as warn or info,finalrip_core=debug"),
];
