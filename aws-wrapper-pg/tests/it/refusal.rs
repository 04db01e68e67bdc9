//! What a pooler in front of the server says, which has one code for everything and no stable severity.

use aws_wrapper_pg::core::error::{DriverClass, RetryAdvice};
use aws_wrapper_pg::{Client, Connector, ErrorKind, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[tag], &length.to_be_bytes()[..], body].concat()
}

/// As `PgBouncer` sends it.
fn fatal(text: &str) -> Vec<u8> {
    message(b'E', format!("SFATAL\0C08P01\0M{text}\0\0").as_bytes())
}

/// A connection to a server that gives these answers, one each time it hears something, and closes then.
async fn connected_to(answers: Vec<Vec<u8>>) -> (Result<Client>, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut server = JoinSet::new();
    server.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for answer in answers {
            assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
            stream.write_all(&answer).await.unwrap();
        }
    });
    let url = format!("postgresql://u@127.0.0.1:{port}/d?sslmode=disable&plugins=none");
    (Connector::builder().url(&url).unwrap().build().unwrap().connect().await, server)
}

#[tokio::test]
async fn a_refusal_of_a_pooler_is_no_network_error() {
    for (text, kind) in [
        ("password authentication failed", ErrorKind::Login),
        ("SASL authentication failed", ErrorKind::Login),
        ("no such user: u", ErrorKind::Login),
        ("no such database: d", ErrorKind::Driver(DriverClass::Other)),
        ("client_login_timeout (60s)", ErrorKind::Driver(DriverClass::Other)),
        ("no more connections allowed (max_client_conn)", ErrorKind::Driver(DriverClass::Other)),
    ] {
        let error = connected_to(vec![fatal(text)]).await.0.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert_eq!(error.sqlstate(), Some("08P01"), "{error:?}");
        assert_eq!(error.retry_advice(), RetryAdvice::DoNotRetry, "{error:?}");
        assert!(error.to_string().contains(text), "{error}");
    }
}

#[tokio::test]
async fn a_session_that_a_pooler_ends_is_lost() {
    let welcome = [message(b'R', &[0; 4]), message(b'Z', b"I")].concat();
    let (client, _server) = connected_to(vec![welcome, fatal("query_wait_timeout")]).await;
    let client = client.unwrap();
    let error = client.batch_execute("select 1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Network), "{error:?}");
    assert_eq!(error.sqlstate(), Some("08P01"), "{error:?}");
    assert!(!error.connection_usable(), "{error:?}");
}
