//! A web service for one request.

use std::fmt::Display;
use std::num::ParseIntError;
use std::str::FromStr;

use axum::Router;
use axum::http::StatusCode;
use integration_tests::spawn;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What a client of the service orders.
pub(crate) struct Order {
    pub(crate) id: i64,
}

impl FromStr for Order {
    type Err = ParseIntError;

    fn from_str(body: &str) -> Result<Self, ParseIntError> {
        Ok(Self { id: body.trim().parse()? })
    }
}

/// What the service answers when it does not do what it was asked for.
pub(crate) type Refusal = (StatusCode, String);

pub(crate) fn misread(error: impl Display) -> Refusal {
    (StatusCode::BAD_REQUEST, error.to_string())
}

pub(crate) fn failed(error: impl Display) -> Refusal {
    (StatusCode::SERVICE_UNAVAILABLE, error.to_string())
}

/// Serves `router` until it has answered a POST to `path`: the body of the answer.
pub(crate) async fn answer_of(router: Router, path: &str, body: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let service = axum::serve(listener, router).with_graceful_shutdown(async { drop(stopped.await) });
    let service = spawn(async move { service.await });

    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = format!("POST {path} HTTP/1.0\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    drop(stop);
    service.await.unwrap().unwrap();
    answer.rsplit("\r\n\r\n").next().unwrap().to_owned()
}
