//! Flags and numbers by name.

use abi::NamedFlags;

use super::put;

/// Writes flags by name with `|` between; what has no name stays a number. No bit at all is `none`.
pub fn flags<F: NamedFlags>(out: &mut String, bits: u64, none: &str)
where
    F::Bits: Into<u64>,
{
    named_bits(out, bits, none, F::NAMES.iter().map(|(bit, name)| ((*bit).into(), *name)));
}

/// As [`flags`], behind other text: begins with `|`, and writes nothing for no bit.
pub fn more_flags<F: NamedFlags>(out: &mut String, bits: u64)
where
    F::Bits: Into<u64>,
{
    if bits != 0 {
        out.push('|');
        flags::<F>(out, bits, "");
    }
}

/// As [`flags`], of a list of bits and names.
pub fn named_bits(out: &mut String, bits: u64, none: &str, names: impl Iterator<Item = (u64, &'static str)>) {
    if bits == 0 {
        out.push_str(none);
        return;
    }
    let mut rest = bits;
    let mut separator = "";
    for (bit, name) in names {
        if bit != 0 && rest & bit == bit {
            out.push_str(separator);
            out.push_str(name);
            separator = "|";
            rest &= !bit;
        }
    }
    if rest != 0 {
        put(out, format_args!("{separator}{rest:#x}"));
    }
}

/// Writes the name of a value, or the value where it has none.
pub fn name<T: Copy + PartialEq + std::fmt::LowerHex>(out: &mut String, table: &[(T, &str)], value: T) {
    match table.iter().find(|(known, _)| *known == value) {
        Some((_, name)) => out.push_str(name),
        None => put(out, format_args!("{value:#x}")),
    }
}

/// Writes the access mode and flags of open(2).
pub fn open_flags(out: &mut String, bits: u64) {
    use abi::open::{O_ACCMODE, OpenFlags};
    let access = bits & u64::from(O_ACCMODE);
    out.push_str(["O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"][access as usize]);
    more_flags::<OpenFlags>(out, bits & !u64::from(O_ACCMODE));
}

/// Writes a mode with its type: `S_IFREG|0644`.
pub fn mode(out: &mut String, mode: u32) {
    use abi::stat::{FILE_TYPES, S_IFMT};
    let kind = mode & S_IFMT;
    if kind != 0 {
        name(out, FILE_TYPES, kind);
        out.push('|');
    }
    permissions(out, mode & !S_IFMT);
}

/// Writes permission bits: `0644`.
pub fn permissions(out: &mut String, bits: u32) {
    put(out, format_args!("0{bits:02o}"));
}

/// Writes a device number.
pub fn device(out: &mut String, dev: u64) {
    let (major, minor) = (abi::stat::major(dev), abi::stat::minor(dev));
    put(out, format_args!("makedev({major:#x}, {minor:#x})"));
}

#[cfg(test)]
mod tests {
    use abi::open::AtFlags;

    fn written(write: impl Fn(&mut String)) -> String {
        let mut out = String::from(">");
        write(&mut out);
        out
    }

    #[test]
    fn open_flags_begin_with_the_access_mode() {
        let shown = |bits| written(|out| super::open_flags(out, bits));
        assert_eq!(shown(0), ">O_RDONLY");
        assert_eq!(shown(0o2000000), ">O_RDONLY|O_CLOEXEC");
        assert_eq!(shown(0o1101), ">O_WRONLY|O_CREAT|O_TRUNC");
        assert_eq!(shown(0o20200002), ">O_RDWR|O_TMPFILE");
        assert_eq!(shown(0o4010002), ">O_RDWR|O_SYNC");
        assert_eq!(shown(0x8000_0000), ">O_RDONLY|0x80000000");
    }

    #[test]
    fn flags_without_a_name_are_a_number() {
        let shown = |bits| written(|out| super::flags::<AtFlags>(out, bits, "0"));
        assert_eq!(shown(0), ">0");
        assert_eq!(shown(0x1100), ">AT_SYMLINK_NOFOLLOW|AT_EMPTY_PATH");
        assert_eq!(shown(0x101), ">AT_SYMLINK_NOFOLLOW|0x1");
    }

    #[test]
    fn modes_and_devices() {
        assert_eq!(written(|out| super::mode(out, 0o100644)), ">S_IFREG|0644");
        assert_eq!(written(|out| super::mode(out, 0o42755)), ">S_IFDIR|02755");
        assert_eq!(written(|out| super::permissions(out, 0)), ">000");
        assert_eq!(written(|out| super::permissions(out, 7)), ">007");
        assert_eq!(written(|out| super::permissions(out, 0o22)), ">022");
        assert_eq!(written(|out| super::device(out, 0x103)), ">makedev(0x1, 0x3)");
    }
}
