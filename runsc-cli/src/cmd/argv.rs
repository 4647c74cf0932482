//! Command lines as Go programs take them: `-flag` means `--flag`, since engines write it so.
//!
//! Only up to where the arguments of a program in a container begin.

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::Command;

/// Long flags of a command, and whether they take a value.
type Flags = BTreeMap<String, bool>;

fn flags(command: &Command) -> Flags {
    let mut flags = Flags::new();
    for arg in command.get_arguments() {
        let takes = arg.get_action().takes_values();
        let names = arg.get_long().into_iter().chain(arg.get_all_aliases().into_iter().flatten());
        flags.extend(names.map(|name| (name.to_owned(), takes)));
        if let Some(short) = arg.get_short() {
            flags.insert(short.to_string(), takes);
        }
    }
    flags
}

/// Writes Go's flags as this program's.
pub fn normalize(command: &Command, args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut args = args.into_iter();
    let mut normal: Vec<OsString> = args.by_ref().take(1).collect();
    let mut known = flags(command);
    // How many words that are no flags end the flags; none yet.
    let mut words_left = usize::MAX;
    let mut in_command = false;
    while let Some(arg) = args.next() {
        let Some(text) = arg.to_str() else {
            normal.push(arg);
            continue;
        };
        if text == "--" {
            normal.push(arg);
            break;
        }
        if !text.starts_with('-') || text == "-" {
            normal.push(arg.clone());
            if !in_command {
                in_command = true;
                if let Some(sub) = command.get_subcommands().find(|sub| sub.get_name() == text) {
                    known = flags(sub);
                    words_left = match text {
                        // The program, or the container before it or before options of ps(1).
                        "do" | "exec" | "ps" => 1,
                        _ => usize::MAX,
                    };
                }
            } else {
                words_left -= 1;
                if words_left == 0 {
                    break;
                }
            }
            continue;
        }
        let dashes = if text.starts_with("--") { 2 } else { 1 };
        let (name, value) = match text[dashes..].split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (&text[dashes..], None),
        };
        let takes = known.get(name).copied();
        match (takes, name.chars().count()) {
            // A switch with its value, as Go has them.
            (Some(false), _) if value.is_some() => {
                if matches!(value, Some("true" | "1" | "t" | "T" | "TRUE" | "True")) {
                    normal.push(with_dashes(name).into());
                }
            }
            (Some(_), 2..) if dashes == 1 => normal.push(format!("--{}", &text[1..]).into()),
            _ => normal.push(arg.clone()),
        }
        if takes == Some(true)
            && value.is_none()
            && let Some(value) = args.next()
        {
            normal.push(value);
        }
    }
    normal.extend(args);
    normal
}

fn with_dashes(name: &str) -> String {
    if name.chars().count() == 1 { format!("-{name}") } else { format!("--{name}") }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cmd::Cli;

    fn normal(line: &str) -> String {
        let args = line.split(' ').map(OsString::from);
        let made = normalize(&Cli::command(), args);
        made.iter().map(|arg| arg.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn flags_of_go() {
        assert_eq!(normal("runsc -root /r state x"), "runsc --root /r state x");
        assert_eq!(normal("runsc -debug=true --strace=false list"), "runsc --debug list");
        assert_eq!(
            normal("runsc create -bundle=/b -pid-file /p x"),
            "runsc create --bundle=/b --pid-file /p x"
        );
        assert_eq!(normal("runsc exec -d x find -name y"), "runsc exec -d x find -name y");
        assert_eq!(normal("runsc exec -user 0 -tty x ls -tty"), "runsc exec --user 0 --tty x ls -tty");
        assert_eq!(normal("runsc do -root / find -root"), "runsc do --root / find -root");
        assert_eq!(normal("runsc kill x -9"), "runsc kill x -9");
        assert_eq!(normal("runsc ps -format json x -format"), "runsc ps --format json x -format");
        assert_eq!(normal("runsc do -- -root x"), "runsc do -- -root x");
        assert_eq!(normal("runsc"), "runsc");
    }
}
