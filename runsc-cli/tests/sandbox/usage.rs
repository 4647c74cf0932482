//! The command line: help, and one-line errors with status 125, or with that of runc where runc has the command.

use std::process::Output;

use crate::runsc;

fn run(args: &[&str]) -> Output {
    runsc().args(args).output().unwrap()
}

fn assert_error(args: &[&str], line: &str) {
    assert_error_with(125, args, line);
}

fn assert_error_with(status: i32, args: &[&str], line: &str) {
    let output = run(args);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        (output.status.code(), stderr.as_str()),
        (Some(status), format!("{line}\n").as_str()),
        "{args:?}"
    );
    assert!(output.stdout.is_empty());
}

#[test]
fn help_is_everywhere() {
    for args in [
        &["help"][..],
        &["--help"],
        &["do", "--help"],
        &["help", "do"],
        &["syscalls", "-h"],
        &["version", "-h"],
    ] {
        let output = run(args);
        assert!(output.status.success(), "{args:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("Example"), "{args:?}: {text}");
    }
    let text = String::from_utf8(run(&["help"]).stdout).unwrap();
    assert!(!text.contains("boot") && !text.contains("gofer"), "{text}");
}

#[test]
fn errors_say_what_and_where_and_what_to_do() {
    // As with runc.
    assert_error_with(3, &["bogus"], "runsc: unrecognized subcommand 'bogus'; see 'runsc --help'");
    assert_error_with(
        1,
        &["state"],
        "runsc: the following required arguments were not provided: <ID>; see 'runsc state --help'",
    );
    assert_error_with(
        1,
        &["--root"],
        "runsc: a value is required for '--root <DIR>' but none was supplied; see 'runsc --help'",
    );
    assert_error(
        &["do", "--bogus", "ls"],
        "runsc: unexpected argument '--bogus' found; see 'runsc do --help'",
    );
    assert_error(
        &["do", "--root", "/nonexistent", "ls"],
        "runsc: do: --root /nonexistent: no such directory; give a directory that exists",
    );
    assert_error(
        &["do", "--root", "/dev/null", "ls"],
        "runsc: do: --root /dev/null: not a directory; give a directory that exists",
    );
    assert_error(
        &["do", "--volume", "/tmp", "ls"],
        "runsc: do: --volume /tmp: not of the form SRC:DST[:ro]; give two paths",
    );
    assert_error(
        &["do", "--env", "NOVALUE", "ls"],
        "runsc: do: --env NOVALUE: no NAME=VALUE; write the value too",
    );
    assert_error(
        &["do", "--user", "no such user", "ls"],
        "runsc: do: --user no such user: not in /etc/passwd of the sandbox's root; give a number",
    );
    assert_error(
        &["do", "--cwd", "x", "ls"],
        "runsc: do: --cwd x: no absolute path; give one that begins with /",
    );
}

#[test]
fn internal_commands_refuse_a_person() {
    for command in ["boot", "gofer"] {
        let output = run(&[command]);
        assert_eq!(output.status.code(), Some(125));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains("this command is for runsc itself"), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

#[test]
fn the_table_is_printed_in_both_shapes() {
    let table = String::from_utf8(run(&["syscalls"]).stdout).unwrap();
    let json: serde_json::Value =
        serde_json::from_slice(&run(&["syscalls", "--format", "json"]).stdout).unwrap();
    let rows = json.as_array().unwrap();
    assert!(rows.len() > 300);
    assert!(rows.iter().all(|row| table.contains(row["name"].as_str().unwrap())));
}
