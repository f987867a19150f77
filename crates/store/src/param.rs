//! Parameters that bring their types: a statement is one message there and one back. Without them the server is asked for the types
//! first, and told in the end that the statement is not needed any more.
//!
//! Such a statement is sent when its future is polled for the first time. So several that are joined reach the server together, and it
//! takes them in the order in which they are written: each of them must be one message, and must be right to run whatever the
//! answers to those before it are, short of an error, after which the transaction does nothing any more.

use serde_json::Value;
use std::borrow::Cow;
use time::{Date, OffsetDateTime};
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

pub(crate) type Param<'a> = (&'a (dyn ToSql + Sync), Type);

pub(crate) fn param<T: Typed>(value: &T) -> Param<'_> {
    (value, T::TYPE)
}

/// What it is in the database.
pub(crate) trait Typed: ToSql + Sync {
    const TYPE: Type;
}

/// One that arrays can be made of.
pub(crate) trait Element: Typed {
    const ARRAY: Type;
}

macro_rules! typed {
    ($($rust:ty = $type:ident, $array:ident;)+) => {$(
        impl Typed for $rust {
            const TYPE: Type = Type::$type;
        }
        impl Element for $rust {
            const ARRAY: Type = Type::$array;
        }
    )+};
}

typed! {
    bool = BOOL, BOOL_ARRAY;
    i16 = INT2, INT2_ARRAY;
    i32 = INT4, INT4_ARRAY;
    i64 = INT8, INT8_ARRAY;
    &str = TEXT, TEXT_ARRAY;
    String = TEXT, TEXT_ARRAY;
    Cow<'_, str> = TEXT, TEXT_ARRAY;
    Uuid = UUID, UUID_ARRAY;
    Date = DATE, DATE_ARRAY;
    OffsetDateTime = TIMESTAMPTZ, TIMESTAMPTZ_ARRAY;
    Value = JSONB, JSONB_ARRAY;
}

impl<T: Typed> Typed for Option<T> {
    const TYPE: Type = T::TYPE;
}

impl<T: Element> Element for Option<T> {
    const ARRAY: Type = T::ARRAY;
}

impl<T: Element> Typed for Vec<T> {
    const TYPE: Type = T::ARRAY;
}

impl<T: Element> Typed for &[T] {
    const TYPE: Type = T::ARRAY;
}
