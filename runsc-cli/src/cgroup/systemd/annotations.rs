//! Values of annotations: the text form of GVariant, as far as properties of units have a use for it. Numbers, texts, truth
//! values, and arrays of those.

use super::wire::{Property, Value};

/// A property by name and text. Seconds (`TimeoutStopSec`) become microseconds, which is what systemd has over D-Bus.
pub fn property(name: &str, value: &str) -> Option<Property> {
    let good = name.len() >= 3 && name.bytes().all(|byte| byte.is_ascii_alphabetic());
    let value = parse(value).filter(|_| good)?;
    let seconds =
        name.strip_suffix("Sec").filter(|before| before.ends_with(|c: char| c.is_ascii_lowercase()));
    match seconds {
        None => Some(Property::new(name, value)),
        Some(before) => Some(Property::new(&format!("{before}USec"), Value::U64(microseconds(&value)?))),
    }
}

fn microseconds(value: &Value) -> Option<u64> {
    let seconds = match *value {
        Value::I16(value) => value.into(),
        Value::U16(value) => value.into(),
        Value::I32(value) => value.into(),
        Value::U32(value) => value.into(),
        Value::I64(value) => value.into(),
        Value::U64(value) => i128::from(value),
        Value::F64(value) if (0.0..1e12).contains(&value) => return Some((value * 1e6) as u64),
        _ => return None,
    };
    u64::try_from(seconds.checked_mul(1_000_000)?).ok()
}

fn parse(text: &str) -> Option<Value> {
    let text = text.trim();
    if let Some(inner) = text.strip_prefix('[') {
        return array(inner.strip_suffix(']')?);
    }
    let (value, rest) = one(text)?;
    rest.trim().is_empty().then_some(value)
}

/// The elements of an array, which are all of the first one's type.
fn array(text: &str) -> Option<Value> {
    let mut values: Vec<Value> = Vec::new();
    let mut rest = text.trim();
    loop {
        let (value, behind) = one(rest)?;
        if values.first().is_some_and(|first| first.letter() != value.letter()) {
            return None;
        }
        values.push(value);
        rest = behind.trim_start();
        match rest.strip_prefix(',') {
            Some(behind) => rest = behind.trim_start(),
            None if rest.is_empty() => break,
            None => return None,
        }
    }
    Some(Value::Array(values.first()?.letter(), values))
}

/// The first value, and what is behind it.
fn one(text: &str) -> Option<(Value, &str)> {
    if let Some(quote) = text.chars().next().filter(|c| matches!(c, '\'' | '"')) {
        return quoted(&text[1..], quote);
    }
    let end = text.find(|c: char| c == ',' || c.is_whitespace()).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let kinds = ["byte", "int16", "uint16", "int32", "uint32", "int64", "uint64", "double"];
    if kinds.contains(&word) {
        let number = rest.trim_start();
        let end = number.find(|c: char| c == ',' || c.is_whitespace()).unwrap_or(number.len());
        let (number, rest) = number.split_at(end);
        let value = match word {
            "byte" => Value::Byte(number.parse().ok()?),
            "int16" => Value::I16(number.parse().ok()?),
            "uint16" => Value::U16(number.parse().ok()?),
            "int32" => Value::I32(number.parse().ok()?),
            "uint32" => Value::U32(number.parse().ok()?),
            "int64" => Value::I64(number.parse().ok()?),
            "uint64" => Value::U64(number.parse().ok()?),
            _ => Value::F64(number.parse().ok().filter(|number: &f64| number.is_finite())?),
        };
        return Some((value, rest));
    }
    let value = match word {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        // Without a word of its type, a number is an int32, or a double.
        _ if word.contains(['.', 'e', 'E']) => {
            Value::F64(word.parse().ok().filter(|number: &f64| number.is_finite())?)
        }
        _ => Value::I32(word.parse().ok()?),
    };
    Some((value, rest))
}

/// Text up to the quote that ends it; `\` takes the meaning from what follows.
fn quoted(text: &str, quote: char) -> Option<(Value, &str)> {
    let mut content = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '\\' => content.push(match chars.next()?.1 {
                'n' => '\n',
                't' => '\t',
                // A null byte ends a text of D-Bus.
                '0' | 'u' | 'U' | 'x' => return None,
                other => other,
            }),
            '\0' => return None,
            char if char == quote => return Some((Value::Text(content), &text[at + 1..])),
            char => content.push(char),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let text = |text: &str| Value::Text(text.to_owned());
        for (given, value) in [
            ("true", Value::Bool(true)),
            ("5", Value::I32(5)),
            ("-5", Value::I32(-5)),
            ("uint64 5", Value::U64(5)),
            ("1.5", Value::F64(1.5)),
            ("'a b'", text("a b")),
            (r#""it's""#, text("it's")),
            (r"'a\'b'", text("a'b")),
            ("['a', \"b\"]", Value::Array("s", vec![text("a"), text("b")])),
            ("[uint32 1, uint32 2]", Value::Array("u", vec![Value::U32(1), Value::U32(2)])),
        ] {
            assert_eq!(parse(given), Some(value), "{given}");
        }
        for wrong in [
            "",
            "[]",
            "x",
            "'a",
            "5 6",
            "[1, 'a']",
            "[1,]",
            "uint64 -1",
            "uint64",
            "byte 256",
            "['a' 'b']",
            "9999999999",
            "double inf",
            "1e999",
            "'\\0'",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn seconds_are_microseconds() {
        assert_eq!(
            property("TimeoutStopSec", "uint64 3"),
            Some(Property::new("TimeoutStopUSec", Value::U64(3_000_000)))
        );
        assert_eq!(
            property("TimeoutStopSec", "0.5"),
            Some(Property::new("TimeoutStopUSec", Value::U64(500_000)))
        );
        assert_eq!(
            property("TimeoutStopUSec", "uint64 3"),
            Some(Property::new("TimeoutStopUSec", Value::U64(3)))
        );
        for (name, value) in [
            ("AaSec", "'x'"),
            ("AaSec", "-1"),
            ("A-b", "1"),
            ("Ab", "1"),
            ("aSec", "uint64 18446744073709551615"),
        ] {
            assert_eq!(property(name, value), None, "{name}={value}");
        }
    }
}
