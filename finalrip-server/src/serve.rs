//! The accept loop, and the end of it.

use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::app::App;
use crate::socket::Patient;

/// How long to wait after an accept that failed for want of something, file descriptors mostly.
const BREATH: Duration = Duration::from_millis(500);

/// Requests at the same time on one connection of HTTP/2.
const STREAMS: u32 = 64;

/// How often an idle connection of HTTP/2 is asked whether somebody is there, and how long it has to answer.
const PING: Duration = Duration::from_secs(20);

/// A server that listens.
pub struct Server {
    listener: TcpListener,
    app: Arc<App>,
}

/// Why a server cannot start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}; is another server running there?")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The workers ended though nobody stopped them.
    #[error("the workers have ended by themselves; the log says why, and a new start takes their work up")]
    Workers,
}

impl Server {
    /// Listens on the configured address. Nothing is accepted before [`Server::run`].
    ///
    /// # Errors
    /// [`ServeError::Listen`].
    pub async fn bind(app: App) -> Result<Self, ServeError> {
        let address = app.config.listen;
        let failed = |source| ServeError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        Ok(Self { listener, app: Arc::new(app) })
    }

    /// Where it listens: the port is a real one even if 0 was configured.
    ///
    /// # Errors
    /// The operating system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves, and runs the service's workers, until `stop` is true. Then nothing is accepted any more, answers are
    /// finished and work is given back, for as long as `limits.shutdown_seconds` says.
    ///
    /// # Errors
    /// [`ServeError::Workers`].
    pub async fn run(self, mut stop: watch::Receiver<bool>) -> Result<(), ServeError> {
        let Self { listener, app } = self;
        let (service, stopped, told) = (app.service.clone(), stop.clone(), stop.clone());
        let mut workers = tokio::spawn(async move { service.run(stopped).await });
        let connections = Connections::new(Arc::clone(&app));
        let (outcome, workers) = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => (Ok(()), Some(workers)),
            ended = &mut workers => {
                // They end when they are told to, and may be the first to have heard.
                let told = *told.borrow();
                if !told || ended.is_err() {
                    tracing::error!(?ended, "the workers have ended by themselves");
                }
                (if told { Ok(()) } else { Err(ServeError::Workers) }, None)
            }
            () = connections.accept(&listener) => (Ok(()), Some(workers)),
        };
        drop(listener);
        finish(connections.graceful, workers, app.config.limits.shutdown_seconds).await;
        outcome
    }
}

/// Waits for answers and workers, but not for ever.
async fn finish(graceful: GracefulShutdown, workers: Option<JoinHandle<()>>, seconds: u64) {
    let open = graceful.count();
    tracing::info!(connections = open, seconds, "stopping");
    let ending = async {
        let workers = async {
            if let Some(workers) = workers
                && let Err(error) = workers.await
            {
                tracing::error!(%error, "the workers did not end well");
            }
        };
        tokio::join!(graceful.shutdown(), workers)
    };
    match tokio::time::timeout(Duration::from_secs(seconds), ending).await {
        Ok(_) => tracing::info!("stopped"),
        Err(_) => tracing::warn!(seconds, "stopped in the middle of answers or work; the next start takes it up"),
    }
}

/// What connections have in common.
struct Connections {
    app: Arc<App>,
    builder: Arc<Builder<TokioExecutor>>,
    graceful: GracefulShutdown,
    room: Arc<Semaphore>,
}

impl Connections {
    fn new(app: Arc<App>) -> Self {
        let limits = &app.config.limits;
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_time())
            // Twice as much as is allowed, so that what is a little too long gets a proper answer.
            .max_buf_size(limits.header_bytes() * 2);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING)
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(u32::try_from(limits.header_bytes() * 2).unwrap_or(u32::MAX));
        let room = Arc::new(Semaphore::new(limits.connections));
        Self { builder: Arc::new(builder), graceful: GracefulShutdown::new(), room, app }
    }

    /// Accepts for ever.
    async fn accept(&self, listener: &TcpListener) {
        // The semaphore is never closed.
        while let Ok(permit) = Arc::clone(&self.room).acquire_owned().await {
            let stream = loop {
                match listener.accept().await {
                    Ok((stream, _)) => break stream,
                    Err(error) => after_failure(&error).await,
                }
            };
            let connection = self.serve(stream);
            tokio::spawn(async move {
                connection.await;
                drop(permit);
            });
        }
    }

    /// The life of a connection.
    fn serve(&self, stream: TcpStream) -> impl Future<Output = ()> + Send + use<> {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "answers may be slower: TCP_NODELAY is not possible");
        }
        let limits = &self.app.config.limits;
        let traffic = self.app.metrics.traffic();
        let stream = TokioIo::new(Patient::new(stream, limits.header_time(), limits.idle_time(), traffic));
        let (app, builder, watcher) = (Arc::clone(&self.app), Arc::clone(&self.builder), self.graceful.watcher());
        async move {
            let service = service_fn(move |request| {
                let app = Arc::clone(&app);
                async move { Ok::<_, Infallible>(app.answer(request).await) }
            });
            let connection = builder.serve_connection(stream, service).into_owned();
            if let Err(error) = watcher.watch(connection).await {
                tracing::debug!(error, "a connection broke off");
            }
        }
    }
}

/// A client that went away again is its own affair; anything else may last a moment, and the loop goes on.
async fn after_failure(error: &io::Error) {
    if !matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused)
    {
        tracing::error!(%error, "cannot accept a connection; it is tried again");
        tokio::time::sleep(BREATH).await;
    }
}
