//! A store that fails: before or after it has done what it was asked to, by an error or by never answering, and with bodies
//! that break or end too early. Which call fails, and how, follows from a seed.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartId, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing is done, and an error comes.
    Before,
    /// It is done, and an error comes.
    After,
    /// Nothing is done, and no answer comes.
    Silence,
    /// The body breaks in its middle.
    Break,
    /// The body ends in its middle as if it were complete.
    Short,
}

/// When it fails.
#[derive(Debug)]
pub(super) enum Plan {
    /// Any call, with this probability.
    Random(f64, Box<Mutex<StdRng>>),
    /// Every call of this name.
    Always(&'static str, Fault),
    Never,
}

/// The faulty store. Clones share everything.
#[derive(Debug, Clone)]
pub(super) struct Faulty(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    memory: InMemory,
    plan: Mutex<Plan>,
    faults: AtomicUsize,
    open: Mutex<BTreeSet<MultipartId>>,
}

impl Faulty {
    pub(super) fn new(plan: Plan) -> Self {
        let (plan, open) = (Mutex::new(plan), Mutex::default());
        Self(Arc::new(Inner { memory: InMemory::new(), plan, faults: AtomicUsize::new(0), open }))
    }

    pub(super) fn random(seed: u64, probability: f64) -> Self {
        Self::new(Plan::Random(probability, Box::new(Mutex::new(StdRng::seed_from_u64(seed)))))
    }

    pub(super) fn set(&self, plan: Plan) {
        *self.0.plan.lock().unwrap() = plan;
    }

    /// How many faults there were.
    pub(super) fn faults(&self) -> usize {
        self.0.faults.load(Ordering::Relaxed)
    }

    /// How many uploads are neither completed nor aborted.
    pub(super) fn open_uploads(&self) -> usize {
        self.0.open.lock().unwrap().len()
    }

    fn fault(&self, call: &str, has_body: bool) -> Option<Fault> {
        let fault = match &*self.0.plan.lock().unwrap() {
            Plan::Random(probability, random) => {
                let mut random = random.lock().unwrap();
                let kinds = [Fault::Before, Fault::After, Fault::Before, Fault::Silence, Fault::Break, Fault::Short];
                let kind = kinds[random.random_range(0..if has_body { 6 } else { 4 })];
                // Silence costs a time-out.
                let probability = if kind == Fault::Silence { probability / 10.0 } else { *probability };
                random.random_bool(probability).then_some(kind)
            }
            Plan::Always(name, fault) => (*name == call).then_some(*fault),
            Plan::Never => None,
        };
        self.0.faults.fetch_add(usize::from(fault.is_some()), Ordering::Relaxed);
        fault
    }

    async fn with_fault<T>(&self, call: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        match self.fault(call, false) {
            None => work.await,
            Some(Fault::Silence) => std::future::pending().await,
            Some(Fault::After) => {
                work.await?;
                Err(broken())
            }
            Some(_) => Err(broken()),
        }
    }
}

fn broken() -> Error {
    Error::Generic { store: "faulty", source: "injected".into() }
}

fn no_such_upload(path: &Path) -> Error {
    Error::NotFound { path: path.to_string(), source: "NoSuchUpload".into() }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.with_fault("put", self.0.memory.put_opts(path, payload, options)).await
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        unimplemented!("the store uses the interface with ids")
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        if options.head {
            return self.with_fault("head", self.0.memory.get_opts(path, options)).await;
        }
        let fault = self.fault("get", true);
        match fault {
            Some(Fault::Before | Fault::After) => return Err(broken()),
            Some(Fault::Silence) => std::future::pending().await,
            _ => {}
        }
        let mut found = self.0.memory.get_opts(path, options).await?;
        let GetResultPayload::Stream(body) = found.payload;
        let whole: Vec<_> = body.collect().await;
        let mut pieces: Vec<Result<bytes::Bytes>> = Vec::new();
        for piece in whole {
            let piece = piece?;
            pieces.extend((0..piece.len()).step_by(20_000).map(|at| Ok(piece.slice(at..piece.len().min(at + 20_000)))));
        }
        if fault.is_some() {
            pieces.truncate(pieces.len() / 2);
        }
        if fault == Some(Fault::Break) {
            pieces.push(Err(broken()));
        }
        found.payload = GetResultPayload::Stream(futures_util::stream::iter(pieces).boxed());
        Ok(found)
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        match self.fault("delete", false) {
            None => self.0.memory.delete_stream(paths),
            Some(Fault::Silence) => futures_util::stream::pending().boxed(),
            Some(Fault::After) => self.0.memory.delete_stream(paths).map(|_| Err(broken())).boxed(),
            Some(_) => futures_util::stream::iter([Err(broken())]).boxed(),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let found = self.0.memory.list(prefix);
        match self.fault("list", false) {
            None => found,
            Some(Fault::Silence) => futures_util::stream::pending().boxed(),
            Some(_) => found.take(1).chain(futures_util::stream::iter([Err(broken())])).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.memory.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.memory.copy_opts(from, to, options).await
    }
}

#[async_trait]
impl MultipartStore for Faulty {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        // Without `After`: an id that nobody learns is for the bucket's clean-up, and would be counted as open here.
        match self.fault("create", false) {
            None | Some(Fault::After) => {}
            Some(Fault::Silence) => std::future::pending().await,
            Some(_) => return Err(broken()),
        }
        let id = self.0.memory.create_multipart(path).await?;
        self.0.open.lock().unwrap().insert(id.clone());
        Ok(id)
    }

    async fn put_part(&self, path: &Path, id: &MultipartId, index: usize, data: PutPayload) -> Result<PartId> {
        self.with_fault("part", self.0.memory.put_part(path, id, index, data)).await
    }

    async fn complete_multipart(&self, path: &Path, id: &MultipartId, parts: Vec<PartId>) -> Result<PutResult> {
        let work = async {
            // As most stores, other than Amazon's: what is complete is no upload any more.
            if !self.0.open.lock().unwrap().remove(id) {
                return Err(no_such_upload(path));
            }
            self.0.memory.complete_multipart(path, id, parts).await
        };
        self.with_fault("complete", work).await
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        let work = async {
            if !self.0.open.lock().unwrap().remove(id) {
                return Err(no_such_upload(path));
            }
            self.0.memory.abort_multipart(path, id).await
        };
        self.with_fault("abort", work).await
    }
}
