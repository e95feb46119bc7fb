//! From a configuration to something that can serve: the data folder, the ledger, the store, the service.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use finalrip_core::ChunkLength;
use finalrip_core::store::{Store, StoreError};
use finalrip_core::task::{
    Confinement, EncoderProgram, Ledger, LedgerError, LedgerOptions, Limits, ProcessOptions, Service, ServiceOptions,
    SqliteLedger, SystemClock, TaskError,
};
use tokio::sync::watch;

use crate::app::App;
use crate::auth;
use crate::config::{Config, ConfigError};

/// Why a server cannot be made of a configuration.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data folder cannot be made or found.
    #[error("cannot use the data folder {}", .path.display())]
    Data {
        /// The folder.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The token cannot be read or made.
    #[error(transparent)]
    Token(#[from] ConfigError),
    /// The ledger cannot be opened.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The store cannot be opened.
    #[error("cannot open the store")]
    Store(#[from] StoreError),
    /// The service cannot take up what it finds.
    #[error("cannot start the service")]
    Service(#[from] TaskError),
}

/// What can serve now.
pub struct Opened {
    /// The routes.
    pub app: App,
    /// Where the token is, if nobody configured one.
    pub token_file: Option<PathBuf>,
}

/// Opens everything that a configuration names. What an earlier process left unfinished is queued again; nothing runs
/// yet. Blocks for a moment, while the ledger is opened.
///
/// # Errors
/// [`OpenError`] says what cannot be opened.
pub async fn open(config: Config, program: EncoderProgram, stop: watch::Receiver<bool>) -> Result<Opened, OpenError> {
    let data = folder(&config.data)?;
    let config = Config { data: data.clone(), ..config };
    let (token, token_file) = auth::token(&config)?;
    let options = LedgerOptions {
        lease: Duration::from_secs(config.tasks.lease_seconds),
        attempts: config.tasks.attempts,
        ..LedgerOptions::default()
    };
    let ledger = SqliteLedger::open(data.join("ledger.sqlite"), options, Arc::new(SystemClock::new()))?;
    let interrupted = ledger.recovery().interrupted.len();
    if interrupted > 0 {
        tracing::info!(interrupted, "work of an earlier process is queued again");
    }
    let ledger: Arc<dyn Ledger> = Arc::new(ledger);
    let store = Store::open(&config.store())?;
    let service = Service::open(ledger, store, service_options(&config, program)).await?;
    Ok(Opened { app: App::new(service, config, &token, stop), token_file })
}

/// Makes the folder, its owner's alone, and gives its real place: encoder processes work in other folders.
fn folder(path: &Path) -> Result<PathBuf, OpenError> {
    let failed = |source| OpenError::Data { path: path.to_owned(), source };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    path.canonicalize().map_err(failed)
}

fn service_options(config: &Config, program: EncoderProgram) -> ServiceOptions {
    let encoder = &config.encoder;
    let mib = |size: Option<u32>| size.map(|mib| u64::from(mib) << 20);
    let mut options = ServiceOptions::new(config.data.clone(), program.clone());
    options.workers = config.workers;
    options.clip = config.tasks.clip_seconds.map_or(ChunkLength::Auto, ChunkLength::Seconds);
    options.source_cache = u64::from(config.tasks.source_cache_gib) << 30;
    options.store_patience = Duration::from_secs(config.tasks.store_patience_seconds);
    options.link_lifetime = Duration::from_secs(u64::from(config.tasks.link_hours) * 3600);
    options.process = ProcessOptions {
        program,
        limits: Limits {
            address_space: mib(encoder.address_space_mib),
            file_size: mib(encoder.file_size_mib),
            processes: encoder.processes,
            nice: encoder.nice,
        },
        confinement: Confinement {
            enabled: encoder.confined,
            read: encoder.read.clone(),
            write: encoder.write.clone(),
            network: encoder.network,
        },
        environment: passed_on(&encoder.environment),
        ..options.process
    };
    options
}

/// The variables of these names, with their values.
fn passed_on(names: &[String]) -> Vec<(std::ffi::OsString, std::ffi::OsString)> {
    names.iter().filter_map(|name| Some((name.into(), std::env::var_os(name)?))).collect()
}
