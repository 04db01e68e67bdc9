//! Parameters that can be sent twice: encoded at once, so that what they were taken from need not be kept.

use std::error::Error as StdError;
use std::fmt;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio_postgres::types::{BorrowToSql, Format, IsNull, ToSql, Type};

type EncodeError = Box<dyn StdError + Sync + Send>;

/// One parameter, encoded for the type that a statement has for it.
pub(crate) struct Param {
    format: Format,
    value: Value,
}

enum Value {
    Null,
    Bytes(Bytes),
    /// It cannot be encoded: the driver is to report that as it always does, once.
    Failed(Mutex<Option<EncodeError>>),
}

/// Encodes `params` for a statement with parameters of `types`. What is too many is left empty: the driver compares the
/// numbers first.
pub(crate) fn encode<P, I>(params: I, types: &[Type]) -> Vec<Param>
where
    P: BorrowToSql,
    I: IntoIterator<Item = P>,
{
    let mut buffer = BytesMut::new();
    let mut encode = |(index, param): (usize, P)| {
        let Some(type_) = types.get(index) else { return Param { format: Format::Text, value: Value::Null } };
        let param = param.borrow_to_sql();
        let value = match param.to_sql_checked(type_, &mut buffer) {
            Ok(IsNull::Yes) => Value::Null,
            Ok(IsNull::No) => Value::Bytes(buffer.split().freeze()),
            Err(error) => Value::Failed(Mutex::new(Some(error))),
        };
        Param { format: param.encode_format(type_), value }
    };
    params.into_iter().enumerate().map(&mut encode).collect()
}

impl ToSql for Param {
    fn to_sql(&self, _type: &Type, out: &mut BytesMut) -> Result<IsNull, EncodeError> {
        match &self.value {
            Value::Null => Ok(IsNull::Yes),
            Value::Bytes(bytes) => {
                out.extend_from_slice(bytes);
                Ok(IsNull::No)
            }
            Value::Failed(error) => Err(error.lock().take().unwrap_or_else(|| "reported before".into())),
        }
    }

    fn accepts(_type: &Type) -> bool {
        true
    }

    fn to_sql_checked(&self, type_: &Type, out: &mut BytesMut) -> Result<IsNull, EncodeError> {
        self.to_sql(type_, out)
    }

    fn encode_format(&self, _type: &Type) -> Format {
        self.format
    }
}

impl fmt::Debug for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}
