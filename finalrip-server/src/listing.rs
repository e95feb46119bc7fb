//! The list of tasks, and its cache: dashboards ask for it every few seconds, each of them for all of it.
//!
//! The answer is kept as bytes, for as long as no task's record has changed in the ledger; then only the part with that task
//! is made anew. It holds links, so these expire at full intervals, and an answer is kept within one. A client that has the
//! answer, as browsers do, is told that it is still the same, and gets no bytes. One that takes gzip gets a tenth of them;
//! these too are made once, and only of the parts that are new.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::iter;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use finalrip_core::store::{Access, LONGEST_LINK, VideoKey};
use finalrip_core::task::{TaskFilter, TaskId, TaskRecord, TaskState};
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, ETAG, HeaderValue, IF_NONE_MATCH, VARY};
use hyper::{HeaderMap, StatusCode};
use tokio::sync::Mutex as AsyncMutex;

use crate::app::App;
use crate::failure::Failure;
use crate::gzip::{self, Piece};
use crate::request::Call;
use crate::routes::OBJECTS;
use crate::wire::{self, Answer, Task};

/// Links expire at multiples of this.
const INTERVAL: Duration = Duration::from_secs(600);

/// How many lists are kept, and of how many bytes in all beside the newest: each combination of the three flags, under each
/// name that clients call the server by. Clients choose these names, so memory must not grow with their number.
const MOST_LISTS: usize = 32;
const MOST_BYTES: usize = 64 << 20;

/// So many ids in a row make a part of a list. When a task has changed, so many are made anew; and after each part other
/// requests get their turn.
const PART: u64 = 32;

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
#[derive(Debug)]
pub(crate) struct Lists {
    kept: Mutex<HashMap<Which, Place>>,
    /// What the tags of this process's lists begin with.
    run: u128,
    made: AtomicU64,
}

/// Where a list is kept.
#[derive(Debug, Default)]
struct Place {
    list: Arc<AsyncMutex<Option<Kept>>>,
    /// Its size when it was last asked for.
    bytes: usize,
    /// When that was: a number that grows with each call.
    used: u64,
}

/// A list that was made.
#[derive(Debug)]
struct Kept {
    /// How many changes of records the ledger had seen before it was read.
    seen: Option<u64>,
    /// When its links expire.
    expires: SystemTime,
    /// The tasks, by [`part`].
    parts: BTreeMap<u64, Part>,
    /// All of it, once a client has asked for that.
    gzip: Option<Bytes>,
    /// Name these bytes, and no others: as they are, and as gzip.
    e_tags: [HeaderValue; 2],
}

/// Some of a list's tasks.
#[derive(Debug)]
struct Part {
    /// With a comma before each.
    json: Bytes,
    /// Without the first comma.
    deflated: Option<Piece>,
}

const BEGIN: &[u8] = br#"{"success":true,"data":["#;
const END: &[u8] = b"]}";

impl Lists {
    pub(crate) fn new() -> Self {
        let run = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        Self { kept: Mutex::default(), run, made: AtomicU64::new(0) }
    }

    fn next_tags(&self) -> [HeaderValue; 2] {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        ["", "-gzip"].map(|form| {
            let tag = format!("\"{:x}-{number}{form}\"", self.run);
            HeaderValue::from_str(&tag).expect("letters, digits and quotes are a header's value")
        })
    }

    /// The place of a list; whoever holds it makes the list for all who wait.
    fn place(&self, which: Which) -> Arc<AsyncMutex<Option<Kept>>> {
        let mut lists = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let place = lists.entry(which).or_default();
        place.used = self.made.fetch_add(1, Ordering::Relaxed);
        Arc::clone(&place.list)
    }

    /// Notes how large a list has become, and gives up others, those not asked for the longest first, if all together have
    /// become too large.
    fn settle(&self, which: &Which, bytes: usize) {
        let mut lists = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = lists.get_mut(which) {
            place.bytes = bytes;
        }
        let others = |lists: &HashMap<Which, Place>| lists.iter().filter(|(other, _)| *other != which).count();
        let other_bytes = |lists: &HashMap<Which, Place>| {
            lists.iter().filter(|(other, _)| *other != which).map(|(_, place)| place.bytes).sum::<usize>()
        };
        while others(&lists) >= MOST_LISTS || other_bytes(&lists) > MOST_BYTES {
            let oldest = lists.iter().filter(|(other, _)| *other != which).min_by_key(|(_, place)| place.used);
            let Some(oldest) = oldest.map(|(other, _)| other.clone()) else { return };
            lists.remove(&oldest);
        }
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
        let which = (flags, base);
        let place = self.lists.place(which.clone());
        let mut kept = place.lock().await;
        let changes = self.service.ledger().changes();
        // Both before reading: what changes meanwhile makes the answer old, not wrong.
        let (seen, expires) = (changes.records(), self.links.expiry());
        let mut list = kept.take().filter(|kept| kept.expires == expires).unwrap_or_else(|| Kept::empty(expires));
        if list.seen != Some(seen) {
            let objects = format!("{}{OBJECTS}", which.1);
            match list.seen.and_then(|before| changes.records_since(before)) {
                Some(changed) => self.mend_list(&mut list, flags, &changed, &objects).await?,
                None => self.fill_list(&mut list, TaskFilter::states(states(flags)), &objects).await?,
            }
            (list.seen, list.gzip, list.e_tags) = (Some(seen), None, self.lists.next_tags());
        }
        let list = kept.insert(list);
        let answer = list.answer(&call.head.headers).await;
        self.lists.settle(&which, list.bytes());
        Ok(answer)
    }

