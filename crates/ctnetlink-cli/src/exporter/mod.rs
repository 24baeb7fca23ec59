//! `exporter`: the tables, for Prometheus.

mod connections;
mod server;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use ctnetlink_metrics::{Options, Tables, Watched};
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use crate::failure::{Done, Failure};
use crate::list::interval;
use crate::names;
use crate::options::Namespace;

/// Samples that are younger are used again: two Prometheus servers may scrape at the same time.
const YOUNG: Duration = Duration::from_secs(1);

/// Serve the tables for Prometheus
///
/// GET /metrics has them as OpenMetrics, or in the older text format if that is asked for. It answers on
/// connections that stay open: when the table is full, a new connection may not get through.
/// SIGTERM ends it.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9466")]
    listen: SocketAddr,

    /// Also use node_exporter's names. Not beside node_exporter: sums and alerts would be doubled
    #[arg(long)]
    node_exporter_names: bool,

    /// For how long what a walk over the table has found is used
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0)]
    cache: f64,

    /// Expose the N frontends, sources and backends with the most entries; each is a series
    #[arg(long, value_name = "N", default_value_t = 0)]
    top: usize,

    /// Services and pods by name, for --top: the output of
    /// `kubectl get services,endpointslices,pods -A -o json`
    #[arg(long, value_name = "FILE")]
    cluster: Option<PathBuf>,
}

/// The sampling thread, for those who wait for a sample.
#[derive(Clone)]
pub(super) struct Sampler {
    ask: SyncSender<()>,
    /// When the last samples were taken.
    taken: watch::Receiver<Option<Instant>>,
}

impl Sampler {
    /// Waits for samples that are young, or for as long as a scrape may take: then the last ones have to
    /// do, with their age. A dump elsewhere can hold the kernel's lock for seconds.
    pub(super) async fn fresh(&self, patience: Duration) {
        let asked = Instant::now();
        let mut taken = self.taken.clone();
        let is_young =
            |moment: &Option<Instant>| moment.is_some_and(|moment| moment + YOUNG >= asked);
        if is_young(&taken.borrow()) {
            return;
        }
        // If it is being asked already, that is enough.
        let _ = self.ask.try_send(());
        let _ = tokio::time::timeout(patience, taken.wait_for(is_young)).await;
    }
}

pub(crate) fn run(namespace: &Namespace, arguments: &Arguments) -> Result<Done, Failure> {
    let known = arguments.cluster.as_deref().map(names::load).transpose()?;
    let names = known.map(|known| known.names).unwrap_or_default();
    let cache = interval(arguments.cache)?;
    let mut watched = Vec::new();
    for (label, ct) in namespace.open_each()? {
        let mut options = Options::default();
        (options.netns, options.cache, options.top) = (label, cache, arguments.top);
        options.names = names.clone();
        watched.push(Watched::new(ct, options));
    }
    let mut tables = Tables::default();
    if arguments.node_exporter_names {
        tables = tables.with_node_exporter_names();
    }
    let mut registry = Registry::default();
    registry.register_collector(Box::new(tables.clone()));
    let (ask, asked) = sync_channel(1);
    let (tell, taken) = watch::channel(None);
    let started = thread::Builder::new()
        .name("ctnetlink-sampler".into())
        .spawn(move || sample(watched, &tables, &asked, &tell));
    started.map_err(|e| Failure::Failed(format!("thread: {e}")))?;
    server::run(arguments.listen, Arc::new(registry), Sampler { ask, taken })
}

/// Samples whenever somebody asks, one after another, until nobody can ask any more.
fn sample(
    mut watched: Vec<Watched>,
    tables: &Tables,
    asked: &Receiver<()>,
    tell: &watch::Sender<Option<Instant>>,
) {
    // Something is there before the first scrape.
    loop {
        let begun = Instant::now();
        tables.set(watched.iter_mut().map(Watched::sample).collect());
        tell.send_replace(Some(begun));
        if asked.recv().is_err() {
            return;
        }
    }
}

/// A lock that survives a panic.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
