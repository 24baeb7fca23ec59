//! HTTP/1.1: one thread, connections that stay open, limits for everything.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::Sampler;
use super::connections::Connections;
use crate::failure::{Done, Failure};

/// How long a scrape waits for a new sample if it does not say its timeout.
const PATIENCE: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(20);
const METRICS: &str = "/metrics";
/// How often late connections are looked for.
const SWEEP: Duration = Duration::from_secs(1);
/// Bytes of a request's head; what is larger is refused.
const HEAD: usize = 16 * 1024;
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";

struct Server {
    registry: Arc<Registry>,
    sampler: Sampler,
    connections: Connections,
}

/// Serves until SIGTERM or SIGINT.
pub(super) fn run(
    listen: SocketAddr,
    registry: Arc<Registry>,
    sampler: Sampler,
) -> Result<Done, Failure> {
    let failed = |what: &str, e: std::io::Error| Failure::Failed(format!("{what}: {e}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| failed("runtime", e))?;
    runtime.block_on(async {
        let listener =
            TcpListener::bind(listen).await.map_err(|e| failed(&format!("{listen}"), e))?;
        let local = listener.local_addr().map_err(|e| failed("listen", e))?;
        eprintln!("serving http://{local}/metrics");
        let mut terminate = signal(SignalKind::terminate()).map_err(|e| failed("signal", e))?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| failed("signal", e))?;
        let mut sampled = sampler.taken.clone();
        let server = Server { registry, sampler, connections: Connections::default() };
        tokio::select! {
            // Nobody would notice that the values only grow older.
            () = async { while sampled.changed().await.is_ok() {} } => {
                return Err(Failure::Failed("the sampler has ended".into()));
            }
            () = accept(&listener, Arc::new(server)) => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(Done::OK)
    })
}

async fn accept(listener: &TcpListener, server: Arc<Server>) {
    let mut sweep = tokio::time::interval(SWEEP);
    let mut id = 0;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = sweep.tick() => {
                server.connections.close_late();
                continue;
            }
        };
        let Ok((stream, _)) = accepted else {
            // Out of descriptors, or the client has gone: others go on.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        id += 1;
        let (server, id) = (Arc::clone(&server), id);
        let Some(close) = server.connections.add(id) else { continue };
        tokio::spawn(async move {
            let service = service_fn(|request| answer(&server, id, request));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .keep_alive(true)
                .header_read_timeout(None)
                .max_buf_size(HEAD)
                .serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                // A request that is no HTTP gets 400 and ends its connection.
                _ = connection => {}
                () = close.notified() => {}
            }
            server.connections.remove(id);
        });
    }
}

async fn answer(
    server: &Server,
    id: u64,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    server.connections.begins(id);
    let response = route(server, &request).await;
    // Whoever does not read the answer is found by the next request or by the time it rests.
    let metrics = request.uri().path() == METRICS && response.status() == StatusCode::OK;
    server.connections.rests(id, metrics);
    Ok(response)
}

async fn route(server: &Server, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match request.uri().path() {
        METRICS => {
            server.sampler.fresh(patience(request)).await;
            metrics(&server.registry, request.headers().get(ACCEPT))
        }
        "/" => plain(StatusCode::OK, "ctnetlink exporter: /metrics\n"),
        "/healthz" => plain(StatusCode::OK, "ok\n"),
        _ => plain(StatusCode::NOT_FOUND, "not found: /metrics\n"),
    }
}

/// Prometheus says how long it waits; the last values have to be there before that.
fn patience(request: &Request<Incoming>) -> Duration {
    let header = request.headers().get("x-prometheus-scrape-timeout-seconds");
    let seconds = header.and_then(|value| value.to_str().ok()?.parse::<f64>().ok());
    let patience = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds * 0.7).ok());
    patience.map_or(PATIENCE, |patience| patience.min(LONGEST))
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    with_type(status, CLASSIC, Bytes::from_static(text.as_bytes()))
}

fn with_type(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// OpenMetrics for those who ask for it, as Prometheus does; for all others the older text.
fn metrics(registry: &Registry, accept: Option<&HeaderValue>) -> Response<Full<Bytes>> {
    let accept = accept.and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let open = accept.contains("application/openmetrics-text");
    let mut body = String::new();
    let encoded = match open {
        true => text::encode(&mut body, registry),
        false => prometheus_text::encode(&mut body, registry),
    };
    match encoded {
        Ok(()) => with_type(StatusCode::OK, if open { OPENMETRICS } else { CLASSIC }, body.into()),
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be encoded\n"),
    }
}
