//! The text of one call.

use sentry::{Restart, SysError, SysResult};

use crate::row::{ResultFormat, Row, When};
use crate::show::{GuestMemory, ShowCx, put};

/// A call that has begun: the part of its line that is known already.
pub struct Entry {
    row: Option<&'static Row>,
    number: u64,
    args: [u64; 6],
    /// Name, parenthesis and the arguments up to the first one that the call writes.
    pub head: String,
    /// What comes behind, from the first argument on that the call writes.
    tail: Vec<Later>,
}

/// An argument that is not in the head.
enum Later {
    /// Read by the call, and decoded before it.
    Read(String),
    /// Written by the call: its index.
    Written(usize),
    /// Read and written: its index, and what it was before.
    Changed(usize, String),
}

impl Entry {
    /// Decodes what can be before the call.
    pub fn new(row: Option<&'static Row>, number: u64, args: [u64; 6], memory: &dyn GuestMemory) -> Entry {
        let mut head = match row {
            Some(row) => format!("{}(", row.name),
            None => format!("syscall_{:#x}(", number as u32),
        };
        let mut tail = Vec::new();
        match row.and_then(|row| row.args) {
            None => {
                let raw: Vec<_> = args.iter().map(|raw| format!("{raw:#x}")).collect();
                head.push_str(&raw.join(", "));
            }
            Some(infos) => {
                let mut cx = ShowCx::new(args, memory);
                for (index, info) in infos.iter().enumerate() {
                    (info.show)(&mut cx, index);
                    let text = std::mem::take(&mut cx.out);
                    if std::mem::take(&mut cx.omit) {
                        continue;
                    }
                    match info.when {
                        When::Exit => tail.push(Later::Written(index)),
                        When::Both => tail.push(Later::Changed(index, text)),
                        When::Entry if !tail.is_empty() => tail.push(Later::Read(text)),
                        When::Entry => {
                            if !head.ends_with('(') {
                                head.push_str(", ");
                            }
                            head.push_str(&text);
                        }
                    }
                }
            }
        }
        if !tail.is_empty() && !head.ends_with('(') {
            head.push_str(", ");
        }
        Entry { row, number, args, head, tail }
    }

    /// The name of the call.
    pub fn name(&self) -> String {
        match self.row {
            Some(row) => row.name.to_string(),
            None => format!("syscall_{:#x}", self.number as u32),
        }
    }

    /// The rest of the line, behind [`head`](Entry::head).
    pub fn finish(self, result: &SysResult<u64>, memory: &dyn GuestMemory) -> String {
        let mut cx = ShowCx::new(self.args, memory);
        cx.result = result.as_ref().ok().copied();
        let mut out = String::new();
        let infos = self.row.and_then(|row| row.args).unwrap_or(&[]);
        for later in self.tail {
            let text = match later {
                Later::Read(text) => text,
                Later::Written(index) => {
                    match (&result, infos.get(index)) {
                        (Ok(_), Some(info)) => (info.show)(&mut cx, index),
                        _ => cx.address(self.args[index]),
                    }
                    std::mem::take(&mut cx.out)
                }
                Later::Changed(index, mut before) => {
                    if let (Ok(_), Some(info)) = (&result, infos.get(index)) {
                        (info.show)(&mut cx, index);
                        let after = std::mem::take(&mut cx.out);
                        if after != before {
                            merge(&mut before, &after);
                        }
                    }
                    before
                }
            };
            if !out.is_empty() {
                out.push_str(", ");
            }
            out.push_str(&text);
        }
        out.push_str(") = ");
        out.push_str(&result_text(self.row.map_or(ResultFormat::Decimal, |row| row.result), result));
        if result.is_ok() {
            let after = infos.iter().enumerate().filter_map(|(index, info)| Some((index, info.after?)));
            for (index, show) in after {
                show(&mut cx, index);
            }
            if !cx.out.is_empty() {
                put(&mut out, format_args!(" ({})", cx.out));
            }
        }
        out
    }
}

/// Appends what became of an argument: `[128]` and `[2]` give `[128 => 2]`, structures follow each other.
fn merge(before: &mut String, after: &str) {
    match (before.strip_suffix(']'), after.strip_prefix('[')) {
        (Some(start), Some(end)) if !start.contains(',') => *before = format!("{start} => {end}"),
        _ => {
            before.push_str(" => ");
            before.push_str(after);
        }
    }
}

/// The result of a call.
pub fn result_text(format: ResultFormat, result: &SysResult<u64>) -> String {
    let restart = |name: &str, meaning: &str| format!("? {name} ({meaning})");
    match result {
        Ok(value) => {
            let mut out = String::new();
            match format {
                ResultFormat::Decimal => put(&mut out, format_args!("{}", *value as i64)),
                ResultFormat::Hex => put(&mut out, format_args!("{value:#x}")),
                ResultFormat::Octal => crate::show::bits::permissions(&mut out, *value as u32),
                ResultFormat::Never => out.push('?'),
            }
            out
        }
        Err(SysError::Errno(errno)) => format!("-1 {errno}"),
        Err(SysError::Restart(Restart::Sys)) => {
            restart("ERESTARTSYS", "To be restarted if SA_RESTART is set")
        }
        Err(SysError::Restart(Restart::NoIntr)) => restart("ERESTARTNOINTR", "To be restarted"),
        Err(SysError::Restart(Restart::NoHand)) => restart("ERESTARTNOHAND", "To be restarted if no handler"),
        Err(SysError::Restart(Restart::Block)) => restart("ERESTART_RESTARTBLOCK", "Interrupted by signal"),
    }
}

#[cfg(test)]
mod tests;
