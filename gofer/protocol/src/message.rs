//! How a table of messages becomes an enum with its encoder and decoder.

/// Each line gives number, name and fields of a message; all begin with the same head.
macro_rules! messages {
    (
        $(#[$meta:meta])*
        $name:ident<$a:lifetime>, $head:ty, $(#[$kinds_meta:meta])* $kinds:ident;
        $($(#[$doc:meta])* $number:literal $variant:ident { $($(#[$field_doc:meta])* $field:ident: $ty:ty),* $(,)? })*
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name<$a> { $($(#[$doc])* $variant { $($(#[$field_doc])* $field: $ty),* },)* }

        $crate::wire::wire_enum! {
            $(#[$kinds_meta])*
            pub enum $kinds: u16 { $($(#[$doc])* $variant = $number,)* }
        }

        impl<$a> $name<$a> {
            /// Which message it is.
            pub fn kind(&self) -> $kinds {
                match self { $($name::$variant { .. } => $kinds::$variant,)* }
            }
            /// Writes it as a whole message into `bytes`, whose contents are replaced.
            pub fn encode(&self, head: $head, bytes: &mut Vec<u8>) -> Result<(), $crate::wire::Bad> {
                let mut to = $crate::wire::Writer::message(bytes);
                to.put(&head);
                to.put(&self.kind());
                match self { $($name::$variant { $($field),* } => { $(to.put($field);)* })* }
                to.finish()
            }
            /// Reads a whole message: its head, and what it says.
            pub fn decode(bytes: &$a [u8]) -> (Option<$head>, Result<$name<$a>, $crate::wire::Bad>) {
                let mut from = $crate::wire::Reader::new(bytes);
                let head = match from.get::<$head>() {
                    Ok(head) => head,
                    Err(bad) => return (None, Err(bad)),
                };
                (Some(head), $name::decode_body(from))
            }
            fn decode_body(mut from: $crate::wire::Reader<$a>) -> Result<$name<$a>, $crate::wire::Bad> {
                let message = match from.get::<$kinds>()? {
                    $($kinds::$variant => $name::$variant { $($field: from.get()?),* },)*
                };
                from.finish()?;
                Ok(message)
            }
        }
    };
}
pub(crate) use messages;
