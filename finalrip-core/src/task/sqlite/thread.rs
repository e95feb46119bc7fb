//! Threads that own a connection each, so that nobody who polls a future waits for a disk.

use std::io;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, unbounded};
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::task::error::{LedgerError, LedgerResult};

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// Connections that take jobs from one queue. Dropping them finishes what is queued, and closes them.
#[derive(Debug)]
pub(super) struct Connections {
    jobs: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl Connections {
    /// Starts a thread for each connection.
    pub(super) fn start(name: &str, connections: Vec<Connection>) -> LedgerResult<Self> {
        let (jobs, queue) = unbounded();
        let start = |db| {
            let queue = queue.clone();
            std::thread::Builder::new().name(format!("ledger-{name}")).spawn(move || work(db, &queue))
        };
        let threads = connections.into_iter().map(start).collect::<io::Result<_>>();
        let threads = threads.map_err(|error| LedgerError::Internal(format!("no thread for the ledger: {error}")))?;
        Ok(Self { jobs: Some(jobs), threads })
    }

    /// Runs `job` on the next free connection. Dropped before its turn, it is not run. A value that nobody waits for
    /// any more goes to `unheard`.
    pub(super) async fn run<T, J, U>(&self, job: J, unheard: U) -> LedgerResult<T>
    where
        T: Send + 'static,
        J: FnOnce(&mut Connection) -> LedgerResult<T> + Send + 'static,
        U: FnOnce(&mut Connection, T) + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let ended = || LedgerError::Internal("the ledger's thread has ended".to_owned());
        let job: Job = Box::new(move |db| {
            if answer.is_closed() {
                return;
            }
            let result = job(db);
            if let Err(Ok(value)) = answer.send(result) {
                unheard(db, value);
            }
        });
        self.jobs.as_ref().and_then(|jobs| jobs.send(job).ok()).ok_or_else(ended)?;
        answered.await.map_err(|_| ended())?
    }
}

fn work(mut db: Connection, queue: &Receiver<Job>) {
    while let Ok(job) = queue.recv() {
        job(&mut db);
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        drop(self.jobs.take());
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the ledger panicked");
            }
        }
    }
}
