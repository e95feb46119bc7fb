//! Links to objects, whoever serves them.

use std::time::{Duration, SystemTime};

use percent_encoding::{AsciiSet, utf8_percent_encode};

use super::error::{Operation, StoreError, StoreResult};
use super::key::{self, ObjectKey};
use super::sign::{Access, Granted, LinkRefused, STRICT};
use super::{Place, Store, attachment, path_of};

/// The longest time that S3 lets a link hold: seven days.
pub const LONGEST_LINK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A key as the path of a link: its slashes stay.
const LINK_PATH: &AsciiSet = &STRICT.remove(b'/');

impl Store {
    /// A link to an object that holds until `expires`. A download is saved under the key's file name.
    ///
    /// A local store's link is `base`, the key and a signature; whoever serves `base` asks [`Store::check_link`]. A bucket
    /// serves its links itself, and `base` is not used.
    ///
    /// # Errors
    /// [`StoreError::Setting`] for S3 and more than seven days; [`StoreError::Unsupported`] for other stores.
    pub async fn link(&self, key: &ObjectKey, access: Access, expires: SystemTime, base: &str) -> StoreResult<String> {
        let text = key.to_string();
        let disposition = attachment(key::file_name(&text));
        match &self.place {
            Place::Local { signer, .. } => {
                let disposition = (access == Access::Download).then_some(disposition.as_str());
                let query = signer.sign(access, &text, expires, disposition);
                Ok(format!("{}/{}?{query}", base.trim_end_matches('/'), utf8_percent_encode(&text, LINK_PATH)))
            }
            Place::Bucket(bucket) => {
                let valid = expires.duration_since(SystemTime::now()).unwrap_or_default();
                if valid > LONGEST_LINK {
                    let (value, expected) =
                        (format!("{} s", valid.as_secs()), "at most seven days, which is S3's limit");
                    return Err(StoreError::Setting { option: "a link's time", value, expected });
                }
                let path = path_of(&text)?;
                let link = || bucket.link(access, &path, valid, &disposition);
                Ok(self.client.retries.run(Operation::Sign, &text, link).await?.into())
            }
            Place::Other => {
                let source = "it has no links".into();
                Err(StoreError::Unsupported { operation: Operation::Sign, key: text, source })
            }
        }
    }

    /// Checks a request for the object `key` (decoded) with the link's `query` (as it came) of a local store.
    ///
    /// # Errors
    /// One for everything: wrong method, another key, altered, expired. The reason is in the log, at level debug.
    pub fn check_link(&self, method: &str, key: &str, query: &str, now: SystemTime) -> Result<Granted, LinkRefused> {
        let outcome = match &self.place {
            Place::Local { signer, .. } => signer.verify(method, key, query, now),
            Place::Bucket(_) | Place::Other => Err(LinkRefused::not_ours()),
        };
        outcome.inspect_err(|refused| tracing::debug!(method, key, ?refused, "a link was refused"))
    }
}
