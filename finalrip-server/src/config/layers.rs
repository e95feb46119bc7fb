//! The layers of a configuration, one put on the other.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::Config;
use super::settings::{Kind, SETTINGS, Setting};

/// Variables with our prefix that are not settings of the server.
const OTHERS: &[&str] = &["FINALRIP_CONFIG", "FINALRIP_SOURCE", "FINALRIP_PYTHON"];

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file that is named cannot be read.
    #[error("cannot read {}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is no TOML.
    #[error("the configuration {} is not TOML", .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A setting has a value that makes no sense.
    #[error("{name} cannot be used: {reason}")]
    Value {
        /// The setting, and where it was given: `limits.header_kib (finalrip.toml, line 2)`.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No setting has this name.
    #[error("there is no setting {name}{}", suggestion(.similar.as_deref()))]
    Unknown {
        /// The name, and where it was given.
        name: String,
        /// The setting that is perhaps meant.
        similar: Option<String>,
    },
    /// Anybody on the network could reach it.
    #[error(
        "listen = {listen} can be reached from other machines; set a token of your own first \
         (FINALRIP_TOKEN, token or token_file)"
    )]
    OpenToAll {
        /// The address.
        listen: SocketAddr,
    },
}

/// ": did you mean workers?"
fn suggestion(similar: Option<&str>) -> String {
    similar.map(|similar| format!("; did you mean {similar}?")).unwrap_or_default()
}

/// Settings that are put on top of each other.
#[derive(Debug, Clone)]
pub struct Layers {
    table: Table,
    /// Where each setting was given last, by its path in the table: a file's line, a variable, a flag. Defaults are not in it.
    origins: BTreeMap<String, String>,
    unknown_variables: Vec<String>,
}

impl Default for Layers {
    fn default() -> Self {
        let mut layers = Self { table: Table::new(), origins: BTreeMap::new(), unknown_variables: Vec::new() };
        for setting in SETTINGS {
            if let Some(default) = setting.default {
                let parsed: Table = format!("value = {default}").parse().expect("a default is TOML");
                layers.put(setting.path, parsed["value"].clone());
            }
        }
        layers
    }
}

