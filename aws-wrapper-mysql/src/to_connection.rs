//! `"select 1".first(&mut conn)`: the driver's helper traits on the wrapper's connections.
//!
//! They take the driver's own connection. It is opened as for any other call, with plugins and recovery; what the driver
//! then does on it, nobody sees.

use aws_wrapper_core::method::Method;
use futures_util::FutureExt;
use mysql_async::ToConnectionResult;
use mysql_async::prelude::ToConnection;

use crate::conn::{Conn, opened};
use crate::handle::ConnHandle;
use crate::transaction::Transaction;

impl<'a> ToConnection<'a, 'static> for &'a mut Conn {
    fn to_connection(self) -> ToConnectionResult<'a, 'static> {
        let opening = async move {
            let sql = self.text_of_unknown();
            // What is executed there is not seen here: it may be a statement of the driver's own.
            let driver = opened!(
                self,
                lend_abroad,
                Method::QueryStream,
                sql,
                |physical| physical.takes_numbers(),
                |_driver| async { Ok(()) }
            );
            Ok(driver.into())
        };
        ToConnectionResult::Mediate(opening.boxed())
    }
}

impl<'a> ToConnection<'a, 'static> for &'a mut Transaction<'_> {
    fn to_connection(self) -> ToConnectionResult<'a, 'static> {
        self.conn().to_connection()
    }
}

impl<'a> ToConnection<'a, 'static> for &'a mut ConnHandle {
    fn to_connection(self) -> ToConnectionResult<'a, 'static> {
        (&mut self.conn).to_connection()
    }
}
