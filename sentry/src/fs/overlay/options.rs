//! Mount options of overlayfs.

use abi::Errno;

use crate::Result;

/// What `lowerdir=`, `upperdir=` and `workdir=` say.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Read-only layers, the uppermost first.
    pub lowers: Vec<Vec<u8>>,
    /// Where changes go.
    pub upper: Option<Vec<u8>>,
    /// For work in progress.
    pub work: Option<Vec<u8>>,
    /// `redirect_dir=`
    pub redirects: Redirects,
    /// `userxattr`
    pub user_marks: bool,
}

/// What becomes of directories that a lower layer has when they are moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Redirects {
    /// Moved, with a mark that says where the lower ones are.
    Made,
    /// Not moved (EXDEV); marks that are there are followed.
    #[default]
    Followed,
    /// Not moved, and directories with marks can't be looked into.
    Refused,
}

impl Options {
    /// From the text that mount(2) takes. A backslash keeps the comma or colon behind it from being one.
    pub fn parse(text: &[u8]) -> Result<Options> {
        let mut options = Options::default();
        for option in split(text, b',') {
            let (key, value) = match option.iter().position(|b| *b == b'=') {
                Some(at) => (&option[..at], Some(&option[at + 1..])),
                None => (option, None),
            };
            match (key, value) {
                (b"lowerdir", Some(value)) => {
                    options.lowers = split(value, b':').map(unescape).collect();
                    if options.lowers.iter().any(Vec::is_empty) {
                        return Err(Errno::EINVAL);
                    }
                }
                (b"upperdir", Some(value)) if !value.is_empty() => options.upper = Some(unescape(value)),
                (b"workdir", Some(value)) if !value.is_empty() => options.work = Some(unescape(value)),
                (b"redirect_dir", Some(b"on")) => options.redirects = Redirects::Made,
                (b"redirect_dir", Some(b"off" | b"follow")) => options.redirects = Redirects::Followed,
                (b"redirect_dir", Some(b"nofollow")) => options.redirects = Redirects::Refused,
                (b"userxattr", None) => options.user_marks = true,
                // Hard links stay together with and without an index, numbers are what they are.
                (b"index" | b"nfs_export", Some(b"on" | b"off")) => {}
                (b"xino", Some(b"on" | b"off" | b"auto")) => {}
                (b"uuid", Some(b"on" | b"off" | b"auto" | b"null")) => {}
                // Copies are always whole.
                (b"metacopy" | b"verity", Some(b"off")) => {}
                (b"volatile" | b"default_permissions", None) => {}
                _ => return Err(Errno::EINVAL),
            }
        }
        if options.lowers.is_empty() { Err(Errno::EINVAL) } else { Ok(options) }
    }

    /// As mountinfo shows them.
    pub fn shown(&self) -> String {
        let text = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
        let lowers: Vec<String> = self.lowers.iter().map(|lower| text(lower)).collect();
        let mut shown = format!("lowerdir={}", lowers.join(":"));
        if let (Some(upper), Some(work)) = (&self.upper, &self.work) {
            shown.push_str(&format!(",upperdir={},workdir={}", text(upper), text(work)));
        }
        match self.redirects {
            Redirects::Made => shown.push_str(",redirect_dir=on"),
            Redirects::Followed => {}
            Redirects::Refused => shown.push_str(",redirect_dir=nofollow"),
        }
        if self.user_marks {
            shown.push_str(",userxattr");
        }
        shown
    }
}

/// Pieces between separators that no backslash precedes; the backslashes stay.
fn split(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut escaped = false;
    text.split(move |byte| {
        let cut = *byte == separator && !escaped;
        escaped = *byte == b'\\' && !escaped;
        cut
    })
    .filter(move |piece| separator != b',' || !piece.is_empty())
}

fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => out.extend(bytes.next()),
            byte => out.push(*byte),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_may_hold_escaped_separators() {
        let options = Options::parse(b"lowerdir=/a\\:b:/c,upperdir=/u\\,v,workdir=/w,userxattr").unwrap();
        assert_eq!(options.lowers, [b"/a:b".to_vec(), b"/c".to_vec()]);
        assert_eq!(options.upper.as_deref(), Some(&b"/u,v"[..]));
        assert_eq!(options.shown(), "lowerdir=/a:b:/c,upperdir=/u,v,workdir=/w,userxattr");
        assert_eq!(Options::parse(b"upperdir=/u").err(), Some(Errno::EINVAL));
        assert_eq!(Options::parse(b"lowerdir=/a,nonsense").err(), Some(Errno::EINVAL));
        assert_eq!(Options::parse(b"lowerdir=/a::/b").err(), Some(Errno::EINVAL));
    }
}