impl Layers {
    /// Puts a file on top.
    ///
    /// # Errors
    /// The file cannot be read, or is no TOML.
    pub fn file(self, path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::File { path: path.to_owned(), source })?;
        self.text(&text, path)
    }

    /// Puts a file's text on top.
    ///
    /// # Errors
    /// It is no TOML.
    pub fn text(mut self, text: &str, path: &Path) -> Result<Self, ConfigError> {
        let syntax = |source| ConfigError::Syntax { path: path.to_owned(), source: Box::new(source) };
        let spanned = DeTable::parse(text).map_err(syntax)?;
        let line = |at: usize| text.as_bytes()[..at.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1;
        note_lines(spanned.get_ref(), "", &mut |setting, at| {
            self.origins.insert(setting, format!("{}, line {}", path.display(), line(at)));
        });
        merge(&mut self.table, text.parse().map_err(syntax)?);
        Ok(self)
    }

    /// Puts the environment's `FINALRIP_*` on top. A variable that is no setting may be some other program's: it is only
    /// remembered, for [`Layers::unknown_variables`], unless it is so similar to a setting's that it must be misspelt.
    ///
    /// # Errors
    /// A value that is not of its setting's kind; a misspelt name.
    pub fn environment(
        mut self,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        for (name, value) in variables {
            let Some(name) = name.to_str().filter(|name| name.starts_with("FINALRIP_")) else { continue };
            match SETTINGS.iter().find(|setting| setting.variable() == name) {
                Some(setting) => {
                    let reason = "it is not UTF-8".to_owned();
                    let value = value.to_str().ok_or(ConfigError::Value { name: name.to_owned(), reason })?;
                    self = self.set(setting, value, name)?;
                }
                None if OTHERS.contains(&name) => {}
                None => match similar(name, SETTINGS.iter().map(Setting::variable)) {
                    Some(similar) => {
                        return Err(ConfigError::Unknown { name: name.to_owned(), similar: Some(similar) });
                    }
                    None => self.unknown_variables.push(name.to_owned()),
                },
            }
        }
        Ok(self)
    }

    /// Puts one setting on top, from text; `name` is what it was given as.
    ///
    /// # Errors
    /// The value is not of the setting's kind.
    pub fn set(mut self, setting: &Setting, text: &str, name: &str) -> Result<Self, ConfigError> {
        let wrong = |reason: &str| ConfigError::Value { name: name.to_owned(), reason: reason.to_owned() };
        let value = match setting.kind {
            Kind::Text => Value::String(text.to_owned()),
            Kind::Number => Value::Integer(text.trim().parse().map_err(|_| wrong("it is a whole number"))?),
            Kind::Fraction => Value::Float(text.trim().parse().map_err(|_| wrong("it is a number"))?),
            Kind::Switch => Value::Boolean(text.trim().parse().map_err(|_| wrong("it is true or false"))?),
            Kind::List => {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                Value::Array(parts.map(|part| Value::String(part.to_owned())).collect())
            }
        };
        self.put(setting.path, value);
        self.origins.insert(setting.path.to_owned(), name.to_owned());
        Ok(self)
    }

    /// Variables that have our prefix and are no setting.
    #[must_use]
    pub fn unknown_variables(&self) -> &[String] {
        &self.unknown_variables
    }

    /// A setting's name, and where it was given.
    fn origin(&self, path: &str) -> String {
        let section = format!("{path}.");
        let given = self.origins.get(path).map(String::as_str);
        // A section is where its first setting is.
        let given = given.or_else(|| {
            self.origins.iter().find(|(setting, _)| setting.starts_with(&section)).map(|(_, given)| given.as_str())
        });
        given.map_or_else(|| path.to_owned(), |given| format!("{path} ({given})"))
    }

    fn put(&mut self, path: &str, value: Value) {
        let nested =
            path.rsplit('.').fold(value, |value, key| Value::Table(Table::from_iter([(key.to_owned(), value)])));
        if let Value::Table(table) = nested {
            merge(&mut self.table, table);
        }
    }

    /// Reads and checks the whole.
    ///
    /// # Errors
    /// The first key that is unknown, or value that cannot be.
    pub fn config(&self) -> Result<Config, ConfigError> {
        if let Some(unknown) = unknown(&self.table, "") {
            let similar = similar(&unknown, SETTINGS.iter().map(|setting| setting.path.to_owned()));
            return Err(ConfigError::Unknown { name: self.origin(&unknown), similar });
        }
        let config: Config = serde_path_to_error::deserialize(Value::Table(self.table.clone()))
            .map_err(|error| self.wrong_type(&error.path().to_string(), error.inner()))?;
        config.check().map_err(|error| match error {
            ConfigError::Value { name, reason } => ConfigError::Value { name: self.origin(&name), reason },
            other => other,
        })?;
        Ok(config)
    }

    /// A value of the wrong type.
    fn wrong_type(&self, path: &str, error: &toml::de::Error) -> ConfigError {
        // The message may show the value.
        let is_secret = SETTINGS.iter().any(|setting| setting.secret && setting.path == path);
        let reason = if is_secret { "it is a text" } else { error.message() };
        // What a whole configuration lacks has no place in it.
        let name = if path == "." { "the configuration".to_owned() } else { self.origin(path) };
        ConfigError::Value { name, reason: reason.to_owned() }
    }

    /// The whole as a file, with secrets hidden.
    #[must_use]
    pub fn shown(&self) -> String {
        let mut shown = self.clone();
        for setting in SETTINGS.iter().filter(|setting| setting.secret) {
            if at(&self.table, setting.path).is_some() {
                shown.put(setting.path, Value::String("(hidden)".to_owned()));
            }
        }
        shown.table.to_string()
    }
}

/// Calls `note` for each key that is not a section, with its path and its place in the text.
fn note_lines(table: &DeTable<'_>, prefix: &str, note: &mut dyn FnMut(String, usize)) {
    for (key, value) in table {
        let path = format!("{prefix}{}", key.get_ref());
        match value.get_ref() {
            DeValue::Table(inner) => note_lines(inner, &format!("{path}."), note),
            _ => note(path, key.span().start),
        }
    }
}

/// The name that is meant, if one is so similar that it must be.
fn similar(name: &str, known: impl Iterator<Item = String>) -> Option<String> {
    let distances = known.map(|known| (strsim::damerau_levenshtein(name, &known), known));
    distances.filter(|(distance, _)| *distance <= 2).min().map(|(_, known)| known)
}

