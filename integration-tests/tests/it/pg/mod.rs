//! tokio-postgres.

use integration_tests::Pg as Driver;

#[path = "../any/cancel.rs"]
mod cancel;
#[path = "../any/plain.rs"]
mod plain;
#[path = "../any/reader.rs"]
mod reader;
#[path = "../any/session_terminated.rs"]
mod session_terminated;
#[path = "../any/shutdown.rs"]
mod shutdown;
#[path = "../any/silence.rs"]
mod silence;
#[path = "../any/storm.rs"]
mod storm;
#[path = "../any/topology.rs"]
mod topology;
#[path = "../any/transaction.rs"]
mod transaction;
#[path = "../any/two_clusters.rs"]
mod two_clusters;
#[path = "../any/writer.rs"]
mod writer;

mod bad_input;
mod begin;
mod listen;
mod monitor_user;
mod pipelined;
mod secrets;
mod statement;
mod stream;
mod tls;
mod transaction_object;
mod user_timeout;
