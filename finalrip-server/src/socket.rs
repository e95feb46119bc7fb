//! A connection that does not wait for ever.
//!
//! hyper limits the time for a request's headers once it knows which HTTP is spoken. Two things it leaves open: a client
//! that does not even say that, and one that does not read its answer.

use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use crate::metrics::Traffic;

/// The length of HTTP/2's greeting: after so much it is known which HTTP is spoken.
const GREETING: u64 = 24;

/// A socket that ends with [`ErrorKind::TimedOut`] when its client stands still.
#[derive(Debug)]
pub(crate) struct Patient {
    stream: TcpStream,
    traffic: Arc<Traffic>,
    received: u64,
    /// Runs until the client has greeted.
    greeting: Option<Pin<Box<Sleep>>>,
    /// Runs while the client does not take what is written.
    writing: Pin<Box<Sleep>>,
    is_stuck: bool,
    idle: Duration,
}

impl Patient {
    pub(crate) fn new(stream: TcpStream, greeting: Duration, idle: Duration, traffic: Arc<Traffic>) -> Self {
        traffic.open.fetch_add(1, Ordering::Relaxed);
        Self {
            stream,
            traffic,
            received: 0,
            greeting: Some(Box::pin(sleep(greeting))),
            writing: Box::pin(sleep(idle)),
            is_stuck: false,
            idle,
        }
    }

    /// Looks after a write: starts, stops or reads the clock.
    fn written(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.greeting = None;
        let Poll::Pending = written else {
            self.is_stuck = false;
            if let Poll::Ready(Ok(length)) = written {
                self.traffic.sent.fetch_add(length as u64, Ordering::Relaxed);
            }
            return written;
        };
        if !self.is_stuck {
            self.is_stuck = true;
            let until = Instant::now() + self.idle;
            self.writing.as_mut().reset(until);
        }
        ready!(self.writing.as_mut().poll(cx));
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }
}

impl Drop for Patient {
    fn drop(&mut self) {
        self.traffic.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl AsyncRead for Patient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let Poll::Pending = Pin::new(&mut self.stream).poll_read(cx, buffer) else {
            let length = (buffer.filled().len() - before) as u64;
            self.traffic.received.fetch_add(length, Ordering::Relaxed);
            self.received += length;
            if self.received >= GREETING {
                self.greeting = None;
            }
            return Poll::Ready(Ok(()));
        };
        let Some(greeting) = &mut self.greeting else { return Poll::Pending };
        ready!(greeting.as_mut().poll(cx));
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, data);
        self.written(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, data);
        self.written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