/// Puts `upper` on top of `lower`: tables are joined, everything else is replaced.
fn merge(lower: &mut Table, upper: Table) {
    for (key, value) in upper {
        match (lower.get_mut(&key), value) {
            (Some(Value::Table(lower)), Value::Table(upper)) => merge(lower, upper),
            (_, value) => {
                lower.insert(key, value);
            }
        }
    }
}

fn at<'a>(table: &'a Table, path: &str) -> Option<&'a Value> {
    match path.split_once('.') {
        Some((section, rest)) => at(table.get(section)?.as_table()?, rest),
        None => table.get(path),
    }
}

/// The first key in `table` that no setting has.
fn unknown(table: &Table, prefix: &str) -> Option<String> {
    table.iter().find_map(|(key, value)| {
        let path = format!("{prefix}{key}");
        let section = format!("{path}.");
        match value {
            Value::Table(inner) if SETTINGS.iter().any(|setting| setting.path.starts_with(&section)) => {
                unknown(inner, &section)
            }
            _ if SETTINGS.iter().any(|setting| setting.path == path) => None,
            _ => Some(path),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "finalrip.toml";

    fn layers(text: &str) -> Layers {
        Layers::default().text(text, Path::new(FILE)).unwrap()
    }

    fn set(layers: Layers, path: &str, text: &str) -> Layers {
        let setting = SETTINGS.iter().find(|setting| setting.path == path).unwrap();
        layers.set(setting, text, path).unwrap()
    }

    #[test]
    fn later_layers_win_and_defaults_hold() {
        let config = Layers::default().config().unwrap();
        assert_eq!((config.workers, config.listen.to_string().as_str()), (1, "127.0.0.1:8848"));
        assert!(config.token.is_none() && config.s3.is_none());
        assert_eq!(u64::from(config.tasks.source_cache_gib) << 30, finalrip_core::task::SOURCE_CACHE);
        assert_eq!(config.tasks.store_patience_seconds, 600);
        let file = layers("workers = 2\n[limits]\nbody_mib = 3\nconnections = 9\n");
        let variables = [
            ("FINALRIP_LIMITS_BODY_MIB", "4"),
            ("FINALRIP_CORS_ORIGINS", "https://a.example, https://b.example"),
            ("PATH", "/"),
        ];
        let file = file.environment(variables.map(|(name, value)| (name.into(), value.into()))).unwrap();
        let file = set(file, "tasks.clip_seconds", "0.5");
        let config = set(file, "workers", "5").config().unwrap();
        assert_eq!((config.workers, config.limits.body_mib, config.limits.connections), (5, 4, 9));
        assert_eq!(config.cors_origins, ["https://a.example", "https://b.example"]);
        assert_eq!(config.tasks.clip_seconds, Some(0.5));
    }

    #[test]
    fn unknown_keys_are_named() {
        for (text, said) in [
            ("worker = 2", "worker (finalrip.toml, line 1); did you mean workers?"),
            ("\n[limits]\nbody = 3", "limits.body (finalrip.toml, line 3)"),
            ("[limit]\nbody_mib = 3", "limit (finalrip.toml, line 2)"),
            ("[s3.credential]\nx = 1", "s3.credential (finalrip.toml, line 2)"),
        ] {
            let error = layers(text).config().unwrap_err().to_string();
            assert_eq!(error, format!("there is no setting {said}"));
        }
        let variable = |name: &str| Layers::default().environment([(name.into(), "3".into())]);
        let error = variable("FINALRIP_WORKER").unwrap_err().to_string();
        assert_eq!(error, "there is no setting FINALRIP_WORKER; did you mean FINALRIP_WORKERS?");
        // Kubernetes sets such for a service of our name.
        assert_eq!(variable("FINALRIP_SERVICE_HOST").unwrap().unknown_variables(), ["FINALRIP_SERVICE_HOST"]);
    }

    #[test]
    fn errors_name_the_setting_and_where_it_was_given() {
        let file = layers("workers = 1\n\n[limits]\nheader_kib = -2\n");
        let error = file.config().unwrap_err().to_string();
        assert!(error.starts_with("limits.header_kib (finalrip.toml, line 4) cannot be used: "), "{error}");
        let error = set(Layers::default(), "listen", "localhost:9000").config().unwrap_err().to_string();
        assert!(error.starts_with("listen (listen) cannot be used: "), "{error}");
        let variable = [("FINALRIP_ENCODER_NICE".into(), "20".into())];
        let error = Layers::default().environment(variable).unwrap().config().unwrap_err().to_string();
        assert_eq!(error, "encoder.nice (FINALRIP_ENCODER_NICE) cannot be used: 0 to 19");
        let error = set(Layers::default(), "s3.bucket", "films").config().unwrap_err().to_string();
        assert!(error.contains("s3") && error.contains("credentials"), "{error}");
        let error = layers("[s3]\nbucket = \"b\"\n[s3.credentials]\naccess_key = \"A\"\nsecret_key = 12345\n");
        let error = error.config().unwrap_err().to_string();
        assert!(
            error.contains("s3.credentials.secret_key (finalrip.toml, line 5)") && !error.contains("12345"),
            "{error}"
        );
    }

    #[test]
    fn values_that_cannot_be_are_refused_by_name() {
        for (text, part) in [
            ("workers = -1", "invalid value"),
            ("workers = \"two\"", "invalid type"),
            ("listen = \"here\"", "socket address"),
            ("token = \"short\"", "token (finalrip.toml, line 1) cannot be used"),
            ("token = \"long enough, with spaces\"", "token (finalrip.toml, line 1) cannot be used"),
            ("token = \"long-enough\"\ntoken_file = \"x\"", "token_file"),
            ("public_url = \"example.org\"", "public_url"),
            ("public_url = \"https://example.org/under/\"", "public_url"),
            ("cors_origins = [\"example.org\"]", "cors_origins"),
            ("[limits]\nconnections = 0", "limits.connections"),
            ("[tasks]\nlink_hours = 200", "tasks.link_hours"),
            ("[encoder]\nnice = 20", "encoder.nice"),
            ("[tasks]\nclip_seconds = 0", "tasks.clip_seconds"),
            ("[tasks]\nclip_seconds = nan", "tasks.clip_seconds"),
            ("[tasks]\nclip_seconds = \"long\"", "invalid type"),
            ("[log]\nformat = \"xml\"", "unknown variant"),
            ("[s3]\nbucket = \"b\"", "credentials"),
        ] {
            let error = layers(text).config().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        let error = Layers::default().environment([("FINALRIP_WORKERS".into(), "two".into())]).unwrap_err();
        assert_eq!(error.to_string(), "FINALRIP_WORKERS cannot be used: it is a whole number");
    }

    #[test]
    fn other_machines_are_let_in_only_with_a_token_of_the_operator() {
        for listen in ["0.0.0.0:8848", "[::]:80", "192.168.1.5:8848"] {
            let error = layers(&format!("listen = \"{listen}\"")).config().unwrap_err();
            assert!(matches!(error, ConfigError::OpenToAll { .. }), "{error}");
            assert!(layers(&format!("listen = \"{listen}\"\ntoken = \"0123456789\"")).config().is_ok());
        }
        assert!(layers("listen = \"[::1]:80\"").config().is_ok());
    }

    #[test]
    fn secrets_are_not_shown() {
        let text = "token = \"sesame-open\"\n[s3]\nbucket = \"films\"\n[s3.credentials]\naccess_key = \"AK\"\nsecret_key = \"very-secret\"\n";
        let layers = layers(text);
        let shown = layers.shown();
        assert!(!shown.contains("sesame") && !shown.contains("very-secret"), "{shown}");
        assert!(shown.contains("token = \"(hidden)\"") && shown.contains("bucket = \"films\""), "{shown}");
        let debug = format!("{:?}", layers.config().unwrap());
        assert!(!debug.contains("sesame") && !debug.contains("very-secret"), "{debug}");
    }

    #[test]
    fn the_example_file_says_what_the_defaults_are() {
        let example = include_str!("../../../examples/finalrip.toml");
        let plain = Layers::default().text(example, Path::new(FILE)).unwrap();
        assert_eq!(plain.shown(), Layers::default().shown());
        // With everything that is commented out, every setting is there, and known.
        let all: String = example
            .lines()
            .map(|line| line.strip_prefix("#:").unwrap_or(line))
            .map(|line| format!("{line}\n"))
            .collect();
        let table: Table = all.parse().unwrap();
        for setting in SETTINGS {
            assert!(at(&table, setting.path).is_some(), "{} is missing in the example", setting.path);
        }
        assert_eq!(unknown(&table, ""), None);
    }
}
