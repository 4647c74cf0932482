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
    request.file = (request.open)(&interpreter)?;
    request.name = interpreter;
    Ok(())
}

/// Interpreter and argument. ENOEXEC when there is none, or its path does not end within the bytes that are looked at.
fn parse(head: &[u8]) -> Result<(Vec<u8>, Option<Vec<u8>>), Errno> {
    let text = head.get(2..).unwrap_or_default();
    let newline = text.iter().position(|b| *b == b'\n');
    let complete = newline.is_some() || head.len() < BINPRM_BUF_SIZE;
    let line = &text[..newline.unwrap_or(text.len())];
    let line = match line.iter().position(|b| *b == 0) {
        Some(nul) => &line[..nul],
        None => line,
    };
    let start = line.iter().position(|b| !is_blank(b)).ok_or(Errno::ENOEXEC)?;
    let line = &line[start..];
    let end = line.iter().rposition(|b| !is_blank(b)).map_or(0, |at| at + 1);
    let path_len = line.iter().position(is_blank);
    // Cut off in the middle of the path: no telling what it is.
    if !complete && path_len.is_none() {
        return Err(Errno::ENOEXEC);
    }
    let line = &line[..end];
    let path_len = path_len.unwrap_or(line.len()).min(line.len());
    let (path, rest) = line.split_at(path_len);
    let argument = rest.iter().position(|b| !is_blank(b)).map(|at| rest[at..].to_vec());
    if path.is_empty() { Err(Errno::ENOEXEC) } else { Ok((path.to_vec(), argument)) }
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
        assert_eq!(parse(b"#!   "), Err(Errno::ENOEXEC));
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
