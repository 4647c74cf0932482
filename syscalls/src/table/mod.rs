//! The table and the macro that its rows are written with.

mod x86_64;

use crate::row::Row;

/// One more than the highest number.
pub(crate) const NUMBERS: usize = 470;

/// Declares the rows. A line is `number name => handler, level, "note";` where the handler is a path to a function, or
/// `none` for ENOSYS.
macro_rules! syscall_table {
    ($($number:literal $name:ident => $($handler:ident)::+, $level:ident, $note:literal;)*) => {
        /// All calls in the order of their numbers.
        pub(crate) static ROWS: &[$crate::row::Row] = &[$(
            $crate::table::syscall_table!(@row $number $name $level $note $($handler)::+)
        ),*];
    };
    (@row $number:literal $name:ident $level:ident $note:literal none) => {
        $crate::row::Row {
            number: $number,
            name: stringify!($name),
            level: $crate::row::Level::$level,
            note: $note,
            call: $crate::dispatch::no_handler,
            args: None,
            result: $crate::row::ResultFormat::Decimal,
        }
    };
    (@row $number:literal $name:ident $level:ident $note:literal $($handler:ident)::+) => {
        $crate::row::Row {
            number: $number,
            name: stringify!($name),
            level: $crate::row::Level::$level,
            note: $note,
            call: |task, args| $crate::handler::Handler::call(&$crate::$($handler)::+, task, args),
            args: Some($crate::handler::args_of(&$crate::$($handler)::+)),
            result: $crate::handler::result_of(&$crate::$($handler)::+),
        }
    };
}

pub(crate) use syscall_table;

/// All calls in the order of their numbers.
pub fn table() -> &'static [Row] {
    x86_64::ROWS
}

/// The row of a name.
pub fn by_name(name: &str) -> Option<&'static Row> {
    table().iter().find(|row| row.name == name)
}

/// The rows by number. Computed by the compiler.
pub(crate) static BY_NUMBER: [Option<&Row>; NUMBERS] = {
    let mut by_number = [None; NUMBERS];
    let mut i = 0;
    while i < x86_64::ROWS.len() {
        by_number[x86_64::ROWS[i].number as usize] = Some(&x86_64::ROWS[i]);
        i += 1;
    }
    by_number
};

#[cfg(test)]
mod tests;
