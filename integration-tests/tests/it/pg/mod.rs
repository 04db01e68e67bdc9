//! tokio-postgres.

use integration_tests::Pg as Driver;

#[path = "../any/cancel.rs"]
mod cancel;
#[path = "../any/connect_driver.rs"]
mod connect_driver;
#[path = "../any/monitoring.rs"]
mod monitoring;
#[path = "../any/names.rs"]
mod names;
#[path = "../any/parked.rs"]
mod parked;
#[path = "../any/pool.rs"]
mod pool;
#[path = "../any/pool_clean.rs"]
mod pool_clean;
#[path = "../any/pool_drop.rs"]
mod pool_drop;
#[path = "../any/pool_failover.rs"]
mod pool_failover;
#[path = "../any/pool_readers.rs"]
mod pool_readers;
#[path = "../any/pool_run.rs"]
mod pool_run;
#[path = "../any/reader.rs"]
mod reader;
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
mod commit;
mod error;
mod every_method;
mod handed_over;
mod listen;
mod login;
mod pipelined;
mod plain;
mod pool_reset;
mod pool_stream;
mod retry;
mod secrets;
mod server_error;
mod session_terminated;
mod short_silence;
mod stale_statement;
mod statement;
mod stream;
mod tls;
mod transaction_object;
mod user_timeout;
mod web;
