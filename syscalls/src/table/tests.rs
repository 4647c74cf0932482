use crate::dispatch::row;
use crate::row::Level;
use crate::table::{by_name, table};

#[test]
fn numbers_are_complete_and_in_order() {
    let numbers: Vec<u32> = table().iter().map(|row| row.number).collect();
    let expected: Vec<u32> = (0..=336).chain(424..=469).collect();
    assert_eq!(numbers, expected);
}

#[test]
fn names_are_unique_and_found() {
    let mut names: Vec<&str> = table().iter().map(|row| row.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), table().len());
    assert_eq!(by_name("openat").map(|row| row.number), Some(257));
    assert_eq!(row(257).map(|row| row.name), Some("openat"));
    assert!(row(400).is_none());
    assert!(row(470).is_none());
    assert!(row(u64::MAX).is_none());
    assert_eq!(row(0xffff_ffff_0000_0000).map(|row| row.name), Some("read"));
}

#[test]
fn what_is_not_full_says_why_and_what_has_no_handler_is_none() {
    for row in table() {
        assert_eq!(row.level == Level::None, row.args.is_none(), "{}: level and handler disagree", row.name);
        assert!(row.level != Level::Partial || !row.note.is_empty(), "{}: partial without a note", row.name);
    }
}
