//! Interpreter scripts: `#!interpreter [argument]` (execve(2)).

use abi::Errno;
use abi::elf::BINPRM_BUF_SIZE;

use super::LoadRequest;

fn is_blank(byte: &u8) -> bool {
    *byte == b' ' || *byte == b'\t'
}

/// Makes the request one for the interpreter that `head`, the first bytes of the script, names.
pub(super) fn use_interpreter(request: &mut LoadRequest<'_>, head: &[u8]) -> Result<(), Errno> {
    let (interpreter, argument) = parse(head)?;
    // The interpreter would not find a script that only a descriptor leads to and exec closes.
    if request.name_is_closed {
        return Err(Errno::ENOENT);
    }
    let mut argv = vec![interpreter.clone()];
    argv.extend(argument);
    argv.push(std::mem::take(&mut request.name));
    argv.extend(request.argv.drain(..).skip(1));
    request.argv = argv;
    // An empty name is the current directory's.
    if interpreter.is_empty() {
        return Err(Errno::EACCES);
    }
    request.file = (request.open)(&interpreter)?;
    request.name = interpreter;
    Ok(())
}

/// Where the first byte is that is neither blank nor tab, from `from` up to and including `last`.
fn next_text(buffer: &[u8; BINPRM_BUF_SIZE], from: usize, last: usize) -> Option<usize> {
    (from..=last).find(|at| !is_blank(&buffer[*at]))
}

/// Where the first blank, tab or NUL is, likewise.
fn next_end(buffer: &[u8; BINPRM_BUF_SIZE], from: usize, last: usize) -> Option<usize> {
    (from..=last).find(|at| is_blank(&buffer[*at]) || buffer[*at] == 0)
}

/// Interpreter and argument, byte for byte as Linux finds them in its buffer, which is zero behind the end of the file.
/// ENOEXEC when there is none, or its path does not end within the bytes that are looked at.
fn parse(head: &[u8]) -> Result<(Vec<u8>, Option<Vec<u8>>), Errno> {
    let mut buffer = [0u8; BINPRM_BUF_SIZE];
    buffer[..head.len()].copy_from_slice(head);
    let last = BINPRM_BUF_SIZE - 1;
    let line_end = buffer.iter().position(|b| *b == b'\n' || *b == 0).filter(|at| buffer[*at] == b'\n');
    let mut end = match line_end {
        Some(end) => end,
        None => {
            let text = next_text(&buffer, 2, last).ok_or(Errno::ENOEXEC)?;
            next_end(&buffer, text, last).ok_or(Errno::ENOEXEC)?;
            last
        }
    };
    while is_blank(&buffer[end - 1]) {
        end -= 1;
    }
    let name = next_text(&buffer, 2, end).filter(|at| *at < end).ok_or(Errno::ENOEXEC)?;
    let separator = next_end(&buffer, name, end).filter(|at| buffer[*at] != 0);
    let argument = separator.and_then(|at| next_text(&buffer, at, end)).filter(|at| *at < end);
    let string =
        |from: usize, to: usize| buffer[from..to].split(|b| *b == 0).next().unwrap_or_default().to_vec();
    let name_end = argument.and(separator).unwrap_or(end);
    Ok((string(name, name_end), argument.map(|at| string(at, end))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let ok = |line: &[u8]| parse(line).expect("a script");
        assert_eq!(ok(b"#!/bin/sh\necho"), (b"/bin/sh".to_vec(), None));
        assert_eq!(ok(b"#! /bin/sh -e  \n"), (b"/bin/sh".to_vec(), Some(b"-e".to_vec())));
        assert_eq!(ok(b"#!\t/usr/bin/env a b\n"), (b"/usr/bin/env".to_vec(), Some(b"a b".to_vec())));
        assert_eq!(ok(b"#!/bin/sh"), (b"/bin/sh".to_vec(), None));
        assert_eq!(parse(b"#!\n"), Err(Errno::ENOEXEC));
        assert_eq!(parse(b"#!  \t\n"), Err(Errno::ENOEXEC));
        // Linux finds an empty name in front of the zeros behind the file.
        assert_eq!(ok(b"#!"), (Vec::new(), None));
    }

    #[test]
    fn a_path_that_is_cut_off_is_refused_but_an_argument_is_not() {
        let mut long = b"#!/".to_vec();
        long.resize(BINPRM_BUF_SIZE, b'x');
        assert_eq!(parse(&long), Err(Errno::ENOEXEC));
        long[20] = b' ';
        assert!(parse(&long).is_ok());
    }
}
