//! Links to the objects of a local store, which expire.
//!
//! The query of such a link names the method (`m`), the SHA-256 of the key (`k`), when it expires in Unix seconds (`e`), the
//! `Content-Disposition` of the answer (`d`, if any), and the HMAC-SHA256 over all of these (`s`). Everything binary is
//! base64url. The key itself is the link's path.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const SECRET_LENGTH: usize = 32;

/// What RFC 3986 calls unreserved.
pub(crate) const STRICT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What a signed link allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// One `PUT` of the whole object. The content type is not signed.
    Upload,
    /// `GET` and `HEAD`, with ranges, saved by a browser under the object's name.
    Download,
}

/// What a valid link of a local store asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Granted {
    /// What is allowed.
    pub access: Access,
    /// The answer's `Content-Disposition`, if it is to have one.
    pub disposition: Option<String>,
}

/// A link that does not hold. Why it does not is for the log alone: who made it up learns nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the link is not valid, or no longer")]
pub struct LinkRefused(Reason);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// A part of the query is missing, twice there, or unreadable.
    Malformed,
    /// Not made by this store, or altered.
    BadSignature,
    /// Made by this store, for another method.
    WrongMethod,
    /// Made by this store, for another object.
    OtherKey,
    /// Made by this store, some time ago.
    Expired,
}

/// Makes and checks links with a secret.
pub(crate) struct Signer {
    secret: [u8; SECRET_LENGTH],
}

impl Signer {
    /// Reads the secret from `file`; makes a random one, readable by its owner only, if there is none.
    pub(crate) fn open(file: &Path) -> io::Result<Self> {
        match Self::read(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            outcome => return outcome,
        }
        let mut secret = [0; SECRET_LENGTH];
        getrandom::fill(&mut secret).map_err(io::Error::other)?;
        let folder = file.parent().unwrap_or(Path::new("."));
        // `tempfile` makes files of mode 0600. A secret of another process that was faster stays.
        let mut fresh = tempfile::NamedTempFile::new_in(folder)?;
        fresh.write_all(&secret)?;
        fresh.as_file().sync_all()?;
        match fresh.persist_noclobber(file) {
            Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => return Err(error.error),
            _ => fs::File::open(folder)?.sync_all()?,
        }
        Self::read(file)
    }

    fn read(file: &Path) -> io::Result<Self> {
        let mut opened = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(file)?;
        if opened.metadata()?.mode() & 0o077 != 0 {
            tracing::warn!(file = %file.display(), "others could read the secret of signed links; its mode is set to 0600");
            opened.set_permissions(Permissions::from_mode(0o600))?;
        }
        let mut secret = [0; SECRET_LENGTH];
        opened.read_exact(&mut secret)?;
        Ok(Self { secret })
    }

    /// The query of a link to `key`.
    pub(crate) fn sign(&self, access: Access, key: &str, expires: SystemTime, disposition: Option<&str>) -> String {
        let (method, expires) = (access.method(), seconds(expires));
        let digest: [u8; 32] = Sha256::digest(key).into();
        let signature = self.mac(method, &digest, expires, disposition);
        let mut query = format!("m={method}&k={}&e={expires}", URL_SAFE_NO_PAD.encode(digest));
        if let Some(disposition) = disposition {
            query.push_str("&d=");
            query.extend(utf8_percent_encode(disposition, STRICT));
        }
        query.push_str("&s=");
        query.push_str(&URL_SAFE_NO_PAD.encode(signature));
        query
    }

    /// Checks the `query` of a request of `method` for `key`.
    pub(crate) fn verify(&self, method: &str, key: &str, query: &str, now: SystemTime) -> Result<Granted, LinkRefused> {
        let link = Link::parse(query).ok_or(LinkRefused(Reason::Malformed))?;
        let signature = self.mac(link.access.method(), &link.digest, link.expires, link.disposition.as_deref());
        if !bool::from(signature[..].ct_eq(&link.signature[..])) {
            return Err(LinkRefused(Reason::BadSignature));
        }
        let asked: [u8; 32] = Sha256::digest(key).into();
        if asked != link.digest {
            return Err(LinkRefused(Reason::OtherKey));
        }
        if !link.access.allows(method) {
            return Err(LinkRefused(Reason::WrongMethod));
        }
        if seconds(now) >= link.expires {
            return Err(LinkRefused(Reason::Expired));
        }
        Ok(Granted { access: link.access, disposition: link.disposition })
    }

    /// Over text that can be read in one way only: no field but the last holds a line break, and whether there is a
    /// disposition is part of it.
    fn mac(&self, method: &str, digest: &[u8; 32], expires: u64, disposition: Option<&str>) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).expect("HMAC takes a key of any length");
        let digest = URL_SAFE_NO_PAD.encode(digest);
        mac.update(format!("finalrip-link-1\n{method}\n{digest}\n{expires}\n{}\n", disposition.is_some()).as_bytes());
        mac.update(disposition.unwrap_or_default().as_bytes());
        mac.finalize().into_bytes().into()
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer(…)")
    }
}

impl LinkRefused {
    /// The link of a store that makes none.
    pub(super) fn not_ours() -> Self {
        Self(Reason::Malformed)
    }

    #[cfg(test)]
    pub(super) fn reason(self) -> Reason {
        self.0
    }
}

impl Access {
    fn method(self) -> &'static str {
        match self {
            Self::Upload => "PUT",
            Self::Download => "GET",
        }
    }

    fn allows(self, method: &str) -> bool {
        match self {
            Self::Upload => method == "PUT",
            Self::Download => matches!(method, "GET" | "HEAD"),
        }
    }
}

/// A link's query, taken apart.
struct Link {
    access: Access,
    digest: [u8; 32],
    expires: u64,
    disposition: Option<String>,
    signature: [u8; 32],
}

impl Link {
    fn parse(query: &str) -> Option<Self> {
        let mut fields: [Option<&str>; 5] = [None; 5];
        for (name, value) in query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))) {
            // Other fields are not ours: clients and proxies add some.
            let Some(place) = ["m", "k", "e", "d", "s"].iter().position(|known| *known == name) else { continue };
            if fields[place].replace(value).is_some() {
                return None;
            }
        }
        let [method, digest, expires, disposition, signature] = fields;
        let access = match method? {
            "PUT" => Access::Upload,
            "GET" => Access::Download,
            _ => return None,
        };
        // Clients that take a query apart and put it together again write a space as `+`.
        let text = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8().ok().map(String::from);
        Some(Self {
            access,
            digest: bytes(digest?)?,
            // As it is printed: `+1` and `01` would be other links with the same signature.
            expires: expires?.parse().ok().filter(|number: &u64| number.to_string() == expires.unwrap_or_default())?,
            disposition: match disposition {
                Some(disposition) => Some(text(disposition)?),
                None => None,
            },
            signature: bytes(signature?)?,
        })
    }
}

fn bytes(text: &str) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
