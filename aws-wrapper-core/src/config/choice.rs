//! Parameters with a fixed set of values, as enums.

/// Declares an enum together with the text of each value, so that the two cannot drift apart.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $code:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// The text of every value, as parameters take it.
            pub const CODES: &'static [&'static str] = &[$($code),+];

            /// The text of this value.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            /// The value of one of the [`CODES`](Self::CODES).
            pub fn from_code(code: &str) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }

        impl $crate::config::values::FromValue for $name {
            fn from_value(value: $crate::config::parameter::Value) -> Option<Self> {
                match value {
                    $crate::config::parameter::Value::Choice(code) => Self::from_code(code),
                    _ => None,
                }
            }
        }

        impl $crate::config::values::FromValue for Option<$name> {
            fn from_value(value: $crate::config::parameter::Value) -> Option<Self> {
                $crate::config::values::FromValue::from_value(value).map(Some)
            }
        }
    };
}

pub(crate) use choice;

#[cfg(test)]
mod tests {
    #![allow(unnameable_types, reason = "an enum of the tests")]

    choice! {
        /// One of two.
        Side {
            /// This one.
            Left = "left-hand",
            /// The other one.
            Right = "right-hand",
        }
    }

    #[test]
    fn a_code_and_its_value_lead_to_each_other() {
        for code in Side::CODES {
            assert_eq!(Side::from_code(code).map(Side::code), Some(*code));
        }
        assert_eq!((Side::from_code("left"), Side::Right.code()), (None, "right-hand"));
    }
}
