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
    /// Texts of later arguments that the call reads; `None` for those that it writes.
    tail: Vec<Option<String>>,
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
                    if info.when == When::Exit {
                        tail.push(None);
                        continue;
                    }
                    (info.show)(&mut cx, index);
                    let text = std::mem::take(&mut cx.out);
                    if std::mem::take(&mut cx.omit) {
                        continue;
                    }
                    if tail.is_empty() {
                        if index > 0 {
                            head.push_str(", ");
                        }
                        head.push_str(&text);
                    } else {
                        tail.push(Some(text));
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
        let mut separator = "";
        // `tail` holds every argument from the first written one on, but for omitted ones: pair them from the back.
        let infos = self.row.and_then(|row| row.args).unwrap_or(&[]);
        let mut written = infos.iter().enumerate().filter(|(_, info)| info.when == When::Exit);
        for text in self.tail {
            out.push_str(separator);
            separator = ", ";
            match text {
                Some(text) => out.push_str(&text),
                None => {
                    let Some((index, info)) = written.next() else { continue };
                    if result.is_ok() {
                        (info.show)(&mut cx, index);
                    } else {
                        cx.address(self.args[index]);
                    }
                    let text = std::mem::take(&mut cx.out);
                    if std::mem::take(&mut cx.omit) {
                        out.truncate(out.trim_end_matches(", ").len());
                    }
                    out.push_str(&text);
                }
            }
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
        Err(SysError::Restart(Restart::Sys)) => restart("ERESTARTSYS", "To be restarted if SA_RESTART is set"),
        Err(SysError::Restart(Restart::NoIntr)) => restart("ERESTARTNOINTR", "To be restarted"),
        Err(SysError::Restart(Restart::NoHand)) => restart("ERESTARTNOHAND", "To be restarted if no handler"),
        Err(SysError::Restart(Restart::Block)) => restart("ERESTART_RESTARTBLOCK", "Interrupted by signal"),
    }
}
