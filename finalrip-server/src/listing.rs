//! The list of tasks, and its cache: dashboards ask for it every few seconds, each of them for all of it.
//!
//! The answer is kept as bytes, for as long as nothing has changed in the ledger. It holds links, so these expire at full
//! intervals, and an answer is kept within one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use finalrip_core::store::{Access, LONGEST_LINK, VideoKey};
use finalrip_core::task::{TaskFilter, TaskRecord, TaskState};
use hyper::StatusCode;
use tokio::sync::Mutex as AsyncMutex;

use crate::app::App;
use crate::failure::Failure;
use crate::request::Call;
use crate::routes::OBJECTS;
use crate::wire::{self, Answer, Task};

/// Links expire at multiples of this.
const INTERVAL: Duration = Duration::from_secs(600);

/// How many lists are kept: each combination of the three flags, under a few names of the server.
const MOST_LISTS: usize = 32;

/// After so many tasks, other requests get their turn.
const TURN: usize = 64;

/// When links expire.
#[derive(Debug)]
pub(crate) struct Links {
    lifetime: Duration,
}

impl Links {
    pub(crate) fn new(lifetime: Duration) -> Self {
        Self { lifetime: lifetime.min(LONGEST) }
    }

    /// The end of the first interval in which a link of today's has lived long enough; the same for all of an interval.
    pub(crate) fn expiry(&self) -> SystemTime {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let intervals = (now + self.lifetime).as_secs() / INTERVAL.as_secs() + 1;
        SystemTime::UNIX_EPOCH + INTERVAL * u32::try_from(intervals).unwrap_or(u32::MAX)
    }
}

/// The longest time that S3 lets a link hold, less an interval and a minute for what is on its way.
const LONGEST: Duration = Duration::from_secs(LONGEST_LINK.as_secs() - INTERVAL.as_secs() - 60);

/// Which list: the three flags, and the base of its links.
type Which = ([bool; 3], String);

/// The lists that are kept.
#[derive(Debug, Default)]
pub(crate) struct Lists(Mutex<HashMap<Which, Arc<AsyncMutex<Option<Kept>>>>>);

/// A list that was made.
#[derive(Debug, Clone)]
struct Kept {
    /// How many changes the ledger had seen before it was read.
    seen: u64,
    /// When its links expire.
    expires: SystemTime,
    body: Bytes,
}

impl Lists {
    /// The place of a list; whoever holds it makes the list for all who wait.
    fn place(&self, which: Which) -> Arc<AsyncMutex<Option<Kept>>> {
        let mut lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lists.len() >= MOST_LISTS && !lists.contains_key(&which) {
            lists.clear();
        }
        Arc::clone(lists.entry(which).or_default())
    }
}

impl App {
    pub(crate) async fn list(&self, call: Call) -> Result<Answer, Failure> {
        let fields = call.query()?;
        let mut flags = [false; 3];
        for (flag, name) in flags.iter_mut().zip(["pending", "running", "completed"]) {
            *flag = fields.flag(name)?.unwrap_or(false);
        }
        let base = self.base(&call.head);
        let place = self.lists.place((flags, base.clone()));
        let mut kept = place.lock().await;
        // Both before reading: what changes meanwhile makes the answer old, not wrong.
        let (seen, expires) = (self.service.ledger().changes().seen(), self.links.expiry());
        if let Some(kept) = kept.as_ref().filter(|kept| kept.seen == seen && kept.expires == expires) {
            return Ok(wire::json(StatusCode::OK, kept.body.clone()));
        }
        let body = self.make_list(flags, &base, expires).await?;
        *kept = Some(Kept { seen, expires, body: body.clone() });
        Ok(wire::json(StatusCode::OK, body))
    }

    async fn make_list(&self, flags: [bool; 3], base: &str, expires: SystemTime) -> Result<Bytes, Failure> {
        let states = states(flags);
        let tasks = if states.is_empty() { Vec::new() } else { self.service.list(TaskFilter::states(states)).await? };
        let objects = format!("{base}{OBJECTS}");
        let mut body = Vec::with_capacity(1024 * (tasks.len() + 1));
        body.extend_from_slice(br#"{"success":true,"data":["#);
        for (count, task) in tasks.iter().enumerate() {
            if count > 0 {
                body.push(b',');
            }
            self.list_task(task, expires, &objects, &mut body).await?;
            if count % TURN == TURN - 1 {
                tokio::task::yield_now().await;
            }
        }
        body.extend_from_slice(b"]}");
        Ok(body.into())
    }

    async fn list_task(
        &self,
        task: &TaskRecord,
        expires: SystemTime,
        objects: &str,
        body: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let video = VideoKey::new(task.key.clone()).map_err(|error| Failure::bad(error.to_string()))?;
        let store = self.service.store();
        let url = store.link(&video.source(), Access::Download, expires, objects).await?;
        let result = video.result();
        let encode_url = match task.result_bytes {
            Some(_) => store.link(&result, Access::Download, expires, objects).await?,
            None => String::new(),
        };
        wire::write_json(body, &Task::new(task, &url, &result, &encode_url));
        Ok(())
    }
}

/// The states behind the flags. What failed or was cancelled is listed as running: older clients know no fourth flag.
fn states([pending, running, completed]: [bool; 3]) -> Vec<TaskState> {
    use TaskState::{Cancelled, Completed, Encoding, Failed, Merging, Pending, Planning};
    let mut states = Vec::new();
    if pending {
        states.push(Pending);
    }
    if running {
        states.extend([Planning, Encoding, Merging, Failed, Cancelled]);
    }
    if completed {
        states.push(Completed);
    }
    states
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_live_as_long_as_promised_and_expire_together() {
        let now = SystemTime::now();
        let expiry = Links::new(Duration::from_secs(48 * 3600)).expiry();
        let left = expiry.duration_since(now).unwrap();
        assert!(left >= Duration::from_secs(48 * 3600) && left <= Duration::from_secs(48 * 3600 + 601), "{left:?}");
        assert_eq!(expiry.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() % 600, 0);
        let week = Links::new(Duration::from_secs(168 * 3600)).expiry();
        assert!(week.duration_since(now).unwrap() < Duration::from_secs(168 * 3600));
    }
}