    /// Makes the parts anew that these tasks are in, or were.
    async fn mend_list(
        &self,
        list: &mut Kept,
        flags: [bool; 3],
        changed: &BTreeSet<TaskId>,
        objects: &str,
    ) -> Result<(), Failure> {
        let parts: BTreeSet<u64> = changed.iter().map(|task| part(*task)).collect();
        for number in parts {
            list.parts.remove(&number);
            let (from, before) = (Some(TaskId(number * PART)), Some(TaskId((number + 1) * PART)));
            self.fill_list(list, TaskFilter { from, before, ..TaskFilter::states(states(flags)) }, objects).await?;
        }
        Ok(())
    }

    /// Adds the tasks that are asked for; of each part all of them.
    async fn fill_list(&self, list: &mut Kept, filter: TaskFilter, objects: &str) -> Result<(), Failure> {
        let tasks = if filter.states.is_empty() { Vec::new() } else { self.service.list(filter).await? };
        for tasks in tasks.chunk_by(|one, next| part(one.id) == part(next.id)) {
            let mut json = Vec::new();
            for task in tasks {
                json.push(b',');
                self.list_task(task, list.expires, objects, &mut json).await?;
            }
            json.shrink_to_fit();
            list.parts.insert(part(tasks[0].id), Part { json: json.into(), deflated: None });
            tokio::task::yield_now().await;
        }
        Ok(())
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

impl Kept {
    fn empty(expires: SystemTime) -> Self {
        let e_tags = [HeaderValue::from_static("\"\""), HeaderValue::from_static("\"\"")];
        Self { seen: None, expires, parts: BTreeMap::new(), gzip: None, e_tags }
    }

    /// The memory that it takes, about.
    fn bytes(&self) -> usize {
        let parts = self.parts.values().map(|part| part.json.len() + part.deflated.as_ref().map_or(0, Piece::len));
        parts.sum::<usize>() + self.gzip.as_ref().map_or(0, Bytes::len)
    }

    /// The list, or that the client has it.
    async fn answer(&mut self, asked: &HeaderMap) -> Answer {
        let takes_gzip = gzip::is_accepted(asked);
        let e_tag = self.e_tags[usize::from(takes_gzip)].clone();
        let mut answer = if knows(asked, &e_tag) {
            wire::bare(StatusCode::NOT_MODIFIED)
        } else if takes_gzip {
            let mut answer = wire::json(StatusCode::OK, self.gzip().await);
            answer.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            answer
        } else {
            self.plain()
        };
        let headers = answer.headers_mut();
        headers.insert(ETAG, e_tag);
        headers.append(VARY, HeaderValue::from_static("accept-encoding"));
        // Kept by the client alone, and never shown without asking.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        answer
    }

    /// The parts one after the other, without a copy; the newest tasks first.
    fn plain(&self) -> Answer {
        let mut pieces = Vec::with_capacity(self.parts.len() + 2);
        pieces.push(Bytes::from_static(BEGIN));
        pieces.extend(self.parts.values().rev().map(|part| part.json.clone()));
        if let Some(newest) = pieces.get_mut(1) {
            *newest = newest.slice(1..);
        }
        pieces.push(Bytes::from_static(END));
        let length: usize = pieces.iter().map(Bytes::len).sum();
        let mut answer = wire::json(StatusCode::OK, Bytes::new());
        answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        *answer.body_mut() =
            StreamBody::new(stream::iter(pieces.into_iter().map(|piece| Ok(Frame::data(piece))))).boxed_unsync();
        answer
    }

    /// The same as gzip.
    async fn gzip(&mut self) -> Bytes {
        if let Some(gzip) = &self.gzip {
            return gzip.clone();
        }
        for part in self.parts.values_mut().filter(|part| part.deflated.is_none()) {
            part.deflated = Some(Piece::new(&part.json[1..]));
            tokio::task::yield_now().await;
        }
        let [begin, comma, end] = [BEGIN, b",", END].map(Piece::new);
        let parts = self.parts.values().rev().filter_map(|part| part.deflated.as_ref());
        let parts = parts.flat_map(|part| [&comma, part]).skip(1);
        let file = gzip::file(iter::once(&begin).chain(parts).chain([&end]));
        self.gzip.insert(file).clone()
    }
}

/// Whether a client has what this tag names.
fn knows(asked: &HeaderMap, e_tag: &HeaderValue) -> bool {
    let known = asked.get_all(IF_NONE_MATCH).iter().filter_map(|tags| tags.to_str().ok());
    // Proxies that compress make a tag a weak one. `*` is anything that there is.
    let mut tags = known.flat_map(|tags| tags.split(',')).map(|tag| tag.trim().trim_start_matches("W/"));
    tags.any(|tag| tag == "*" || tag.as_bytes() == e_tag.as_bytes())
}

/// The part of a list that a task is in.
fn part(task: TaskId) -> u64 {
    task.0 / PART
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
    fn names_that_clients_call_the_server_by_take_bounded_memory() {
        let lists = Lists::new();
        let which = |name: usize| ([true; 3], format!("http://{name}"));
        for name in 0..1000 {
            drop(lists.place(which(name)));
            lists.settle(&which(name), 1 << 10);
        }
        let kept = || lists.kept.lock().unwrap().keys().map(|(_, name)| name.clone()).collect::<BTreeSet<_>>();
        assert_eq!(kept().len(), MOST_LISTS);
        assert!(kept().contains("http://999") && !kept().contains("http://0"));
        // What is larger than all that may be kept stays alone.
        for name in 0..3 {
            drop(lists.place(which(name)));
            lists.settle(&which(name), MOST_BYTES + 1);
        }
        assert_eq!(kept(), BTreeSet::from(["http://2".to_owned()]));
    }

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
