//! Who may call: the token, where it is kept, and how it is compared.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::config::{Config, ConfigError, Token};

/// What a client has to know. Only its hash is kept.
pub(crate) struct Gate([u8; 32]);

impl Gate {
    pub(crate) fn new(token: &Token) -> Self {
        Self(Sha256::digest(token.as_str()).into())
    }

    /// Whether a request carries the token, in the header `token` or as a bearer's. Takes as long for every wrong one:
    /// hashes of equal length are compared in constant time.
    pub(crate) fn lets_in(&self, headers: &HeaderMap) -> bool {
        let token = headers.get("token").map(|value| value.as_bytes());
        let bearer = headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().split_at_checked(7));
        let bearer = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"Bearer ")).map(|(_, token)| token);
        // Both may be there; a proxy in between may have put an `Authorization` of its own.
        let mut known = false;
        for given in [token, bearer].into_iter().flatten() {
            known |= bool::from(Sha256::digest(given.trim_ascii())[..].ct_eq(&self.0[..]));
        }
        known
    }
}

/// The configured token, or the data folder's; a random one is made if there is none. The path is where it is kept.
pub(crate) fn token(config: &Config) -> Result<(Token, Option<PathBuf>), ConfigError> {
    if let Some(token) = &config.token {
        return Ok((token.clone(), None));
    }
    if let Some(file) = &config.token_file {
        return Ok((Token::read(file)?, None));
    }
    let file = config.data.join("token");
    make(&file).map_err(|source| ConfigError::File { path: file.clone(), source })?;
    Ok((Token::read(&file)?, Some(file)))
}

/// Makes a random token in `file`, readable by its owner alone, if there is none.
fn make(file: &Path) -> io::Result<()> {
    match fs::metadata(file) {
        Ok(found) if found.mode() & 0o077 != 0 => {
            tracing::warn!(file = %file.display(), "others could read the token; the file's mode is set to 0600");
            return fs::set_permissions(file, Permissions::from_mode(0o600));
        }
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let folder = file.parent().unwrap_or(Path::new("."));
    // `tempfile` makes files of mode 0600.
    let mut fresh = tempfile::NamedTempFile::new_in(folder)?;
    writeln!(fresh, "{}", hex(&random))?;
    fresh.as_file().sync_all()?;
    match fresh.persist_noclobber(file) {
        Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => Err(error.error),
        _ => File::open(folder)?.sync_all(),
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_the_token_itself_lets_in() {
        let gate = Gate::new(&Token::new("open-sesame").unwrap());
        for pairs in [
            &[("token", "open-sesame")][..],
            &[("authorization", "Bearer open-sesame")],
            &[("authorization", "bearer open-sesame")],
            &[("authorization", "Basic dXNlcg=="), ("token", "open-sesame")],
        ] {
            assert!(gate.lets_in(&headers(pairs)), "{pairs:?}");
        }
        for pairs in [
            &[][..],
            &[("token", "")],
            &[("token", "open-sesam")],
            &[("token", "open-sesame1")],
            &[("token", "Open-sesame")],
            &[("token", "Bearer open-sesame")],
            &[("authorization", "open-sesame")],
            &[("authorization", "Basic open-sesame")],
            &[("authorization", "Bearer")],
            &[("x-token", "open-sesame")],
        ] {
            assert!(!gate.lets_in(&headers(pairs)), "{pairs:?}");
        }
    }

    #[test]
    fn a_token_is_made_once_and_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        make(&file).unwrap();
        let first = Token::read(&file).unwrap();
        assert_eq!(first.as_str().len(), 64);
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        make(&file).unwrap();
        assert_eq!(Token::read(&file).unwrap().as_str(), first.as_str());
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        fs::write(&file, "short\n").unwrap();
        assert!(Token::read(&file).unwrap_err().to_string().contains("token in "));
    }
}
