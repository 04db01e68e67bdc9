//! What no server on this machine says on demand: a pooler's refusals, which have one code for everything and no stable
//! severity, and the answer to a commit in two parts.

use aws_wrapper_pg::core::error::{DriverClass, RetryAdvice, TransactionOutcome};
use aws_wrapper_pg::core::session::transaction::TransactionState;
use aws_wrapper_pg::{Client, Connector, ErrorKind, Result};
use futures_util::TryStreamExt;
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

/// The error comes in a packet of its own; only the next one says that the transaction is over.
#[tokio::test]
async fn the_outcome_of_a_failed_commit_waits_for_the_state() {
    for way in ["batch_execute", "simple_query_raw"] {
        let welcome = [message(b'R', &[0; 4]), message(b'Z', b"I")].concat();
        let begun = [message(b'C', b"BEGIN\0"), message(b'Z', b"T")].concat();
        let refused = message(b'E', b"SERROR\0VERROR\0C23505\0Mduplicate key\0\0");
        // What is sent next has the server say the rest.
        let rest = [message(b'Z', b"I"), message(b'C', b"SELECT 1\0"), message(b'Z', b"I")].concat();
        let stays_open = Vec::new();
        let (client, _server) = connected_to(vec![welcome, begun, refused, rest, stays_open]).await;
        let client = client.unwrap();
        client.batch_execute("begin").await.unwrap();
        let commit = async {
            match way {
                "batch_execute" => client.batch_execute("commit").await,
                _ => {
                    client
                        .simple_query_raw("commit")
                        .await?
                        .try_for_each(|_| std::future::ready(Ok(())))
                        .await
                }
            }
        };
        let next = async {
            while client.transaction_state() != TransactionState::Unknown {
                tokio::task::yield_now().await;
            }
            client.batch_execute("select 1").await
        };
        let (committed, answered) = tokio::join!(commit, next);
        answered.unwrap();
        let error = committed.unwrap_err();
        assert_eq!(error.sqlstate(), Some("23505"), "{way}: {error:?}");
        assert_eq!(error.transaction_outcome(), TransactionOutcome::RolledBack, "{way}: {error:?}");
    }
}
