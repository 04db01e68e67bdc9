//! The HTTP control on loopback: `POST /COMMAND` with the parameters as a JSON object, or `GET /COMMAND` for those
//! that need none.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use aurora_sim::Cluster;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::command::Command;
use super::{Failure, Result};

/// No command is longer.
const LONGEST_BODY: usize = 64 * 1024;

/// The control of one cluster; it ends when dropped.
#[derive(Debug)]
pub(super) struct Control {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Control {
    pub(super) async fn start(cluster: Arc<Cluster>) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, cluster));
        Ok(Self { address, _tasks: tasks })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn serve(listener: TcpListener, cluster: Arc<Cluster>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                let cluster = cluster.clone();
                connections.spawn(async move {
                    let service = service_fn(move |request| answer(request, cluster.clone()));
                    // A client that goes away in the middle is no concern of ours.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    cluster: Arc<Cluster>,
) -> std::result::Result<Response<Full<Bytes>>, hyper::http::Error> {
    let (status, value) = match obey(request, &cluster).await {
        Ok(value) => (StatusCode::OK, value),
        Err(Failure(error)) => (StatusCode::BAD_REQUEST, json!({ "error": error })),
    };
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(value.to_string())))
}

async fn obey(request: Request<Incoming>, cluster: &Cluster) -> Result<Value> {
    let name = request.uri().path().trim_matches('/').to_owned();
    let post = request.method() == Method::POST;
    if !post && request.method() != Method::GET {
        return Err("GET and POST are understood".into());
    }
    let body = Limited::new(request.into_body(), LONGEST_BODY).collect().await?.to_bytes();
    let mut parameters: Map<String, Value> =
        if body.is_empty() { Map::new() } else { serde_json::from_slice(&body)? };
    parameters.insert("command".to_owned(), Value::String(name));
    let command: Command = serde_json::from_value(Value::Object(parameters))?;
    if !post && !matches!(command, Command::Status | Command::Topology) {
        return Err("this needs POST".into());
    }
    command.execute(cluster).await
}
