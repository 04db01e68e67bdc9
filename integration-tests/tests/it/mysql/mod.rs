//! `mysql_async`.

use integration_tests::MySql as Driver;

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

mod abort;
mod bad_input;
mod begin;
mod drop_in;
mod dropped;
mod every_method;
mod handed_over;
mod infile;
mod lent;
mod login;
mod plain;
mod pool_reset;
mod pool_result;
mod refused_commit;
mod retry;
mod secrets;
mod server_error;
mod session_terminated;
mod statement;
mod statement_number;
mod text;
mod tls;
mod transaction_object;
mod unknown_state;
mod web;
