//! Numbers for an operator, as Prometheus reads them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use finalrip_core::task::{Counters, Figures};
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::{encode, encode_registry};
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::app::App;
use crate::failure::Failure;
use crate::wire::{Answer, whole};

/// Seconds, from a cached list to a request that waits for a script to be compiled.
const LATENCIES: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0];

const FORMAT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is counted here; the rest is asked of the service when somebody wants to know.
pub(crate) struct Metrics {
    registry: Registry,
    latencies: Family<Labels, Histogram>,
    traffic: Arc<Traffic>,
}

/// What went over sockets.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// Bytes that came in.
    pub(crate) received: AtomicU64,
    /// Bytes that went out.
    pub(crate) sent: AtomicU64,
    /// Connections that are open.
    pub(crate) open: AtomicU64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    method: String,
    route: &'static str,
    status: u16,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("finalrip");
        let latencies = Family::<Labels, Histogram>::new_with_constructor(|| Histogram::new(LATENCIES));
        registry.register_with_unit(
            "http_request_duration",
            "Time until the head of the answer, by route and status",
            Unit::Seconds,
            latencies.clone(),
        );
        Self { registry, latencies, traffic: Arc::default() }
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, method: &str, route: &'static str, status: StatusCode, took: Duration) {
        let labels = Labels { method: method.to_owned(), route, status: status.as_u16() };
        self.latencies.get_or_create(&labels).observe(took.as_secs_f64());
    }

    pub(crate) fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.traffic)
    }
}

impl App {
    pub(crate) async fn show_metrics(&self) -> Result<Answer, Failure> {
        let mut now = Registry::with_prefix("finalrip");
        let snapshot = Snapshot { figures: self.service.figures().await?, traffic: self.metrics.traffic() };
        now.register_collector(Box::new(snapshot));
        let mut text = String::new();
        encode_registry(&mut text, &self.metrics.registry)
            .and_then(|()| encode(&mut text, &now))
            .map_err(|_| Failure::internal())?;
        let mut answer = Answer::new(whole(text));
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(FORMAT));
        answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(answer)
    }
}

/// The service's numbers at one moment.
#[derive(Debug)]
struct Snapshot {
    figures: Figures,
    traffic: Arc<Traffic>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueueName {
    queue: &'static str,
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Figures { counters, fps, workers, leases, stored_bytes_total, fetched_bytes_total, .. } = &self.figures;
        queues(&mut encoder, counters)?;
        let load = |atomic: &AtomicU64| atomic.load(Ordering::Relaxed);
        let Traffic { received, sent, open } = &*self.traffic;
        gauge(&mut encoder, "encoding_fps", "Frames encoded a second, all clips together", *fps)?;
        for (name, help, value) in [
            ("workers", "Workers of this process", *workers as u64),
            ("leases", "Pieces of work that somebody has", leases.len() as u64),
            ("http_connections", "Connections that are open", load(open)),
        ] {
            gauge(&mut encoder, name, help, value as f64)?;
        }
        for (name, help, value) in [
            ("leases_given", "Pieces of work given out", counters.leases_total),
            ("work_completed", "Pieces of work done", counters.completed_total),
            ("attempts_failed", "Attempts that failed, expired ones included", counters.failures_total),
            ("leases_expired", "Leases that ended without a sign of life", counters.expired_total),
            ("retries", "Clips and merges that somebody wanted once more", counters.retries_total),
            ("leases_given_back", "Leases given back unfinished", counters.given_back_total),
            ("leases_interrupted", "Leases that ended with a server's process", counters.interrupted_total),
            ("stored_bytes", "Bytes that workers have stored", *stored_bytes_total),
            ("fetched_bytes", "Bytes that workers have fetched", *fetched_bytes_total),
            ("http_received_bytes", "Bytes that came in over HTTP", load(received)),
            ("http_sent_bytes", "Bytes that went out over HTTP", load(sent)),
        ] {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        Ok(())
    }
}

fn queues(encoder: &mut DescriptorEncoder<'_>, counters: &Counters) -> fmt::Result {
    let name = "Work that waits, by queue; `background` holds indexes of tasks that are not started";
    let metric_type = prometheus_client::metrics::MetricType::Gauge;
    let mut family = encoder.encode_descriptor("queue_length", name, None, metric_type)?;
    for (queue, length) in [
        ("priority", counters.queued_priority),
        ("default", counters.queued_default),
        ("background", counters.queued_background),
    ] {
        ConstGauge::new(length as f64).encode(family.encode_family(&QueueName { queue })?)?;
    }
    Ok(())
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: f64) -> fmt::Result {
    let gauge = ConstGauge::new(value);
    gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
}
