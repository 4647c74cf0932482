//! Bytes between quotes, escaped as in C.

use super::put;

/// Writes `bytes` in quotes. What does not print becomes an escape, octal ones as short as the next byte allows.
pub fn quote(out: &mut String, bytes: &[u8]) {
    out.push('"');
    for (i, byte) in bytes.iter().enumerate() {
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\t' => out.push_str("\\t"),
            b'\r' => out.push_str("\\r"),
            0x0b => out.push_str("\\v"),
            0x0c => out.push_str("\\f"),
            b' '..=b'~' => out.push(char::from(*byte)),
            _ => {
                let digit_follows = bytes.get(i + 1).is_some_and(u8::is_ascii_digit);
                match digit_follows {
                    true => put(out, format_args!("\\{byte:03o}")),
                    false => put(out, format_args!("\\{byte:o}")),
                }
            }
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    fn quoted(bytes: &[u8]) -> String {
        let mut out = String::new();
        super::quote(&mut out, bytes);
        out
    }

    #[test]
    fn escapes_as_strace_does() {
        assert_eq!(quoted(b"plain"), "\"plain\"");
        assert_eq!(quoted(b"a\"b\\c\n\t\r"), "\"a\\\"b\\\\c\\n\\t\\r\"");
        assert_eq!(quoted(b"\0"), "\"\\0\"");
        assert_eq!(quoted(b"\x7fELF\x02\x01\x01\0"), "\"\\177ELF\\2\\1\\1\\0\"");
        assert_eq!(quoted(b"\x011\0x"), "\"\\0011\\0x\"");
        assert_eq!(quoted(&[0xff, 0xc3, 0xa4]), "\"\\377\\303\\244\"");
    }
}
