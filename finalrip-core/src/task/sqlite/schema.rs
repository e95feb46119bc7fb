//! The database: its settings, its tables, and how older ones become newer ones.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::fault::Fault;
use crate::task::error::LedgerError;

/// Marks the file as a ledger (`FRip`).
const APPLICATION_ID: i64 = 0x4652_6970;

/// Each step makes the schema of its number (from 1) out of the one before. Released steps are never changed.
const MIGRATIONS: &[&str] = &[include_str!("schema_1.sql")];

/// How long to wait for another program that has the database locked.
const PATIENCE: Duration = Duration::from_secs(5);

/// Settings of a connection that may write.
///
/// Write-ahead logging lets readers go on during a write; `FULL` makes each commit survive a power failure.
pub(super) fn prepare_writer(db: &Connection) -> Result<(), Fault> {
    prepare(db)?;
    db.query_row("PRAGMA journal_mode = WAL", (), |_| Ok(()))?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.query_row("PRAGMA journal_size_limit = 67108864", (), |_| Ok(()))?;
    Ok(())
}

/// Settings of a connection that only reads.
pub(super) fn prepare_reader(db: &Connection) -> Result<(), Fault> {
    prepare(db)?;
    db.pragma_update(None, "query_only", true)?;
    Ok(())
}

fn prepare(db: &Connection) -> Result<(), Fault> {
    db.busy_timeout(PATIENCE)?;
    db.set_prepared_statement_cache_capacity(128);
    db.pragma_update(None, "foreign_keys", true)?;
    db.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(())
}

/// Runs something whose loss in a power failure does no harm: its commit does not wait for the disk.
pub(super) fn without_sync<T>(
    db: &mut Connection,
    run: impl FnOnce(&mut Connection) -> Result<T, Fault>,
) -> Result<T, Fault> {
    db.pragma_update(None, "synchronous", "NORMAL")?;
    let result = run(db);
    db.pragma_update(None, "synchronous", "FULL")?;
    result
}

/// Refuses a database that is damaged, of another program, or of a newer version of this one, and leaves it as it is.
pub(super) fn refuse_others(db: &Connection, path: &Path) -> Result<(), Fault> {
    let path = || path.to_owned();
    let (application, found) = (number(db, "application_id")?, number(db, "user_version")?);
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))?;
    if application != APPLICATION_ID && (application != 0 || found != 0 || tables != 0) {
        return Err(LedgerError::Foreign { path: path() }.into());
    }
    if found > known() {
        return Err(LedgerError::NewerSchema { path: path(), found, known: known() }.into());
    }
    let sound: String = db.query_row("PRAGMA quick_check(1)", (), |row| row.get(0))?;
    if sound == "ok" { Ok(()) } else { Err(LedgerError::Corrupt { path: path(), reason: sound }.into()) }
}

/// Makes the tables, or brings them up to date.
pub(super) fn migrate(db: &mut Connection) -> Result<(), Fault> {
    for step in number(db, "user_version")?..known() {
        let sql = usize::try_from(step).ok().and_then(|step| MIGRATIONS.get(step)).copied().unwrap_or_default();
        let transaction = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", step + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

fn known() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

fn number(db: &Connection, name: &str) -> Result<i64, Fault> {
    Ok(db.pragma_query_value(None, name, |row| row.get(0))?)
}
