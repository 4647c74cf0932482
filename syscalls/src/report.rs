//! The table for people and programs: `runsc syscalls`.

use crate::row::{Level, Row};
use crate::show::put;

/// The table in columns, with a summary below.
pub fn text(rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let mut out = format!("{:>6}  {:width$}  {:7}  NOTE\n", "NUMBER", "NAME", "SUPPORT");
    for row in rows {
        let line = format!("{:>6}  {:width$}  {:7}  {}", row.number, row.name, row.level.as_str(), row.note);
        out.push_str(line.trim_end());
        out.push('\n');
    }
    let count = |level| rows.iter().filter(|row| row.level == level).count();
    put(
        &mut out,
        format_args!(
            "{} calls: {} full, {} partial, {} none\n",
            rows.len(),
            count(Level::Full),
            count(Level::Partial),
            count(Level::None)
        ),
    );
    out
}

/// The table as a JSON array of objects with `number`, `name`, `support`, `args` (null where unknown) and `note`.
pub fn json(rows: &[Row]) -> String {
    let mut out = String::from("[\n");
    for (i, row) in rows.iter().enumerate() {
        let args = row.arg_count().map_or(String::from("null"), |count| count.to_string());
        put(
            &mut out,
            format_args!(
                "  {{\"number\": {}, \"name\": {}, \"support\": {}, \"args\": {args}, \"note\": {}}}{}\n",
                row.number,
                quote(row.name),
                quote(row.level.as_str()),
                quote(row.note),
                if i + 1 < rows.len() { "," } else { "" }
            ),
        );
    }
    out.push_str("]\n");
    out
}

/// A JSON string.
fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if u32::from(c) < 0x20 => {
                put(&mut out, format_args!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn json_strings_are_escaped() {
        assert_eq!(super::quote("a \"b\" \\ \n é"), "\"a \\\"b\\\" \\\\ \\u000a é\"");
    }

    #[test]
    fn both_forms_have_all_rows() {
        let rows = crate::table();
        assert_eq!(super::text(rows).lines().count(), rows.len() + 2);
        assert_eq!(super::json(rows).lines().count(), rows.len() + 2);
        assert!(super::json(rows).contains("\"number\": 0, \"name\": \"read\""));
    }
}
