//! The command line, in Go's manner: `-flag value`, `-flag=value`, `--flag`.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Start,
    Delete,
    Serve,
    Version,
    Info,
}

/// What containerd says.
#[derive(Clone, Debug)]
pub struct Arguments {
    pub action: Action,
    pub namespace: String,
    pub id: String,
    /// containerd's own socket.
    pub address: String,
    pub bundle: Option<PathBuf>,
    pub debug: bool,
}

impl Arguments {
    pub fn parse(words: impl Iterator<Item = String>) -> Result<Arguments> {
        let mut parsed = Arguments {
            action: Action::Serve,
            namespace: String::new(),
            id: String::new(),
            address: String::new(),
            bundle: None,
            debug: false,
        };
        let mut words = words;
        while let Some(word) = words.next() {
            let Some(flag) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else {
                parsed.action = match word.as_str() {
                    "start" => Action::Start,
                    "delete" => Action::Delete,
                    other => bail!("there is no action {other:?}; there are start and delete"),
                };
                continue;
            };
            let (name, given) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            match name {
                "v" => parsed.action = Action::Version,
                "info" => parsed.action = Action::Info,
                "debug" => parsed.debug = given.is_none_or(|value| value != "false"),
                "namespace" | "id" | "address" | "bundle" | "socket" | "publish-binary" => {
                    let value =
                        given.or_else(|| words.next()).with_context(|| format!("-{name} lacks a value"))?;
                    match name {
                        "namespace" => parsed.namespace = value,
                        "id" => parsed.id = value,
                        "address" => parsed.address = value,
                        "bundle" => parsed.bundle = Some(PathBuf::from(value)),
                        // Events go over containerd's socket, and the shim's own socket is inherited.
                        _ => {}
                    }
                }
                other => bail!("there is no flag -{other}"),
            }
        }
        let needs_names = !matches!(parsed.action, Action::Version | Action::Info);
        if needs_names && (parsed.namespace.is_empty() || parsed.id.is_empty()) {
            bail!("-namespace and -id are needed; containerd gives them");
        }
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments> {
        Arguments::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn flags_come_in_all_of_gos_shapes() {
        let parsed = parse("-namespace=a --id b -address /c -debug -bundle /d delete").expect("it is right");
        assert_eq!(
            (parsed.namespace.as_str(), parsed.id.as_str(), parsed.address.as_str()),
            ("a", "b", "/c")
        );
        assert!(parsed.debug && parsed.action == Action::Delete);
        assert_eq!(parsed.bundle, Some(PathBuf::from("/d")));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        assert!(parse("-namespace a -id b restart").is_err());
        assert!(parse("-namespace a -id b -what start").is_err());
        assert!(parse("-namespace a start").is_err());
        assert!(parse("-namespace").is_err());
    }
}
